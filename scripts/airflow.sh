# Airflow's own clients and contract, for the tests that hold the API against them.

# install_airflow: exports TOWPATH_TEST_AIRFLOW, a folder with an environment and the wheel of the contract.
install_airflow() {
    local environment
    python_environment airflow-3.3.2-c "apache-airflow-client==3.3.*" "apache-airflow-ctl==0.1.*" jsonschema pyyaml
    export TOWPATH_TEST_AIRFLOW="$environment"
    local wheels=("$environment"/apache_airflow_core-*.whl)
    [ -e "${wheels[0]}" ] && return
    "$environment/venv/bin/pip" --quiet --disable-pip-version-check download --no-deps --dest "$environment" \
        apache-airflow-core==3.3.2
}
