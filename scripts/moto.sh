# A server that speaks S3 (moto, from PyPI) for one command: a private port, data in memory.

# start_s3: installs it into the cache, starts it and exports TOWPATH_TEST_S3; stop_s3 ends it.
start_s3() {
    local folder="${XDG_CACHE_HOME:-$HOME/.cache}/towpath/moto-5"
    if [ ! -e "$folder/complete" ]; then
        echo "$0: installing moto, an S3 server for tests, from PyPI into $folder" >&2
        python3 -c 'import ensurepip' 2>/dev/null || install_package python3-venv
        rm -rf "$folder"
        python3 -m venv "$folder/venv"
        "$folder/venv/bin/pip" --quiet --disable-pip-version-check install 'moto[server,s3]==5.*'
        touch "$folder/complete"
    fi
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    echo "Starting moto on 127.0.0.1:$port" >&2
    s3_log=$(mktemp)
    "$folder/venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$s3_log" 2>&1 &
    s3_pid=$!
    local wait
    for wait in $(seq 300); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            export TOWPATH_TEST_S3="http://127.0.0.1:$port"
            return
        fi
        sleep 0.1
    done
    echo "$0: moto has not started:" >&2
    cat "$s3_log" >&2
    return 1
}

stop_s3() {
    [ -z "${s3_pid:-}" ] || kill "$s3_pid" 2>/dev/null || true
    rm -f "${s3_log:-}"
}
