//! Files and expressions that go wrong: the right rows, or one error that says where and what to do.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::support::{Kitchen, through};

fn check(file: &str, bytes: &[u8], source: Value, expected: &str) {
    let kitchen = Kitchen::new();
    kitchen.file(file, bytes);
    let found = kitchen.steps(&source, &json!([]));
    if expected.starts_with("error") {
        assert!(found.starts_with(expected), "{file}: {found}");
    } else {
        assert_eq!(found, expected, "{file}");
    }
}

#[test]
fn texts_of_all_kinds_are_read() {
    let csv = |name: &str| json!({"csv": name});
    check(
        "a.csv",
        b"\xef\xbb\xbfid,t\r\n1,\"two\r\nlines\"\r\n2,x\r\n",
        csv("a.csv"),
        "id,t\n1,\"two\r\nlines\"\n2,x\n",
    );
    let wide = |big: bool| {
        let units = "\u{feff}id,t\n1,K\u{f6}ln\n".encode_utf16();
        units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect::<Vec<u8>>()
    };
    check("le.csv", &wide(false), csv("le.csv"), "id,t\n1,Köln\n");
    check("be.csv", &wide(true), csv("be.csv"), "id,t\n1,Köln\n");
    check("nul.csv", b"id,t\n1,a\0b\n", csv("nul.csv"), "id,t\n1,a\0b\n");
    check("header.csv", b"a,b\n", csv("header.csv"), "a,b\n");
    for name in ["empty.csv", "blank.csv"] {
        let bytes: &[u8] = if name == "empty.csv" { b"" } else { b"\n\n" };
        check(name, bytes, csv(name), &format!("error: FOLDER/{name}: the file is empty, without even a header"));
    }
}

#[test]
fn types_are_inferred_behind_a_long_first_record() {
    let kitchen = Kitchen::new();
    let long = "x".repeat(3_000_000);
    kitchen.file("in.csv", format!("id,t\n1,\"{long}\"\n20,y\n3,z\n"));
    let found =
        kitchen.steps(&json!({"csv": "in.csv"}), &json!([{"sort": ["id"]}, {"select": ["id", "length(t) as n"]}]));
    assert_eq!(found, "id,n\n1,3000000\n3,1\n20,1\n");
}

#[test]
fn what_is_packed_badly_names_its_file() {
    let packed = |bytes: &[u8]| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    let rows: String = (0..100_000).map(|n| format!("{n},{n}\n")).collect();
    let whole = packed(format!("id,v\n{rows}").as_bytes());
    let csv = json!({"csv": "x.csv.gz"});
    check("x.csv.gz", &whole[..whole.len() / 2], csv.clone(), "error: FOLDER/x.csv.gz: line ");
    check("x.csv.gz", b"id,v\n1,2\n", csv.clone(), "error: FOLDER/x.csv.gz: it cannot be unpacked: ");
    check("x.csv.gz", &whole[..5], csv, "error: FOLDER/x.csv.gz: it cannot be unpacked: ");
    let ndjson = json!({"ndjson": "x.ndjson"});
    check(
        "x.ndjson",
        b"{\"a\":{\"b\":1}}\n{\"a\":{\"b\":\"s\"}}\n",
        ndjson,
        "error: x.ndjson: whilst decoding field 'a'",
    );
}

#[test]
fn files_that_do_not_go_together_are_named() {
    let kitchen = Kitchen::new();
    kitchen.file("int.csv", "a\n1\n");
    kitchen.file("text.csv", "a\nx\n");
    for (csv, path) in [("int.csv", "set/1.parquet"), ("text.csv", "set/2.parquet")] {
        std::fs::create_dir_all(kitchen.path().join("set")).unwrap();
        kitchen.run(&json!({"inputs": [["input", {"csv": csv}]], "output": {"target": {"parquet": path}}})).unwrap();
    }
    let read = |path: &str| kitchen.steps(&json!({"parquet": path}), &json!([]));
    let found = read("set");
    assert!(found.starts_with("error: set: the files have different types: Cannot cast string 'x'"), "{found}");
    for (bytes, expected) in [
        ("", "` is empty; what wrote it has not ended"),
        ("hello", "it is no Parquet file, or is damaged: Parquet files are at least 8 bytes long"),
    ] {
        kitchen.file("bad/1.parquet", bytes);
        let found = read("bad");
        assert!(found.contains("/bad/1.parquet") && found.contains(expected), "{found}");
    }
}

#[test]
fn errors_of_values_say_which_step_it_can_be() {
    let csv = "id,g,v\n1,a,10\n2,b,2000\n";
    for (steps, expected) in [
        (
            json!([{"derive": {"z": "v / (id - 1)"}}]),
            "error: step 1 (derive): a number is divided by zero; `nullif(x, 0)`",
        ),
        (
            json!([{"filter": "v % 2 = 0"}, {"rename": {"g": "h"}}, {"derive": {"z": "v / 0"}}]),
            "error: step 1 (filter) or step 3 (derive): a number is divided by zero",
        ),
        (
            json!([{"cast": {"v": "int8"}}]),
            "error: step 1 (cast): Can't cast value 2000 to type Int8; `try_cast` makes null",
        ),
        (
            json!([{"cast": {"g": "int64"}}]),
            "error: step 1 (cast): Cannot cast string 'a' to value of Int64 type; `try_cast`",
        ),
        (
            json!([{"rename": {"id": "g"}}]),
            "error: step 1 (rename): two columns are named `g`; give one of them another name",
        ),
        (json!([{"filter": "id in (select id from other)"}]), "error: step 1 (filter): there is no table `other`"),
    ] {
        let found = through(csv, &steps);
        assert!(found.starts_with(expected), "{steps}: {found}");
    }
    let kitchen = Kitchen::new();
    kitchen.file("in.csv", csv);
    for (sql, expected) in [
        ("select id, v as id from t", "error: `sql`: two columns are named `id`"),
        ("select * from tt", "error: `sql`: there is no table `tt`: tables are the inputs of the task"),
        ("drop table t", "error: `sql`: a query reads, and changes no tables"),
        ("select v / 0 as x from t", "error: `sql`: a number is divided by zero"),
    ] {
        let found = kitchen.csv(&json!({"inputs": [["t", {"csv": "in.csv"}]], "sql": sql}));
        assert!(found.starts_with(expected), "{sql}: {found}");
    }
}
