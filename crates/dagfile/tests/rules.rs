//! What a file means where it would be easy to get it wrong, above all silently.

#[path = "support/mod.rs"]
mod support;

use towpath_dagfile::{Limits, Severity, load_file};
use towpath_model::dag::Dag;

#[track_caller]
fn one(text: &str) -> Dag {
    let mut file = support::read(text, &Limits::default());
    assert!(!file.has_errors(), "{}", support::told(&file));
    file.dags.remove(0)
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let file = support::read(text, &Limits::default());
    let all = support::told(&file);
    assert!(file.dags.is_empty() && all.contains(expected), "{all}");
}

/// A DAG that disappears without an error would look as if its file had been emptied.
#[test]
fn an_error_is_told_after_any_number_of_warnings() {
    let warned: String = (0..150).map(|i| format!("  t{i}: {{operator: empty, sla: 5}}\n")).collect();
    let file = support::read(&format!("tasks:\n{warned}  z: {{operator: nope}}\n"), &Limits::default());
    assert!(file.dags.is_empty() && file.has_errors());
    let errors: Vec<_> = file.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].message, "there is no operator `nope`");
}

#[test]
fn what_cannot_be_kept_is_refused_wherever_it_stands() {
    let tasks = "tasks:\n    a: {operator: empty}\n";
    for text in [
        format!("default_args: {{run_as_user: a}}\n{tasks}"),
        format!("task_groups: {{g: {{default_args: {{run_as_user: a}}}}}}\n{tasks}"),
        format!("default: {{default_args: {{run_as_user: a}}}}\nd:\n  {tasks}"),
    ] {
        refused(&text, "`run_as_user` is not supported yet");
    }
    refused(
        &format!("default: {{on_failure_callback: a.b}}\nd:\n  {tasks}"),
        "`on_failure_callback` is not supported yet",
    );
    for (text, expected) in [
        ("default_args: {on_failure_callback: a.b}\n", "write `alerts: {on: failure, command: ...}`"),
        ("on_success_callback: a.b\n", "write `alerts: {on: success, command: ...}`"),
        ("sla_miss_callback: a.b\n", "write `deadline:"),
        ("sla: 3h\n", "write `deadline:"),
        ("task_groups: {g: {tasks: {b: {operator: empty}}}}\n", "each with `task_group_name`"),
        ("schedule: [orders]\n", "write {assets: [orders]}"),
    ] {
        refused(&format!("{text}{tasks}"), expected);
    }
    one(&format!("default_args: {{run_as_user: null, on_failure_callback: null}}\n{tasks}"));
}

#[test]
fn broken_defaults_take_their_dags_with_them() {
    refused("default: {catchupp: true}\nd: {tasks: {a: {operator: empty}}}\n", "did you mean `catchup`?");
    for (defaults, expected) in [
        ("default_args: [1\n", "not valid YAML"),
        ("shedule: x\n", "did you mean `schedule`?"),
        ("retries: 1\n", "stand in `default_args`"),
        ("- 1\n", "`defaults` has to be a mapping"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("defaults.yml"), defaults).unwrap();
        let path = folder.path().join("daily.yaml");
        std::fs::write(&path, "tasks: {a: {operator: empty}}\n").unwrap();
        let file = load_file(&path, folder.path(), support::now(), &Limits::default());
        let all = support::told(&file);
        assert!(file.dags.is_empty() && all.contains(expected) && all.contains("defaults.yml:1:"), "{all}");
    }
}

#[test]
fn no_key_stands_twice() {
    for (text, expected) in [
        ("tasks:\n  a: {operator: bash, bash_command: x, env: {A: 1, A: 2}}\n", "2:52: error: `A` is given twice"),
        ("params: {x: 1, x: 2}\ntasks: {a: {operator: empty}}\n", "1:16: error: `x` is given twice"),
        ("default_args: {env: {A: 1}, env: {}}\ntasks: {a: {operator: empty}}\n", "1:29: error: `env` is given twice"),
        (
            "schedule_interval: 1h\nschedule: 2h\ntasks: {a: {operator: empty}}\n",
            "the first, `schedule_interval`, is in line 1",
        ),
        ("tasks: {a: {operator: bash, command: x, bash_command: y}}\n", "the first, `command`, is in line 1"),
        ("tasks:\n  a: {operator: empty}\n  a: {operator: empty}\n", "3:3: error: task `a` is defined twice"),
    ] {
        refused(text, expected);
    }
    let file =
        support::read("d: {tasks: {a: {operator: empty}}}\nd: {tasks: {b: {operator: empty}}}\n", &Limits::default());
    assert!(file.has_errors() && support::told(&file).contains("2:1: error: `d` is given twice"));
    assert!(file.dags[0].task("a").is_some(), "the first one stays");
}

#[test]
fn an_owner_that_is_written_stays() {
    let dag = one("owner: team\ntasks:\n  a: {operator: empty, owner: airflow}\n  b: {operator: empty}\n");
    assert_eq!((dag.task("a").unwrap().owner.as_str(), dag.task("b").unwrap().owner.as_str()), ("airflow", "team"));
    let dag = one("owner: team\ndefault_args: {owner: other}\ntasks:\n  a: {operator: empty}\n");
    assert_eq!(dag.tasks()[0].owner, "other");
}

#[test]
fn objects_are_read_whole_or_not_at_all() {
    let delay = |object: &str| {
        format!("tasks:\n  a: {{operator: empty, retry_delay: {{__type__: datetime.timedelta, {object}}}}}\n")
    };
    assert_eq!(one(&delay("__args__: [0.5, 30]")).tasks()[0].retry.delay.as_secs(), 43_230);
    assert_eq!(one(&delay("hours: 1, minutes: 0.5")).tasks()[0].retry.delay.as_secs(), 3_630);
    refused(&delay("__args__: [0.5, x]"), "`seconds` has to be a number");
    refused(&delay("days: -1"), "between nothing and a thousand years");
    refused(&delay("dayss: 1"), "did you mean `days`?");
    let date = |object: &str| {
        format!("start_date: {{__type__: datetime.datetime, {object}}}\ntasks: {{a: {{operator: empty}}}}\n")
    };
    let start = |object: &str| one(&date(object)).spec().start_date.unwrap().to_rfc3339();
    assert_eq!(start("year: 2026, month: 2, day: 3, tzinfo: Asia/Tokyo"), "2026-02-02T15:00:00+00:00");
    assert_eq!(start("__args__: [2026, 2, 3, 4]"), "2026-02-03T04:00:00+00:00");
    refused(&date("year: 99999999999"), "`year` has to be a whole number");
    refused(&date("year: 2026, month: x"), "`month` has to be a whole number");
    refused(&date("year: 2026, fold: 1"), "a date has no `fold`");
    refused(&date("year: 2026, month: 2, day: 30"), "is no date that exists");
    let schedule = |object: &str| format!("schedule: {{{object}}}\ntasks: {{a: {{operator: empty}}}}\n");
    refused(
        &schedule("__type__: airflow.timetables.trigger.CronTriggerTimetable, cron: 0 0 * * *, interval: 5"),
        "`interval` of `CronTriggerTimetable` is not supported",
    );
    refused(&schedule("__type__: airflow.timetables.interval.DeltaDataIntervalTimetable"), "needs `delta`");
    refused(&schedule("every: 1h, interval: 2h"), "mean the same");
}

fn upstream(dag: &Dag, task: &str) -> String {
    dag.task(task).unwrap_or_else(|| panic!("no task {task}")).upstream.join(" ")
}

#[test]
fn groups_in_groups() {
    let dag = one(include_str!("fixtures/good/groups.yaml"));
    for (task, expected) in [
        ("start", ""),
        ("outer.extract.first", "start"),
        ("outer.extract.second", "outer.extract.first"),
        // Not the first task of `outer`, for it waits for another group of it; so it does not wait for `start`.
        ("outer.load.first", "outer.extract.second"),
        ("outer.load.second", "outer.load.first"),
        // The only last task of `outer`: others of it wait for all the rest.
        ("check", "outer.load.second"),
        ("end", "check outer.extract.second outer.load.second"),
    ] {
        assert_eq!(upstream(&dag, task), expected, "{task}");
    }
    let retries = |task: &str| dag.task(task).unwrap().retry.retries;
    assert_eq!((retries("outer.extract.first"), retries("outer.load.first"), retries("check")), (3, 1, 0));
}

/// As in Airflow, what is around a group without a prefix is not in the ids of its tasks either.
#[test]
fn a_group_without_prefix() {
    let dag = one(
        "task_groups:\n  a: {}\n  b: {parent_group_name: a, prefix_group_id: false}\n  c: {parent_group_name: b}\ntasks:\n  x: {operator: empty, task_group_name: a}\n  y: {operator: empty, task_group_name: b}\n  z: {operator: empty, task_group_name: c}\n",
    );
    let ids: Vec<&str> = dag.tasks().iter().map(|task| task.task_id.as_str()).collect();
    assert_eq!(ids, ["a.x", "c.z", "y"]);
}

#[test]
fn names_that_clash() {
    refused(
        "task_groups: {g: {}}\ntasks:\n  g: {operator: empty}\n  x: {operator: empty, task_group_name: g}\n",
        "`g` is both a task and a task group",
    );
    refused(
        "task_groups: {g: {}, h: {}}\ntasks:\n- {task_id: x, operator: empty, task_group_name: g}\n- {task_id: x, operator: empty, task_group_name: h}\n- {task_id: y, operator: empty, dependencies: [x]}\n",
        "`x` may be any of g.x, h.x",
    );
    refused(
        "tasks:\n  a.b: {operator: empty}\n  c: {operator: empty, dependencies: [b]}\n",
        "there is no task or group `b`",
    );
    refused(
        "task_groups: {g: {dependencies: [x]}}\ntasks:\n  x: {operator: empty, task_group_name: g}\n",
        "task group `g` cannot wait for `x`",
    );
    refused(
        "task_groups: {g: {}}\ntasks:\n  x: {operator: empty, task_group_name: g, dependencies: [g]}\n",
        "task `g.x` is inside of task group `g`",
    );
    let long = format!(
        "task_groups: {{{0}: {{}}}}\ntasks:\n  {1}: {{operator: empty, task_group_name: {0}}}\n",
        "g".repeat(200),
        "t".repeat(200)
    );
    refused(&long, "has 401 characters");
}

#[test]
fn a_null_takes_a_default_away() {
    let dag = one(
        "default_args: {retries: 3, cwd: /tmp}\ntasks:\n  a: {operator: bash, bash_command: x, retries: null, cwd: null}\n  b: {operator: bash, bash_command: x}\n",
    );
    let (a, b) = (dag.task("a").unwrap(), dag.task("b").unwrap());
    assert_eq!((a.retry.retries, a.args.get("cwd")), (0, None));
    assert_eq!((b.retry.retries, b.args["cwd"].as_str()), (3, Some("/tmp")));
}

#[test]
fn a_schedule_needs_defaults() {
    let params = "params: {a: {type: string}, b: {default: null, type: integer}}\ntasks: {t: {operator: empty}}\n";
    one(params);
    one(&format!("schedule: null\n{params}"));
    for schedule in ["'@daily'", "'@once'", "'@continuous'", "5m"] {
        refused(
            &format!("schedule: {schedule}\n{params}"),
            "2:10: error: param `a` has no default, so the DAG cannot have a schedule",
        );
    }
    one(&format!(
        "schedule: 5m\n{}",
        params.replace("type: string", "default: x").replace("integer", "[integer, 'null']")
    ));
}

#[test]
fn alerts_are_inherited_and_those_of_runs_are_not() {
    use towpath_model::alert::{Alert, Event, Target};
    let dag = one(
        "alerts: {slack: slack_alerts}\ndefault_args:\n  email_on_success: yes\n  alerts:\n  - {on: [success, failure, success], email: 'a@example.org; b@example.org', command: logger}\ntasks:\n  a: {operator: empty}\n  b: {operator: empty, alerts: {on: retry, teams: https://example.org/x}, email_on_success: no}\n  c: {operator: empty, alerts: null}\n",
    );
    let alert = |on: &[Event], target| Alert { on: on.to_vec(), target };
    let task = |id: &str| dag.task(id).unwrap();
    assert_eq!(dag.spec().alerts, [alert(&[Event::Failure], Target::Slack("slack_alerts".into()))]);
    let ends = [Event::Failure, Event::Success];
    let mail = Target::Email(vec!["a@example.org".into(), "b@example.org".into()]);
    assert_eq!(task("a").alerts, [alert(&ends, mail), alert(&ends, Target::Command("logger".into()))]);
    assert_eq!(task("b").alerts, [alert(&[Event::Retry], Target::Teams("https://example.org/x".into()))]);
    assert_eq!(task("c").alerts, []);
    assert_eq!((task("a").email_on_success, task("b").email_on_success), (true, false));
}

#[test]
fn deadlines_count_from_a_reference() {
    use towpath_model::alert::Target;
    use towpath_model::deadline::Reference;
    let dag = one(
        "timezone: Europe/Berlin\ndeadline:\n- {reference: queued_at, interval: 30m, name: report, email: [a@example.org], slack: s}\n- {reference: logical_date, interval: -10m}\n- {reference: average_runtime, interval: -1.5, max_runs: 5}\n- {reference: average_runtime, max_runs: 5, min_runs: 2}\n- {reference: 2026-02-01T06:00, interval: 1h}\nalerts: {on: deadline, command: logger}\ntasks:\n  a: {operator: empty}\n",
    );
    let read: Vec<_> = dag.spec().deadlines.iter().map(|it| (it.reference, it.interval_us / 1_000)).collect();
    let average = |max_runs, min_runs| Reference::AverageRuntime { max_runs, min_runs };
    assert_eq!(
        read,
        [
            (Reference::QueuedAt, 1_800_000),
            (Reference::LogicalDate, -600_000),
            (average(5, 5), -1_500),
            (average(5, 2), 0),
            (Reference::At("2026-02-01T05:00:00Z".parse().unwrap()), 3_600_000),
        ]
    );
    let first = &dag.spec().deadlines[0];
    let targets = [Target::Email(vec!["a@example.org".into()]), Target::Slack("s".into())];
    assert_eq!((first.name.as_deref(), first.targets.as_slice()), (Some("report"), &targets[..]));
    assert_eq!(one("deadline: {reference: queued_at}\ntasks:\n  a: {operator: empty}\n").spec().deadlines.len(), 1);
}

#[test]
fn ends_of_lines_and_marks_do_not_move_places() {
    for text in ["tasks:\r\n  a: {operator: emty}\r\n", "\u{feff}tasks:\n  a: {operator: emty}\n"] {
        let told = support::told(&support::read(text, &Limits::default()));
        assert!(
            told.starts_with(
                "dags/example.yaml:2:17: error: there is no operator `emty`\n  2 |   a: {operator: emty}\n"
            ),
            "{told}"
        );
    }
}

#[test]
fn relative_dates_give_one_version_a_day() {
    let compile = |now: &str| {
        let origin = towpath_dagfile::Origin {
            path: std::path::Path::new("a.yaml"),
            folder: std::path::Path::new("."),
            defaults: &[],
            now: now.parse().unwrap(),
        };
        let file = towpath_dagfile::compile(
            "start_date: 2 days\ntasks: {a: {operator: empty}}\n",
            &origin,
            &Limits::default(),
        );
        file.dags[0].hash().to_owned()
    };
    assert_eq!(compile("2026-05-17T00:00:00Z"), compile("2026-05-17T23:59:59Z"));
    assert_ne!(compile("2026-05-17T23:59:59Z"), compile("2026-05-18T00:00:00Z"));
}
