use serde_json::{Value, json};

use super::statement::{Parameters, bind, split};
use super::{Kind, decimal_json};

#[test]
fn statements_end_at_semicolons() {
    let check = |kind: Kind, sql: &str, expected: &[&str]| assert_eq!(split(sql, kind), expected, "{kind}: {sql}");
    for kind in [Kind::Postgres, Kind::Sqlite, Kind::MySql] {
        check(kind, "", &[]);
        check(kind, " ; ;\n-- nothing\n", &[]);
        check(kind, "select 1", &["select 1"]);
        check(kind, "select 1;\nselect 'a;''b';", &["select 1", "select 'a;''b'"]);
        check(
            kind,
            "select 1 -- not; here\n; /* nor; here */ select \"x;y\"",
            &["select 1 -- not; here", "/* nor; here */ select \"x;y\""],
        );
        check(
            kind,
            "create trigger t after insert on x begin select case 1 when 1 then 2 end; select 3; end; select 4",
            &["create trigger t after insert on x begin select case 1 when 1 then 2 end; select 3; end", "select 4"],
        );
        check(kind, "select 'grün;'; select 'open", &["select 'grün;'", "select 'open"]);
    }
    check(Kind::Postgres, "do $x$ begin; end $x$; select $$;$$, $1", &["do $x$ begin; end $x$", "select $$;$$, $1"]);
    check(Kind::Postgres, "select E'\\';', '\\'; select 2", &["select E'\\';', '\\'", "select 2"]);
    check(
        Kind::Postgres,
        "select 1 /* a /* ; */ ; */; select a[1:2]",
        &["select 1 /* a /* ; */ ; */", "select a[1:2]"],
    );
    check(Kind::MySql, "select '\\';' # a;b\n; select `x;y`", &["select '\\';' # a;b", "select `x;y`"]);
    check(
        Kind::MySql,
        "create procedure p() begin if 1 then select 1; end if; case 1 when 1 then select 2; end case; end; select 3",
        &[
            "create procedure p() begin if 1 then select 1; end if; case 1 when 1 then select 2; end case; end",
            "select 3",
        ],
    );
    check(Kind::Sqlite, "select [a;b]; select 1", &["select [a;b]", "select 1"]);
}

fn parameters(value: Value) -> Parameters {
    match value {
        Value::Array(list) => Parameters::List(list),
        Value::Object(map) => Parameters::Named(map),
        _ => Parameters::None,
    }
}

#[test]
fn values_stay_apart_from_the_text() {
    let check = |kind: Kind, sql: &str, given: Value, expected: &str, values: Value| {
        let bound = bind(sql, kind, &parameters(given)).unwrap();
        assert_eq!(bound.sql(|position| format!("<{position}>")), expected, "{kind}: {sql}");
        assert_eq!(Value::Array(bound.values), values, "{kind}: {sql}");
    };
    for kind in [Kind::Postgres, Kind::Sqlite, Kind::MySql] {
        check(kind, "select 10 % 3, ':x', :x", json!(null), "select 10 % 3, ':x', :x", json!([]));
        check(kind, "select %s, '%s', %s", json!([1, "it's"]), "select <0>, '%s', <1>", json!([1, "it's"]));
        check(kind, "x like 'a%%' and y = %s", json!([1]), "x like 'a%' and y = <0>", json!([1]));
        check(
            kind,
            "select %(a)s, %(b)s, %(a)s",
            json!({"a": 1, "b": null}),
            "select <0>, <1>, <2>",
            json!([1, null, 1]),
        );
        check(kind, "select :a, x::date, ':a', :ab", json!({"a": 1}), "select <0>, x::date, ':a', :ab", json!([1]));
        check(kind, "select :a -- :a\n", json!({"a": 1, "unused": 2}), "select <0> -- :a\n", json!([1]));
        check(kind, "select 5 %size", json!([]), "select 5 %size", json!([]));
    }
    check(
        Kind::Postgres,
        "select $2, $1, $2, j ? 'k'",
        json!([1, 2]),
        "select <0>, <1>, <2>, j ? 'k'",
        json!([2, 1, 2]),
    );
    check(
        Kind::Sqlite,
        "x like 'a%' and y in (?, ?2)",
        json!([1, 2]),
        "x like 'a%' and y in (<0>, <1>)",
        json!([1, 2]),
    );
    check(Kind::MySql, "select ?, '?'", json!([true]), "select <0>, '?'", json!([true]));
}

#[test]
fn parameters_that_do_not_fit_are_named() {
    let check = |sql: &str, given: Value, expected: &str| {
        assert_eq!(bind(sql, Kind::Sqlite, &parameters(given)).unwrap_err(), expected);
    };
    check("select %s", json!([1, 2]), "the statement has 1 markers for parameters; `parameters` has 2 values");
    check("select ?, ?", json!([1]), "the statement has 2 markers for parameters; `parameters` has 1 values");
    check(
        "select %(day)s",
        json!({"date": 1, "x": 2}),
        "the statement names a parameter `day`; `parameters` has date, x",
    );
}

#[test]
fn decimals_keep_their_digits() {
    let check = |text: &str, expected: Value| assert_eq!(decimal_json(text), expected, "{text}");
    check("12", json!(12));
    check("-0.50", json!(-0.5));
    check("123456789012345678", json!(123_456_789_012_345_678_i64));
    check("12345678901234567890.12", json!("12345678901234567890.12"));
    check("NaN", json!("NaN"));
}
