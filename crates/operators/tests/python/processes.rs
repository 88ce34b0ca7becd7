//! Processes: limits, stops, deaths, and that nothing is left behind.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use towpath_operators::python::Options;
use towpath_operators::{Operator, Outcome};

use crate::fixture::{Fixture, error_of, is_alive, logged, until};

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).expect("/proc is there").count()
}

fn children_of(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().expect("a number")).collect()
}

/// The one zygote, and how many descriptors and children it has.
async fn zygote(fixture: &Fixture) -> (i32, usize, usize) {
    let pids = fixture.operator.zygotes().await;
    assert_eq!(pids.len(), 1);
    (pids[0], count(&format!("/proc/{}/fd", pids[0])), children_of(pids[0]).len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_attempts_leave_nothing_behind() {
    let fixture = Arc::new(Fixture::new());
    fixture.operator.prewarm(None).await.expect("there is a python3");
    fixture.value("result = 1").await;
    let before = zygote(&fixture).await;
    let limit = Arc::new(tokio::sync::Semaphore::new(16));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200 {
        let (fixture, limit) = (Arc::clone(&fixture), Arc::clone(&limit));
        tasks.spawn(async move {
            let _permit = limit.acquire_owned().await.expect("it is open");
            let code = "ti.xcom_push('n', params['n'])\nprint('hello', params['n'])\nresult = params['n'] * 2";
            let context = json!({"params": {"n": number}});
            let prepared = fixture.attempt_of(json!({ "code": code }), &context, &json!({}));
            let outcome = fixture.execute(&prepared).await;
            assert_eq!(outcome, Outcome::Success { value: Some(json!(number * 2)) });
            assert_eq!(prepared.attempt.own_xcom("n"), Some(json!(number)));
            assert_eq!(
                prepared.log(),
                format!("task.stdout info: hello {number}\ntowpath info: Returned value: {}\n", number * 2)
            );
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("every attempt is right");
    }
    assert_eq!(zygote(&fixture).await, before, "the zygote has neither leaked descriptors nor zombies");
    assert_eq!(fixture.supervisor.watched(), Vec::<i32>::new());
    let entries = |path: &Path| std::fs::read_dir(path).expect("it is there").flatten().collect::<Vec<_>>();
    for folder in entries(fixture.folder.path()).iter().filter(|entry| entry.file_name() != "dags") {
        let left: Vec<_> = entries(&folder.path()).iter().map(std::fs::DirEntry::file_name).collect();
        assert_eq!(left, [""; 0], "a working folder is removed, or kept for the next task where it is empty");
    }
    fixture.operator.shutdown().await;
    assert!(!Path::new(&format!("/proc/{}", before.0)).exists(), "the zygote is gone and reaped");
}

#[tokio::test]
async fn descriptors_do_not_leak() {
    let fixture = Fixture::new();
    let code = "import os\nresult = sorted(os.readlink(f'/proc/self/fd/{fd}').split(':')[0] for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}'))";
    let first = fixture.value(code).await;
    assert_eq!(first, json!(["/dev/null", "pipe", "pipe", "socket"]));
    // Others that run meanwhile change nothing.
    let slow = fixture.attempt(json!({"code": "import time\nprint('ready', flush=True)\ntime.sleep(30)"}));
    let second = async {
        until("the other", || slow.log().contains("ready")).await;
        let value = fixture.value(code).await;
        let sub = fixture.value("import subprocess\nresult = len(subprocess.run(['ls', '/proc/self/fd'], stdout=-1, close_fds=False).stdout.split())").await;
        slow.attempt.stop.cancel();
        (value, sub)
    };
    let (_, (second, sub)) = tokio::join!(fixture.execute(&slow), second);
    assert_eq!(second, first);
    assert_eq!(sub, json!(4), "stdin, stdout, stderr and the folder that ls reads");
}

#[tokio::test]
async fn the_workers_own_descriptors_are_closed() {
    let fixture = Fixture::new();
    fixture.value("result = 1").await;
    let before = count("/proc/self/fd");
    for code in ["result = 1", "raise ValueError", "import os; os._exit(1)"] {
        fixture.run(json!({ "code": code })).await;
    }
    // Other tests of this program open and close descriptors as well.
    until("as few descriptors as before", || count("/proc/self/fd") <= before).await;
}

#[tokio::test]
async fn a_child_that_is_killed_fails_alone() {
    let fixture = Fixture::new();
    let victim = fixture.attempt(json!({"code": "import os, time\nprint('pid', os.getpid())\ntime.sleep(60)"}));
    let other = async {
        until("its start", || logged(&victim.sink, "pid").is_some()).await;
        let pid = logged(&victim.sink, "pid").expect("it was printed");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
        fixture.value("result = 'fine'").await
    };
    let (outcome, other) = tokio::join!(fixture.execute(&victim), other);
    assert_eq!(
        outcome,
        Outcome::Failed {
            error: "the Python process was killed by SIGKILL; the machine may have run out of memory (`memory` limits a task)".to_owned(),
            retry: true
        }
    );
    assert_eq!(other, json!("fine"));
}

#[tokio::test]
async fn a_zygote_that_is_killed_is_replaced() {
    let fixture = Fixture::new();
    let code = "import os, subprocess, time\nsub = subprocess.Popen(['sleep', '60'])\nprint('sub', sub.pid)\nprint('pid', os.getpid())\ntime.sleep(60)";
    let running: Vec<_> = (0..3).map(|_| fixture.attempt(json!({ "code": code }))).collect();
    let killer = async {
        until("their start", || running.iter().all(|one| logged(&one.sink, "pid").is_some())).await;
        let pid = fixture.operator.zygotes().await[0];
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
        pid
    };
    let all = futures_join(&fixture, &running);
    let (outcomes, pid) = tokio::join!(all, killer);
    for (outcome, one) in outcomes.into_iter().zip(&running) {
        let Outcome::Failed { error, retry: true } = outcome else { panic!("{outcome:?}") };
        assert!(error.starts_with("the interpreter that had started the task's process has died"), "{error}");
        assert!(error.ends_with(&format!("process {pid}: signal: 9 (SIGKILL))")), "{error}");
        for word in ["pid", "sub"] {
            assert!(!is_alive(logged(&one.sink, word).expect("it was printed")), "nothing of the group is left");
        }
    }
    assert_eq!(fixture.supervisor.watched(), Vec::<i32>::new());
    // One that dies while it has no work is replaced without anybody's notice.
    for _ in 0..3 {
        assert_eq!(fixture.value("result = 1").await, json!(1));
        let next = fixture.operator.zygotes().await[0];
        assert_ne!(next, pid);
        kill(Pid::from_raw(next), Signal::SIGKILL).expect("it runs");
    }
}

async fn futures_join(fixture: &Fixture, attempts: &[crate::fixture::Prepared]) -> Vec<Outcome> {
    let [one, two, three] = attempts else { panic!("three are expected") };
    let (one, two, three) = tokio::join!(fixture.execute(one), fixture.execute(two), fixture.execute(three));
    vec![one, two, three]
}

#[tokio::test]
async fn a_stop_lets_finally_run_and_then_kills() {
    let fixture = Fixture::new();
    for (code, expected, printed) in [
        (
            "import time\ntry:\n    print('ready')\n    time.sleep(60)\nexcept Exception:\n    print('swallowed')\nfinally:\n    print('cleaned')",
            "the task was stopped",
            "task.stdout info: cleaned\n",
        ),
        (
            "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready')\nwhile True:\n    time.sleep(60)",
            "the task was stopped; it had to be killed because it did not end within 0.5 s after SIGTERM",
            "",
        ),
        (
            "import time\nprint('ready')\nwhile True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        print('again')",
            "the task was stopped; it had to be killed because it did not end within 0.5 s after SIGTERM",
            "task.stdout info: again\n",
        ),
        ("print('ready')\nwhile True:\n    print('x' * 1000)", "the task was stopped", "AirflowTaskTerminated"),
        (
            "import subprocess\np = subprocess.Popen(['bash', '-c', 'trap \"echo trapped; exit\" TERM; echo ready; sleep 60 & wait'])\ntry:\n    p.wait()\nfinally:\n    p.wait()",
            "the task was stopped",
            "task.stdout info: trapped\n",
        ),
    ] {
        let prepared = fixture.attempt(json!({ "code": code }));
        let stopper = async {
            until("ready", || prepared.log().contains("ready")).await;
            prepared.attempt.stop.cancel();
        };
        let (outcome, ()) = tokio::join!(fixture.execute(&prepared), stopper);
        assert_eq!(error_of(outcome), expected, "{code}");
        let log = prepared.log();
        assert!(log.contains(printed), "{code}\n{}", &log[log.len().saturating_sub(2000)..]);
    }
    assert_eq!(zygote(&fixture).await.2, 0, "the zygote has no children left");
}

#[tokio::test]
async fn a_stopped_attempt_starts_nothing() {
    let fixture = Fixture::new();
    let prepared = fixture.attempt(json!({"code": "print('started')"}));
    prepared.attempt.stop.cancel();
    assert_eq!(error_of(fixture.execute(&prepared).await), "the task was stopped before it had started");
    assert_eq!(fixture.operator.zygotes().await, Vec::<i32>::new());
}

#[tokio::test]
async fn a_dropped_attempt_leaves_nothing() {
    let fixture = Fixture::new();
    let prepared = fixture.attempt(json!({"code": "import os, time\nprint('pid', os.getpid())\ntime.sleep(60)"}));
    tokio::select! {
        outcome = fixture.operator.execute(&prepared.attempt) => panic!("{outcome:?}"),
        () = until("its start", || logged(&prepared.sink, "pid").is_some()) => {}
    }
    let pid = logged(&prepared.sink, "pid").expect("it was printed");
    until("its end", || !is_alive(pid)).await;
    until("the end of its watch", || fixture.supervisor.watched().is_empty()).await;
    assert_eq!(fixture.value("result = 1").await, json!(1));
}

#[tokio::test]
async fn what_a_task_leaves_in_the_background_ends_with_it() {
    let fixture = Fixture::new();
    let prepared =
        fixture.attempt(json!({"code": "import subprocess\nprint('sub', subprocess.Popen(['sleep', '60']).pid)"}));
    let start = Instant::now();
    assert_eq!(fixture.execute(&prepared).await, Outcome::Success { value: None });
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(!is_alive(logged(&prepared.sink, "sub").expect("it was printed")));
}

#[tokio::test]
async fn shutdown_ends_what_runs() {
    let fixture = Fixture::new();
    let prepared = fixture.attempt(json!({"code": "import os, time\nprint('pid', os.getpid())\ntime.sleep(60)"}));
    let shutdown = async {
        until("its start", || logged(&prepared.sink, "pid").is_some()).await;
        fixture.operator.shutdown().await;
    };
    let (outcome, ()) = tokio::join!(fixture.execute(&prepared), shutdown);
    assert!(matches!(outcome, Outcome::Failed { retry: true, .. }), "{outcome:?}");
    assert!(!is_alive(logged(&prepared.sink, "pid").expect("it was printed")));
    assert_eq!(fixture.operator.zygotes().await, Vec::<i32>::new());
    assert_eq!(fixture.value("result = 1").await, json!(1), "a later attempt starts an interpreter again");
}

/// Dropping the operator closes the socket to the zygote as the end of the worker would.
#[tokio::test]
async fn a_zygote_ends_with_its_worker() {
    let fixture = Fixture::new();
    fixture.value("result = 1").await;
    let pid = fixture.operator.zygotes().await[0];
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    assert_eq!(fixture.value("result = 1").await, json!(1));
    assert_eq!(fixture.operator.zygotes().await, [pid], "signals to the whole container do not end it");
    drop(fixture.operator);
    until("its end", || !is_alive(pid)).await;
}

#[tokio::test]
async fn an_idle_interpreter_is_ended() {
    let fixture = Fixture::with(Options { idle: Duration::from_millis(50), ..Options::default() });
    fixture.operator.prewarm(None).await.expect("there is a python3");
    let pid = fixture.operator.zygotes().await.first().copied();
    if let Some(pid) = pid {
        until("its end", || !is_alive(pid)).await;
    }
    assert_eq!(fixture.value("import time; time.sleep(0.2); result = 1").await, json!(1), "work keeps it");
}

#[tokio::test]
async fn memory_is_limited() {
    let fixture = Fixture::new();
    let code = "x = bytearray(300_000_000)\nresult = len(x)";
    assert_eq!(fixture.value(code).await, json!(300_000_000));
    let (outcome, log, _) = fixture.run(json!({"code": code, "memory": 150_000_000})).await;
    let expected = "MemoryError: the task needed more than its `memory` of 150000000 bytes";
    assert_eq!(error_of(outcome), expected, "{log}");
    assert!(log.contains("line 1, in <module>"), "{log}");
}

#[tokio::test]
async fn the_environment_is_the_tasks_own() {
    let fixture = Fixture::new();
    let code = "import os\nresult = {k: v for k, v in os.environ.items() if k.startswith(('AIRFLOW', 'CARGO', 'OWN'))}\nresult['path'] = 'PATH' in os.environ";
    let (outcome, ..) = fixture.run(json!({"code": code, "env": {"OWN": "1"}})).await;
    let Outcome::Success { value: Some(value) } = outcome else { panic!("{outcome:?}") };
    insta::assert_json_snapshot!(value);
    let (outcome, ..) =
        fixture.run(json!({"code": "import os\nresult = 'CARGO_PKG_NAME' in os.environ", "append_env": true})).await;
    assert_eq!(outcome, Outcome::Success { value: Some(json!(true)) });
    assert_eq!(
        fixture.value("import os\nresult = 'OWN' in os.environ").await,
        json!(false),
        "children do not share it"
    );
    fixture.write("lib/extra_module.py", "X = 5\n");
    let lib = fixture.folder.path().join("dags/lib");
    let (outcome, ..) =
        fixture.run(json!({"code": "import extra_module\nresult = extra_module.X", "env": {"PYTHONPATH": lib}})).await;
    assert_eq!(outcome, Outcome::Success { value: Some(json!(5)) });
}

#[tokio::test]
async fn the_working_folder_is_fresh_or_given() {
    let fixture = Fixture::new();
    let code = "import os\nresult = [os.getcwd(), os.listdir()]\nos.makedirs('a/b')\nopen('a/b/c', 'w').close()";
    for number in 0..2 {
        let scratch = fixture.folder.path().canonicalize().expect("it is there").join(format!("scratch-{number}"));
        assert_eq!(fixture.value(code).await, json!([scratch, []]));
        until("its removal", || !scratch.exists()).await;
    }
    fixture.write("data/file.txt", "");
    let (outcome, ..) = fixture.run(json!({"code": "import os\nresult = os.listdir()", "cwd": "data"})).await;
    assert_eq!(outcome, Outcome::Success { value: Some(json!(["file.txt"])) });
    assert!(!fixture.folder.path().join("scratch-2").exists());
}

#[tokio::test]
async fn virtual_environments_are_used() {
    let fixture = Fixture::new();
    let code = "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'venv', '--without-pip', params['at']], check=True)";
    let venv = fixture.folder.path().join("dags/venv");
    let made = fixture.attempt_of(json!({ "code": code }), &json!({"params": {"at": venv}}), &json!({}));
    assert_eq!(fixture.execute(&made).await, Outcome::Success { value: None }, "{}", made.log());
    let args = json!({"code": "import sys\nresult = [sys.prefix == params['at'], sys.prefix != sys.base_prefix]", "python": "venv"});
    let prepared = fixture.attempt_of(args, &json!({"params": {"at": venv}}), &json!({}));
    assert_eq!(fixture.execute(&prepared).await, Outcome::Success { value: Some(json!([true, true])) });
    assert_eq!(fixture.operator.zygotes().await.len(), 2);
}

#[tokio::test]
async fn an_interpreter_that_does_not_work_says_why() {
    let fixture = Fixture::new();
    for (script, expected) in [
        ("echo 'no license' >&2; exit 3", "it ended with exit status: 3: no license"),
        ("exec true", "it ended with exit status: 0"),
    ] {
        fixture.write("fake-python", &format!("#!/bin/sh\n{script}\n"));
        let fake = fixture.folder.path().join("dags/fake-python");
        std::fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
        let (outcome, ..) = fixture.run(json!({"code": "result = 1", "python": fake})).await;
        let error = error_of(outcome);
        assert!(error.ends_with(&format!("cannot be used: {expected}")), "{error}");
    }
    let fixture = Fixture::with(Options { start_limit: Duration::from_millis(100), ..Options::default() });
    fixture.write("slow-python", "#!/bin/sh\nexec sleep 60\n");
    let slow = fixture.folder.path().join("dags/slow-python");
    std::fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
    let (outcome, ..) = fixture.run(json!({"code": "result = 1", "python": slow})).await;
    let error = error_of(outcome);
    assert!(error.ends_with("cannot be used: it was not ready within 0.1 s"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_has_used_is_known_however_it_ends() {
    let fixture = Fixture::new();
    for code in [
        "sum(range(2_000_000)); x = 'x' * 80_000_000",
        "x = 'x' * 80_000_000; sum(range(2_000_000)); import os; os._exit(3)",
    ] {
        let prepared = fixture.attempt(json!({ "code": code }));
        assert_eq!(prepared.attempt.usage(), None);
        fixture.execute(&prepared).await;
        let usage = prepared.attempt.usage().expect("it has had a process");
        assert!(usage.cpu > Duration::from_millis(5) && usage.peak_bytes > 80_000_000, "{usage:?}");
    }
}
