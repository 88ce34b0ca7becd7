//! Variables, connections and pools.

use crate::environment::Environment;

#[test]
fn variables() {
    let environment = Environment::new();
    environment.ok(&["variables", "set", "path", "/data", "--description", "where loads go"]);
    environment.ok(&["variables", "set", "api_key", "hunter2"]);
    assert_eq!(environment.ok(&["variables", "get", "path"]).stdout, "/data\n");
    insta::assert_snapshot!(environment.ok(&["variables", "list"]).stdout);
    let wrong = environment.run(&["variables", "get", "paht"]);
    assert_eq!(
        (wrong.code, wrong.stderr.as_str()),
        (1, "error: variable `paht` does not exist; did you mean `path`?\n")
    );
    assert_eq!(environment.ok(&["variables", "get", "paht", "--default", "x"]).stdout, "x\n");

    let exported = environment.ok(&["variables", "export"]).stdout;
    environment.write("variables.json", &exported);
    environment.ok(&["variables", "delete", "path"]);
    environment.ok(&["variables", "import", "variables.json"]);
    assert_eq!(environment.ok(&["variables", "export"]).stdout, exported);
}

#[test]
fn connections() {
    let environment = Environment::new();
    environment.ok(&["connections", "add", "db", "--uri", "postgres://etl:hunter2@db.example.com:5432/warehouse"]);
    environment.ok(&["connections", "add", "api", "--conn-type", "http", "--host", "https://api.example.com"]);
    let list = environment.ok(&["connections", "list"]).stdout;
    insta::assert_snapshot!(list);
    let shown = environment.ok(&["connections", "get", "db", "-o", "json"]).json();
    assert_eq!((&shown["password"], &shown["port"]), (&"***".into(), &5432.into()));
    let shown = environment.ok(&["connections", "get", "db", "-o", "yaml", "--show-secrets"]).stdout;
    assert!(shown.contains("password: hunter2"), "{shown}");
    let wrong = environment.run(&["connections", "add", "x", "--uri", "nonsense"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    environment.ok(&["connections", "delete", "api"]);
    assert_eq!(environment.run(&["connections", "delete", "api"]).code, 1);
    // At rest, no password is readable.
    for file in std::fs::read_dir(environment.path().join(".towpath")).unwrap() {
        let stored = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!stored.windows(7).any(|window| window == b"hunter2"));
    }
}

#[test]
fn pools() {
    let environment = Environment::new();
    environment.ok(&["pools", "set", "warehouse", "4"]);
    insta::assert_snapshot!(environment.ok(&["pools", "list"]).stdout);
    let shown = environment.ok(&["pools", "get", "warehouse", "-o", "json"]).json();
    assert_eq!((&shown["slots"], &shown["open"], &shown["used"]), (&4.into(), &4.into(), &0.into()));
    assert_eq!(environment.run(&["pools", "get", "warehose"]).code, 1);
    environment.ok(&["pools", "delete", "warehouse"]);
    let wrong = environment.run(&["pools", "delete", "default_pol"]);
    assert_eq!(
        (wrong.code, wrong.stderr.as_str()),
        (1, "error: pool `default_pol` does not exist; did you mean `default_pool`?\n")
    );
}
