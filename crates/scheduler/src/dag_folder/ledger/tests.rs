use super::*;

fn stamp(number: u64) -> Stamp {
    Stamp { size_bytes: number, ..Stamp::default() }
}

fn good(dags: &[&str]) -> Outcome {
    Outcome { dags: dags.iter().map(ToString::to_string).collect(), error: None }
}

fn broken(dags: &[&str]) -> Outcome {
    Outcome { error: Some("bad".to_owned()), ..good(dags) }
}

/// Reads a file and stores what it owns, as the folder does.
fn read(ledger: &mut Ledger, file: &str, outcome: &Outcome) {
    ledger.read(file, Some(stamp(1)), outcome.clone());
    for dag_id in &outcome.dags {
        if ledger.owns(file, dag_id) {
            ledger.stored(dag_id, file);
        }
    }
}

fn sure(_: &str) -> bool {
    false
}

fn nothing() -> Settled {
    Settled::default()
}

fn conflict(file: &str, owner: &str) -> Option<String> {
    message(file, None, &[("d".to_owned(), owner.to_owned())])
}

#[test]
fn a_dag_lives_as_long_as_a_file_defines_it() {
    let mut ledger = Ledger::default();
    read(&mut ledger, "a.yml", &good(&["d", "e"]));
    assert_eq!(ledger.settle(sure), nothing());
    assert!(ledger.is_current("a.yml", stamp(1)) && !ledger.is_current("a.yml", stamp(2)));
    read(&mut ledger, "a.yml", &good(&["d"]));
    assert_eq!(ledger.settle(sure), Settled { deactivate: vec!["e".into()], ..nothing() });
    ledger.remove("a.yml");
    assert_eq!(ledger.settle(sure), Settled { deactivate: vec!["d".into()], ..nothing() });
    assert_eq!(ledger.settle(sure), nothing());
}

#[test]
fn a_broken_file_keeps_its_dags() {
    let mut ledger = Ledger::default();
    read(&mut ledger, "a.yml", &good(&["d", "e"]));
    assert!(ledger.is_bad_news("a.yml", &broken(&["d"])));
    read(&mut ledger, "a.yml", &broken(&["d"]));
    let told = |text: Option<&str>| Settled { errors: vec![("a.yml".into(), text.map(Into::into))], ..nothing() };
    assert_eq!(ledger.settle(sure), told(Some("bad")));
    assert!(!ledger.is_bad_news("a.yml", &broken(&["d"])), "it is known");
    assert_eq!(ledger.broken(), 1);
    read(&mut ledger, "a.yml", &broken(&[]));
    assert_eq!(ledger.settle(sure), nothing(), "nothing new");
    read(&mut ledger, "a.yml", &good(&["d", "e"]));
    assert_eq!(ledger.settle(sure), told(None));
    read(&mut ledger, "a.yml", &broken(&[]));
    ledger.settle(sure);
    ledger.remove("a.yml");
    assert_eq!(ledger.settle(sure), Settled { deactivate: vec!["d".into(), "e".into()], ..told(None) });
    assert_eq!(ledger.below("").count(), 0, "nothing is left behind");
}

#[test]
fn the_first_file_wins() {
    let mut ledger = Ledger::default();
    read(&mut ledger, "b.yml", &good(&["d"]));
    ledger.settle(sure);
    read(&mut ledger, "c.yml", &good(&["d"]));
    let expected = Settled { errors: vec![("c.yml".into(), conflict("c.yml", "b.yml"))], ..nothing() };
    assert_eq!(ledger.settle(sure), expected);
    assert!(!ledger.owns("c.yml", "d"));
    // One comes that stands before both.
    read(&mut ledger, "a.yml", &good(&["d"]));
    let expected = Settled {
        errors: vec![("b.yml".into(), conflict("b.yml", "a.yml")), ("c.yml".into(), conflict("c.yml", "a.yml"))],
        ..nothing()
    };
    assert_eq!(ledger.settle(sure), expected);
    // The heirs, one after the other.
    ledger.remove("a.yml");
    let settled = ledger.settle(sure);
    assert_eq!(settled.reread, ["b.yml"]);
    assert_eq!(settled.errors, [("b.yml".into(), None), ("c.yml".into(), conflict("c.yml", "b.yml"))]);
    assert_eq!(settled.deactivate, [""; 0]);
    read(&mut ledger, "b.yml", &good(&["d"]));
    assert_eq!(ledger.settle(sure), nothing());
}

#[test]
fn a_broken_heir_is_not_read_again_and_again() {
    let mut ledger = Ledger::default();
    read(&mut ledger, "a.yml", &good(&["d"]));
    read(&mut ledger, "b.yml", &good(&["d"]));
    read(&mut ledger, "b.yml", &broken(&[]));
    ledger.settle(sure);
    ledger.remove("a.yml");
    let settled = ledger.settle(sure);
    assert_eq!((settled.reread, settled.deactivate), (vec![], vec![]));
}

#[test]
fn a_renamed_file_is_no_conflict() {
    for (from, to) in [("a.yml", "b.yml"), ("b.yml", "a.yml")] {
        let mut ledger = Ledger::default();
        read(&mut ledger, from, &good(&["d"]));
        ledger.settle(sure);
        // The new name is seen first; that the old one is gone is looked at again.
        read(&mut ledger, to, &good(&["d"]));
        assert_eq!(ledger.settle(|file| file == from), nothing(), "{from} -> {to}");
        ledger.remove(from);
        let settled = ledger.settle(sure);
        assert_eq!(settled.errors, []);
        assert_eq!(settled.deactivate, [""; 0]);
        assert_eq!(settled.reread, if to == "b.yml" { vec![to] } else { vec![] }, "{from} -> {to}");
    }
}

#[test]
fn an_unsure_conflict_is_told_later() {
    let mut ledger = Ledger::default();
    read(&mut ledger, "a.yml", &good(&["d"]));
    read(&mut ledger, "b.yml", &good(&["d"]));
    assert_eq!(ledger.settle(|file| file == "a.yml"), nothing());
    let expected = Settled { errors: vec![("b.yml".into(), conflict("b.yml", "a.yml"))], ..nothing() };
    assert_eq!(ledger.settle(sure), expected);
}

#[test]
fn what_the_store_remembers_is_compared() {
    let mut ledger = Ledger::default();
    ledger.remember_dag("gone.yml", "d");
    ledger.remember_dag("moved.yml", "e");
    ledger.remember_error("fixed.yml", "was bad".into());
    ledger.remember_error("still.yml", "bad".into());
    ledger.remember_error("gone-too.yml", "was bad".into());
    assert_eq!(ledger.below("").count(), 5);
    read(&mut ledger, "fixed.yml", &good(&[]));
    read(&mut ledger, "still.yml", &broken(&[]));
    read(&mut ledger, "new.yml", &good(&["e"]));
    for file in ["gone.yml", "moved.yml", "gone-too.yml"] {
        ledger.remove(file);
    }
    let settled = ledger.settle(sure);
    assert_eq!(settled.deactivate, ["d"]);
    assert_eq!(settled.reread, ["new.yml"]);
    assert_eq!(settled.errors, [("fixed.yml".into(), None), ("gone-too.yml".into(), None)]);
}

#[test]
fn folders_hold_what_is_below_them() {
    let mut ledger = Ledger::default();
    for file in ["a/b.yml", "a/c/d.yml", "a.yml", "ab/c.yml"] {
        read(&mut ledger, file, &good(&[]));
    }
    let below = |path| ledger.below(path).collect::<Vec<_>>();
    assert_eq!(below("a"), ["a/b.yml", "a/c/d.yml"]);
    assert_eq!(below("a.yml"), ["a.yml"]);
    assert_eq!(below("").len(), 4);
}

#[test]
fn a_refusal_stands_beside_the_files_own_errors() {
    let mut ledger = Ledger::default();
    read(&mut ledger, "a.yml", &broken(&[]));
    ledger.refuse("a.yml", "too large");
    assert_eq!(ledger.settle(sure).errors, [("a.yml".into(), Some("bad\ntoo large".into()))]);
}
