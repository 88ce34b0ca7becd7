# A PostgreSQL server for one command: a private port, a temporary folder, an unprivileged user.

# start_postgres [OPTION ...]: starts it, exports TOWPATH_TEST_POSTGRES, and removes it at exit.
# Options are settings such as fsync=off.
start_postgres() {
    local pg
    pg=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
    if [ -z "$pg" ] && ! command -v initdb >/dev/null; then
        install_package postgresql
        pg=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
    fi
    postgres_bin=${pg:+$pg/}
    postgres_folder=$(mktemp -d)
    chmod 755 "$postgres_folder"
    # PostgreSQL refuses to run as root; its package has brought this user.
    [ "$(id -u)" != 0 ] || chown postgres "$postgres_folder"
    trap stop_postgres EXIT
    local port settings="" setting
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    for setting in listen_addresses=127.0.0.1 max_connections=400 shared_buffers=256MB "$@"; do
        settings="$settings -c $setting"
    done
    echo "Starting PostgreSQL on 127.0.0.1:$port" >&2
    as_postgres "${postgres_bin}initdb" -D "$postgres_folder/data" -A trust -U towpath --no-sync >/dev/null
    as_postgres "${postgres_bin}pg_ctl" -D "$postgres_folder/data" -l "$postgres_folder/server.log" -w start \
        -o "-p $port -k $postgres_folder $settings" >/dev/null
    export TOWPATH_TEST_POSTGRES="postgres://towpath@127.0.0.1:$port/postgres"
}

stop_postgres() {
    as_postgres "${postgres_bin}pg_ctl" -D "$postgres_folder/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$postgres_folder"
}

as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && setpriv --reuid=postgres --regid=postgres --init-groups env HOME="$postgres_folder" "$@")
    else
        "$@"
    fi
}
