-- What signs requests that start runs from outside; encrypted with the key file, since a signature can only be checked
-- with the secret itself.
CREATE TABLE webhook (
    dag_id          text PRIMARY KEY REFERENCES dag (dag_id) ON DELETE CASCADE,
    sealed          text NOT NULL,
    -- The one before, while senders are changed over.
    previous_sealed text,
    previous_until  integer,
    -- The body of a request is the whole conf of the run.
    is_conf         integer NOT NULL CHECK (is_conf IN (0, 1)),
    created_at      integer NOT NULL,
    created_by      text,
    last_used_at    integer
) STRICT;

-- Users whom an identity provider (OpenID Connect) lets in.
CREATE TABLE account_identity (
    issuer     text NOT NULL,
    subject    text NOT NULL,
    account    text NOT NULL REFERENCES account (name) ON DELETE CASCADE,
    created_at integer NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;
CREATE INDEX account_identity_account ON account_identity (account);
