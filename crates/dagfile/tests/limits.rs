//! Files that are too much: each is refused with one clear error, and quickly, for what they would
//! grow to is never built.

#[path = "support/mod.rs"]
mod support;

use towpath_dagfile::{Limits, load_file};

#[track_caller]
fn refused(text: &str, limits: &Limits, expected: &str) {
    let file = support::read(text, limits);
    assert!(file.dags.is_empty());
    let all: String = file.diagnostics.iter().map(ToString::to_string).collect();
    assert!(all.contains(expected), "{all}");
    assert!(file.diagnostics.len() <= 3, "{all}");
}

#[test]
fn alias_bomb() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        text.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", ")));
    }
    refused(&text, &Limits::default(), "this is not valid YAML");
}

#[test]
fn deep_nesting() {
    refused(
        &format!("tasks: {}{}", "[".repeat(5_000), "]".repeat(5_000)),
        &Limits::default(),
        "this is not valid YAML",
    );
    let mut block = String::new();
    for depth in 0..500 {
        block.push_str(&format!("{}a:\n", " ".repeat(depth)));
    }
    refused(&block, &Limits::default(), "this is not valid YAML");
}

#[test]
fn too_many_parts() {
    let limits = Limits { nodes: 1_000, ..Limits::default() };
    let text = format!("tasks:\n{}", (0..1_000).map(|i| format!("  t{i}: {{operator: empty}}\n")).collect::<String>());
    refused(&text, &limits, "this is not valid YAML");
}

#[test]
fn too_many_tasks() {
    let limits = Limits { tasks: 10, ..Limits::default() };
    let text = format!("tasks:\n{}", (0..11).map(|i| format!("  t{i}: {{operator: empty}}\n")).collect::<String>());
    refused(&text, &limits, "11 tasks; at most 10");
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.yaml");
    // A hole: 200 MB that take no room and would take a while to read.
    std::fs::File::create(&path).unwrap().set_len(200_000_000).unwrap();
    let file = load_file(&path, folder.path(), support::now(), &Limits::default());
    assert!(file.diagnostics[0].message.contains("200000000 bytes"), "{}", file.diagnostics[0]);
}

#[test]
fn not_utf_8() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin.yaml");
    std::fs::write(&path, b"description: ok\nowner: Andr\xe9\ntasks: {}\n").unwrap();
    let file = load_file(&path, folder.path(), support::now(), &Limits::default());
    let diagnostic = &file.diagnostics[0];
    assert_eq!((diagnostic.line, diagnostic.column), (2, 12), "{diagnostic}");
    assert!(diagnostic.message.contains("not UTF-8"));
}

#[test]
fn unreadable_things() {
    let folder = tempfile::tempdir().unwrap();
    let missing = load_file(&folder.path().join("no.yaml"), folder.path(), support::now(), &Limits::default());
    assert!(missing.diagnostics[0].message.contains("cannot be read"));
    std::fs::create_dir(folder.path().join("dir.yaml")).unwrap();
    let dir = load_file(&folder.path().join("dir.yaml"), folder.path(), support::now(), &Limits::default());
    assert!(dir.diagnostics[0].message.contains("not a file"));
}
