"""The functions of etl_pipeline.yaml, as they would stand in an Airflow DAG file."""


def extract_data(**kwargs):
    kwargs["ti"].xcom_push(key="raw", value={"data": [1, 2, 3, 4]})


def transform_data(**kwargs):
    ti = kwargs["ti"]
    raw = ti.xcom_pull(key="raw", task_ids="extract_data")
    ti.xcom_push(key="transformed", value=[number * 10 for number in raw["data"]])


def load_data(**kwargs):
    transformed = kwargs["ti"].xcom_pull(key="transformed", task_ids="transform_data")
    print(f"Loading {transformed}")
