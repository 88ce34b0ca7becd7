-- What signs requests that start runs from outside; encrypted with the key file, since a signature can only be checked
-- with the secret itself.
CREATE TABLE webhook (
    dag_id          text COLLATE "C" PRIMARY KEY REFERENCES dag ON DELETE CASCADE,
    sealed          text NOT NULL,
    -- The one before, while senders are changed over.
    previous_sealed text,
    previous_until  timestamptz,
    -- The body of a request is the whole conf of the run.
    is_conf         boolean NOT NULL,
    created_at      timestamptz NOT NULL,
    created_by      text,
    last_used_at    timestamptz
);

-- Users whom an identity provider (OpenID Connect) lets in.
CREATE TABLE account_identity (
    issuer     text COLLATE "C" NOT NULL,
    subject    text COLLATE "C" NOT NULL,
    account    text COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX account_identity_account ON account_identity (account);
