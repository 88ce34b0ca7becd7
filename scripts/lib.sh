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
