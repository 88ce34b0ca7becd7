# Airflow's own clients and contract, from PyPI, for the tests that hold the API against them.

# install_airflow: makes a Python environment in the cache and exports TOWPATH_TEST_AIRFLOW.
install_airflow() {
    TOWPATH_TEST_AIRFLOW="${XDG_CACHE_HOME:-$HOME/.cache}/towpath/airflow-3.3.2-b"
    export TOWPATH_TEST_AIRFLOW
    [ -e "$TOWPATH_TEST_AIRFLOW/complete" ] && return
    echo "$0: installing Airflow's Python client, airflowctl and the contract from PyPI into $TOWPATH_TEST_AIRFLOW" >&2
    python3 -c 'import ensurepip' 2>/dev/null || install_package python3-venv
    rm -rf "$TOWPATH_TEST_AIRFLOW"
    python3 -m venv "$TOWPATH_TEST_AIRFLOW/venv"
    local pip="$TOWPATH_TEST_AIRFLOW/venv/bin/pip --quiet --disable-pip-version-check"
    $pip install "apache-airflow-client==3.3.*" "apache-airflow-ctl==0.1.*" jsonschema pyyaml
    $pip download --no-deps --dest "$TOWPATH_TEST_AIRFLOW" apache-airflow-core==3.3.2
    touch "$TOWPATH_TEST_AIRFLOW/complete"
}
