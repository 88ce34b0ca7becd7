//! The pages that a person learns the tool from.

use crate::environment::Environment;

#[track_caller]
fn page(arguments: &[&str]) -> String {
    Environment::new().ok(arguments).stdout
}

#[test]
fn main_pages() {
    insta::assert_snapshot!("towpath", page(&["--help"]));
    insta::assert_snapshot!("up", page(&["up", "--help"]));
    insta::assert_snapshot!("run", page(&["run", "--help"]));
    insta::assert_snapshot!("dags", page(&["dags", "--help"]));
    insta::assert_snapshot!("explain", page(&["explain", "--help"]));
    insta::assert_snapshot!("dags_trigger", page(&["dags", "trigger", "--help"]));
    insta::assert_snapshot!("dags_next_runs", page(&["dags", "next-runs", "--help"]));
    insta::assert_snapshot!("dags_test", page(&["dags", "test", "--help"]));
    insta::assert_snapshot!("schedule_preview", page(&["schedule", "preview", "--help"]));
}

#[test]
fn without_a_command_the_page_is_an_error() {
    let ended = Environment::new().run(&[]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("towpath up") && ended.stdout.is_empty(), "{ended:?}");
}

#[test]
fn a_slip_is_pointed_out() {
    let ended = Environment::new().run(&["dags", "lst"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("'list'"), "{ended:?}");
}

#[test]
fn versions_and_completions_need_nothing() {
    let environment = Environment::new();
    assert_eq!(environment.ok(&["version"]).stdout, format!("towpath {}\n", env!("CARGO_PKG_VERSION")));
    for (shell, expected) in [("bash", "_towpath()"), ("zsh", "#compdef towpath"), ("fish", "complete -c towpath")] {
        let script = environment.ok(&["completions", shell]).stdout;
        assert!(script.contains(expected) && script.contains("next-runs"), "{shell}");
    }
    assert!(!environment.path().join(".towpath").exists());
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let environment = Environment::new();
    let script = format!("{} completions zsh | head -n 1", env!("CARGO_BIN_EXE_towpath"));
    let script = format!("set -o pipefail; {script}");
    let output =
        std::process::Command::new("bash").args(["-c", &script]).current_dir(environment.path()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
