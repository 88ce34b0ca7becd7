use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use towpath_model::clock::SharedClock;
use towpath_operators::log::Memory;
use towpath_operators::sensor::{
    BashSensor, Error, FileSensor, HttpSensor, ObjectSensor, Poke, Sensing, Sensor, TimeDeltaSensor, TimeSensor,
};
use towpath_operators::{Attempt, Operator, Outcome};

use crate::http::Server;
use crate::support::{Fixture, TokioClock, at};

/// When the fixture's try has started.
const START: &str = "2024-03-06T11:30:00Z";

const SUCCESS: Outcome = Outcome::Success { value: None };

/// Finds what it is told to, and then nothing.
#[derive(Debug, Default)]
struct Script(Mutex<VecDeque<Result<Poke, Error>>>);

#[async_trait]
impl Sensor for Script {
    fn awaits(&self, _: &Attempt) -> Result<String, Error> {
        Ok("the script".to_owned())
    }

    async fn poke(&self, _: &Attempt) -> Result<Poke, Error> {
        self.0.lock().expect("no panic").pop_front().unwrap_or(Ok(Poke::NotYet))
    }
}

fn script(found: impl IntoIterator<Item = Result<Poke, Error>>) -> Sensing<Script> {
    Sensing(Script(Mutex::new(found.into_iter().collect())))
}

/// A fixture whose try has just started, on tokio's clock.
fn fresh() -> (Fixture, SharedClock, Arc<Memory>) {
    let clock: SharedClock = Arc::new(TokioClock::new(at(START)));
    let fixture = Fixture::with_clock(Arc::clone(&clock));
    let sink = Arc::clone(&fixture.sink);
    (fixture, clock, sink)
}

fn failed(error: &str, retry: bool) -> Outcome {
    Outcome::Failed { error: error.to_owned(), retry }
}

/// One look at the fixture's noon, rescheduled where it finds nothing.
async fn look<S: Sensor>(sensor: S, fixture: Fixture, mut args: Value) -> Outcome {
    args["mode"] = "reschedule".into();
    Sensing(sensor).execute(&fixture.attempt("a_sensor", args)).await
}

/// A fixture with connections to a bucket of an S3 server that has these objects; the bucket's name.
async fn with_bucket(objects: &[&str]) -> (impl Fn() -> Fixture, String) {
    use towpath_operators::object_storage::store::ObjectStoreExt as _;
    use towpath_operators::object_storage::{Location, open};
    let (server, bucket) = towpath_testkit::s3_bucket();
    let server = server.replace(':', "%3A").replace('/', "%2F");
    let uri = format!("aws://id:secret@/?region_name=us-east-1&endpoint_url={server}");
    let connection = towpath_model::connection::Connection::from_uri("lake", &uri).expect("a connection");
    let store = open(&Location::parse(&format!("s3://{bucket}")).expect("a URL"), Some(&connection)).expect("a store");
    for name in objects {
        store.put(&(*name).into(), "text".into()).await.expect("put");
    }
    (move || Fixture::new().connection("lake", &uri).connection("db", "postgres://x/y"), bucket)
}

#[tokio::test]
async fn connections_of_stores_are_tested() {
    let (server, bucket) = towpath_testkit::s3_bucket();
    for (extra, expected) in [
        (
            json!({"endpoint_url": server}),
            Ok("the settings fit together; name a bucket (extra `bucket_name`) to have the store asked".to_owned()),
        ),
        (
            json!({"endpoint_url": server, "bucket_name": bucket}),
            Ok(format!("s3://{bucket} answers, and has no objects")),
        ),
        (
            json!({"endpoint_url": server, "bucket_name": "none"}),
            Err("`s3://none/`: there is no such bucket".to_owned()),
        ),
    ] {
        let fields = json!({"conn_type": "aws", "login": "id", "password": "secret", "extra": extra}).to_string();
        let connection = towpath_model::connection::Connection::from_json("lake", &fields).expect("a connection");
        let told = towpath_operators::connection_test::test(&connection, Duration::from_secs(30)).await;
        assert_eq!(told, expected, "{extra}");
    }
}

#[tokio::test]
async fn objects_of_stores_are_waited_for() {
    let (fixture, bucket) = with_bucket(&["in/2026/a.csv", "in/2026/b.csv", "in/_tmp/c.csv"]).await;
    let s3 = |path: &str| format!("s3://{bucket}/{path}");
    for (path, there) in
        [("in/2026/a.csv", true), ("in/2026", true), ("in/*/b.csv", true), ("in/c.csv", false), ("in/_tmp/*", true)]
    {
        let expected = if there { SUCCESS } else { LATER() };
        let args = json!({"filepath": s3(path), "fs_conn_id": "lake"});
        assert_eq!(look(FileSensor, fixture(), args).await, expected, "{path}");
    }
    for (args, expected) in [
        (json!({"bucket_key": [s3("in/2026/a.csv"), s3("in/2026/b.csv")], "aws_conn_id": "lake"}), SUCCESS),
        (json!({"bucket_key": [s3("in/2026/a.csv"), s3("none")], "aws_conn_id": "lake"}), LATER()),
        (json!({"bucket_key": ["/in/2026/a.csv"], "bucket_name": bucket, "aws_conn_id": "lake"}), SUCCESS),
        (json!({"bucket_key": [s3("in/*/a.csv")], "wildcard_match": true, "aws_conn_id": "lake"}), SUCCESS),
        (
            json!({"bucket_key": [s3("in/*/a.csv")], "aws_conn_id": "lake"}),
            failed(
                &format!("`{}` is a glob; set `wildcard_match: true` if it is meant as one", s3("in/*/a.csv")),
                false,
            ),
        ),
        (
            json!({"bucket_key": ["in/a.csv"]}),
            failed(
                "`bucket_key` is `in/a.csv`, in no bucket; write s3://bucket/in/a.csv, or name the bucket as `bucket_name`",
                false,
            ),
        ),
        (
            json!({"bucket_key": ["s3://b/a"], "aws_conn_id": "db"}),
            failed("connection `db` is of type `postgres`, and `s3://b/a` needs one of type aws or s3", false),
        ),
    ] {
        assert_eq!(look(ObjectSensor, fixture(), args.clone()).await, expected, "{args}");
    }
}

const LATER: fn() -> Outcome = || Outcome::Reschedule { at: at("2024-03-06T12:01:00Z") };

#[tokio::test(start_paused = true)]
async fn it_looks_until_it_is_so() {
    let (fixture, clock, sink) = fresh();
    let attempt = fixture.attempt("a_sensor", json!({"poke_interval": 60}));
    let sensor = script([Ok(Poke::NotYet), Ok(Poke::NotYet), Ok(Poke::Done(Some(json!("x"))))]);
    assert_eq!(sensor.execute(&attempt).await, Outcome::Success { value: Some(json!("x")) });
    assert_eq!((clock.now() - at(START)).num_seconds(), 120);
    let waiting = "towpath info: Waiting for the script: looks every 1m 0s, for 7d 0h at most, keeping its slot";
    assert_eq!(sink.text(), format!("{waiting}\ntowpath info: The wait is over\n"));
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_after_the_timeout() {
    let text = "it has waited in vain for 3m 0s, `timeout` is 2m 30s";
    for (soft_fail, expected) in
        [(false, failed(text, false)), (true, Outcome::Skipped { reason: format!("{text} (soft_fail)") })]
    {
        let (fixture, clock, _) = fresh();
        let attempt = fixture.attempt("a_sensor", json!({"poke_interval": 60, "timeout": 150, "soft_fail": soft_fail}));
        assert_eq!(script([]).execute(&attempt).await, expected);
        assert_eq!((clock.now() - at(START)).num_seconds(), 180);
    }
}

#[tokio::test(start_paused = true)]
async fn growing_waits_end_with_the_timeout() {
    let (fixture, clock, _) = fresh();
    let args = json!({"poke_interval": 60, "timeout": 1_000, "exponential_backoff": true});
    assert!(matches!(
        script([]).execute(&fixture.attempt("a_sensor", args)).await,
        Outcome::Failed { retry: false, .. }
    ));
    let waited = (clock.now() - at(START)).num_milliseconds();
    assert!((1_000_001..=1_001_000).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_rescheduled_sensor_counts_from_the_start_of_its_try() {
    let sensor = script([]);
    for (start, resumed, expected) in [
        ("2024-03-06T12:00:00Z", false, LATER()),
        ("2024-03-06T11:00:00Z", true, LATER()),
        ("2024-03-06T10:59:59Z", true, failed("it has waited in vain for 1h 0m, `timeout` is 1h 0m", false)),
    ] {
        let mut fixture = Fixture::new();
        fixture.context.start_date = at(start);
        fixture.context.is_resumed = resumed;
        let sink = Arc::clone(&fixture.sink);
        let attempt = fixture.attempt("a_sensor", json!({"mode": "reschedule", "timeout": 3_600}));
        assert_eq!(sensor.execute(&attempt).await, expected, "{start}");
        // What it waits for is told once.
        assert_eq!(sink.lines().len(), usize::from(!resumed), "{start}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sensor_that_is_stopped_ends() {
    let (fixture, clock, _) = fresh();
    let stop = fixture.stop.clone();
    let attempt = fixture.attempt("a_sensor", json!({"poke_interval": 600}));
    let stopper = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        stop.cancel();
    };
    let sensor = script([]);
    let (outcome, ()) = tokio::join!(sensor.execute(&attempt), stopper);
    assert_eq!(outcome, failed("the sensor was told to stop", true));
    assert_eq!((clock.now() - at(START)).num_seconds(), 5);
}

#[tokio::test(start_paused = true)]
async fn looks_that_go_wrong() {
    let wrong = || Err(Error::Passing("no answer".to_owned()));
    let (fixture, _, sink) = fresh();
    let attempt = fixture.attempt("a_sensor", json!({"silent_fail": true}));
    assert_eq!(script([wrong(), Ok(Poke::Done(None))]).execute(&attempt).await, SUCCESS);
    assert!(sink.text().contains("error: This look went wrong, the wait goes on: no answer\n"), "{}", sink.text());
    let attempt = fresh().0.attempt("a_sensor", json!({}));
    assert_eq!(script([wrong()]).execute(&attempt).await, failed("no answer", true));
    let attempt = fresh().0.attempt("a_sensor", json!({"mode": "never"}));
    assert_eq!(script([]).execute(&attempt).await, failed("`mode` is `poke` or `reschedule`, not `never`", false));
}

#[tokio::test]
async fn a_file_is_waited_for_in_the_project_folder() {
    for (file, path, found) in [
        ("in/x.csv", "in/x.csv", true),
        ("in/x.csv", "in/y.csv", false),
        ("in/a/b/x.csv", "in/**/x.csv", true),
        ("in/a/x.csv", "in", true),
    ] {
        let fixture = Fixture::new();
        let sink = Arc::clone(&fixture.sink);
        let file = fixture.folder.path().join(file);
        std::fs::create_dir_all(file.parent().expect("a parent")).expect("created");
        std::fs::write(&file, "x").expect("written");
        let outcome = look(FileSensor, fixture, json!({"filepath": path, "recursive": true})).await;
        assert_eq!(outcome, if found { SUCCESS } else { LATER() }, "{path}");
        assert_eq!(sink.text().contains(&format!("Found `{}`, last modified 20", file.display())), found, "{path}");
    }
    assert_eq!(
        look(FileSensor, Fixture::new(), json!({"filepath": " "})).await,
        failed("`filepath` is empty; write the file, folder or glob to wait for", false)
    );
}

#[tokio::test]
async fn a_connection_may_say_where_files_are() {
    let data = tempfile::tempdir().expect("a folder");
    std::fs::write(data.path().join("x.csv"), "x").expect("written");
    let uri = format!("fs://?path={}", data.path().display());
    let args = json!({"filepath": "x.*", "fs_conn_id": "landing"});
    assert_eq!(look(FileSensor, Fixture::new().connection("landing", &uri), args.clone()).await, SUCCESS);
    let Outcome::Failed { error, retry: true } = look(FileSensor, Fixture::new(), args).await else {
        panic!("no failure")
    };
    assert!(error.starts_with("connection `landing` does not exist; create it with `towpath connections add landing`, or leave `fs_conn_id` out"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_comes_later_is_found() {
    let (fixture, _, _) = fresh();
    let file = fixture.folder.path().join("late");
    let attempt = fixture.attempt("file_sensor", json!({"filepath": "late", "poke_interval": 10}));
    let writer = async {
        tokio::time::sleep(Duration::from_secs(35)).await;
        std::fs::write(&file, "x").expect("written");
    };
    let sensor = Sensing(FileSensor);
    let (outcome, ()) = tokio::join!(sensor.execute(&attempt), writer);
    assert_eq!(outcome, SUCCESS);
}

#[tokio::test]
async fn an_endpoint_answers_well_or_not_yet() {
    let server = Server::start().await;
    for (args, expected) in [
        (json!({"endpoint": server.url("/json")}), Some(SUCCESS)),
        (json!({"endpoint": server.url("/json"), "response_check": "response.json.ok"}), Some(SUCCESS)),
        (json!({"endpoint": server.url("/json"), "response_check": "response.json.rows | length > 2"}), Some(LATER())),
        (json!({"endpoint": server.url("/no such path")}), Some(LATER())),
        (json!({"endpoint": server.url("/busy"), "response_error_codes_allowlist": ["503"]}), Some(LATER())),
        (json!({"endpoint": server.url("/no such path"), "response_error_codes_allowlist": ["503"]}), None),
        (json!({"endpoint": server.url("/busy")}), None),
        // `timeout` is that of the sensor, not of the exchange.
        (
            json!({"endpoint": server.url("/busy"), "timeout": 0, "response_error_codes_allowlist": ["503"]}),
            Some(failed("it has waited in vain for 30m 0s, `timeout` is 0ms", false)),
        ),
    ] {
        let outcome = look(HttpSensor::default(), Fixture::new(), args.clone()).await;
        match expected {
            Some(expected) => assert_eq!(outcome, expected, "{args}"),
            None => {
                let Outcome::Failed { error, retry: true } = outcome else { panic!("{args}: {outcome:?}") };
                assert!(error.contains(" answered "), "{args}: {error}");
            }
        }
    }
    let args = json!({"endpoint": server.url("/json"), "request_params": {"day": "2024-03-05"}});
    assert_eq!(look(HttpSensor::default(), Fixture::new(), args).await, SUCCESS);
    assert!(server.last().starts_with("GET /json?day=2024-03-05 "), "{}", server.last());
}

#[tokio::test]
async fn an_exchange_that_hangs_is_stopped() {
    let server = Server::start().await;
    let fixture = Fixture::new();
    let (stop, sink) = (fixture.stop.clone(), Arc::clone(&fixture.sink));
    let attempt = fixture.attempt("http_sensor", json!({"endpoint": server.url("/never")}));
    let stopper = async {
        while !sink.text().contains("GET http") {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stop.cancel();
    };
    let sensor = Sensing(HttpSensor::default());
    let (outcome, ()) = tokio::join!(sensor.execute(&attempt), stopper);
    assert_eq!(outcome, failed("the sensor was told to stop", true));
}

#[tokio::test]
async fn exit_codes_decide() {
    let hopeless = "bash exited with code 2; only 1 (`retry_exit_code`) means: not yet";
    for (args, expected) in [
        (json!({"bash_command": "true"}), SUCCESS),
        (json!({"bash_command": "exit 7"}), LATER()),
        (json!({"bash_command": "exit 99"}), LATER()),
        (json!({"bash_command": "kill -TERM $$"}), LATER()),
        (json!({"bash_command": "exit 1", "retry_exit_code": 1}), LATER()),
        (json!({"bash_command": "exit 2", "retry_exit_code": 1}), failed(hopeless, false)),
        (
            json!({"bash_command": "exit 2", "retry_exit_code": 1, "soft_fail": true}),
            Outcome::Skipped { reason: format!("{hopeless} (soft_fail)") },
        ),
        (json!({"bash_command": ""}), failed("`bash_command` is empty; write the command to run", false)),
    ] {
        assert_eq!(look(BashSensor, Fixture::new(), args.clone()).await, expected, "{args}");
    }
}

#[tokio::test]
async fn each_look_of_a_command_has_a_folder_of_its_own() {
    let fixture = Fixture::new();
    let counter = fixture.folder.path().join("count");
    let command =
        format!("test -e mine && exit 9; echo x > mine; echo x >> {0}; test $(wc -l < {0}) = 3", counter.display());
    let args = json!({"bash_command": command, "retry_exit_code": 1, "poke_interval": 0});
    assert_eq!(Sensing(BashSensor).execute(&fixture.attempt("bash_sensor", args)).await, SUCCESS);
    assert_eq!(std::fs::read_to_string(counter).ok(), None, "the fixture's folder went with the attempt");
}

#[tokio::test]
async fn a_command_that_hangs_is_stopped() {
    let fixture = Fixture::new();
    let (stop, sink) = (fixture.stop.clone(), Arc::clone(&fixture.sink));
    let attempt = fixture.attempt("bash_sensor", json!({"bash_command": "echo ready; sleep 1000"}));
    let stopper = async {
        while !sink.text().contains("ready\n") {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stop.cancel();
    };
    let sensor = Sensing(BashSensor);
    let (outcome, ()) = tokio::join!(sensor.execute(&attempt), stopper);
    assert_eq!(outcome, failed("the sensor was told to stop", true));
}

#[tokio::test]
async fn times_of_the_day_are_those_of_the_dags_zone() {
    // The clock shows noon in UTC, the try has started half an hour before.
    for (zone, time, expected) in [
        ("UTC", "11:59:59", SUCCESS),
        ("UTC", "12:00", LATER()),
        ("UTC", "12:00:30", LATER()),
        ("America/New_York", "06:59", SUCCESS),
        ("America/New_York", "07:01", LATER()),
        // There it is the next day already.
        ("Pacific/Auckland", "00:59", SUCCESS),
        ("Pacific/Auckland", "23:00", LATER()),
    ] {
        let mut fixture = Fixture::new();
        fixture.context.timezone = zone.parse().expect("a zone");
        assert_eq!(look(TimeSensor, fixture, json!({"target_time": time})).await, expected, "{zone} {time}");
    }
    let wrong = "`target_time` must be a time such as `06:30` or `06:30:15`, not `noon`";
    assert_eq!(look(TimeSensor, Fixture::new(), json!({"target_time": "noon"})).await, failed(wrong, false));
}

#[tokio::test]
async fn a_time_of_the_day_stays_that_of_the_day_of_the_start() {
    let mut fixture = Fixture::new();
    fixture.context.start_date = at("2024-03-05T23:50:00Z");
    assert_eq!(look(TimeSensor, fixture, json!({"target_time": "23:55"})).await, SUCCESS);
}

#[tokio::test]
async fn deltas_count_from_the_end_of_the_interval() {
    // The interval ends at 07:08:09, four hours, 51 minutes and 51 seconds before the clock.
    for (delta, interval, expected) in [
        (17_510.0, true, SUCCESS),
        (17_511.0, true, LATER()),
        (90_000.0, true, LATER()),
        // `run_after` is a day earlier.
        (90_000.0, false, SUCCESS),
    ] {
        let mut fixture = Fixture::new();
        if !interval {
            fixture.context.data_interval = None;
        }
        assert_eq!(look(TimeDeltaSensor, fixture, json!({"delta": delta})).await, expected, "{delta} {interval}");
    }
}
