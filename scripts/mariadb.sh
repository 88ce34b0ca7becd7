# A MariaDB server for one command: a private port, a temporary folder, an unprivileged user.

# start_mariadb: starts it and exports TOWPATH_TEST_MYSQL; stop_mariadb removes it.
start_mariadb() {
    command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || install_package mariadb-server
    mariadb_folder=$(mktemp -d)
    chmod 755 "$mariadb_folder"
    # The server refuses to run as root; its package has brought this user.
    [ "$(id -u)" != 0 ] || chown mysql "$mariadb_folder"
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    echo "Starting MariaDB on 127.0.0.1:$port" >&2
    as_mysql mariadb-install-db --no-defaults --datadir="$mariadb_folder/data" --skip-test-db >/dev/null
    local host
    for host in 127.0.0.1 localhost; do
        # A statement may not go on in another line, nor share one.
        printf '%s\n' "CREATE USER 'towpath'@'$host';" "GRANT ALL ON *.* TO 'towpath'@'$host';"
    done >"$mariadb_folder/users.sql"
    chmod 644 "$mariadb_folder/users.sql"
    # Tests throw their databases away, so nothing has to be on the disk.
    as_mysql mariadbd --no-defaults --datadir="$mariadb_folder/data" --socket="$mariadb_folder/mysqld.sock" \
        --pid-file="$mariadb_folder/mysqld.pid" --bind-address=127.0.0.1 --port="$port" --skip-log-bin \
        --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=64M --init-file="$mariadb_folder/users.sql" \
        >"$mariadb_folder/server.log" 2>&1 &
    local wait
    for wait in $(seq 300); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            export TOWPATH_TEST_MYSQL="mysql://towpath@127.0.0.1:$port/"
            return
        fi
        sleep 0.1
    done
    echo "$0: MariaDB has not started:" >&2
    cat "$mariadb_folder/server.log" >&2
    return 1
}

stop_mariadb() {
    [ ! -f "$mariadb_folder/mysqld.pid" ] || kill -9 "$(cat "$mariadb_folder/mysqld.pid")" 2>/dev/null || true
    rm -rf "$mariadb_folder"
}

as_mysql() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && exec setpriv --reuid=mysql --regid=mysql --init-groups env HOME="$mariadb_folder" PATH="$PATH:/usr/sbin" "$@")
    else
        PATH="$PATH:/usr/sbin" "$@"
    fi
}
