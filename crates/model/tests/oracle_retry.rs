//! Waits between tries against Airflow's, row by row.

use std::time::Duration;

use chrono::{TimeZone, Utc};
use serde::Deserialize;
use towpath_model::retry::{MAX_WAIT, RetryPolicy};

#[derive(Deserialize)]
struct Oracle {
    #[serde(rename = "MAX_RETRY_DELAY")]
    max_retry_delay: u64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    retry_delay: f64,
    retry_exponential_backoff: f64,
    max_retry_delay: Option<f64>,
    try_number: u32,
    /// What Airflow hashed: all cases share the DAG, the task and the date.
    hash_input: String,
    wait_seconds: f64,
}

#[test]
fn every_row_agrees() {
    let oracle: Oracle = serde_json::from_str(include_str!("data/retry-backoff.json")).unwrap();
    assert_eq!(Duration::from_secs(oracle.max_retry_delay), MAX_WAIT);
    assert_eq!(oracle.cases.len(), 180);
    let date = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
    for case in &oracle.cases {
        assert_eq!(case.hash_input, format!("d#t#2026-01-01 00:00:00+00:00#{}", case.try_number));
        let policy = RetryPolicy {
            retries: 20,
            delay: Duration::from_secs_f64(case.retry_delay),
            exponential_backoff: case.retry_exponential_backoff,
            max_delay: case.max_retry_delay.map(Duration::from_secs_f64),
        };
        let wait = policy.wait("d", "t", Some(date), case.try_number);
        assert_eq!(
            wait,
            Duration::from_secs_f64(case.wait_seconds),
            "delay {} backoff {} max {:?} try {}",
            case.retry_delay,
            case.retry_exponential_backoff,
            case.max_retry_delay,
            case.try_number
        );
    }
}
