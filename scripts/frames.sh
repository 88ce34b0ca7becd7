# pandas, polars and pyarrow, from PyPI, for the tests of data sets in Python tasks.

# install_frames: makes a Python environment in the cache and exports TOWPATH_TEST_FRAMES, its folder.
install_frames() {
    TOWPATH_TEST_FRAMES="${XDG_CACHE_HOME:-$HOME/.cache}/towpath/frames-1"
    export TOWPATH_TEST_FRAMES
    [ -e "$TOWPATH_TEST_FRAMES/complete" ] && return
    echo "$0: installing pandas, polars and pyarrow from PyPI into $TOWPATH_TEST_FRAMES" >&2
    python3 -c 'import ensurepip' 2>/dev/null || install_package python3-venv
    rm -rf "$TOWPATH_TEST_FRAMES"
    python3 -m venv "$TOWPATH_TEST_FRAMES"
    if ! "$TOWPATH_TEST_FRAMES/bin/pip" --quiet --disable-pip-version-check install pandas polars pyarrow; then
        echo "$0: PyPI cannot be reached, or does not have pandas, polars and pyarrow for this Python: the tests of data" >&2
        echo "$0: sets in Python tasks need them; set pip's index (PIP_INDEX_URL), or make $TOWPATH_TEST_FRAMES by hand" >&2
        exit 1
    fi
    touch "$TOWPATH_TEST_FRAMES/complete"
}
