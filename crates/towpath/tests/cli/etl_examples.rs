//! The small examples of data tasks through the real binary, checked against counting by hand.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::json;

use crate::environment::Environment;

/// A folder with an example and the data that it reads; the flights as rows of fields.
fn prepare(example: &str) -> (Environment, String, Vec<Vec<String>>) {
    let environment = Environment::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dags");
    let read = |name: &str| std::fs::read_to_string(examples.join(name)).unwrap();
    let flights = read("data/nycflights13/flights-2013-01.csv");
    environment.write("dags/data/nycflights13/flights-2013-01.csv", &flights);
    environment.write("dags/data/nycflights13/airlines.csv", &read("data/nycflights13/airlines.csv"));
    let file = format!("dags/etl/{example}.yaml");
    environment.write(&file, &read(&format!("etl/{example}.yaml")));
    let rows = flights.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect();
    (environment, file, rows)
}

/// A Parquet file or folder as lines of CSV, without the header.
fn back(environment: &Environment, parquet: &str) -> Vec<String> {
    environment.write(
        "back.yaml",
        &format!(
            "tasks:\n  back:\n    operator: load\n    input: {{parquet: {parquet}}}\n    target: {{csv: back.csv}}\n"
        ),
    );
    environment.ok(&["run", "back.yaml"]);
    let text = std::fs::read_to_string(environment.path().join("back.csv")).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn deduplicate_keeps_the_last_row_of_each_key_in_order() {
    let (environment, file, rows) = prepare("deduplicate");
    environment.ok(&["run", &file]);
    let mut last: HashMap<(&str, &str), usize> = HashMap::new();
    for (at, row) in rows.iter().enumerate().filter(|(_, row)| row[11] != "NA") {
        last.insert((&row[9], &row[11]), at);
    }
    let mut kept: Vec<usize> = last.into_values().collect();
    kept.sort_unstable();
    let field = |row: &[String], at: usize| if row[at] == "NA" { String::new() } else { row[at].clone() };
    let expected: Vec<String> = kept
        .into_iter()
        .map(|at| [0, 1, 2, 3, 9, 10, 11, 12, 13].map(|column| field(&rows[at], column)).join(","))
        .collect();
    assert_eq!(back(&environment, "warehouse/last_flights.parquet"), expected);
}

#[test]
fn validate_tells_good_rows_from_rejects() {
    let (environment, file, rows) = prepare("validate");
    environment.ok(&["run", &file]);
    let is_good = |row: &[String]| {
        let time: Option<i64> = row[3].parse().ok();
        row[11].starts_with('N') && row[11].len() > 1 && row[11] != "NA" && time.is_some()
    };
    // `NA` has the form of a tail number, so only its departure time rejects such a flight.
    let is_good = |row: &[String]| row[3] != "NA" && (is_good(row) || row[11] == "NA");
    let good = rows.iter().filter(|row| is_good(row)).count();
    let checked = environment.ok(&["xcom", "get", "validate", "checked"]).json();
    assert_eq!(checked["rows"], json!(good), "{checked:#}");
    assert_eq!(checked["rejects"]["rows"], json!(rows.len() - good));
    let cancelled = rows.iter().filter(|row| row[3] == "NA").count();
    assert_eq!(checked["rules"]["dep_time: type int64"], json!(cancelled));
    assert_eq!(back(&environment, "warehouse/good_flights").len(), good);
}

#[test]
fn aggregate_makes_a_folder_for_each_airline() {
    let (environment, file, rows) = prepare("aggregate");
    environment.ok(&["run", &file]);
    let mut groups: HashMap<(&str, &str), (u64, i64)> = HashMap::new();
    for row in &rows {
        let group = groups.entry((&row[9], &row[2])).or_default();
        *group = (group.0 + 1, group.1 + row[15].parse::<i64>().unwrap());
    }
    let carriers: HashSet<&str> = rows.iter().map(|row| row[9].as_str()).collect();
    for carrier in &carriers {
        assert!(environment.path().join(format!("warehouse/delays_by_carrier/carrier={carrier}")).is_dir());
    }
    let found = back(&environment, "warehouse/delays_by_carrier");
    assert_eq!(found.len(), groups.len());
    for line in found {
        let fields: Vec<&str> = line.split(',').collect();
        let (flights, miles) = groups[&(fields[5], fields[0])];
        assert_eq!((fields[1], fields[4]), (flights.to_string().as_str(), miles.to_string().as_str()), "{line}");
    }
}

#[test]
fn convert_keeps_all_rows_and_declared_types() {
    let (environment, file, rows) = prepare("convert");
    environment.ok(&["run", &file]);
    let found = back(&environment, "warehouse/flights.parquet");
    assert_eq!(found.len(), rows.len());
    assert!(found[0].starts_with("2013,1,1,517,515,2,"), "{}", found[0]);
    let text = std::fs::read(environment.path().join("warehouse/flights.parquet")).unwrap();
    assert!(text.starts_with(b"PAR1") && text.ends_with(b"PAR1"));
}

#[test]
fn more_than_memory_is_sorted_grouped_and_deduplicated() {
    let (environment, file, _) = prepare("larger_than_memory");
    environment.ok(&["run", &file]);
    let mut users: HashMap<u64, HashSet<(u64, u64)>> = HashMap::new();
    for n in 1..=300_000_u64 {
        users.entry(n * 7_919 % 200_003).or_default().insert((n * 31 % 65_537, n * 104_729 % 86_400));
    }
    let mut expected: Vec<(i64, u64, u64)> = users
        .into_iter()
        .map(|(user, events)| {
            let first = events.iter().map(|(_, seconds)| *seconds).min().unwrap();
            (-(events.len() as i64), user, first)
        })
        .collect();
    expected.sort_unstable();
    let expected: Vec<String> =
        expected.into_iter().map(|(events, user, first)| format!("{user},{},{first}", -events)).collect();
    assert!(back(&environment, "warehouse/users.parquet") == expected, "other rows, or another order");
}

#[test]
fn a_table_goes_from_one_database_to_another_as_often_as_one_likes() {
    let (environment, file, _) = prepare("database_to_database");
    for _ in 0..2 {
        environment.ok(&["run", &file]);
    }
    let airlines = std::fs::read_to_string(environment.path().join("dags/data/nycflights13/airlines.csv")).unwrap();
    let copied = environment.ok(&["xcom", "get", "database_to_database", "copy"]).json();
    assert_eq!(copied["rows"], json!(airlines.lines().count() - 1), "{copied:#}");
}
