# Set-up that the scripts share.

# need_command NAME HINT: fails with the hint where there is no such program.
need_command() {
    command -v "$1" >/dev/null || { echo "$0: there is no \`$1\`: $2" >&2; exit 1; }
}

# need_package PROGRAM PACKAGE: installs Debian's PACKAGE where PROGRAM is missing.
need_package() {
    command -v "$1" >/dev/null && return
    install_package "$2"
}

install_package() {
    command -v apt-get >/dev/null || { echo "$0: please install $1: there is no apt-get to do it with" >&2; exit 1; }
    echo "$0: installing $1 with apt-get" >&2
    local sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "$1" >/dev/null
}

# python_environment NAME PACKAGE...: a Python environment in the cache with packages from PyPI, in the folder that
# `environment` names then. Another NAME makes another one, so it says the versions.
python_environment() {
    environment="${XDG_CACHE_HOME:-$HOME/.cache}/towpath/$1"
    shift
    [ -e "$environment/complete" ] && return
    echo "$0: installing $* from PyPI into $environment" >&2
    python3 -c 'import ensurepip' 2>/dev/null || install_package python3-venv
    rm -rf "$environment"
    python3 -m venv "$environment/venv"
    if ! "$environment/venv/bin/pip" --quiet --disable-pip-version-check install "$@"; then
        echo "$0: PyPI cannot be reached, or does not have them for this Python; set pip's index (PIP_INDEX_URL)" >&2
        exit 1
    fi
    touch "$environment/complete"
}
