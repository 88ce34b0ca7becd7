use serde_json::json;

use super::*;

fn args(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("arguments are an object") };
    map
}

#[test]
fn arguments_say_how_to_wait() {
    let secs = Duration::from_secs;
    for (given, expected) in [
        (json!({}), Pace::default()),
        (
            json!({"mode": "Reschedule", "poke_interval": 0.5, "timeout": 90.0, "max_wait": 7}),
            Pace {
                mode: Mode::Reschedule,
                interval: Duration::from_millis(500),
                timeout: secs(90),
                exponential_backoff: false,
                max_wait: Some(secs(7)),
            },
        ),
        (json!({"exponential_backoff": true, "timeout": null}), Pace { exponential_backoff: true, ..Pace::default() }),
    ] {
        assert_eq!(pace(&args(given.clone())), Ok(expected), "{given}");
    }
    for (given, expected) in [
        (json!({"mode": "sleep"}), "`mode` is `poke` or `reschedule`, not `sleep`"),
        (json!({"timeout": -1}), "`timeout` must be a duration, not -1"),
    ] {
        assert_eq!(pace(&args(given)), Err(expected.to_owned()));
    }
}

#[test]
fn failures_become_what_the_arguments_want() {
    let (none, soft) = (Tolerance::default(), Tolerance { soft_fail: true, ..Tolerance::default() });
    let silent = Tolerance { silent_fail: true, ..Tolerance::default() };
    let never = Tolerance { never_fail: true, ..Tolerance::default() };
    let failed = |retry| Some(Outcome::Failed { error: "x".to_owned(), retry });
    let skipped = |reason: &str| Some(Outcome::Skipped { reason: reason.to_owned() });
    let passing = || Err(Error::Passing("x".to_owned()));
    let hopeless = || Err(Error::Hopeless("x".to_owned()));
    let wrong = || Err(Error::Wrong("x".to_owned()));
    for (tolerance, found, expected) in [
        (none, Ok(Poke::NotYet), None),
        (none, Ok(Poke::Done(Some(json!(1)))), Some(Outcome::Success { value: Some(json!(1)) })),
        (none, Ok(Poke::Skip("y".to_owned())), skipped("y")),
        (none, passing(), failed(true)),
        (none, hopeless(), failed(false)),
        (none, wrong(), failed(false)),
        (soft, passing(), failed(true)),
        (soft, hopeless(), skipped("x (soft_fail)")),
        (soft, wrong(), failed(false)),
        (silent, passing(), None),
        (silent, hopeless(), failed(false)),
        (silent, wrong(), failed(false)),
        (never, passing(), skipped("x (never_fail)")),
        (never, hopeless(), skipped("x (never_fail)")),
        (never, wrong(), failed(false)),
    ] {
        assert_eq!(tolerance.judge(found.clone()), expected, "{tolerance:?} {found:?}");
    }
    let both = args(json!({"soft_fail": true, "never_fail": true}));
    assert!(Tolerance::read(&both).unwrap_err().starts_with("`soft_fail` and `never_fail` cannot"));
}

#[test]
fn a_wait_that_takes_too_long_is_not_tried_again() {
    let (elapsed, timeout) = (Duration::from_secs(61), Duration::from_secs(60));
    let text = "it has waited in vain for 1m 1s, `timeout` is 1m 0s";
    for (tolerance, expected) in [
        (Tolerance::default(), Outcome::Failed { error: text.to_owned(), retry: false }),
        (
            Tolerance { never_fail: true, ..Tolerance::default() },
            Outcome::Failed { error: text.to_owned(), retry: false },
        ),
        (
            Tolerance { soft_fail: true, ..Tolerance::default() },
            Outcome::Skipped { reason: format!("{text} (soft_fail)") },
        ),
    ] {
        assert_eq!(tolerance.timed_out(elapsed, timeout), expected);
    }
}
