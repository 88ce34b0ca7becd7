//! Alerts from the end of a task to whoever is to be told, on both databases, through servers on this machine.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

mod servers;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use servers::{HookServer, MailServer};
use tokio_util::sync::CancellationToken;
use towpath_alerts::{Options, Sender, Smtp};
use towpath_model::alert::{Alert, Event, Target};
use towpath_model::clock::{Clock, ManualClock};
use towpath_model::connection::Connection;
use towpath_model::dag::{Dag, DagSpec, Task};
use towpath_model::run::TriggeredBy;
use towpath_store::{
    AlertRecord, Claim, DagUpsert, JobType, Key, LogChunk, LogKey, NewJob, NewRun, Report, ReportOutcome, Store,
};
use towpath_testkit::TestDb;

/// A store in which the task `load` of the DAG `etl` has failed for good at 06:00:09, which `targets` are told of.
struct World {
    store: Store,
    clock: Arc<ManualClock>,
    run_key: i64,
    folder: tempfile::TempDir,
    _db: TestDb,
}

fn begin() -> DateTime<Utc> {
    "2026-02-03T06:00:00Z".parse().unwrap()
}

fn mail(to: &[&str]) -> Target {
    Target::Email(to.iter().map(ToString::to_string).collect())
}

impl World {
    async fn new(db: TestDb, targets: Vec<Target>, run_targets: Vec<Target>) -> Self {
        let options = towpath_store::Options { url: db.url.clone(), key: Key::random(), max_connections: 4 };
        let store = Store::connect(options).await.unwrap();
        store.migrate().await.unwrap();
        let clock = Arc::new(ManualClock::new(begin()));
        let alerts = |targets: Vec<Target>| -> Vec<Alert> {
            targets.into_iter().map(|target| Alert { on: vec![Event::Failure], target }).collect()
        };
        let mut spec = DagSpec::new("etl");
        let mut task = Task::new("load", "bash");
        task.retry.retries = 2;
        task.alerts = alerts(targets);
        spec.tasks.push(task);
        spec.alerts = alerts(run_targets);
        let dag = Arc::new(Dag::build(spec).unwrap());
        let upsert = DagUpsert { dag, file: "etl.yml".into(), source: "made up".into() };
        store.sync_dags(&[upsert], false, clock.now()).await.unwrap();
        let mut world = Self { store, clock, run_key: 0, folder: tempfile::tempdir().unwrap(), _db: db };
        world.run_key = world.fail("first", begin()).await;
        world
    }

    /// A run of `etl` that fails.
    async fn fail(&self, run_id: &str, logical_date: DateTime<Utc>) -> i64 {
        let store = &self.store;
        let new = NewRun {
            run_id: Some(run_id.to_owned()),
            logical_date: Some(logical_date),
            ..NewRun::manual("etl", self.clock.now(), TriggeredBy::RestApi)
        };
        let run = store.create_run(new, self.clock.now()).await.unwrap().run;
        let job = NewJob {
            job_type: JobType::Worker,
            hostname: "alpha".into(),
            pid: 7,
            process_mark: "mark".into(),
            queues: vec!["default".into()],
            slots: 1,
        };
        let worker = store.register_job(job, Duration::from_secs(60), self.clock.now()).await.unwrap();
        let claim = |slots| Claim { worker, slots, queues: vec!["default".into()], hostname: "alpha".into(), pid: 7 };
        let task = store.report(&[], &[], &claim(1), self.clock.now()).await.unwrap().claimed.pop().unwrap();
        self.clock.advance(TimeDelta::seconds(9));
        let line = |n: usize| {
            format!(
                "{}\n",
                json!({"timestamp": self.clock.now(), "event": format!("\u{1b}[1mline {n}\u{1b}[0m ü <&>")})
            )
        };
        let log = LogChunk {
            key: LogKey { task: task.key.clone(), try_number: task.try_number },
            seq: 0,
            lines: 30,
            text: (1..=30).map(line).collect(),
        };
        let report = Report {
            key: task.key,
            attempt: task.attempt,
            outcome: ReportOutcome::Failed { retry: false },
            note: Some("exit code 1".into()),
            xcoms: Vec::new(),
            asset_extra: Default::default(),
            evidence: Default::default(),
            ended_at: self.clock.now(),
        };
        store.report(&[report], &[log], &claim(0), self.clock.now()).await.unwrap();
        run.key
    }

    fn sender(&self, smtp: Option<&MailServer>) -> Sender {
        let smtp = smtp
            .map(|server| Smtp::new(&format!("smtp://{}", server.address), "Towpath <towpath@example.org>").unwrap());
        let options = Options {
            store: self.store.clone(),
            clock: Arc::clone(&self.clock) as _,
            smtp,
            base_url: Some("https://towpath.example.org/".to_owned()),
            project_folder: self.folder.path().to_owned(),
        };
        Sender::new(options).unwrap()
    }

    fn pass(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    async fn alerts(&self) -> Vec<AlertRecord> {
        self.store.alerts_of_run(self.run_key).await.unwrap()
    }

    async fn alert(&self) -> AlertRecord {
        let [alert] = self.alerts().await.try_into().unwrap();
        alert
    }
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} takes too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_mail() {
    for db in towpath_testkit::databases().await {
        let server = MailServer::open().await;
        let to = ["ops@example.org", "Data Team <data@example.org>"];
        let world = World::new(db, vec![mail(&to)], vec![]).await;
        let sender = world.sender(Some(&server));
        assert_eq!(sender.pass().await.unwrap(), 1);
        assert_eq!(sender.pass().await.unwrap(), 0);
        let [mail] = server.mails().try_into().unwrap();
        assert_eq!(
            (mail.from.as_str(), mail.to.as_slice()),
            ("towpath@example.org", &["ops@example.org".to_owned(), "data@example.org".to_owned()][..])
        );
        // The id is made from the attempt's, which is random.
        let id = mail.data.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap().to_owned();
        assert!(id.len() == 46 && id.ends_with("@towpath>"), "{id}");
        insta::assert_snapshot!("mail", mail.data.replace(&id, "[id]"));
        let alert = world.alert().await;
        assert_eq!((alert.sent_at, alert.next_at, alert.error), (Some(world.clock.now()), None, None));
    }
}

#[tokio::test]
async fn a_mail_of_a_missed_deadline() {
    for db in towpath_testkit::databases().await {
        let server = MailServer::open().await;
        let world = World::new(db, vec![], vec![]).await;
        let mut spec = DagSpec::new("late");
        spec.tasks.push(Task::new("slow", "bash"));
        spec.deadlines = vec![towpath_model::deadline::Deadline {
            name: Some("report".to_owned()),
            reference: towpath_model::deadline::Reference::QueuedAt,
            interval_us: 1_800_000_000,
            targets: vec![mail(&["ops@example.org"])],
        }];
        let upsert = DagUpsert { dag: Arc::new(Dag::build(spec).unwrap()), file: "late.yml".into(), source: "".into() };
        world.store.sync_dags(&[upsert], false, world.clock.now()).await.unwrap();
        let new = NewRun { run_id: Some("one".to_owned()), ..NewRun::manual("late", begin(), TriggeredBy::Cli) };
        world.store.create_run(new, world.clock.now()).await.unwrap();
        let sender = world.sender(Some(&server));
        assert_eq!(world.store.miss_deadlines(world.clock.now()).await.unwrap(), 0);
        world.pass(1_800);
        // Whoever is killed before the mail is sent has written that it is to be.
        assert_eq!(world.store.miss_deadlines(world.clock.now()).await.unwrap(), 1);
        assert_eq!((sender.pass().await.unwrap(), sender.pass().await.unwrap()), (1, 0));
        let [mail] = server.mails().try_into().unwrap();
        let id = mail.data.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap().to_owned();
        insta::assert_snapshot!("mail_of_a_missed_deadline", mail.data.replace(&id, "[id]"));
    }
}

#[tokio::test]
async fn hooks() {
    for db in towpath_testkit::databases().await {
        let server = HookServer::open().await;
        let to = |path: &str| format!("{}/{path}", server.address);
        let targets = vec![
            Target::Webhook(to("generic")),
            Target::Slack(to("slack")),
            Target::Teams(to("teams")),
            Target::Slack("slack_alerts".to_owned()),
        ];
        let world = World::new(db, targets, vec![Target::Webhook(to("run")), Target::Slack(to("slack_run"))]).await;
        let connection = Connection {
            conn_id: "slack_alerts".to_owned(),
            conn_type: "slackwebhook".to_owned(),
            host: Some(to("")),
            password: Some("secret/path".into()),
            ..Connection::default()
        };
        world.store.set_connection(&connection, begin()).await.unwrap();
        assert_eq!(world.sender(None).pass().await.unwrap(), 6);
        let mut taken = server.taken();
        taken.sort_by(|a, b| a.0.cmp(&b.0));
        let slack = taken.iter().find(|(path, _)| path == "/slack").unwrap().1.clone();
        let by_connection = taken.iter().position(|(path, _)| path == "/secret/path").unwrap();
        assert_eq!(taken.remove(by_connection).1, slack);
        for (_, body) in taken.iter_mut().filter(|(_, body)| body.get("id").is_some()) {
            let id = body["id"].take();
            assert!(id.as_str().unwrap().starts_with("etl/first/1/"), "{id}");
        }
        let text = taken.iter().map(|(path, body)| format!("{path}\n{body:#}\n")).collect::<String>();
        insta::assert_snapshot!("hooks", text);
        assert!(world.alerts().await.iter().all(|alert| alert.sent_at.is_some()));
    }
}

#[tokio::test]
async fn a_command() {
    for db in towpath_testkit::databases().await {
        let commands = ["cat > told.json", "echo some words >&2; exit 3"].map(|c| Target::Command(c.to_owned()));
        let world = World::new(db, commands.to_vec(), vec![]).await;
        let sender = world.sender(None);
        assert_eq!(sender.pass().await.unwrap(), 2);
        let told = std::fs::read_to_string(world.folder.path().join("told.json")).unwrap();
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            (&told["task_id"], &told["event"], &told["reason"]),
            (&json!("load"), &json!("failure"), &json!("exit code 1"))
        );
        // One that fails is tried three times.
        for wait in [10, 20] {
            assert_eq!(world.alerts().await[1].next_at, Some(world.clock.now() + TimeDelta::seconds(wait)));
            world.pass(wait);
            assert_eq!(sender.pass().await.unwrap(), 1);
        }
        let [told, failed] = world.alerts().await.try_into().unwrap();
        assert!(told.sent_at.is_some());
        assert_eq!((failed.sent_at, failed.next_at, failed.attempts), (None, None, 3));
        assert_eq!(failed.error.as_deref(), Some("the command ended with exit status: 3: some words"));
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for() {
    for db in towpath_testkit::databases().await {
        let server = MailServer::open().await;
        let nowhere = server.at("127.0.0.1:9");
        let world = World::new(db, vec![mail(&["ops@example.org"])], vec![]).await;
        let sender = world.sender(Some(&nowhere));
        for (attempts, wait) in [(1, 10), (2, 20), (3, 40)] {
            assert_eq!(sender.pass().await.unwrap(), 1);
            let alert = world.alert().await;
            assert_eq!((alert.attempts, alert.next_at), (attempts, Some(world.clock.now() + TimeDelta::seconds(wait))));
            assert!(alert.error.as_deref().unwrap().to_lowercase().contains("refused"), "{alert:?}");
            world.pass(wait - 1);
            assert_eq!(sender.pass().await.unwrap(), 0, "it is not time yet");
            world.pass(1);
        }
        assert_eq!(world.sender(Some(&server)).pass().await.unwrap(), 1);
        assert_eq!(server.mails().len(), 1);
        let alert = world.alert().await;
        assert!(alert.sent_at.is_some() && alert.error.is_none(), "{alert:?}");
    }
}

#[tokio::test]
async fn after_a_day_it_is_given_up() {
    for db in towpath_testkit::databases().await {
        let hook = HookServer::open().await;
        let world = World::new(db, vec![Target::Webhook(hook.address.clone())], vec![]).await;
        let sender = world.sender(None);
        hook.answers(&[503; 1_000]);
        let mut attempts = 0;
        while let Some(at) = world.store.next_alert_at().await.unwrap() {
            world.clock.set(at);
            attempts += sender.pass().await.unwrap();
        }
        // The waits of 10 s to an hour, and then one an hour.
        assert!((28..=34).contains(&attempts), "{attempts}");
        let alert = world.alert().await;
        assert_eq!(alert.error.as_deref(), Some("it answered 503 Service Unavailable: words"));
        assert!(alert.sent_at.is_none() && world.clock.now() <= alert.created_at + TimeDelta::hours(24));
    }
}

#[tokio::test]
async fn a_refusal_is_final_and_a_delay_is_not() {
    for db in towpath_testkit::databases().await {
        let server = MailServer::open().await;
        let hook = HookServer::open().await;
        hook.answers(&[404]);
        let targets = vec![
            mail(&["nobody@example.org"]),
            mail(&["busy@example.org"]),
            Target::Webhook(hook.address.clone()),
            Target::Teams("nowhere".to_owned()),
        ];
        let world = World::new(db, targets, vec![]).await;
        world.sender(Some(&server)).pass().await.unwrap();
        let all = world.alerts().await;
        for (alert, (is_over, expected)) in all.iter().zip([
            (true, "no such mailbox"),
            (false, "come back later"),
            (true, "it answered 404 Not Found: words"),
            (false, "there is no connection `nowhere`"),
        ]) {
            let error = alert.error.as_deref().unwrap();
            assert!(
                error.contains(expected) && alert.next_at.is_none() == is_over && alert.sent_at.is_none(),
                "{alert:?}"
            );
        }
    }
}

#[tokio::test]
async fn without_a_mail_server_mails_are_given_up_at_once() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db, vec![mail(&["ops@example.org"])], vec![]).await;
        let sender = world.sender(None);
        assert_eq!(sender.pass().await.unwrap(), 1);
        let alert = world.alert().await;
        assert!(alert.error.as_deref().unwrap().starts_with("there is no mail server; set `smtp_url`"), "{alert:?}");
        assert_eq!((alert.attempts, alert.next_at, sender.pass().await.unwrap()), (1, None, 0));
    }
}

/// A sender dies with a mail half sent; the next one sends it, when the lease is over and not before.
#[tokio::test]
async fn a_sender_that_is_killed_leaves_its_mail_to_the_next() {
    for db in towpath_testkit::databases().await {
        let silent = MailServer::silent().await;
        let world = World::new(db, vec![mail(&["ops@example.org"])], vec![]).await;
        let sender = world.sender(Some(&silent));
        let killed = tokio::spawn(async move { sender.pass().await });
        until("the visit", async || silent.visitors.load(Ordering::SeqCst) == 1).await;
        killed.abort();
        assert!(killed.await.unwrap_err().is_cancelled());
        let heir = world.sender(Some(&silent));
        assert_eq!(heir.pass().await.unwrap(), 0, "the dead one may be alive");
        world.pass(179);
        assert_eq!(heir.pass().await.unwrap(), 0);
        world.pass(1);
        silent.let_in();
        assert_eq!(heir.pass().await.unwrap(), 1);
        assert_eq!(silent.mails().len(), 1);
        let alert = world.alert().await;
        assert_eq!((alert.attempts, alert.sent_at), (2, Some(world.clock.now())));
    }
}

/// Two that run beside each other are woken by what happens, and send each alert once.
#[tokio::test]
async fn senders_side_by_side() {
    for db in towpath_testkit::databases().await {
        let server = MailServer::open().await;
        let hook = HookServer::open().await;
        let world =
            World::new(db, vec![mail(&["ops@example.org"]), Target::Webhook(hook.address.clone())], vec![]).await;
        let stop = CancellationToken::new();
        let running: Vec<_> = (0..2)
            .map(|_| tokio::spawn(world.sender(Some(&server)).run(stop.clone(), CancellationToken::new())))
            .collect();
        for n in 1..20 {
            world.fail(&format!("run_{n}"), begin() + TimeDelta::hours(n)).await;
        }
        let is_done = async || world.store.next_alert_at().await.unwrap().is_none();
        until("sending", is_done).await;
        assert_eq!((server.mails().len(), hook.taken().len()), (20, 20));
        stop.cancel();
        for sender in running {
            sender.await.unwrap().unwrap();
        }
        let ids: std::collections::BTreeSet<String> =
            hook.taken().iter().map(|(_, body)| body["id"].to_string()).collect();
        assert_eq!(ids.len(), 20);
    }
}
