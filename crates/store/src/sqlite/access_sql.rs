//! The statements about users and their tokens and about the audit log, for SQLite. `../postgres/access_sql.rs` has the
//! same names in the same order.

// --- users

/// Users with their grants as JSON: a condition and an order follow.
pub(super) const SELECT_ACCOUNTS: &str = "
    SELECT a.name, a.role, a.password_hash, a.generation, a.created_at, a.last_login_at, (
        SELECT json_group_array(json_object('kind', g.kind, 'target', g.target, 'access', g.access))
        FROM (SELECT kind, target, access FROM account_grant WHERE account = a.name ORDER BY kind, target) g) AS grants
    FROM account a";
/// The first generation is a time, so that JWTs of somebody who was deleted are not good for a namesake.
pub(super) const INSERT_ACCOUNT: &str = "
    INSERT INTO account (name, role, password_hash, created_at, generation) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
pub(super) const DELETE_ACCOUNT: &str = "DELETE FROM account WHERE name = $1";
pub(super) const SET_PASSWORD: &str =
    "UPDATE account SET password_hash = $2, generation = generation + 1 WHERE name = $1";
pub(super) const SET_ROLE: &str = "UPDATE account SET role = $2 WHERE name = $1";
pub(super) const LOGGED_IN: &str = "UPDATE account SET last_login_at = $2 WHERE name = $1";
pub(super) const END_SESSIONS: &str = "DELETE FROM session WHERE account = $1";
pub(super) const END_LINKS: &str = "DELETE FROM login_link WHERE account = $1";
pub(super) const GRANT: &str = "
    INSERT INTO account_grant (account, kind, target, access) VALUES ($1, $2, $3, $4)
    ON CONFLICT (account, kind, target) DO UPDATE SET access = excluded.access";
pub(super) const REVOKE: &str = "DELETE FROM account_grant WHERE account = $1 AND kind = $2 AND target = $3";
pub(super) const DAG_TAGS: &str = "SELECT dag_id, tags FROM dag";

// --- sessions, tokens, links

pub(super) const INSERT_SESSION: &str =
    "INSERT INTO session (hash, account, created_at, expires_at, address) VALUES ($1, $2, $3, $4, $5)";
pub(super) const END_OLD_SESSIONS: &str = "DELETE FROM session WHERE expires_at <= $1";
pub(super) const SESSION_OWNER: &str = "SELECT account FROM session WHERE hash = $1 AND expires_at > $2";
pub(super) const END_SESSION: &str = "DELETE FROM session WHERE hash = $1";
pub(super) const INSERT_TOKEN: &str = "
    INSERT INTO api_token (hash, name, account, role, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (account, name) WHERE revoked_at IS NULL DO NOTHING RETURNING id";
pub(super) const TOKENS: &str = "
    SELECT id, name, account, role, created_at, expires_at, revoked_at, last_used_at FROM api_token ORDER BY id";
pub(super) const TOKEN: &str = "
    SELECT id, name, account, role, created_at, expires_at, revoked_at, last_used_at FROM api_token
    WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";
pub(super) const TOKEN_USED: &str = "UPDATE api_token SET last_used_at = $2 WHERE id = $1";
pub(super) const REVOKE_TOKEN: &str = "UPDATE api_token SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
pub(super) const INSERT_LINK: &str = "INSERT INTO login_link (hash, account, expires_at) VALUES ($1, $2, $3)";
pub(super) const END_OLD_LINKS: &str = "DELETE FROM login_link WHERE expires_at <= $1";
/// Of two who come with the same link, one gets a row.
pub(super) const TAKE_LINK: &str = "DELETE FROM login_link WHERE hash = $1 AND expires_at > $2 RETURNING account";
pub(super) const OFFER_SIGNING_KEY: &str = "INSERT INTO signing_key (id, sealed) VALUES (1, $1) ON CONFLICT DO NOTHING";
pub(super) const SIGNING_KEY: &str = "SELECT sealed FROM signing_key WHERE id = 1";

// --- audit log

/// Events from a JSON array.
pub(super) const INSERT_EVENTS: &str = "
    INSERT INTO event_log (at, event, owner, dag_id, task_id, run_id, map_index, try_number, logical_date, extra)
    SELECT n.value ->> 'at', n.value ->> 'event', n.value ->> 'owner', n.value ->> 'dag_id', n.value ->> 'task_id', n.value ->> 'run_id',
        n.value ->> 'map_index', n.value ->> 'try_number', n.value ->> 'logical_date', n.value ->> 'extra'
    FROM json_each($1) AS n WHERE true";
/// What lists are made of: filters, order and page follow.
pub(super) const SELECT_EVENTS: &str = "
    SELECT e.id, e.at, e.event, e.owner, e.dag_id, e.task_id, e.run_id, e.map_index, e.try_number, e.logical_date, e.extra
    FROM event_log e";
/// What stands around a JSON array of texts to make a set of it.
pub(super) const TEXTS: [&str; 2] = ["(SELECT value FROM json_each(", "))"];
