//! A load that runs again: after a try whose end nobody was told of, and after it was cleared.

use serde_json::{Value, json};

use crate::support::Kitchen;

/// A task instance of that name; `settled` is the last try whose success is recorded.
fn instance(name: &str, try_number: u32, settled: u32) -> Value {
    let mark = format!("{name:0>12}");
    json!({"name": name, "mark": mark, "key": name, "try_number": try_number, "settled": settled})
}

fn load(kitchen: &Kitchen, by: &Value, csv: &str, target: &Value) -> Result<Value, String> {
    kitchen.file("in.csv", csv);
    kitchen.run(&json!({"inputs": [["input", {"csv": "in.csv"}]], "output": {"target": target}, "instance": by,
        "connections": {"db": {"conn_type": "sqlite", "host": kitchen.path().join("target.db")}}}))
}

fn rows(kitchen: &Kitchen, source: &Value) -> String {
    kitchen.steps(source, &json!([{"sort": ["k", "v"]}, {"select": ["k", "v"]}]))
}

#[test]
fn an_append_to_a_folder_replaces_what_the_same_task_instance_has_appended() {
    for partition_by in [json!([]), json!(["k"])] {
        let kitchen = Kitchen::new();
        let target = json!({"csv": "out", "mode": "append", "partition_by": partition_by});
        let read = || rows(&kitchen, &json!({"csv": "out"}));
        load(&kitchen, &instance("a", 1, 0), "k,v\nx,1\ny,2\n", &target).unwrap();
        load(&kitchen, &instance("b", 1, 0), "k,v\nx,3\n", &target).unwrap();
        load(&kitchen, &Value::Null, "k,v\nx,4\n", &target).unwrap();
        assert_eq!(read(), "k,v\nx,1\nx,3\nx,4\ny,2\n");
        // Nobody was told that the first try had ended; and then somebody clears it, with other data.
        load(&kitchen, &instance("a", 2, 0), "k,v\nx,1\ny,2\n", &target).unwrap();
        assert_eq!(read(), "k,v\nx,1\nx,3\nx,4\ny,2\n");
        let loaded = load(&kitchen, &instance("a", 3, 2), "k,v\nx,5\n", &target).unwrap();
        assert_eq!((read().as_str(), loaded["rows"].clone()), ("k,v\nx,3\nx,4\nx,5\n", json!(1)));
        // Without a task instance every load counts.
        load(&kitchen, &Value::Null, "k,v\nx,4\n", &target).unwrap();
        assert_eq!(read(), "k,v\nx,3\nx,4\nx,4\nx,5\n");
    }
}

#[test]
fn what_a_task_instance_has_put_there_is_not_in_its_way() {
    for path in ["out", "out.csv"] {
        for mode in ["error", "ignore"] {
            let kitchen = Kitchen::new();
            let target = json!({"csv": path, "mode": mode});
            let read = || rows(&kitchen, &json!({"csv": path}));
            load(&kitchen, &instance("a", 1, 0), "k,v\nx,1\n", &target).unwrap();
            let loaded = load(&kitchen, &instance("a", 2, 0), "k,v\nx,1\ny,2\n", &target).unwrap();
            assert_eq!((loaded["rows"].clone(), loaded.get("ignored")), (json!(2), None), "{path}, {mode}");
            assert_eq!(read(), "k,v\nx,1\ny,2\n", "{path}, {mode}");
            for other in [instance("b", 1, 0), Value::Null] {
                let found = load(&kitchen, &other, "k,v\nz,1\n", &target);
                if mode == "error" {
                    assert!(found.unwrap_err().contains("is there already, and the mode is error"), "{path}");
                } else {
                    assert_eq!(found.unwrap()["ignored"], json!(true), "{path}");
                }
            }
            assert_eq!(read(), "k,v\nx,1\ny,2\n", "{path}, {mode}");
        }
    }
    // A file that somebody else has written since is theirs.
    let kitchen = Kitchen::new();
    let target = json!({"csv": "out.csv", "mode": "error"});
    load(&kitchen, &instance("a", 1, 0), "k,v\nx,1\n", &target).unwrap();
    load(&kitchen, &Value::Null, "k,v\nother,1\n", &json!({"csv": "out.csv"})).unwrap();
    load(&kitchen, &instance("a", 2, 0), "k,v\nx,1\n", &target).unwrap_err();
    // What others have appended since stays.
    let target = json!({"csv": "folder", "mode": "error"});
    load(&kitchen, &instance("a", 1, 0), "k,v\nx,1\n", &target).unwrap();
    load(&kitchen, &instance("b", 1, 0), "k,v\ny,1\n", &json!({"csv": "folder", "mode": "append"})).unwrap();
    load(&kitchen, &instance("a", 2, 0), "k,v\nx,2\n", &target).unwrap();
    assert_eq!(rows(&kitchen, &json!({"csv": "folder"})), "k,v\nx,2\ny,1\n");
}

#[test]
fn a_table_is_loaded_once_for_each_success_that_is_recorded() {
    for mode in ["append", "error", "ignore"] {
        let kitchen = Kitchen::new();
        let target = json!({"table": "t", "connection": "db", "mode": mode});
        let read = || {
            let source = json!({"query": "select k, v from t order by k, v", "connection": "db"});
            let db = json!({"db": {"conn_type": "sqlite", "host": kitchen.path().join("target.db")}});
            kitchen.csv(&json!({"inputs": [["input", source]], "connections": db}))
        };
        let first = load(&kitchen, &instance("a", 1, 0), "k,v\nx,1\ny,2\n", &target).unwrap();
        assert_eq!((first["rows"].clone(), first["created"].clone()), (json!(2), json!(true)), "{mode}");
        // The report of the first try was lost. What it has done is told, also where the data has changed since, or cannot be read.
        for again in [2, 3] {
            let found = load(&kitchen, &instance("a", again, 0), "k,v\nz,9\n", &target).unwrap();
            let told = (found["rows"].clone(), found["created"].clone(), found["ignored"].clone());
            assert_eq!(told, (json!(2), json!(true), json!(false)), "{mode}, {again}");
        }
        assert_eq!(read(), "k,v\nx,1\ny,2\n", "{mode}");
        // Its success is recorded, and then it is cleared: it loads anew, as the mode says.
        let cleared = load(&kitchen, &instance("a", 4, 3), "k,v\nz,9\n", &target);
        match mode {
            "append" => assert_eq!(read(), "k,v\nx,1\ny,2\nz,9\n", "{cleared:?}"),
            "error" => assert!(cleared.unwrap_err().contains("has rows already")),
            _ => assert_eq!(cleared.unwrap()["ignored"], json!(true)),
        }
    }
}
