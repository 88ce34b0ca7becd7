-- Who may come in. What is secret is kept as a hash: argon2 for passwords, BLAKE3 for random tokens.
CREATE TABLE account (
    name          text PRIMARY KEY,
    role          text NOT NULL CHECK (role IN ('none', 'viewer', 'user', 'op', 'admin')),
    -- NULL: only login links and API tokens let this user in.
    password_hash text,
    -- Another one ends all JWTs that were given out before.
    generation    integer NOT NULL,
    created_at    integer NOT NULL,
    last_login_at integer
) STRICT;

-- What a user may do beyond the role, with one DAG or with all that have a tag.
CREATE TABLE account_grant (
    account text NOT NULL REFERENCES account (name) ON DELETE CASCADE,
    kind    text NOT NULL CHECK (kind IN ('dag', 'tag')),
    target  text NOT NULL,
    access  text NOT NULL CHECK (access IN ('read', 'edit')),
    PRIMARY KEY (account, kind, target)
) STRICT;

CREATE TABLE session (
    hash       text PRIMARY KEY,
    account    text NOT NULL REFERENCES account (name) ON DELETE CASCADE,
    created_at integer NOT NULL,
    expires_at integer NOT NULL,
    address    text
) STRICT;
CREATE INDEX session_account ON session (account);
CREATE INDEX session_expiry ON session (expires_at);

CREATE TABLE api_token (
    id           integer PRIMARY KEY AUTOINCREMENT,
    hash         text NOT NULL UNIQUE,
    name         text NOT NULL,
    account      text NOT NULL REFERENCES account (name) ON DELETE CASCADE,
    -- A ceiling below the role of its user.
    role         text CHECK (role IN ('none', 'viewer', 'user', 'op', 'admin')),
    created_at   integer NOT NULL,
    expires_at   integer,
    revoked_at   integer,
    last_used_at integer
) STRICT;
CREATE UNIQUE INDEX api_token_name ON api_token (account, name) WHERE revoked_at IS NULL;

CREATE TABLE login_link (
    hash       text PRIMARY KEY,
    account    text NOT NULL REFERENCES account (name) ON DELETE CASCADE,
    expires_at integer NOT NULL
) STRICT;

-- Signs JWTs; encrypted with the key file. One row, so that all servers of a database agree.
CREATE TABLE signing_key (
    id     integer PRIMARY KEY CHECK (id = 1),
    sealed text NOT NULL
) STRICT;

-- Who changed what, in the form of Airflow's event log.
CREATE TABLE event_log (
    id           integer PRIMARY KEY AUTOINCREMENT,
    at           integer NOT NULL,
    event        text NOT NULL,
    owner        text,
    dag_id       text,
    task_id      text,
    run_id       text,
    map_index    integer,
    try_number   integer,
    logical_date integer,
    extra        text
) STRICT;
CREATE INDEX event_log_at ON event_log (at DESC, id DESC);
CREATE INDEX event_log_dag ON event_log (dag_id, id DESC) WHERE dag_id IS NOT NULL;
CREATE INDEX event_log_owner ON event_log (owner, id DESC);
