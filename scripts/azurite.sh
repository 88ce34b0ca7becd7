# A server that speaks Azure's blobs (Azurite, from npm) for one command: a private port, data in memory.

# start_azure: installs it into the cache, starts it with a container `towpath` and exports TOWPATH_TEST_AZURE; stop_azure ends it.
start_azure() {
    need_package node nodejs
    need_package npm npm
    local folder="${XDG_CACHE_HOME:-$HOME/.cache}/towpath/azurite-3.37"
    if [ ! -e "$folder/complete" ]; then
        echo "$0: installing Azurite from npm into $folder" >&2
        mkdir -p "$folder"
        npm install --prefix "$folder" --omit=dev --no-audit --no-fund --silent 'azurite@~3.37' >&2
        touch "$folder/complete"
    fi
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    echo "Starting Azurite on 127.0.0.1:$port" >&2
    azure_log=$(mktemp)
    AZURITE_ACCOUNTS="towpath:dG93cGF0aA==" "$folder/node_modules/.bin/azurite-blob" --blobHost 127.0.0.1 --blobPort "$port" \
        --inMemoryPersistence --skipApiVersionCheck --disableTelemetry --silent >"$azure_log" 2>&1 &
    azure_pid=$!
    local wait
    for wait in $(seq 300); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            make_container "$port"
            export TOWPATH_TEST_AZURE="http://127.0.0.1:$port/towpath"
            return
        fi
        sleep 0.1
    done
    echo "$0: Azurite has not started:" >&2
    cat "$azure_log" >&2
    return 1
}

# Requests that make containers have to be signed.
make_container() {
    python3 - "$1" <<'PYTHON'
import base64, email.utils, hashlib, hmac, sys, urllib.request
date, version = email.utils.formatdate(usegmt=True), "2021-12-02"
text = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n/towpath/towpath/towpath\nrestype:container"
signed = base64.b64encode(hmac.new(b"towpath", text.encode(), hashlib.sha256).digest()).decode()
headers = {"x-ms-date": date, "x-ms-version": version, "Authorization": f"SharedKey towpath:{signed}"}
url = f"http://127.0.0.1:{sys.argv[1]}/towpath/towpath?restype=container"
urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers))
PYTHON
}

stop_azure() {
    [ -z "${azure_pid:-}" ] || kill "$azure_pid" 2>/dev/null || true
    rm -f "${azure_log:-}"
}
