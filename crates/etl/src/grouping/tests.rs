//! Grouping by buckets gives what DataFusion gives by itself, in memory and on disk.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, LargeStringArray, RecordBatch, StringArray};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::measure::Meter;
use crate::session::{Joins, Resources};

/// Rows with keys of several kinds, of which `keys` are different, some null.
fn rows(count: usize, keys: i64, partitions: usize) -> MemTable {
    let mut random = StdRng::seed_from_u64(7);
    let mut parts = vec![Vec::new(); partitions];
    for (batch, start) in (0..count).step_by(1_000).enumerate() {
        let ids: Vec<i64> = (start..count.min(start + 1_000)).map(|_| random.random_range(0..keys)).collect();
        let some = |id: &i64| id % 17 != 3;
        let short = ids.iter().map(|id| some(id).then(|| format!("k{id}"))).collect::<StringArray>();
        let long = ids.iter().map(|id| format!("a text of more than twelve bytes, ü {}", id % 50));
        let columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("id", Arc::new(ids.iter().map(|id| some(id).then_some(*id)).collect::<Int64Array>()), true),
            ("short", Arc::new(short), true),
            ("long", Arc::new(LargeStringArray::from_iter_values(long)), false),
            // Sums of these are exact in any order.
            (
                "x",
                Arc::new(ids.iter().map(|id| (id % 5 != 0).then_some(*id as f64 / 4.0)).collect::<Float64Array>()),
                true,
            ),
            ("n", Arc::new((0..ids.len()).map(|_| random.random_range(-9..9_i64)).collect::<Int64Array>()), true),
        ];
        parts[batch % partitions].push(RecordBatch::try_from_iter_with_nullable(columns).unwrap());
    }
    MemTable::try_new(parts[0][0].schema(), parts).unwrap()
}

/// What a query gives, as sorted lines, and its plan after it has run.
async fn result(session: &SessionContext, query: &str) -> (Vec<String>, Arc<dyn ExecutionPlan>) {
    let plan = session.sql(query).await.unwrap().create_physical_plan().await.unwrap();
    let batches = collect(Arc::clone(&plan), session.task_ctx()).await.unwrap();
    let options = FormatOptions::new().with_null("NULL");
    let mut lines = Vec::new();
    for batch in &batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        lines.extend(
            (0..batch.num_rows())
                .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|")),
        );
    }
    lines.sort_unstable();
    (lines, plan)
}

struct Ran {
    plan: String,
    spilled_bytes: usize,
}

fn spilled(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.spilled_bytes()).unwrap_or_default();
    own + plan.children().into_iter().map(spilled).sum::<usize>()
}

/// A session that groups in buckets, however small its pool is.
fn session(pool_bytes: usize, cores: usize, scratch: &Path) -> SessionContext {
    let resources = Resources { pool_bytes, cores, scratch: scratch.to_owned(), joins: Joins::Hash, in_buckets: true };
    resources.session(&Arc::new(Meter::default())).unwrap()
}

/// Asks DataFusion alone and a session of ours with so much memory.
async fn check(data: &Arc<MemTable>, pool_bytes: usize, query: &str) -> Ran {
    let config = SessionConfig::new().with_target_partitions(3);
    let plain = SessionContext::new_with_config(config);
    let scratch = tempfile::tempdir().unwrap();
    let own = session(pool_bytes, 3, scratch.path());
    for session in [&plain, &own] {
        session.register_table("t", Arc::clone(data) as _).unwrap();
    }
    let (expected, _) = result(&plain, query).await;
    let (found, plan) = result(&own, query).await;
    assert_eq!(found.len(), expected.len(), "{query}");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{query}");
    }
    let ran = Ran { plan: displayable(plan.as_ref()).indent(false).to_string(), spilled_bytes: spilled(&plan) };
    drop(plan);
    assert_eq!(own.task_ctx().memory_pool().reserved(), 0, "memory is given back: {query}");
    ran
}

const QUERIES: [&str; 9] = [
    "select id, count(*) c, count(x) d, sum(x) s, avg(x) a, min(n) i, max(short) m from t group by id",
    "select short, long, sum(x) s, count(distinct n) d from t group by short, long",
    "select long as l, median(n) m, array_sort(array_agg(distinct n)) a from t group by 1 having count(*) > 1",
    "select id % 7 as k, short, min(long) l, bool_or(x > 2) b from t where n > 0 group by 1, 2",
    "select distinct short, n from t",
    "select short, long, count(*) c from t group by grouping sets ((short), (long), (short, long))",
    "select a.short, a.c, b.s from (select short, count(*) c from t group by short) a join (select short, sum(n) s from t group by short) b on a.short = b.short",
    "select count(*) c, max(k) m from (select short as k, sum(n) s from t group by short) u",
    "select short, c, row_number() over (partition by short order by c) r from (select short, long, count(*) c from t group by short, long) u",
];

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_those_of_the_plain_plan() {
    for (count, keys) in [(1, 1), (5_000, 1), (20_000, 90), (60_000, 40_000)] {
        let data = Arc::new(rows(count, keys, 3));
        for query in QUERIES {
            let ran = check(&data, 1 << 30, query).await;
            assert!(ran.plan.contains("buckets="), "{query}\n{}", ran.plan);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_do_not_fit_into_memory_go_to_disk_once() {
    let data = Arc::new(rows(300_000, 250_000, 3));
    let query = "select id, short, long, count(*) c, sum(x) s from t group by id, short, long";
    let small = check(&data, 12 << 20, query).await;
    assert!(small.spilled_bytes > 1 << 20, "{}", small.spilled_bytes);
    let large = check(&data, 1 << 30, query).await;
    assert_eq!(large.spilled_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_group_are_put_together_instead_of_held() {
    // More than four of five keys of the first 100,000 rows are new, so DataFusion passes rows on ungrouped. All rows are 40 MB and more,
    // their groups a sixth of it.
    let data = Arc::new(rows(2_400_000, 400_000, 3));
    let ran = check(&data, 40 << 20, "select id, count(*) c from t group by id").await;
    assert_eq!(ran.spilled_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_types_of_keys_stay() {
    let data = Arc::new(rows(10, 3, 1));
    let own = session(1 << 30, 2, &std::env::temp_dir());
    own.register_table("t", data).unwrap();
    let query = "select t.short, upper(short), long, count(*) from t group by t.short, upper(short), long";
    let frame = own.sql(query).await.unwrap();
    let batches = frame.clone().collect().await.unwrap();
    let kinds: Vec<String> =
        batches[0].schema().fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
    assert_eq!(kinds, ["short Utf8", "upper(t.short) Utf8", "long LargeUtf8", "count(*) Int64"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_one_partition_only_gets_it() {
    use futures::StreamExt as _;
    let data = Arc::new(rows(20_000, 5_000, 2));
    let own = session(1 << 30, 2, &std::env::temp_dir());
    own.register_table("t", data).unwrap();
    let plan = own.sql("select id, count(*) c from t group by id").await.unwrap().create_physical_plan().await.unwrap();
    let mut whole = 0;
    // One after the other, each to its end, and once more.
    for _ in 0..2 {
        let mut rows = 0;
        for partition in 0..2 {
            let mut stream = plan.execute(partition, own.task_ctx()).unwrap();
            while let Some(batch) = stream.next().await {
                rows += batch.unwrap().num_rows();
            }
        }
        assert!(rows > 4_000 && (whole == 0 || rows == whole), "{rows}");
        whole = rows;
    }
    // And one that nobody reads to its end.
    let mut stream = plan.execute(0, own.task_ctx()).unwrap();
    assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
    drop(stream);
    drop(plan);
    assert_eq!(own.task_ctx().memory_pool().reserved(), 0);
}
