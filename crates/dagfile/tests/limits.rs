//! Files that are too much. Each is refused with one clear error that names the limit, and what it
//! would grow to is never built: the tests say so by the limits that stop it, not by a clock.

#[path = "support/mod.rs"]
mod support;

use std::fmt::Write as _;

use towpath_dagfile::{CompiledFile, Limits, load_file};

/// One error, of that text.
#[track_caller]
fn refused(file: &CompiledFile, expected: &str) {
    let all = support::told(file);
    assert!(file.dags.is_empty() && file.has_errors(), "{all}");
    assert_eq!(file.diagnostics.len(), 1, "{all}");
    assert!(all.contains(expected), "{all}");
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, index| {
        let _ = writeln!(text, "{}", line(index));
        text
    })
}

/// Ten of the one before, eleven times over: a hundred thousand million parts.
fn bomb() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let _ = writeln!(text, "a{i}: &a{i} [{}]", vec![format!("*a{}", i - 1); 10].join(", "));
    }
    text
}

#[test]
fn aliases_of_aliases() {
    for aliases in [1_000, 20_000] {
        let limits = Limits { aliases, ..Limits::default() };
        refused(&support::read(&bomb(), &limits), &format!("grow by more than {aliases} parts"));
    }
}

#[test]
fn merged_mappings_count_too() {
    let keys: Vec<String> = (0..100).map(|n| format!("k{n}: x")).collect();
    let text = format!("a: &a {{{}}}\n{}", keys.join(", "), lines(100, |n| format!("b{n}: {{<<: *a}}")));
    refused(&support::read(&text, &Limits { aliases: 5_000, ..Limits::default() }), "grow by more than 5000 parts");
}

#[test]
fn aliases_of_a_long_text() {
    let text = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(1_000_000), vec!["*a"; 3_000].join(", "));
    refused(&support::read(&text, &Limits::default()), "texts of the file are too long together");
}

#[test]
fn one_anchor_may_serve_many() {
    let text = format!(
        "d:\n  default_args: &a {{retries: 1}}\n  tasks:\n{}",
        lines(11_000, |n| format!("    t{n}: {{<<: *a, operator: empty}}"))
    );
    let file = support::read(&text, &Limits::default());
    assert!(!file.has_errors(), "{}", support::told(&file));
    assert_eq!(file.dags[0].tasks().len(), 11_000);
}

#[test]
fn deep_nesting() {
    refused(
        &support::read(&format!("tasks: {}", "[".repeat(500_000)), &Limits::default()),
        "nested more than 100 deep",
    );
    refused(&support::read(&"- ".repeat(200_000), &Limits::default()), "nested more than 100 deep");
    let block = lines(500, |depth| format!("{}a:", " ".repeat(depth)));
    refused(&support::read(&block, &Limits::default()), "nested more than 100 deep");
}

#[test]
fn too_many_parts() {
    let limits = Limits { nodes: 1_000, ..Limits::default() };
    let text = format!("tasks:\n{}", lines(1_000, |i| format!("  t{i}: {{operator: empty}}")));
    refused(&support::read(&text, &limits), "more than 1000 parts");
}

#[test]
fn a_million_tasks() {
    let limits = Limits { nodes: 300_000, ..Limits::default() };
    let text = format!("tasks:\n{}", lines(1_000_000, |i| format!("  t{i}: {{operator: empty}}")));
    let file = support::read(&text, &limits);
    refused(&file, "more than 300000 parts");
    // It stopped there, and did not read the rest first.
    assert!(file.diagnostics[0].line < 80_000, "{}", file.diagnostics[0].line);
}

#[test]
fn too_many_tasks() {
    let limits = Limits { tasks: 10, ..Limits::default() };
    let text = format!("tasks:\n{}", lines(11, |i| format!("  t{i}: {{operator: empty}}")));
    refused(&support::read(&text, &limits), "11 tasks; at most 10");
}

#[test]
fn groups_that_multiply() {
    // 10,000 last tasks before 10,000 first tasks.
    let text = format!(
        "task_groups: {{a: {{}}, b: {{dependencies: [a]}}}}\ntasks:\n{}",
        lines(20_000, |i| format!(
            "  t{i}: {{operator: empty, task_group_name: {}}}",
            if i % 2 == 0 { "a" } else { "b" }
        ))
    );
    refused(&support::read(&text, &Limits::default()), "more than 1000000 dependencies");
}

#[test]
fn groups_nested_without_end() {
    let text = format!(
        "task_groups:\n  g0: {{}}\n{}tasks:\n  t: {{operator: empty}}\n",
        lines(40, |i| format!("  g{}: {{parent_group_name: g{i}}}", i + 1))
    );
    let file = support::read(&text, &Limits::default());
    assert!(file.dags.is_empty());
    assert!(support::told(&file).contains("nested more than 32 deep"), "{}", support::told(&file));
}

#[test]
fn defaults_that_multiply() {
    let limits = Limits { inherited: 1_000, ..Limits::default() };
    let env: Vec<String> = (0..50).map(|i| format!("V{i}: x")).collect();
    let tasks = lines(20, |i| format!("  t{i}: {{operator: empty}}"));
    let of_dag = format!("default_args: {{env: {{{}}}}}\ntasks:\n{tasks}", env.join(", "));
    refused(&support::read(&of_dag, &limits), "`default_args` add more than 1000 parts");
    let of_file = format!(
        "default: {{default_args: {{env: {{{}}}}}}}\n{}",
        env.join(", "),
        lines(20, |i| format!("d{i}: {{tasks: {{a: {{operator: empty}}}}}}"))
    );
    refused(&support::read(&of_file, &limits), "for 21 DAGs are more than 1000 parts");
}

/// A suggestion compares with every name there is; what is not shown gets none.
#[test]
fn a_hundred_thousand_mistakes() {
    let text = format!(
        "tasks:\n{}",
        lines(50_000, |i| format!("  task_{i:06}: {{operator: empty, dependencies: [tosk_{i:06}x], retrys: 1}}"))
    );
    let file = support::read(&text, &Limits::default());
    assert!(file.dags.is_empty() && file.has_errors());
    assert_eq!(file.diagnostics.len(), 101);
    let last = file.diagnostics.last().unwrap();
    assert_eq!(last.message, "99900 more errors of this file are not shown");
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.yaml");
    // A hole: 200 MB that take no room and would take a while to read.
    std::fs::File::create(&path).unwrap().set_len(200_000_000).unwrap();
    let file = load_file(&path, folder.path(), support::now(), &Limits::default());
    refused(&file, "200000000 bytes");
}

#[test]
fn documentation_is_a_file_of_some_size() {
    let read = |name: &str| {
        support::read(&format!("doc_md_file_path: {name}\ntasks:\n  a: {{operator: empty}}\n"), &Limits::default())
    };
    refused(&read("/dev/zero"), "`/dev/zero` is not a regular file");
    refused(&read("no-such-file.md"), "`no-such-file.md` cannot be read");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.md");
    std::fs::File::create(&path).unwrap().set_len(200_000_000).unwrap();
    refused(&read(&path.display().to_string()), "200000000 bytes; at most 1048576 are read");
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
    refused(
        &load_file(&folder.path().join("no.yaml"), folder.path(), support::now(), &Limits::default()),
        "cannot be read",
    );
    std::fs::create_dir(folder.path().join("dir.yaml")).unwrap();
    let dir = load_file(&folder.path().join("dir.yaml"), folder.path(), support::now(), &Limits::default());
    refused(&dir, "not a regular file");
}
