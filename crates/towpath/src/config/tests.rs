//! Settings from layers, without a process around them.

use super::*;

struct Case<'a> {
    file: Option<&'a str>,
    environment: &'a [(&'a str, &'a str)],
    flags: &'a [(&'static str, &'static str, &'a str)],
}

fn load(folder: &Path, case: &Case<'_>) -> anyhow::Result<Config> {
    if let Some(text) = case.file {
        std::fs::write(folder.join(FILE), text).unwrap();
    }
    let variables = case.environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
    let flags = case
        .flags
        .iter()
        .map(|(key, flag, text)| (*key, Given { text: (*text).to_owned(), source: Source::Flag(flag) }))
        .collect();
    Config::from_layers(folder, None, variables, flags)
}

#[track_caller]
fn fails(case: &Case<'_>) -> String {
    let folder = tempfile::tempdir().unwrap();
    format!("{:#}", load(folder.path(), case).expect_err("it is wrong"))
}

#[test]
fn higher_layers_win() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case {
        file: Some("worker_slots = 1\nworker_lease = \"11s\"\nstop_grace = 12\ndags_dir = \"from_file\"\n"),
        environment: &[("TOWPATH_WORKER_SLOTS", "2"), ("TOWPATH_WORKER_LEASE", "21s"), ("TOWPATH_DATA_DIR", "")],
        flags: &[("worker_slots", "--slots", "3")],
    };
    let config = load(folder.path(), &case).unwrap();
    assert_eq!((config.worker_slots.value, config.worker_slots.source.to_string()), (3, "--slots".to_owned()));
    assert_eq!(config.worker_lease.value, Duration::from_secs(21));
    assert_eq!(config.worker_lease.source.to_string(), "TOWPATH_WORKER_LEASE");
    assert_eq!(config.stop_grace.value, Duration::from_secs(12));
    assert_eq!(config.stop_grace.source.to_string(), "towpath.toml:3");
    assert_eq!(config.dags_dir.value, folder.path().join("from_file"));
    assert_eq!(
        (config.data_dir.value.clone(), config.data_dir.source),
        (folder.path().join(".towpath"), Source::Default)
    );
    assert_eq!(config.database_url.value.expose(), format!("sqlite://{}/.towpath/towpath.db", folder.path().display()));
}

#[test]
fn every_key_is_shown_and_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let none = Case { file: None, environment: &[], flags: &[] };
    let first = load(folder.path(), &none).unwrap();
    let text: String = first.shown().into_iter().map(|shown| format!("{} = {}\n", shown.key, shown.value)).collect();
    let second = load(folder.path(), &Case { file: Some(&text), ..none }).unwrap();
    let values = |config: &Config| config.shown().into_iter().map(|shown| shown.value).collect::<Vec<_>>();
    assert_eq!(values(&first), values(&second));
    assert!(second.shown().iter().all(|shown| shown.source.starts_with("towpath.toml:")));
}

#[test]
fn the_password_of_the_mail_server_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let environment =
        &[("TOWPATH_SMTP_URL", "smtps://u:hunter2@mail.example.org"), ("TOWPATH_BASE_URL", "https://h/x/")];
    let config = load(folder.path(), &Case { file: None, environment, flags: &[] }).unwrap();
    let shown = |key: &str| config.shown().into_iter().find(|shown| shown.key == key).unwrap().value;
    assert_eq!(shown("smtp_url"), "smtps://u:***@mail.example.org");
    assert_eq!(shown("base_url"), "https://h/x");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn wrong_values_say_where_they_stand() {
    let none = Case { file: None, environment: &[], flags: &[] };
    for (text, expected) in [
        (
            "data_keep = \"long\"",
            "towpath.toml:1: `data_keep` has no duration: `long` is not a duration: write seconds (`90`), units (`30s`, `5m`, `1h30m`, `2d`) or ISO 8601 (`PT5M`)",
        ),
        ("worker_slots = 0", "towpath.toml:1: `worker_slots` is `0`; write a whole number from 1 to 100000"),
        ("\nlog_format = \"xml\"", "towpath.toml:2: `log_format` is `xml`; write text or json"),
        ("worker_lease = \"1ms\"", "towpath.toml:1: `worker_lease` is `1ms`; it must lie between 1s and 1d"),
        ("worker_queues = []", "towpath.toml:1: `worker_queues` is empty; write at least one name"),
        (
            "listen = \"nowhere\"",
            "towpath.toml:1: `listen` is `nowhere`; write `host:port`, such as 127.0.0.1:8080 (port 0 takes a free one)",
        ),
        (
            "base_url = \"example.org\"",
            "towpath.toml:1: `base_url` is `example.org`; write an address such as https://towpath.example.org",
        ),
        (
            "smtp_url = \"u:hunter2@h\"",
            "towpath.toml:1: `smtp_url` is not the address of a mail server; write `smtp://user:password@host:587` or \
             `smtps://user:password@host`",
        ),
    ] {
        assert_eq!(fails(&Case { file: Some(text), ..none }), expected);
    }
    let wrong =
        fails(&Case { environment: &[("TOWPATH_DATABASE_URL", "mysql://u:hunter2@h/d")], file: None, flags: &[] });
    assert!(wrong.starts_with("TOWPATH_DATABASE_URL: `database_url`") && !wrong.contains("hunter2"), "{wrong}");
}

#[test]
fn variables_that_are_no_settings_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let environment =
        &[("TOWPATH_DATABASE_ULR", "x"), ("TOWPATH_VAR_X", "1"), ("TOWPATH_CONN_X", "http://h"), ("HOME", "/root")];
    let config = load(folder.path(), &Case { file: None, environment, flags: &[] }).unwrap();
    assert_eq!(
        config.warnings,
        ["the variable TOWPATH_DATABASE_ULR is not a setting; did you mean TOWPATH_DATABASE_URL?"]
    );
}

#[test]
fn ports_alone_are_on_this_machine() {
    for (text, expected) in
        [("0", "127.0.0.1:0"), (":9000", "127.0.0.1:9000"), ("0.0.0.0:80", "0.0.0.0:80"), ("[::1]:1", "[::1]:1")]
    {
        assert_eq!(text::address(text).unwrap().to_string(), expected, "{text}");
    }
}
