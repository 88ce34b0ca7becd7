-- Who may come in. What is secret is kept as a hash: argon2 for passwords, BLAKE3 for random tokens.
CREATE TABLE account (
    name          text COLLATE "C" PRIMARY KEY,
    role          text NOT NULL CHECK (role IN ('none', 'viewer', 'user', 'op', 'admin')),
    -- NULL: only login links and API tokens let this user in.
    password_hash text,
    -- Another one ends all JWTs that were given out before.
    generation    bigint NOT NULL,
    created_at    timestamptz NOT NULL,
    last_login_at timestamptz
);

-- What a user may do beyond the role, with one DAG or with all that have a tag.
CREATE TABLE account_grant (
    account text COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
    kind    text NOT NULL CHECK (kind IN ('dag', 'tag')),
    target  text COLLATE "C" NOT NULL,
    access  text NOT NULL CHECK (access IN ('read', 'edit')),
    PRIMARY KEY (account, kind, target)
);

CREATE TABLE session (
    hash       text COLLATE "C" PRIMARY KEY,
    account    text COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    address    text
);
CREATE INDEX session_account ON session (account);
CREATE INDEX session_expiry ON session (expires_at);

CREATE TABLE api_token (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash         text COLLATE "C" NOT NULL UNIQUE,
    name         text COLLATE "C" NOT NULL,
    account      text COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
    -- A ceiling below the role of its user.
    role         text CHECK (role IN ('none', 'viewer', 'user', 'op', 'admin')),
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
CREATE UNIQUE INDEX api_token_name ON api_token (account, name) WHERE revoked_at IS NULL;

CREATE TABLE login_link (
    hash       text COLLATE "C" PRIMARY KEY,
    account    text COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);

-- Signs JWTs; encrypted with the key file. One row, so that all servers of a database agree.
CREATE TABLE signing_key (
    id     integer PRIMARY KEY CHECK (id = 1),
    sealed text NOT NULL
);

-- Who changed what, in the form of Airflow's event log.
CREATE TABLE event_log (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL,
    event        text COLLATE "C" NOT NULL,
    owner        text COLLATE "C",
    dag_id       text COLLATE "C",
    task_id      text COLLATE "C",
    run_id       text COLLATE "C",
    map_index    integer,
    try_number   integer,
    logical_date timestamptz,
    extra        text
);
CREATE INDEX event_log_at ON event_log (at DESC, id DESC);
CREATE INDEX event_log_dag ON event_log (dag_id, id DESC) WHERE dag_id IS NOT NULL;
CREATE INDEX event_log_owner ON event_log (owner, id DESC);
