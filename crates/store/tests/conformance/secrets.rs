//! Variables, connections and pools, and wake-ups from one process to another.

use std::time::Duration;

use sqlx::Row as _;
use towpath_model::connection::{Connection, Secret};
use towpath_model::dag::DEFAULT_POOL;
use towpath_store::{Error, Key, Options, PoolRecord, Store, Topic, VariableRecord};
use towpath_testkit::TestDb;

use crate::harness::{both, claim_one, manual, succeed, sync, time, wide, worker};

/// Longest time from a commit to the wake-up in another process.
const WAKE: Duration = Duration::from_secs(2);

async fn set_variable(store: &Store, key: &str, value: &str, description: Option<&str>) {
    store.set_variable(key, value, description, time(0)).await.expect("a variable is taken");
}

fn connection(conn_id: &str) -> Connection {
    Connection {
        conn_id: conn_id.into(),
        conn_type: "http".into(),
        description: Some("made up".into()),
        host: Some("https://example.com".into()),
        login: Some("me".into()),
        password: Some(Secret::new("hush-hush")),
        schema: Some("db".into()),
        port: Some(65_535),
        extra: Some(r#"{"token": "quiet"}"#.into()),
    }
}

async fn variables_round_trip(store: Store) {
    let record = |key: &str, value: &str, description: Option<&str>| VariableRecord {
        key: key.into(),
        value: value.into(),
        description: description.map(str::to_owned),
    };
    let all = async || store.variables().await.expect("variables can be read");
    set_variable(&store, "b", "ü\n\"'", Some("second")).await;
    set_variable(&store, "a", "", None).await;
    assert_eq!(all().await, [record("a", "", None), record("b", "ü\n\"'", Some("second"))]);
    set_variable(&store, "b", "new", None).await;
    assert_eq!(all().await[1], record("b", "new", Some("second")), "the description stays");
    assert_eq!(store.variable("b").await.expect("a variable can be read").as_deref(), Some("new"));
    assert_eq!(store.variable("c").await.expect("a variable can be read"), None);
    for (key, existed) in [("b", true), ("b", false)] {
        assert_eq!(store.delete_variable(key).await.expect("a variable is deleted"), existed);
    }
    assert_eq!(all().await.len(), 1);
    for key in [String::new(), "k".repeat(251)] {
        assert!(matches!(store.set_variable(&key, "v", None, time(0)).await, Err(Error::Invalid(_))));
    }
}

async fn connections_round_trip(store: Store) {
    let bare = Connection {
        conn_type: "fs".into(),
        description: None,
        host: None,
        login: None,
        password: None,
        schema: None,
        port: None,
        extra: None,
        ..connection("bare")
    };
    let full = connection("full");
    let get = async |id: &str| store.connection(id).await.expect("a connection can be read");
    for set in [&full, &bare] {
        store.set_connection(set, time(0)).await.expect("a connection is taken");
        assert_eq!(get(&set.conn_id).await.as_ref(), Some(set));
    }
    assert_eq!(store.connections().await.expect("connections can be read"), [bare.clone(), full]);
    let emptied = Connection { conn_id: "full".into(), ..bare };
    store.set_connection(&emptied, time(1)).await.expect("a connection is taken");
    assert_eq!(get("full").await, Some(emptied), "nothing of the old one stays");
    assert!(store.delete_connection("full").await.expect("a connection is deleted"));
    assert!(!store.delete_connection("full").await.expect("nothing is no failure"));
    assert_eq!(get("full").await, None);
    assert!(matches!(store.set_connection(&connection(""), time(0)).await, Err(Error::Invalid(_))));
}

async fn pools_lend_their_slots(store: Store) {
    let pools = async || store.pools().await.expect("pools can be read");
    let slots = async |name: &str| pools().await.into_iter().find(|p| p.name == name).map(|p| (p.slots, p.used));
    let record = PoolRecord { name: "p".into(), slots: 5, description: Some("five".into()), used: 0 };
    store.set_pool("p", 5, Some("five"), time(0)).await.expect("a pool is set");
    assert!(pools().await.contains(&record));
    let dag = wide("d", 3, |spec| {
        for task in &mut spec.tasks {
            (task.pool, task.pool_slots) = ("p".into(), 2);
        }
    });
    sync(&store, dag).await;
    manual(&store, "d").await;
    assert_eq!(slots("p").await, Some((5, 4)), "the third needs two");
    let worker = worker(&store).await;
    succeed(&store, &claim_one(&store, worker).await).await;
    assert_eq!(slots("p").await, Some((5, 4)), "running and queued slots count");
    store.set_pool("p", 1, None, time(0)).await.expect("a pool is set");
    assert_eq!(slots("p").await, Some((1, 4)));
    assert!(store.delete_pool("p").await.expect("a pool is deleted"));
    assert!(!store.delete_pool("p").await.expect("nothing is no failure"));
    assert!(matches!(store.delete_pool(DEFAULT_POOL).await, Err(Error::Invalid(_))));
    assert_eq!(slots(DEFAULT_POOL).await, Some((128, 0)));
}

both!(variables_round_trip, connections_round_trip, pools_lend_their_slots);

async fn open_with(db: &TestDb, key: Key) -> Store {
    let options = Options { url: db.url.clone(), key, max_connections: 4 };
    let store = Store::connect(options).await.expect("the test database answers");
    store.migrate().await.expect("the schema is brought up to date");
    store
}

/// Every text in the tables of secrets, as it lies in the database.
async fn raw(db: &TestDb) -> Vec<String> {
    const VARIABLES: &str = "SELECT value FROM variable";
    const CONNECTIONS: &str = "SELECT password || ' ' || extra AS value FROM connection";
    let mut texts = Vec::new();
    for query in [VARIABLES, CONNECTIONS] {
        if db.name == "sqlite" {
            let pool = sqlx::SqlitePool::connect(&db.url).await.expect("the file opens");
            let rows = sqlx::query(query).fetch_all(&pool).await.expect("rows can be read");
            texts.extend(rows.iter().map(|row| row.get::<String, _>("value")));
        } else {
            let pool = sqlx::PgPool::connect(&db.url).await.expect("the test server answers");
            let rows = sqlx::query(query).fetch_all(&pool).await.expect("rows can be read");
            texts.extend(rows.iter().map(|row| row.get::<String, _>("value")));
        }
    }
    texts
}

async fn secrets_are_sealed_at_rest(db: &TestDb) {
    let key = Key::random();
    let store = open_with(db, key.clone()).await;
    set_variable(&store, "v", "open sesame", None).await;
    store.set_connection(&connection("c"), time(0)).await.expect("a connection is taken");
    let raw = raw(db).await;
    assert_eq!(raw.len(), 2);
    for text in &raw {
        for plain in ["sesame", "hush", "quiet", "token"] {
            assert!(!text.contains(plain), "{text}");
        }
    }
    let same = open_with(db, key).await;
    assert_eq!(same.variable("v").await.expect("the key fits").as_deref(), Some("open sesame"));
    let other = open_with(db, Key::random()).await;
    assert!(matches!(other.variable("v").await, Err(Error::Secret(_))));
    assert!(matches!(other.variables().await, Err(Error::Secret(_))));
    assert!(matches!(other.connection("c").await, Err(Error::Secret(_))));
    assert!(matches!(other.connections().await, Err(Error::Secret(_))));
}

async fn another_process_is_woken(db: &TestDb) {
    let (here, there) = (open_with(db, Key::random()).await, open_with(db, Key::random()).await);
    sync(&here, wide("d", 1, |_| {})).await;
    for round in 0..3 {
        let mut work = there.wakes().subscribe(Topic::Work);
        let mut schedule = there.wakes().subscribe(Topic::Schedule);
        let mut own = here.wakes().subscribe(Topic::Work);
        manual(&here, "d").await;
        let woken = async {
            for receiver in [&mut own, &mut work, &mut schedule] {
                receiver.changed().await.expect("the store lives");
            }
        };
        tokio::time::timeout(WAKE, woken).await.unwrap_or_else(|_| panic!("round {round}: nobody was woken"));
    }
}

#[tokio::test]
async fn sqlite_seals_secrets() {
    secrets_are_sealed_at_rest(&towpath_testkit::sqlite()).await;
}

#[tokio::test]
async fn postgres_seals_secrets() {
    secrets_are_sealed_at_rest(&towpath_testkit::postgres().await).await;
}

#[tokio::test]
async fn sqlite_wakes_another_process() {
    another_process_is_woken(&towpath_testkit::sqlite()).await;
}

#[tokio::test]
async fn postgres_wakes_another_process() {
    another_process_is_woken(&towpath_testkit::postgres().await).await;
}
