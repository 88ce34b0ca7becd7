use super::*;

fn show(connection: &Connection) -> String {
    let mut json = connection.expose_json();
    json.as_object_mut().expect("an object").retain(|key, value| key != "conn_id" && !value.is_null());
    json.to_string()
}

#[test]
fn uris_are_read_as_airflow_reads_them() {
    #[rustfmt::skip]
    let cases = [
        ("postgresql://user:pa%2Fss@db.example.com:5432/sales",
         r#"{"conn_type":"postgres","host":"db.example.com","login":"user","password":"pa/ss","schema":"sales","port":5432}"#),
        ("google-cloud-platform://?project=p&scope=a%2Cb",
         r#"{"conn_type":"google_cloud_platform","extra":"{\"project\":\"p\",\"scope\":\"a,b\"}"}"#),
        ("http://https%3A%2F%2Fexample.com",
         r#"{"conn_type":"http","host":"https://example.com"}"#),
        ("http://https://user:p@Example.com:8443/api",
         r#"{"conn_type":"http","host":"https://example.com","login":"user","password":"p","schema":"api","port":8443}"#),
        ("aws://?__extra__=%7B%22a%22%3A+%7B%22b%22%3A+1%7D%7D",
         r#"{"conn_type":"aws","extra":"{\"a\": {\"b\": 1}}"}"#),
        ("redis://:only%20password@host", r#"{"conn_type":"redis","host":"host","password":"only password"}"#),
        ("pg://[2001:DB8::1]:5433/x", r#"{"conn_type":"pg","host":"2001:db8::1","schema":"x","port":5433}"#),
        ("fs://%2Fvar%2FData", r#"{"conn_type":"fs","host":"/var/Data"}"#),
        ("http://@:8080", r#"{"conn_type":"http","port":8080}"#),
        ("my://h/a%2Fb?x=&y=%3D", r#"{"conn_type":"my","host":"h","schema":"a/b","extra":"{\"x\":\"\",\"y\":\"=\"}"}"#),
    ];
    for (uri, expected) in cases {
        let connection = Connection::from_uri("c", uri).expect(uri);
        assert_eq!(show(&connection), expected, "{uri}");
        let again = Connection::from_uri("c", &connection.get_uri()).expect("its own URI is read back");
        assert_eq!(again, connection, "{uri} became {}", connection.get_uri());
    }
}

#[test]
fn json_is_read_as_airflow_reads_it() {
    let cases = [
        (
            r#"{"conn_type":"my-db","host":"h","port":"12","extra":{"a":[1]},"login":null}"#,
            r#"{"conn_type":"my_db","host":"h","port":12,"extra":"{\"a\":[1]}"}"#,
        ),
        (
            r#"{"conn_type":"x","password":"p","extra":"{\"k\": 1}"}"#,
            r#"{"conn_type":"x","password":"p","extra":"{\"k\": 1}"}"#,
        ),
    ];
    for (text, expected) in cases {
        let connection = Connection::parse("c", text).expect(text);
        assert_eq!(show(&connection), expected);
        let again = Connection::from_uri("c", &connection.get_uri()).expect("its own URI is read back");
        assert_eq!(again, connection, "{}", connection.get_uri());
    }
}

#[test]
fn errors_name_the_connection_and_never_the_password() {
    let cases = [
        "no scheme hunter2",
        "://hunter2@host",
        "a://b://c://hunter2",
        "a://x:hunter2@http://host",
        "a://u:hunter2@host:99999",
        "a://u:hunter2@host:port",
        "{\"password\": \"hunter2\"",
        "[\"hunter2\"]",
        "{\"pass\": \"hunter2\"}",
        "{\"host\": {\"x\": \"hunter2\"}}",
        "{\"port\": \"hunter2\"}",
    ];
    let mut seen = String::new();
    for text in cases {
        let error =
            if text.starts_with('[') { Connection::from_json("db", text) } else { Connection::parse("db", text) };
        let message = error.expect_err(text).to_string();
        assert!(message.starts_with("connection `db`: ") && !message.contains("hunter2"), "{message}");
        seen.push_str(&message);
        seen.push('\n');
    }
    insta::assert_snapshot!(seen);
}

#[test]
fn secrets_are_found_and_never_printed() {
    let text = r#"{"conn_type":"aws","password":"hunter2","extra":{"aws_secret_access_key":"k3y-text","region":"eu",
        "keyfile_dict":{"id":"inner-id"},"nested":{"api_key":["one","two"]}}}"#;
    let connection = Connection::from_json("c", text).expect("valid");
    assert_eq!(connection.secrets(), ["hunter2", "k3y-text", "inner-id", "one", "two"]);
    let printed = format!("{connection:?} {:#?} {}", connection, Secret::new("hunter2"));
    for secret in connection.secrets() {
        assert!(!printed.contains(&format!("\"{secret}")) && !printed.contains("hunter2"), "{printed}");
    }
    assert!(printed.contains("***"));
}

#[test]
fn secret_names() {
    for (name, expected) in [
        ("db_password", true),
        (" API_KEY ", true),
        ("MySecretThing", true),
        ("AWS_ACCESS_KEY_ID", true),
        ("region", false),
        ("monkey", false),
        ("service_account_json", true),
    ] {
        assert_eq!(is_secret_name(name), expected, "{name}");
    }
}

#[test]
fn extras_must_be_an_object() {
    let with = |extra: &str| Connection { extra: Some(extra.to_owned()), ..Connection::default() }.extra_dejson();
    assert_eq!(with(" ").expect("empty"), Map::new());
    assert_eq!(with("{\"a\":1}").expect("object")["a"], 1);
    assert!(with("[1]").is_err());
}
