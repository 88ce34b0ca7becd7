//! Reading files, and what is said of wrong ones.

use serde_json::{Value, json};

use crate::support::Kitchen;

fn check(files: &[(&str, &str)], source: Value, expected: &str) {
    let kitchen = Kitchen::new();
    for (name, text) in files {
        kitchen.file(name, text);
    }
    assert_eq!(kitchen.steps(&source, &json!([])), expected, "{source}");
}

#[test]
fn csv_in_its_dialects() {
    let header = "a;b\n";
    check(
        &[("x.csv", &format!("{header}1;'ü;\n2'\n2;''\n"))],
        json!({"csv": "x.csv", "delimiter": ";", "quote": "'"}),
        "a,b\n1,\"ü;\n2\"\n2,NULL\n",
    );
    check(&[("x.csv", "1,x\n2,y\n")], json!({"csv": "x.csv", "header": false}), "column_1,column_2\n1,x\n2,y\n");
    check(
        &[("x.csv", "1,x\n")],
        json!({"csv": "x.csv", "header": false, "columns": {"n": "float64", "t": "text"}}),
        "n,t\n1.0,x\n",
    );
    check(&[("x.csv", "\u{feff}a\r\n1\r\n\r\n2\r\n")], json!({"csv": "x.csv"}), "a\n1\n2\n");
    check(
        &[("x.csv", "a,b\nNA,1\n-999,n/a\n3,2\n")],
        json!({"csv": "x.csv", "null_values": ["NA", "n/a", -999]}),
        "a,b\nNULL,1\nNULL,NULL\n3,2\n",
    );
    check(&[("x.csv", "a,b\n")], json!({"csv": "x.csv"}), "a,b\n");
    check(&[("x.csv", "a\n007\n")], json!({"csv": "x.csv"}), "a\n007\n");
}

#[test]
fn several_files_keep_their_order_and_folders_name_columns() {
    let files = [
        ("d/k=b%2Fc/2.csv", "v\n3\n"),
        ("d/k=a/1.csv", "v\n1\n2\n"),
        ("d/k=a/_hidden", "x"),
        ("d/k=__HIVE_DEFAULT_PARTITION__/0.csv", "v\n0\n"),
    ];
    check(&files, json!({"csv": "d"}), "v,k\n0,NULL\n1,a\n2,a\n3,b/c\n");
    check(&[("b.csv", "x,y\n1,2\n"), ("a.csv", "y,x\n4,3\n")], json!({"csv": ["b.csv", "a.csv"]}), "x,y\n1,2\n3,4\n");
    check(&[("b.csv", "x\n2\n"), ("a.csv", "x\n1\n")], json!({"csv": "*.csv"}), "x\n1\n2\n");
}

#[test]
fn other_encodings() {
    let kitchen = Kitchen::new();
    kitchen.file("l.csv", b"a\n\xfc\n");
    assert_eq!(kitchen.steps(&json!({"csv": "l.csv", "encoding": "latin1"}), &json!([])), "a\nü\n");
    assert_eq!(
        kitchen.steps(&json!({"csv": "l.csv"}), &json!([])),
        "error: FOLDER/l.csv: line 2 is not UTF-8; name the `encoding`, for example latin1"
    );
    assert_eq!(
        kitchen.steps(&json!({"csv": "l.csv", "encoding": "klingon"}), &json!([])),
        "error: there is no encoding `klingon`; write for example utf-8, latin1 or utf-16le"
    );
}

#[test]
fn json_in_its_forms_and_rows_in_place() {
    check(
        &[("x.ndjson", "{\"a\": 1, \"b\": \"ü\"}\n{\"a\": null}\n")],
        json!({"ndjson": "x.ndjson"}),
        "a,b\n1,ü\nNULL,NULL\n",
    );
    check(&[("x.json", "[{\"a\": 1}, {\"a\": 2}]")], json!({"json": "x.json"}), "a\n1\n2\n");
    check(&[], json!({"rows": [{"z": 1, "a": "x"}, {"z": 2}]}), "z,a\n1,x\n2,NULL\n");
    check(&[], json!({"rows": [], "columns": {"z": "int64"}}), "z\n");
}

#[test]
fn what_is_wrong_is_told_with_file_line_and_column() {
    check(
        &[("x.csv", "a,b\n1,x\n\n2,\"y\nz\"\nthree,x\n")],
        json!({"csv": "x.csv", "columns": {"a": "int64"}}),
        "error: FOLDER/x.csv, line 6, column `a`: `three` is not of type int64; declare another type, name the text in \
         `null_values`, or read it as text and let `validate` decide",
    );
    check(
        &[("x.csv", "a\n1\nx\n")],
        json!({"csv": "x.csv", "infer_rows": 1}),
        "error: FOLDER/x.csv, line 3, column `a`: `x` is not of type int64; the type was inferred from the first rows; declare it \
         (`columns: {a: string}`), or name the text in `null_values`",
    );
    check(
        &[("x.csv", "a,b\n1,2\n1,2,3\n")],
        json!({"csv": "x.csv"}),
        "error: FOLDER/x.csv: line 3 has 3 fields instead of 2; check `delimiter` and `quote`, or correct the line",
    );
    check(
        &[("x.csv", "a,a\n1,2\n")],
        json!({"csv": "x.csv"}),
        "error: FOLDER/x.csv: the header has two columns `a`; rename one, or skip the header (`header: false`) and name them in \
         `columns`",
    );
    check(
        &[("x.csv", "")],
        json!({"csv": "x.csv"}),
        "error: FOLDER/x.csv: the file is empty, without even a header; set `header: false` where there is none",
    );
    check(&[], json!({"csv": "x.csv"}), "error: there is no file or folder `x.csv`; relative paths start at `FOLDER`");
    check(
        &[("x.csv", "carrier\nA\n")],
        json!({"csv": "x.csv", "columns": {"carier": "text"}}),
        "error: FOLDER/x.csv: `columns`: there is no column `carier`; did you mean `carrier`?",
    );
    check(
        &[("a.csv", "x,y\n1,2\n"), ("b.csv", "x,z\n1,2\n")],
        json!({"csv": "*.csv"}),
        "error: FOLDER/b.csv: this file has other columns than the first one: there is no column `y`; did you mean `x`?",
    );
}
