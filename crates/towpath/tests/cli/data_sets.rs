//! Data sets between tasks: Python reads and leaves them, tasks are mapped over them, and staging is cleaned.
//!
//! `TOWPATH_TEST_FRAMES` names a Python environment that has pandas, polars and pyarrow; `scripts/test` makes it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::environment::Environment;

fn frames() -> String {
    std::env::var("TOWPATH_TEST_FRAMES").expect(
        "TOWPATH_TEST_FRAMES names a Python environment with pandas, polars and pyarrow: run the tests by scripts/test, which makes it",
    )
}

/// Five orders, one twice.
const ORDERS: &str = "id,city,amount\n1,Köln,2.5\n2,Bonn,\n3,Köln,4\n3,Köln,4\n4,,1\n";

/// A DAG whose only Python task `py` reads `orders`, and whose task `after` takes what it leaves.
fn around(python: &str, code: &str) -> String {
    let code: String = code.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "tasks:\n  orders:\n    operator: extract\n    source: {{csv: orders.csv}}\n  py:\n    operator: python\n    python: \
         {python}\n    dependencies: [orders]\n    code: |\n{code}  after:\n    operator: transform\n    input: py\n    steps:\n      \
         - sort: [id]\n"
    )
}

fn run(environment: &Environment, dag: &str) -> crate::environment::Ended {
    environment.write("d.yaml", dag);
    environment.run(&["run", "d.yaml"])
}

fn xcom(environment: &Environment, task: &str) -> Value {
    environment.ok(&["xcom", "get", "d", task]).json()
}

/// Each way to read and to leave, with its library; each leaves the columns `id` and `city`, without the double.
const WAYS: [(&str, &str); 8] = [
    ("pandas", "result = ti.dataset('orders').to_pandas()[['id', 'city']].drop_duplicates()"),
    ("pandas by index", "result = ti.dataset('orders').to_pandas().groupby('id')[['city']].first()"),
    ("polars", "result = ti.dataset('orders').to_polars(columns=['id', 'city']).unique(maintain_order=True)"),
    ("polars, lazy", "result = ti.dataset('orders').to_polars(lazy=True).select('id', 'city').unique()"),
    ("pyarrow", "result = ti.dataset('orders').to_arrow().group_by(['id', 'city']).aggregate([])"),
    (
        "batches",
        "import pyarrow as pa\nds = ti.dataset('orders')\nassert sum(batch.num_rows for batch in ds) == ds.rows == len(ds) == 5\n\
         assert sum(len(f) for f in ds.batches(2, frame='pandas')) == 5\n\
         assert [f.height for f in ds.batches(2, frame='polars')] == [2, 2, 1]\n\
         rows = {row['id']: row['city'] for batch in ds.batches(frame='rows') for row in batch}\n\
         result = pa.RecordBatch.from_pydict({'id': list(rows), 'city': list(rows.values())})",
    ),
    (
        "path",
        "from pathlib import Path\nPath('left.csv').write_text('id,city\\n1,Köln\\n2,Bonn\\n3,Köln\\n4,\\n')\nresult = Path('left.csv')",
    ),
    (
        "Dataset",
        "from towpath import Dataset\nimport os\nos.mkdir('left')\n\
         ti.dataset('orders').to_polars().select('id', 'city').unique().write_ndjson('left/part.ndjson')\nresult = Dataset('left')",
    ),
];

fn frames_come_and_go(environment: &Environment) {
    environment.write("orders.csv", ORDERS);
    let frames = frames();
    for (way, code) in WAYS {
        let ended = run(environment, &around(&frames, code));
        assert_eq!(ended.code, 0, "{way}: {ended:#?}");
        let left = xcom(environment, "py");
        assert_eq!((&left["rows"], &left["format"]), (&json!(4), &json!("parquet")), "{way}: {left}");
        let names: Vec<&Value> = left["schema"].as_array().unwrap().iter().map(|field| &field["name"]).collect();
        assert_eq!(names, ["id", "city"], "{way}: {left}");
        assert!(left["bytes"].as_u64().unwrap() > 0);
        let profile = &left["profile"]["id"];
        assert_eq!((&profile["min"], &profile["max"], &profile["nulls"]), (&json!(1), &json!(4), &json!(0)), "{way}");
        assert_eq!(left["profile"]["city"]["distinct"], json!(2), "{way}: {left}");
        assert_eq!(left["profile"]["city"]["top"], json!([["Köln", 2], ["Bonn", 1]]), "{way}: {left}");
        assert_eq!(xcom(environment, "after")["rows"], json!(4), "{way}");
        let location = left["location"].as_str().unwrap().replace("[DIR]", &environment.path().display().to_string());
        assert_eq!(entries(Path::new(&location).parent().unwrap()).len(), 1, "{way}");
    }
}

/// Names in a folder.
fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn frames_come_and_go_on_sqlite() {
    frames_come_and_go(&Environment::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_come_and_go_on_postgres() {
    let db = towpath_testkit::postgres().await;
    let mut environment = Environment::new();
    environment.set("TOWPATH_DATABASE_URL", &db.url);
    tokio::task::spawn_blocking(move || frames_come_and_go(&environment)).await.unwrap();
}

#[test]
fn without_libraries_paths_are_read_and_the_rest_is_told() {
    let environment = Environment::new();
    environment.write("orders.csv", ORDERS);
    let code = "ds = ti.dataset('orders')\nassert ds.path.read_bytes()[:4] == b'PAR1' and ds.paths == [ds.path]\n\
                assert ds.schema['id'] == 'int64' and ds.rows == 5, ds.schema\n\
                try:\n    ds.to_pandas()\nexcept ImportError as error:\n    print('pandas:', error)\nresult = ds.to_polars()";
    // An environment of its own, so that it certainly has no libraries.
    let made = std::process::Command::new("python3")
        .args(["-m", "venv", "--without-pip"])
        .arg(environment.path().join("bare"))
        .status();
    assert!(made.unwrap().success());
    let ended = run(
        &environment,
        &around("../bare", code).replace("../bare", &environment.path().join("bare").display().to_string()),
    );
    assert_eq!(ended.code, 1, "{ended:#?}");
    let log = environment.ok(&["tasks", "logs", "d", "py"]).stdout;
    for expected in [
        "pandas: to_pandas needs the package `pandas`, which is not there in the Python of this task ([DIR]/bare/bin/python",
        "`[DIR]/bare/bin/python",
        " -m pip install pandas`",
        "to_polars needs the package `polars`",
    ] {
        assert!(log.contains(expected), "{expected}\n{log}");
    }
}

#[test]
fn a_mistake_in_a_data_set_is_told_and_leaves_nothing() {
    let environment = Environment::new();
    environment.write("orders.csv", ORDERS);
    let frames = frames();
    for (code, expected) in [
        ("result = ti.dataset('order')", "dataset: task `order` has left no data set in this run"),
        ("from towpath import Dataset\nresult = Dataset('gone.csv')", "there is no file or folder `"),
        (
            "from towpath import Dataset\nresult = Dataset('x', format='xls')",
            "there is no format 'xls'; there are arrow, avro, csv",
        ),
        (
            "from pathlib import Path\nPath('bad.parquet').write_text('no')\nresult = Path('bad.parquet')",
            "what the task has returned is no data set: ",
        ),
        (
            "import pandas\nresult = {'frame': pandas.DataFrame({'a': [1]})}",
            "a python task that returns it alone leaves a data set",
        ),
    ] {
        let ended = run(&environment, &around(&frames, code));
        assert_eq!(ended.code, 1, "{code}: {ended:#?}");
        assert!(ended.stdout.contains(expected), "{code}: {ended:#?}");
    }
    let mut all = vec![environment.path().join(".towpath/staging/d")];
    while let Some(path) = all.pop() {
        assert!(!path.to_string_lossy().contains("/py/"), "{path:?}");
        if path.is_dir() {
            all.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

#[test]
fn another_try_replaces_what_the_first_has_left() {
    let environment = Environment::new();
    environment.write("orders.csv", ORDERS);
    let frames = frames();
    let code = "import pandas\nfrom pathlib import Path\nseen = Path(ti.dataset('orders').path.parents[3]) / 'seen'\n\
                first = not seen.exists()\nseen.touch()\nti.xcom_push('first', first)\n\
                result = pandas.DataFrame({'id': [1, 2, 3] if first else [4]})";
    environment.write("dags/d.yaml", &around(&frames, code));
    let daemon = environment.up(&[]);
    daemon.until("/api/v2/dags/d", |status, _| status == 200);
    environment.ok(&["dags", "trigger", "d", "--wait"]);
    let first = xcom(&environment, "py");
    environment.ok(&["tasks", "clear", "d", "py", "--downstream"]);
    daemon.until("/api/v2/dags/d/dagRuns", |_, found| found["dag_runs"][0]["state"] == "success");
    drop(daemon);
    let second = xcom(&environment, "py");
    assert_eq!((&first["rows"], &second["rows"]), (&json!(3), &json!(1)));
    assert_ne!(first["location"], second["location"]);
    assert_eq!(xcom(&environment, "after")["rows"], json!(1));
}

#[test]
fn tasks_are_mapped_over_rows_and_partitions() {
    let environment = Environment::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dags");
    let flights = std::fs::read_to_string(examples.join("data/nycflights13/flights-2013-01.csv")).unwrap();
    environment.write("dags/data/nycflights13/flights-2013-01.csv", &flights);
    environment.write("d.yaml", &std::fs::read_to_string(examples.join("carrier_reports.yaml")).unwrap());
    environment.ok(&["run", "d.yaml"]);
    let xcom = |arguments: &[&str]| environment.ok(&[&["xcom", "get", "carrier_reports"], arguments].concat()).json();
    let count = |carrier: &str| flights.lines().filter(|line| line.split(',').nth(9) == Some(carrier)).count();
    let mut expected: Vec<(usize, &str)> = ["UA", "B6", "EV"].map(|carrier| (count(carrier), carrier)).to_vec();
    let parts = xcom(&["flights"])["parts"].clone();
    let found: Vec<_> = parts
        .as_array()
        .unwrap()
        .iter()
        .map(|part| (part["values"]["carrier"].clone(), part["rows"].clone()))
        .collect();
    let by_name = ["B6", "EV", "UA"].map(|carrier| (json!(carrier), json!(count(carrier))));
    assert_eq!(found, by_name);
    // An instance has seen its partition and nothing else.
    let reports = xcom(&["report"]);
    assert_eq!(reports.as_array().unwrap().len(), 3);
    for (report, (carrier, _)) in reports.as_array().unwrap().iter().zip(&by_name) {
        assert_eq!((&report["rows"], &report["profile"]["carrier"]["min"]), (&json!(1), carrier));
    }
    expected.sort_by(|one, other| other.cmp(one));
    let said = xcom(&["announce"]);
    for (line, (count, carrier)) in said.as_array().unwrap().iter().zip(&expected) {
        let line = line.as_str().unwrap();
        assert!(line.starts_with(&format!("{carrier} has {count} flights, late by ")), "{line}");
    }
    let rows = xcom(&["busiest", "--key", "rows"]);
    assert_eq!(rows[0]["carrier"], json!(expected[0].1));
}

#[test]
fn python_is_mapped_over_what_python_leaves() {
    let environment = Environment::new();
    environment.write("orders.csv", ORDERS);
    let frames = frames();
    environment.write(
        "d.yaml",
        &format!(
            "default_args: {{python: {frames}}}\ntasks:\n  frame:\n    operator: python\n    code: |\n      import polars as pl\n      \
             result = pl.read_csv('{orders}').unique(maintain_order=True)\n  each:\n    operator: python\n    expand_kwargs: frame.rows\n    \
             code: result = [id, city, amount]\n  in_parts:\n    operator: transform\n    input: frame\n    partition_by: [city]\n    steps:\n      \
             - derive: {{twice: amount * 2}}\n  part:\n    operator: python\n    expand: {{part: in_parts.partitions}}\n    code: |\n      \
             frame = ti.dataset(part).to_pandas()\n      result = frame.assign(city=frame.city.str.upper())\n  \
             all:\n    operator: python\n    dependencies: [part]\n    code: result = sorted(ti.dataset('part').to_polars()['twice'].drop_nulls().to_list())\n  \
             nothing:\n    operator: transform\n    input: frame\n    steps: [filter: 'id > 99']\n  never:\n    operator: python\n    \
             expand: {{row: nothing.rows}}\n    code: result = 1\n",
            orders = environment.path().join("orders.csv").display()
        ),
    );
    environment.ok(&["run", "d.yaml"]);
    assert_eq!(
        xcom(&environment, "each"),
        json!([[1, "Köln", 2.5], [2, "Bonn", null], [3, "Köln", 4.0], [4, null, 1.0]])
    );
    let parts = xcom(&environment, "part");
    let rows: Vec<&Value> = parts.as_array().unwrap().iter().map(|part| &part["rows"]).collect();
    // Null, Bonn, Köln.
    assert_eq!(rows, [1, 1, 2]);
    assert_eq!(xcom(&environment, "all"), json!([2.0, 5.0, 8.0]));
    let states = environment.ok(&["runs", "show", "d", "-o", "json"]).json();
    let never =
        states["task_instances"].as_array().unwrap().iter().find(|task| task["task_id"] == "never").unwrap().clone();
    assert_eq!(never["state"], "skipped", "{never}");
}

fn staging(environment: &Environment) -> PathBuf {
    environment.path().join("st")
}

#[test]
fn staging_is_cleaned_and_says_the_way_back() {
    let mut environment = Environment::new();
    environment.write("orders.csv", ORDERS);
    environment.write("towpath.toml", "[data]\nstaging = \"st\"\n");
    let dag = "tasks:\n  orders:\n    operator: extract\n    source: {csv: orders.csv}\n  copy:\n    operator: load\n    \
               input: orders\n    target: {csv: copy.csv}\n";
    environment.write("dags/d.yaml", dag);
    let daemon = environment.up(&[]);
    daemon.until("/api/v2/dags/d", |status, _| status == 200);
    for run in ["one", "two"] {
        environment.ok(&["dags", "trigger", "d", "--wait", "--run-id", run]);
    }
    assert_eq!(entries(&staging(&environment).join("d")), ["one", "two"]);
    let clean = |arguments: &[&str]| environment.ok(&[&["data", "clean", "-o", "json"], arguments].concat()).json();
    assert_eq!(clean(&[]), json!([]));
    let found = clean(&["--older-than", "0s", "--dry-run"]);
    assert_eq!(
        (&found[0]["run_id"], &found[0]["why"], found.as_array().unwrap().len()),
        (&json!("one"), &json!("old"), 1)
    );
    assert!(found[0]["bytes"].as_u64().unwrap() > 100);
    assert_eq!(entries(&staging(&environment).join("d")), ["one", "two"]);
    assert_eq!(clean(&["--older-than", "0s"]), found);
    assert_eq!(entries(&staging(&environment).join("d")), ["two"]);
    // Who needs what was cleaned is told what to do, and that helps.
    environment.ok(&["tasks", "clear", "d", "copy", "--run-id", "one"]);
    let run = "/api/v2/dags/d/dagRuns/one";
    daemon.until(run, |_, run| run["state"] == "failed");
    let log = environment.ok(&["tasks", "logs", "d", "copy", "--run-id", "one"]).stdout;
    assert!(
        log.contains("the data set of task `orders` is not there any more (`[DIR]/st/d/one/orders/try-1-"),
        "{log}"
    );
    assert!(log.contains("clear task `orders`, so that it runs again"), "{log}");
    environment.ok(&["tasks", "clear", "d", "orders", "--run-id", "one", "--downstream"]);
    daemon.until(run, |_, run| run["state"] == "success");
    drop(daemon);
    // A run that is deleted takes its data along.
    environment.ok(&["runs", "delete", "d", "one"]);
    let found = clean(&[]);
    assert_eq!((&found[0]["run_id"], &found[0]["why"]), (&json!("one"), &json!("deleted")));
    assert_eq!(entries(&staging(&environment).join("d")), ["two"]);
    environment.set("TOWPATH_DATA_STAGING", "elsewhere");
    let shown = environment.ok(&["config", "show"]).stdout;
    assert!(shown.contains("[DIR]/elsewhere"), "{shown}");
}

#[test]
fn large_xcoms_are_read_as_any_other() {
    let environment = Environment::new();
    let dag = "\
tasks:
  large:
    operator: python
    code: |
      result = {'text': 'x' * 3_000_000, 'n': 7}
  pulls:
    operator: python
    dependencies: [large]
    code: |
      found = ti.xcom_pull(task_ids='large')
      result = [found['n'], len(found['text'])]
  template:
    operator: bash
    dependencies: [large]
    bash_command: echo {{ ti.xcom_pull(task_ids='large').text | length }}
";
    environment.write("dags/d.yaml", dag);
    environment.ok(&["run", "dags/d.yaml"]);
    assert_eq!(xcom(&environment, "pulls"), json!([7, 3_000_000]));
    assert_eq!(xcom(&environment, "template").to_string().trim_matches('"'), "3000000");
    assert_eq!(xcom(&environment, "large")["text"].as_str().unwrap().len(), 3_000_000);
    let runs = environment.path().join(".towpath/staging/d");
    let run = entries(&runs).pop().unwrap();
    let files = entries(&runs.join(&run).join("large"));
    assert!(files.len() == 1 && files[0].starts_with("xcom-"), "{files:?}");
    let daemon = environment.up(&[]);
    let (status, body) = daemon.get(&format!(
        "/api/v2/dags/d/dagRuns/{}/taskInstances/large/xcomEntries/return_value",
        run.replace("%3A", ":").replace('+', "%2B")
    ));
    assert_eq!(status, 200, "{}", &body[..body.len().min(300)]);
    assert!(body.len() > 3_000_000);
    drop(daemon);
    std::fs::remove_dir_all(&runs).unwrap();
    let ended = environment.run(&["xcom", "get", "d", "large"]);
    assert!(
        ended.code == 1 && ended.stderr.contains("a large XCom is not there any more (`[DIR]/.towpath/staging/d/"),
        "{ended:?}"
    );
}
