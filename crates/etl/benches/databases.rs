//! How fast a million rows come into a database and out of it, next to what the database's own tools need for the same rows.
//!
//! `TOWPATH_TEST_POSTGRES=... cargo bench -p towpath-etl --bench databases`; the shell `sqlite3` is compared with where it is installed.
//! Every figure comes from this one run, the better one of three.

#![expect(clippy::print_stdout, reason = "what a benchmark has found is its output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has nothing to say")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::{
    Array, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::csv::WriterBuilder;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use towpath_etl::database::{Input, Mode, TableTarget, read, write};
use towpath_model::connection::Connection;
use towpath_testkit::TestDb;

const ROWS: usize = 1_000_000;
const BATCH_ROWS: usize = 8_192;
const TRIES: usize = 3;
const TYPES: &str = "id bigint, customer text, amount double precision, day date, at timestamp";

#[tokio::main]
async fn main() {
    let batches = orders();
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("orders.csv");
    let mut writer = WriterBuilder::new().with_header(false).build(std::fs::File::create(&csv).unwrap());
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    drop(writer);
    let bytes = std::fs::metadata(&csv).unwrap().len();
    println!("{ROWS} rows of 5 columns, {} MB as CSV\n", bytes / 1_000_000);

    println!("SQLite");
    let db = towpath_testkit::sqlite();
    let shell = best(async || import(&csv, db.file().unwrap().as_path())).await;
    measure(&db, &batches, "the shell's .import", shell).await;

    println!("PostgreSQL");
    let db = towpath_testkit::postgres().await;
    let copy = best(async || Some(copy(&csv, &db).await)).await;
    measure(&db, &batches, "COPY of the raw file", copy).await;
}

async fn measure(db: &TestDb, batches: &[RecordBatch], tool: &str, baseline: Option<f64>) {
    let connection = connection(db);
    match baseline {
        Some(seconds) => println!("  {tool:<24} {seconds:>7.2} s"),
        None => println!("  {tool:<24} is not installed"),
    }
    let mut modes = vec![("load", Mode::Overwrite, vec![])];
    modes.push(("upsert of all rows", Mode::Upsert, vec!["id".to_owned()]));
    for (what, mode, key) in modes {
        let target = TableTarget { table: format!("orders_{mode}"), mode, key };
        let seconds = best(async || {
            let start = Instant::now();
            let written = write(&connection, Path::new("/"), &target, rows(batches)).await.unwrap();
            assert_eq!(written.rows, ROWS as u64);
            Some(start.elapsed().as_secs_f64())
        });
        line(what, seconds.await, baseline);
    }
    let seconds = best(async || {
        let start = Instant::now();
        let input = Input::Table("orders_overwrite".to_owned());
        let mut rows = read(&connection, Path::new("/"), &input, BATCH_ROWS).await.unwrap();
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            count += batch.unwrap().num_rows();
        }
        assert_eq!(count, ROWS);
        Some(start.elapsed().as_secs_f64())
    });
    line("read", seconds.await, None);
    println!();
}

fn line(what: &str, seconds: Option<f64>, baseline: Option<f64>) {
    let Some(seconds) = seconds else { return };
    let ratio = baseline.map_or_else(String::new, |baseline| format!("  {:>5.2} x", seconds / baseline));
    println!("  {what:<24} {seconds:>7.2} s{ratio}");
}

async fn best(work: impl AsyncFn() -> Option<f64>) -> Option<f64> {
    let mut best: Option<f64> = None;
    for _ in 0..TRIES {
        let seconds = work().await?;
        best = Some(best.map_or(seconds, |best| best.min(seconds)));
    }
    best
}

fn connection(db: &TestDb) -> Connection {
    let uri = db.file().map_or_else(|| db.url.clone(), |file| format!("sqlite:///{}", file.display()));
    Connection::from_uri("db", &uri).unwrap()
}

/// The same rows each time.
fn orders() -> Vec<RecordBatch> {
    let mut random = StdRng::seed_from_u64(20_130_101);
    let parts = (0..ROWS).step_by(BATCH_ROWS).map(|start| {
        let ids = start..(start + BATCH_ROWS).min(ROWS);
        let count = ids.len();
        let customers: StringArray =
            (0..count).map(|_| Some(format!("customer {}", random.random_range(0..100_000)))).collect();
        let amounts: Float64Array = (0..count).map(|_| f64::from(random.random_range(1..1_000_000)) / 100.0).collect();
        let days: Date32Array = (0..count).map(|_| Some(random.random_range(15_000..20_000))).collect();
        let times: TimestampMicrosecondArray =
            (0..count).map(|_| Some(random.random_range(1_300_000_000..1_700_000_000) * 1_000_000_i64)).collect();
        let columns: [(&str, Arc<dyn Array>); 5] = [
            ("id", Arc::new(ids.map(|id| id as i64).collect::<Int64Array>())),
            ("customer", Arc::new(customers)),
            ("amount", Arc::new(amounts)),
            ("day", Arc::new(days)),
            ("at", Arc::new(times)),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    });
    parts.collect()
}

fn rows(batches: &[RecordBatch]) -> SendableRecordBatchStream {
    let batches = batches.to_vec();
    let schema = batches[0].schema();
    Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(batches.into_iter().map(Ok))))
}

/// SQLite's shell with the file; `None` where it is not installed.
fn import(csv: &Path, database: &Path) -> Option<f64> {
    let start = Instant::now();
    let script =
        format!("DROP TABLE IF EXISTS raw;\nCREATE TABLE raw ({TYPES});\n.mode csv\n.import {} raw\n", csv.display());
    let mut shell = Command::new("sqlite3").arg(database).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().ok()?;
    std::io::Write::write_all(&mut shell.stdin.take()?, script.as_bytes()).ok()?;
    assert!(shell.wait().ok()?.success());
    Some(start.elapsed().as_secs_f64())
}

/// PostgreSQL's own way to read the file, sent as it is.
async fn copy(csv: &Path, db: &TestDb) -> f64 {
    let start = Instant::now();
    let mut database = sqlx::PgConnection::connect(&db.url).await.unwrap();
    database.execute("DROP TABLE IF EXISTS raw").await.unwrap();
    database.execute(AssertSqlSafe(format!("CREATE TABLE raw ({TYPES})"))).await.unwrap();
    let mut copy = database.copy_in_raw("COPY raw FROM STDIN (FORMAT csv)").await.unwrap();
    copy.read_from(tokio::fs::File::open(csv).await.unwrap()).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), ROWS as u64);
    start.elapsed().as_secs_f64()
}
