//! What fits a declaration and what does not.

use serde_json::json;

use super::*;

fn param(default: Option<Value>, schema: &Value) -> Param {
    Param { default, description: None, schema: schema.as_object().cloned().unwrap_or_default() }
}

#[track_caller]
fn check_value(schema: &Value, given: &Value, expected: &[&str]) {
    let declared = IndexMap::from([("p".to_owned(), param(None, schema))]);
    let conf = Map::from_iter([("p".to_owned(), given.clone())]);
    match check(&declared, &conf) {
        Ok(resolved) => {
            assert_eq!(expected, [""; 0], "{given} fits {schema}");
            assert_eq!(resolved["p"], *given);
        }
        Err(errors) => {
            let reasons: Vec<&str> = errors.iter().map(|error| error.reason.as_str()).collect();
            assert_eq!(reasons, expected, "{given} against {schema}");
        }
    }
}

#[test]
fn values() {
    let integer = json!({"type": "integer", "minimum": 3, "maximum": 9});
    check_value(&integer, &json!(3), &[]);
    check_value(&integer, &json!(4.0), &[]);
    check_value(&integer, &json!("x"), &["\"x\" is not of type integer"]);
    check_value(&integer, &json!(true), &["true is not of type integer"]);
    check_value(&integer, &json!(2), &["2 is less than the minimum of 3"]);
    check_value(&json!({"type": ["null", "string"]}), &Value::Null, &[]);
    check_value(&json!({"type": ["null", "string"]}), &json!(1), &["1 is not of type null or string"]);
    check_value(&json!({"enum": ["a", 2]}), &json!("b"), &["\"b\" is not one of \"a\" or 2"]);
    let text = json!({"type": "string", "maxLength": 2, "pattern": "^a"});
    check_value(&text, &json!("ab"), &[]);
    check_value(&text, &json!("bcd"), &["\"bcd\" is longer than 2 characters", "\"bcd\" does not match \"^a\""]);
    let list = json!({"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": true});
    check_value(&list, &json!([1, 2]), &[]);
    check_value(
        &list,
        &json!([1, "x", true]),
        &["`1`: \"x\" is not of type integer", "`2`: true is not of type integer"],
    );
}

#[test]
fn formats() {
    for (format, fits, fits_not) in [
        ("date", vec!["2026-02-28"], vec!["2026-02-30", "28.2.2026", "2026-2-3"]),
        ("date-time", vec!["2026-02-28T10:00:00Z", "2026-02-28T10:00:00+01:00"], vec!["2026-02-28", "soon"]),
        ("time", vec!["10:00:00", "10:00:00+01:00"], vec!["25:00:00", "10"]),
        ("email", vec!["a@example.org"], vec!["nobody"]),
        ("ipv4", vec!["127.0.0.1"], vec!["127.0.0"]),
        // Names that are for Airflow's form.
        ("multiline", vec!["a\nb"], vec![]),
    ] {
        let schema = json!({"type": "string", "format": format});
        for text in fits {
            check_value(&schema, &json!(text), &[]);
        }
        for text in fits_not {
            check_value(&schema, &json!(text), &[&format!("{} is not a {format}", json!(text))]);
        }
    }
}

#[test]
fn what_is_for_display_checks_nothing() {
    let schema = json!({
        "type": "string", "title": "T", "section": "S", "description_md": "*x*", "examples": ["a"],
        "values_display": {"a": "A"}
    });
    check_value(&schema, &json!("b"), &[]);
}

#[test]
fn what_has_to_be_given() {
    let string = json!({"type": "string"});
    for (default, schema, expected) in [
        (None, json!({}), true),
        (None, string.clone(), true),
        (Some(Value::Null), json!({}), false),
        (Some(Value::Null), string.clone(), true),
        (Some(Value::Null), json!({"enum": ["a"]}), true),
        (Some(Value::Null), json!({"type": ["string", "null"]}), false),
        (Some(json!("x")), string, false),
    ] {
        let param = param(default, &schema);
        let declared = IndexMap::from([("p".to_owned(), param.clone())]);
        assert_eq!(param.checker().unwrap().has_to_be_given(param.default.as_ref()), expected, "{param:?}");
        let checked = check(&declared, &Map::new());
        let given = checked.map_err(|errors| listed(&errors));
        let expected = if expected { Err("param `p`: a value has to be given".to_owned()) } else { Ok(()) };
        assert_eq!(given.map(|_| ()), expected, "{param:?}");
    }
}

#[test]
fn all_reasons_are_told_at_once_and_the_rest_of_conf_is_free() {
    let declared = IndexMap::from([
        ("a".to_owned(), param(None, &json!({"type": "integer"}))),
        ("b".to_owned(), param(Some(json!(1)), &json!({"type": "integer"}))),
        ("c".to_owned(), param(Some(json!("x")), &json!({"type": "integer"}))),
    ]);
    let conf = json!({"b": "y", "other": {}});
    let errors = check(&declared, conf.as_object().unwrap()).unwrap_err();
    assert_eq!(
        listed(&errors),
        "param `a`: a value has to be given; param `b`: \"y\" is not of type integer; \
         param `c`: \"x\" is not of type integer"
    );
    let conf = json!({"a": 5, "c": 6, "other": {}});
    let resolved = check(&declared, conf.as_object().unwrap()).unwrap();
    assert_eq!(Value::Object(resolved), json!({"a": 5, "b": 1, "c": 6}));
}

#[test]
fn schemas_that_are_none() {
    for (schema, place) in [
        (json!({"type": "int"}), "type"),
        (json!({"minimum": "low"}), "minimum"),
        (json!({"required": true}), "required"),
        (json!({"pattern": "("}), "pattern"),
        (json!({"items": {"type": 5}}), "items.type"),
        (json!({"$ref": "https://example.org/schema.json"}), ""),
    ] {
        let error = param(None, &schema).checker().unwrap_err();
        assert_eq!(error.path.join("."), place, "{schema}: {error}");
        assert_eq!(place.ends_with("type"), error.reason.ends_with(" is not a type"), "{error}");
        let declared = IndexMap::from([("p".to_owned(), param(Some(json!(1)), &schema))]);
        let told = listed(&check(&declared, &Map::new()).unwrap_err());
        assert!(told.starts_with("param `p`: its schema is wrong: "), "{told}");
    }
}

/// A pattern that looks at a text in exponentially many ways is given up, not waited for.
#[test]
fn patterns_come_to_an_end() {
    let schema = json!({"pattern": "^(a+)+(?=b)$"});
    let text = "a".repeat(40);
    let declared = IndexMap::from([("p".to_owned(), param(Some(json!(text)), &schema))]);
    assert!(check(&declared, &Map::new()).is_err());
}

#[test]
fn a_reason_stays_short() {
    let declared = IndexMap::from([("p".to_owned(), param(Some(json!("x".repeat(10_000))), &json!({"type": "null"})))]);
    let errors = check(&declared, &Map::new()).unwrap_err();
    assert!(errors[0].reason.chars().count() <= MOST_REASON_CHARS + 3, "{errors:?}");
}

#[test]
fn a_default_of_null_stays_one_when_it_is_stored() {
    for text in [r#"{"default":null}"#, r#"{"default":0}"#, "{}"] {
        let param: Param = serde_json::from_str(text).unwrap();
        assert_eq!(param.default.is_some(), text != "{}", "{text}");
        assert_eq!(serde_json::to_string(&param).unwrap(), text);
    }
}
