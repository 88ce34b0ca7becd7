# pandas, polars and pyarrow, for the tests of data sets in Python tasks.

# install_frames: exports TOWPATH_TEST_FRAMES, the folder of an environment that has them.
install_frames() {
    local environment
    python_environment frames-2 pandas polars pyarrow
    export TOWPATH_TEST_FRAMES="$environment/venv"
}
