use towpath_model::clock::ManualClock;

use super::*;

fn log_with(limits: Limits, secrets: &[&str]) -> (TaskLog, Arc<Memory>) {
    let sink = Arc::new(Memory::default());
    let known = Arc::new(Secrets::new());
    for secret in secrets {
        known.add(secret);
    }
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    (TaskLog::new(sink.clone(), clock, known, limits), sink)
}

fn events(sink: &Memory) -> Vec<String> {
    sink.lines().into_iter().map(|line| line.event).collect()
}

#[test]
fn output_becomes_lines_however_it_was_cut() {
    let text = "one\r\nzwei ö€😀\n\nsecret hunter2 and hun\nlast without end hunter2";
    let expected = ["one", "zwei ö€😀", "", "secret *** and hun", "last without end ***"];
    for size in 1..text.len() {
        let (log, sink) = log_with(Limits::default(), &["hunter2"]);
        for chunk in text.as_bytes().chunks(size) {
            log.bytes(Stream::Stdout, chunk);
        }
        assert_eq!(events(&sink).len(), 4, "only whole lines before the end");
        log.finish();
        log.finish();
        assert_eq!(events(&sink), expected, "in chunks of {size}");
    }
}

#[test]
fn streams_keep_apart() {
    let (log, sink) = log_with(Limits::default(), &[]);
    log.bytes(Stream::Stdout, b"out ");
    log.bytes(Stream::Stderr, b"err\n");
    log.warning("between\n");
    log.line(Level::Debug, "my.logger", "two\nlines");
    log.bytes(Stream::Stdout, b"put\n\xff\n");
    insta::assert_snapshot!(sink.text());
}

#[test]
fn long_lines_are_cut_without_losing_the_masking() {
    let limits = Limits { line_bytes: 10, ..Limits::default() };
    for offset in 0..40 {
        for size in [1, 3, 7, 100] {
            let text = format!("{}hunter2-öhunter2{}\nnext\n", "€".repeat(offset), "x".repeat(offset));
            let (log, sink) = log_with(limits, &["hunter2"]);
            for chunk in text.as_bytes().chunks(size) {
                log.bytes(Stream::Stdout, chunk);
            }
            let whole = events(&sink).join("").replace(" [line of more than 10 bytes, it goes on]", "");
            let expected = format!("{}***-ö***{}next", "€".repeat(offset), "x".repeat(offset));
            // A secret that lies across a cut shows as two masks.
            assert_eq!(whole.replace("******", "***"), expected, "offset {offset}, chunks of {size}");
        }
    }
}

#[test]
fn a_line_of_nothing_but_secrets_stays_covered() {
    let limits = Limits { line_bytes: 10, ..Limits::default() };
    let (log, sink) = log_with(limits, &["aaaaa"]);
    for _ in 0..20 {
        log.bytes(Stream::Stdout, b"aaaa");
    }
    log.finish();
    log.line(Level::Info, "x", &"a".repeat(99));
    let lines = events(&sink);
    assert!(lines.len() > 5);
    for line in lines {
        assert_eq!(line.replace(" [line of more than 10 bytes, it goes on]", ""), "***");
    }
}

#[test]
fn a_try_has_a_ceiling() {
    let (log, sink) = log_with(Limits { try_bytes: 20, ..Limits::default() }, &[]);
    for number in 0..10 {
        log.bytes(Stream::Stdout, format!("line {number}\n").as_bytes());
    }
    log.info("dropped as well");
    log.error("why it failed");
    insta::assert_snapshot!(sink.text());
}

#[test]
fn secrets_can_come_late() {
    let (log, sink) = log_with(Limits::default(), &[]);
    log.bytes(Stream::Stdout, b"hunter2\nthen hun");
    log.secrets().add("hunter2");
    log.bytes(Stream::Stdout, b"ter2\n");
    assert_eq!(events(&sink), ["hunter2", "then ***"]);
}
