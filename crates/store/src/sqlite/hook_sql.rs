//! The statements of webhooks and of users of identity providers, for SQLite. `../postgres/hook_sql.rs` has the same names
//! in the same order.

// --- webhooks

/// What was there before stays good until `$6`.
pub(super) const SET_WEBHOOK: &str = "
    INSERT INTO webhook (dag_id, sealed, is_conf, created_at, created_by) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (dag_id) DO UPDATE SET
        previous_sealed = CASE WHEN CAST($6 AS integer) IS NULL THEN NULL ELSE webhook.sealed END,
        previous_until = $6, sealed = excluded.sealed, is_conf = excluded.is_conf, created_at = excluded.created_at,
        created_by = excluded.created_by, last_used_at = NULL";
pub(super) const WEBHOOKS: &str = "
    SELECT dag_id, sealed, previous_sealed, previous_until, is_conf, created_at, created_by, last_used_at FROM webhook
    ORDER BY dag_id";
pub(super) const WEBHOOK: &str = "
    SELECT dag_id, sealed, previous_sealed, previous_until, is_conf, created_at, created_by, last_used_at FROM webhook
    WHERE dag_id = $1";
pub(super) const WEBHOOK_USED: &str = "UPDATE webhook SET last_used_at = $2 WHERE dag_id = $1";
pub(super) const DELETE_WEBHOOK: &str = "DELETE FROM webhook WHERE dag_id = $1";

// --- identities

pub(super) const IDENTITY: &str = "SELECT account FROM account_identity WHERE issuer = $1 AND subject = $2";
/// Of two logins at once, one links.
pub(super) const LINK_IDENTITY: &str = "
    INSERT INTO account_identity (issuer, subject, account, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
