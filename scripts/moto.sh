# A server that speaks S3 (moto, from PyPI) for one command: a private port, data in memory.

# start_s3: installs it into the cache, starts it and exports TOWPATH_TEST_S3; stop_s3 ends it.
start_s3() {
    local environment
    python_environment moto-5 'moto[server,s3]==5.*'
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    echo "Starting moto on 127.0.0.1:$port" >&2
    s3_log=$(mktemp)
    "$environment/venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$s3_log" 2>&1 &
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
