//! Each step on small tables.

use serde_json::{Value, json};

use crate::support::{Kitchen, through};

fn check(csv: &str, step: Value, expected: &str) {
    assert_eq!(through(csv, &json!([step])), expected, "{step}");
}

const T: &str = "k,n\na,1\nb,\nc,3\n";

#[test]
fn columns_and_rows() {
    check(T, json!({"filter": "n > 1 or n is null"}), "k,n\nb,NULL\nc,3\n");
    check(T, json!({"filter": "m > 1"}), "error: step 1 (filter): No field named m. Valid fields are k, n");
    check(T, json!({"select": ["n", {"twice": "n * 2"}]}), "n,twice\n1,2\nNULL,NULL\n3,6\n");
    check(T, json!({"select": {"x": "upper(k)"}}), "x\nA\nB\nC\n");
    check(T, json!({"derive": {"m": "n + 1", "k": "m * 10"}}), "k,n,m\n20,1,2\nNULL,NULL,NULL\n40,3,4\n");
    check(T, json!({"rename": {"n": "Größe in m"}}), "k,Größe in m\na,1\nb,NULL\nc,3\n");
    check(T, json!({"rename": {"q": "x"}}), "error: step 1 (rename): there is no column `q`; did you mean `k`?");
    check(T, json!({"drop": "k"}), "n\n1\nNULL\n3\n");
    check(T, json!({"drop": ["k", "n"]}), "error: step 1 (drop): no column would be left");
    check(T, json!({"fill_null": {"n": 0}}), "k,n\na,1\nb,0\nc,3\n");
    check(
        T,
        json!({"fill_null": {"n": "x"}}),
        "error: step 1 (fill_null): `n`: `x` is not of the column's type, int64",
    );
    check(T, json!({"cast": {"n": "string"}}), "k,n\na,1\nb,NULL\nc,3\n");
    check(T, json!({"limit": 2}), "k,n\na,1\nb,NULL\n");
    check(T, json!({"limit": {"rows": 1, "offset": 2}}), "k,n\nc,3\n");
    check(T, json!({"limit": 0}), "k,n\n");
    check(T, json!({"sort": ["n desc nulls last"]}), "k,n\nc,3\na,1\nb,NULL\n");
    let many: String = (0..60_000).map(|n| format!("{}\n", n * 7_919 % 60_000)).collect();
    let sorted = through(
        &format!("n\n{many}"),
        &json!([{"sort": "n desc"}, {"derive": {"m": "n + 1"}}, {"filter": "m % 2 = 0"}]),
    );
    let sorted: Vec<i64> =
        sorted.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
    assert!(sorted.len() == 30_000 && sorted.is_sorted_by(|a, b| a > b));
    check("x\n\"a b\"\n", json!({"filter": "x = 'a b'"}), "x\na b\n");
    check("k\n", json!({"filter": "k = 'x'"}), "k\n");
}

#[test]
fn groups_windows_and_shapes() {
    let t = "k,q,n\na,x,1\nb,x,2\na,y,3\na,x,4\n";
    let sorted = |step: Value| through(t, &json!([step, {"sort": "k"}]));
    assert_eq!(
        sorted(json!({"aggregate": {"by": "k", "columns": {"rows": "count(*)", "share": "sum(n) * 1.0 / count(*)"}}})),
        "k,rows,share\na,3,2.6666666666666665\nb,1,2.0\n"
    );
    assert_eq!(
        sorted(json!({"aggregate": {"by": {"k": "upper(k)"}, "columns": {"n": "sum(n)"}, "having": "count(*) > 1"}})),
        "k,n\nA,8\n"
    );
    assert_eq!(through("n\n", &json!([{"aggregate": {"columns": {"rows": "count(*)"}}}])), "rows\n0\n");
    assert_eq!(
        through(
            t,
            &json!([
        {"window": {"columns": {"before": "lag(n)", "total": "sum(n)"}, "partition_by": "k", "order_by": ["n"]}}, {"sort": ["k", "n"]}])
        ),
        "k,q,n,before,total\na,x,1,NULL,1\na,y,3,1,4\na,x,4,3,8\nb,x,2,NULL,2\n"
    );
    assert_eq!(sorted(json!({"pivot": {"index": "k", "columns": "q", "values": "n"}})), "k,x,y\na,5,3\nb,2,NULL\n");
    assert_eq!(
        sorted(json!({"pivot": {"index": "k", "columns": "q", "values": "n", "names": ["y"], "aggregate": "count"}})),
        "k,y\na,1\nb,0\n"
    );
    check(
        "k,a,b\nx,1,2.5\ny,,3\n",
        json!({"unpivot": {"index": "k"}}),
        "k,name,value\nx,a,1.0\nx,b,2.5\ny,a,NULL\ny,b,3.0\n",
    );
    let rows: String = (0..1_000).map(|n| format!("{n}\n")).collect();
    let sample = through(&format!("n\n{rows}"), &json!([{"sample": {"rows": 10, "seed": 3}}]));
    assert_eq!(sample.lines().count(), 11);
    assert_eq!(sample, through(&format!("n\n{rows}"), &json!([{"sample": {"rows": 10, "seed": 3}}])));
    let part = through(&format!("n\n{rows}"), &json!([{"sample": {"fraction": 0.25}}])).lines().count();
    assert!((200..300).contains(&part), "{part}");
}

#[test]
fn rules_inside_of_structs_and_lists() {
    let kitchen = Kitchen::new();
    let rows = [
        r#"{"id": 1, "a": {"zip": "12", "city": "x"}, "t": ["a", "b"]}"#,
        r#"{"id": 2, "a": {"zip": "1x", "city": null}, "t": ["a", "q"]}"#,
        r#"{"id": 3, "a": null, "t": null}"#,
        r#"{"id": 4, "a": {"zip": null, "city": "y"}, "t": []}"#,
        r#"{"id": 5, "a": {"zip": "7", "city": "z"}, "t": ["a", null, "b"]}"#,
    ];
    kitchen.file("in.ndjson", rows.join("\n"));
    let columns = json!({
        "a": {"fields": {"zip": {"type": "int64", "gt": 5}, "city": {"required": true}}},
        "t": {"length": [1, 2], "items": {"one_of": ["a", "b"]}},
    });
    let source = json!({"ndjson": "in.ndjson"});
    let check = |columns: &Value, on_error: &str| {
        let steps = json!([{"validate": {"columns": columns, "on_error": on_error}},
            {"select": {"id": "id", "zip": "a['zip']", "t": "array_to_string(t, '+')"}}]);
        kitchen.steps(&source, &steps)
    };
    assert_eq!(check(&columns, "reject"), "id,zip,t\n1,12,a+b\n3,NULL,NULL\n");
    assert_eq!(check(&columns, "null"), "id,zip,t\n1,12,a+b\n3,NULL,NULL\n4,NULL,NULL\n5,7,NULL\n");
    let told = check(&columns, "fail");
    for rule in [
        "row 2 breaks `a: zip: type int64`",
        "row 2 breaks `a: city: required`",
        "row 2 breaks `t: items: one_of a, b`",
        "row 4 breaks `t: length 1 to 2`",
    ] {
        assert!(told.contains(rule), "{told}");
    }
    // A declared type alone judges every field.
    let declared = json!({"a": "struct<zip: int64, city: string>"});
    assert!(check(&declared, "fail").contains("row 2 breaks `a: zip: type int64`"));
    // JSON texts become values.
    kitchen.file("in.csv", "id,a\n1,\"{\"\"zip\"\": 3}\"\n2,nonsense\n3,\n");
    let of_text = kitchen.steps(
        &json!({"csv": "in.csv"}),
        &json!([{"validate": {"columns": {"a": {"type": "struct<zip: int64>"}}, "on_error": "reject"}},
            {"select": {"id": "id", "zip": "a['zip']"}}]),
    );
    assert_eq!(of_text, "id,zip\n1,3\n3,NULL\n");
    for (columns, expected) in [
        (
            json!({"a": {"fields": {"zap": {"required": true}}}}),
            "column `a`: `fields`: there is no column `zap`; did you mean `zip`?",
        ),
        (json!({"id": {"fields": {"x": "int64"}}}), "column `id`: `fields` belongs to a struct, and this is int64"),
        (json!({"a": {"items": "int64"}}), "column `a`: `items` belongs to a list, and this is struct<"),
        (
            json!({"a": {"fields": {"zip": {"type": "int64", "gt": "x"}}}}),
            "column `a`: zip: `gt`: `x` is not of the column's type, int64",
        ),
    ] {
        let told = check(&columns, "fail");
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn unique_and_pivot_finish_in_little_memory() {
    let kitchen = Kitchen::new();
    let rows = 600_000;
    // Every tenth key comes a second time, far from the first.
    let key = |n: usize| if n % 10 == 9 { n / 2 } else { n };
    let text: String = (0..rows).map(|n| format!("key-{:07}-with-some-more-text,c{},{n}\n", key(n), n % 3)).collect();
    kitchen.file("in.csv", format!("k,c,v\n{text}"));
    let mut seen = std::collections::HashSet::new();
    let good: Vec<usize> = (0..rows).filter(|n| seen.insert(key(*n))).collect();
    let job = |steps: Value| {
        kitchen.csv(&json!({"inputs": [["input", {"csv": "in.csv"}]], "steps": steps, "memory_bytes": 1, "cores": 2}))
    };
    let unique = json!({"validate": {"columns": {"k": {"unique": true}}, "on_error": "reject"}});
    assert_eq!(
        job(json!([unique, {"aggregate": {"columns": {"n": "count(*)", "v": "sum(v)"}}}])),
        format!("n,v\n{},{}\n", good.len(), good.iter().sum::<usize>())
    );
    let pivoted = job(json!([{"pivot": {"index": "k", "columns": "c", "values": "v"}},
        {"aggregate": {"columns": {"n": "count(*)", "c0": "sum(c0)", "c1": "sum(c1)", "c2": "sum(c2)"}}}]));
    let sum = |c: usize| (0..rows).filter(|n| n % 3 == c).sum::<usize>();
    assert_eq!(pivoted, format!("n,c0,c1,c2\n{},{},{},{}\n", good.len(), sum(0), sum(1), sum(2)));
}

#[test]
fn joins_and_unions() {
    let kitchen = Kitchen::new();
    kitchen.file("l.csv", "k,v\na,1\nb,2\n,3\n");
    kitchen.file("r.csv", "id,v,w\nb,20,x\nc,30,y\n");
    let join = |spec: Value| {
        let mut spec = spec;
        spec["with"] = json!({"csv": "r.csv"});
        spec["on"] = json!({"k": "id"});
        kitchen.steps(&json!({"csv": "l.csv"}), &json!([{"join": spec}, {"sort": "k"}]))
    };
    assert_eq!(join(json!({})), "k,v,v_right,w\nb,2,20,x\n");
    assert_eq!(join(json!({"how": "left", "columns": ["w"]})), "k,v,w\na,1,NULL\nb,2,x\nNULL,3,NULL\n");
    assert_eq!(
        join(json!({"how": "full", "suffix": "2"})),
        "k,v,v2,w\na,1,NULL,NULL\nb,2,20,x\nc,NULL,30,y\nNULL,3,NULL,NULL\n"
    );
    assert_eq!(join(json!({"how": "semi"})), "k,v\nb,2\n");
    assert_eq!(join(json!({"how": "anti"})), "k,v\na,1\nNULL,3\n");
    let union = kitchen.csv(&json!({"inputs": [["one", {"csv": "l.csv"}], ["two", {"csv": "r.csv"}]],
        "steps": [{"union": {"with": "two"}}, {"sort": "v"}]}));
    assert_eq!(union, "k,v,id,w\na,1,NULL,NULL\nb,2,NULL,NULL\nNULL,3,NULL,NULL\nNULL,20,b,x\nNULL,30,c,y\n");
    let sql = kitchen.csv(&json!({"inputs": [["one", {"csv": "l.csv"}], ["two", {"csv": "r.csv"}]],
        "sql": "select k, two.v from one join two on k = id"}));
    assert_eq!(sql, "k,v\nb,20\n");
    let error = kitchen.csv(&json!({"inputs": [["one", {"csv": "l.csv"}]], "sql": "drop table one"}));
    assert!(error.starts_with("error: `sql`: "), "{error}");
}

#[test]
fn rules_of_columns_and_rows() {
    let t = "id,d,n,s\n1,31.01.2013,5,ab\n2,2013-02-30,x,\n2,01.02.2013,50,abcd\n4,,7,a1\n";
    let spec = |on_error: &str| {
        json!({"validate": {
        "columns": {"id": {"type": "int64", "unique": true}, "d": {"type": "date", "format": ["%d.%m.%Y", "%Y-%m-%d"]},
            "n": {"type": "int64", "between": [1, 10]}, "s": {"required": true, "length": [1, 3], "pattern": "^[a-z]+$"}},
        "rules": {"small": "n < 7"}, "on_error": on_error}})
    };
    assert_eq!(through(t, &json!([spec("reject")])), "id,d,n,s\n1,2013-01-31,5,ab\n");
    assert_eq!(
        through(t, &json!([spec("fail")])),
        "error: validate: row 2 breaks `d: type date` by `2013-02-30`, row 2 breaks `n: type int64` by `x`, row 2 breaks \
         `s: required` by null, row 3 breaks `id: unique` by `2`, row 3 breaks `n: between, le 10` by `50`, and 4 more near it; \
         `on_error: reject` puts such rows aside, `null` takes the values away"
    );
    let nulled = json!({"validate": {"columns": {"n": "int64", "s": {"pattern": "^[a-z]+$"}}, "on_error": "null"}});
    assert_eq!(
        through(t, &json!([nulled])),
        "id,d,n,s\n1,31.01.2013,5,ab\n2,2013-02-30,NULL,NULL\n2,01.02.2013,50,abcd\n4,NULL,7,NULL\n"
    );
    for (columns, expected) in [
        (json!({"m": "int64"}), "error: step 1 (validate): there is no column `m`; did you mean `d`?"),
        (
            json!({"n": {"type": "int64", "gt": "x"}}),
            "error: step 1 (validate): column `n`: `gt`: `x` is not of the column's type, int64",
        ),
    ] {
        assert_eq!(through(t, &json!([{"validate": {"columns": columns}}])), expected);
    }
    let of = json!([{"validate": {"columns": {"s": {"one_of": ["a", "b"]}}, "on_error": "reject"}}]);
    assert_eq!(through("s\na\nc\n", &of), "s\na\n");
}
