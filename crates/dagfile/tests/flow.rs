//! Setups, teardowns, `fail_fast` and mapped groups: what files make of them.

#[path = "support/mod.rs"]
mod support;

use serde_json::json;
use towpath_dagfile::Limits;
use towpath_model::dag::Dag;
use towpath_model::teardown::Role;
use towpath_model::trigger_rule::TriggerRule;

#[track_caller]
fn one(text: &str) -> Dag {
    let mut file = support::read(text, &Limits::default());
    assert!(!file.has_errors(), "{}", support::told(&file));
    file.dags.remove(0)
}

fn upstream(dag: &Dag, id: &str) -> String {
    dag.task(id).expect("the task is there").upstream.join(" ")
}

#[test]
fn roles_are_written_in_three_ways() {
    let dag = one("tasks:
  s1: {operator: empty, setup: true}
  s2: {operator: empty}
  s3: {decorator: airflow.decorators.setup, python_callable: m.f}
  work: {operator: empty, dependencies: [s1, s2, s3]}
  t1: {operator: empty, teardown: true, dependencies: [s1, work], on_failure_fail_dagrun: true}
  t2: {operator: empty, setups: [s2], dependencies: [work]}
  t3: {decorator: airflow.decorators.teardown, python_callable: m.f, setups: [s3]}
");
    let role = |id: &str| dag.task(id).expect("the task is there").role;
    let gentle = Role::Teardown { on_failure_fail_dagrun: false };
    assert_eq!((role("s1"), role("s2"), role("s3"), role("work")), (Role::Setup, Role::Setup, Role::Setup, Role::Work));
    assert_eq!((role("t1"), role("t2"), role("t3")), (Role::Teardown { on_failure_fail_dagrun: true }, gentle, gentle));
    assert_eq!((upstream(&dag, "t2"), upstream(&dag, "t3")), ("s2 work".into(), "s3".into()));
    assert_eq!(dag.task("t2").unwrap().trigger_rule, TriggerRule::AllDoneSetupSuccess);
    assert_eq!(dag.task("s3").unwrap().operator, "python");
}

#[test]
fn teardowns_take_their_rule_whatever_is_the_default() {
    let dag = one("default_args: {trigger_rule: none_failed}\ntasks:\n  a: {operator: empty, teardown: true}\n");
    assert_eq!(dag.task("a").unwrap().trigger_rule, TriggerRule::AllDoneSetupSuccess);
}

#[test]
fn arrows_from_groups_leave_teardowns_out() {
    let check = |group: &str, expected: &str| {
        let text = format!(
            "task_groups: {{g: {{prefix_group_id: false}}}}\ntasks:\n{group}  z: {{operator: empty, dependencies: [g]}}\n"
        );
        let text = text.replace("IN", "operator: empty, task_group_name: g");
        assert_eq!(upstream(&one(&text), "z"), expected, "{text}");
    };
    check("  s: {IN}\n  w: {IN, dependencies: [s]}\n  t: {IN, setups: [s], dependencies: [w]}\n", "w");
    check("  s: {IN}\n  w: {IN}\n  t: {IN, setups: [s]}\n", "w");
    check("  s: {IN}\n  t: {IN, setups: [s]}\n", "s");
    check("  v: {IN}\n  w: {IN, dependencies: [v]}\n  t: {IN, teardown: true, dependencies: [v]}\n", "w");
    check("  t: {IN, teardown: true}\n", "");
    check("  s: {IN, setup: true}\n  w: {IN}\n", "s w");
}

#[test]
fn a_mapped_group_is_kept_with_what_it_is_expanded_over() {
    let dag = one("task_groups:
  outer: {}
  each: {parent_group_name: outer, expand: {file: list.output, size: [1, 2]}}
  inner: {parent_group_name: each}
tasks:
  list: {operator: bash, bash_command: x, task_group_name: outer}
  read: {operator: bash, bash_command: 'cat {{ group.file }}', task_group_name: each}
  write: {operator: bash, bash_command: x, task_group_name: inner, dependencies: [read]}
  all: {operator: bash, bash_command: x, dependencies: [outer]}
");
    let groups = json!(dag.spec().mapped_groups);
    let expected =
        json!({"outer.each": {"product": {"file": {"output": {"task_id": "outer.list"}}, "size": {"values": [1, 2]}}}});
    assert_eq!(groups, expected);
    assert_eq!(upstream(&dag, "outer.each.read"), "outer.list");
    let group = |id: &str| dag.task(id).unwrap().map_group.clone();
    assert_eq!(group("outer.each.inner.write"), Some("outer.each".into()));
    assert_eq!(group("outer.list"), None);
    assert_eq!(upstream(&dag, "all"), "outer.each.inner.write");
}

#[test]
fn fail_fast_has_two_names() {
    for key in ["fail_fast", "fail_stop"] {
        assert!(
            one(&format!("{key}: true\ntasks:\n  a: {{operator: empty}}\n  t: {{operator: empty, teardown: true}}\n"))
                .spec()
                .fail_fast
        );
    }
}

#[test]
fn data_sets_are_expanded_over_by_rows_and_by_partitions() {
    let dag = one("
tasks:
  read: {operator: extract, source: {csv: a.csv}, partition_by: [c]}
  part: {operator: transform, expand: {input: read.partitions}, steps: [limit: 1]}
  row: {operator: bash, bash_command: x, expand: {env: read.rows}}
  call: {operator: python, python_callable: m.f, expand_kwargs: read.rows}
  other: {operator: load, input: read, target: {csv: b.csv}}
");
    let expand = |id: &str| json!(dag.task(id).unwrap().expand);
    let over = |each: &str| json!({"data_set": {"task_id": "read", "each": each}});
    assert_eq!(expand("part"), json!({"product": {"input": over("partitions")}}));
    assert_eq!(expand("row"), json!({"product": {"env": over("rows")}}));
    assert_eq!(expand("call"), json!({"kwargs": over("rows")}));
    for id in ["part", "row", "call"] {
        assert_eq!(upstream(&dag, id), "read");
    }
    assert_eq!(json!(dag.task("read").unwrap().args["partition_by"]), json!(["c"]));
    assert!(towpath_model::expand::rows_are_expanded(&dag, "read"));
    assert!(!towpath_model::expand::rows_are_expanded(&dag, "part"));
}

#[test]
fn files_are_listed_by_a_task_before() {
    let dag = one("task_groups: {g: {}}
default_args: {retries: 2, pool: disk}
tasks:
  first: {operator: empty}
  load:
    operator: bash
    task_group_name: g
    dependencies: [first]
    expand: {bash_command: {files: 'in/*.sh'}, env: [{}], cwd: {files: [a, 's3://b/*']}}
  last: {operator: empty, dependencies: [load]}
");
    let list = dag.task("g.load__files").expect("the task is there");
    assert_eq!((list.operator.as_str(), &list.args["files"]), ("list_files", &json!(["in/*.sh"])));
    assert_eq!((list.retry.retries, list.pool.as_str(), &list.expand), (2, "disk", &None));
    assert_eq!(dag.task("g.load__files_2").expect("the task is there").args["files"], json!(["a", "s3://b/*"]));
    for (id, expected) in [
        ("g.load__files", "first"),
        ("g.load__files_2", "first"),
        ("g.load", "first g.load__files g.load__files_2"),
        ("last", "g.load"),
    ] {
        assert_eq!(upstream(&dag, id), expected, "{id}");
    }
    let expand = serde_json::to_value(&dag.task("g.load").unwrap().expand).unwrap();
    assert_eq!(expand["product"]["bash_command"], json!({"output": {"task_id": "g.load__files"}}));
    assert_eq!(expand["product"]["cwd"], json!({"output": {"task_id": "g.load__files_2"}}));
}
