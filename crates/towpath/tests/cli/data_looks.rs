//! `towpath data`: what tasks have left, looked at from the command line.

use serde_json::{Value, json};

use crate::environment::Environment;

const DAG: &str = "\
tasks:
  orders:
    operator: extract
    source: { csv: orders.csv }
  checked:
    operator: transform
    input: orders
    steps:
      - validate: { columns: { amount: { type: float64, ge: 0 } }, on_error: reject }
  piece:
    operator: transform
    expand: { input: checked.partitions }
    steps: [{ filter: 'id > 0' }]
  stored:
    operator: load
    input: checked
    target: { csv: out.csv }
  plain: { operator: python, code: 'result = 7' }
";

fn world() -> Environment {
    let environment = Environment::new();
    let long = "x".repeat(100);
    environment
        .write("orders.csv", &format!("id,city,amount\n1,Köln,2.5\n2,\"a,b\",-1\n3,\u{1b}[31m,oops\n4,{long},4\n"));
    environment.write("d.yaml", DAG);
    environment.ok(&["run", "d.yaml"]);
    environment
}

/// Where a load has written to is known from its rendered arguments, and looked at as it is now.
#[test]
fn of_a_load_its_target_is_shown() {
    let environment = Environment::new();
    environment.write("orders.csv", "id,city\n1,Köln\n2,\n");
    environment.write(
        "l.yaml",
        "tasks:\n  stored:\n    operator: load\n    input: { csv: orders.csv }\n    \
         target: { csv: 'out-{{ dag.dag_id }}.csv', null_value: '-', delimiter: ';' }\n",
    );
    environment.ok(&["run", "l.yaml"]);
    let head = environment.ok(&["data", "head", "l", "stored", "-o", "csv"]);
    assert_eq!(head.stdout, "id,city\n1,Köln\n2,\n", "{head:#?}");
    let table = environment.ok(&["data", "head", "l", "stored", "--rows", "1"]);
    assert!(table.stderr.contains("out-l.csv` now; task `stored` loads into it"), "{table:#?}");
    environment.write("out-l.csv", "x\nchanged\n");
    assert_eq!(environment.ok(&["data", "head", "l", "stored", "-o", "csv"]).stdout, "x\nchanged\n");
    std::fs::remove_file(environment.path().join("out-l.csv")).unwrap();
    let gone = environment.run(&["data", "head", "l", "stored"]);
    assert!(gone.stderr.contains("there is no file or folder `out-l.csv`"), "{gone:#?}");
}

#[test]
fn a_data_set_is_shown() {
    let environment = world();
    let data = |arguments: &[&str]| environment.ok(&[&["data"], arguments].concat());
    let head = data(&["head", "d", "orders", "--rows", "3"]);
    let lines: Vec<&str> = head.stdout.lines().collect();
    assert_eq!((lines.len(), lines[0]), (4, "ID  CITY   AMOUNT"), "{head:#?}");
    assert!(lines[1].starts_with("1   Köln") && lines[3].contains("␛[31m"), "{head:#?}");
    assert!(head.stderr.starts_with("3 of 4 rows of `orders` in run `"), "{head:#?}");
    let cut = data(&["head", "d", "orders"]).stdout;
    assert!(cut.contains(&format!("{}…", "x".repeat(60))) && !cut.contains(&"x".repeat(61)), "{cut}");
    let rows = data(&["head", "d", "checked", "-o", "json"]).json();
    assert_eq!(rows[1], json!({"id": 4, "city": "x".repeat(100), "amount": 4.0}));
    let csv = data(&["head", "d", "orders", "-o", "csv", "--rows", "2"]).stdout;
    assert_eq!(csv, "id,city,amount\n1,Köln,2.5\n2,\"a,b\",-1\n");
    let schema = data(&["schema", "d", "checked", "-o", "json"]).json();
    assert_eq!(
        (&schema[2]["type"], &schema[2]["sql"], &schema[2]["arrow"]),
        (&json!("float64"), &json!("DOUBLE PRECISION"), &json!("Float64"))
    );
    let profile = data(&["profile", "d", "checked", "-o", "json"]).json();
    assert_eq!((&profile[2]["mean"], &profile[0]["distinct"]), (&json!(3.25), &json!(2)), "{profile}");
    assert!(data(&["profile", "d", "checked"]).stdout.contains("3.25"));
    let rejects = data(&["rejects", "d", "checked", "-o", "json"]).json();
    assert_eq!((&rejects["rejected"], rejects["rows"].as_array().unwrap().len()), (&json!(2), 2), "{rejects}");
    assert_eq!(rejects["rows"][1]["amount"], json!("oops"));
    assert_eq!(rejects["rules"].as_array().unwrap().len(), 2, "{rejects}");
    assert!(data(&["rejects", "d", "orders"]).stderr.contains("no row was rejected"));
    let plan = data(&["plan", "d", "checked", "-o", "json"]).json();
    let names: Vec<&str> =
        plan["operators"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!((names[0], names[1]), ("Write", "validate"), "{plan}");
    assert!(data(&["plan", "d", "checked"]).stdout.contains("  validate"));
    // One of a mapped task, and the first where none is named.
    for arguments in [&["head", "d", "piece"][..], &["head", "d", "piece", "--map-index", "0"]] {
        assert!(data(arguments).stderr.contains("2 of 2 rows of `piece[0]`"));
    }
}

#[test]
fn what_is_not_there_is_told() {
    let environment = world();
    for (arguments, code, part) in [
        (&["head", "nope", "orders"][..], 2, "DAG `nope` does not exist"),
        (&["head", "d", "ordres"], 2, "did you mean `orders`?"),
        (&["head", "d", "orders", "other"], 2, "DAG `d` has no run `other`"),
        (&["head", "d", "plain"], 2, "has left no data set: extract and transform do"),
        (
            &["schema", "d", "stored"],
            1,
            "out.csv`, and the task before it has them as a data set: `towpath data head d checked`",
        ),
        (&["head", "d", "piece", "--map-index", "7"], 2, "has left no data set"),
        (&["plan", "d", "plain"], 1, "has no measured plan"),
        (&["head", "d", "orders", "--rows", "0"], 2, "0 is not in 1..=100000"),
    ] {
        let ended = environment.run(&[&["data"], arguments].concat());
        assert!(ended.code == code && ended.stderr.contains(part), "{arguments:?}: {ended:#?}");
    }
    let location = environment.ok(&["xcom", "get", "d", "orders"]).json()["location"].clone();
    let Value::String(location) = location else { panic!("{location}") };
    std::fs::remove_dir_all(location.replace("[DIR]", &environment.path().to_string_lossy())).unwrap();
    let ended = environment.run(&["data", "head", "d", "orders"]);
    assert!(ended.code == 1 && ended.stderr.contains("clear task `orders`, so that it runs again"), "{ended:#?}");
    // What the manifest tells is there still.
    assert_eq!(environment.ok(&["data", "schema", "d", "orders", "-o", "json"]).json()[0]["arrow"], Value::Null);
    environment.ok(&["data", "profile", "d", "orders"]);
}

#[test]
fn plans_are_shown_before_they_run() {
    let environment = Environment::new();
    environment.write("orders.csv", "id,city,amount\n1,Köln,2.5\n");
    environment.write("d.yaml", DAG);
    // Through the plan of the task before it; nothing has run, and nothing is left.
    let planned = environment.ok(&["data", "explain", "d.yaml", "checked"]);
    assert!(planned.stdout.starts_with("Write: data set\n  validate"), "{planned:#?}");
    assert!(planned.stderr.contains("columns: id int64, city string, amount float64"), "{planned:#?}");
    let told = environment.ok(&["data", "explain", "d.yaml", "stored", "-o", "json"]).json();
    assert_eq!(told["operators"][0], json!({"depth": 0, "name": "Write", "detail": "out.csv"}));
    assert!(!environment.path().join("out.csv").exists());
    environment.ok(&["run", "d.yaml"]);
    std::fs::remove_file(environment.path().join("orders.csv")).unwrap();
    // From what the newest run has left.
    assert!(environment.ok(&["data", "explain", "d", "checked"]).stdout.contains("validate"));
    for (arguments, part) in [
        (&["d.yaml", "orders"][..], "task `orders` cannot be planned: there is no file or folder `orders.csv`"),
        (&["d.yaml", "plain"], "is a python task, which has no plan"),
        (&["d.yaml", "ordres"], "did you mean `orders`?"),
    ] {
        let ended = environment.run(&[&["data", "explain"], arguments].concat());
        assert!(ended.code != 0 && ended.stderr.contains(part), "{ended:#?}");
    }
}
