//! The same behaviour on three databases, and what is special to one.

mod again;
mod ends;
mod loads;
mod reads;
mod types;

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt, stream};
use towpath_model::connection::Connection;
use towpath_operators::database::statement::Parameters;
use towpath_operators::database::{Fetch, Orders, run};
use towpath_testkit::TestDb;

use super::{Error, Input, Mode, Reader, TableTarget, Written, read, write};

/// Paths of test databases are absolute.
const PROJECT: &str = "/";

async fn databases() -> [TestDb; 3] {
    let databases = [towpath_testkit::sqlite(), towpath_testkit::postgres().await, towpath_testkit::mysql().await];
    // A file is there before it is read.
    sql(&databases[0], "create table made (x int)").await;
    databases
}

fn connection(db: &TestDb) -> Connection {
    let uri = db.file().map_or_else(|| db.url.clone(), |file| format!("sqlite:///{}", file.display()));
    Connection::from_uri("db", &uri).unwrap()
}

async fn sql(db: &TestDb, text: &str) {
    let kind = super::Kind::of(&connection(db)).unwrap();
    let statements = towpath_operators::database::statement::split(text, kind);
    let statements = statements.into_iter().map(|sql| (sql.to_owned(), Parameters::None, Fetch::None)).collect();
    let orders = Orders { statements, autocommit: true, max_rows: 0 };
    let stop = tokio_util::sync::CancellationToken::new();
    run(&connection(db), Path::new(PROJECT), orders, &stop, |_, _| {}).await.unwrap();
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn data(batches: Vec<RecordBatch>) -> SendableRecordBatchStream {
    let schema = batches[0].schema();
    Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(batches.into_iter().map(Ok))))
}

fn target(table: &str, mode: Mode, key: &[&str]) -> TableTarget {
    TableTarget { table: table.to_owned(), mode, key: key.iter().map(ToString::to_string).collect() }
}

async fn put(db: &TestDb, target: &TableTarget, batches: Vec<RecordBatch>) -> Result<Written, Error> {
    write(&connection(db), Path::new(PROJECT), target, data(batches)).await
}

async fn get(db: &TestDb, query: &str) -> Result<RecordBatch, DataFusionError> {
    let input = Input::Query(query.to_owned());
    let found = read(&connection(db), Path::new(PROJECT), &input, 1_000).await;
    let rows = found.map_err(super::outer)?;
    let schema = rows.schema();
    let batches: Vec<RecordBatch> = rows.try_collect().await?;
    Ok(concat_batches(&schema, &batches)?)
}

async fn shown(db: &TestDb, query: &str) -> String {
    let found = get(db, query).await.unwrap();
    let text = pretty_format_batches(&[found]).unwrap().to_string();
    let rows = text.lines().skip(3).filter(|line| line.starts_with('|'));
    let rows = rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" "));
    rows.collect::<Vec<_>>().join("; ")
}

fn people(rows: &[(i64, Option<&str>)]) -> RecordBatch {
    batch(vec![
        ("id", Arc::new(rows.iter().map(|(id, _)| *id).collect::<Int64Array>())),
        ("name", Arc::new(rows.iter().map(|(_, name)| *name).collect::<StringArray>())),
    ])
}

const ALL: &str = "select id, name from people order by id, name";

fn message(error: DataFusionError) -> String {
    super::of_data(error).message
}

#[test]
fn names_have_parts() {
    let check = |given: &str, expected: &[&str]| assert_eq!(super::name::parts(given).unwrap(), expected);
    check("t", &["t"]);
    check("s.t", &["s", "t"]);
    check("\"a.b\".`c d`", &["a.b", "c d"]);
    for wrong in ["", ".", "a.", "\"a", "\"a\"b"] {
        assert!(super::name::parts(wrong).is_err(), "{wrong}");
    }
}
