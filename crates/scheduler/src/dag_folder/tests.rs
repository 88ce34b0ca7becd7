//! The folder against a real store, with a format of one word a line in place of YAML: a DAG id,
//! `bad` for an error, `odd` for a warning.

use std::fs;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use towpath_model::clock::SystemClock;
use towpath_model::dag::{Dag, DagSpec};
use towpath_store::{DagFilter, Key, Topic};
use towpath_testkit::TestDb;

use super::read::Compiled;
use super::*;

/// Remembers what it has read.
#[derive(Debug, Default)]
struct Words(Mutex<Vec<String>>);

impl Compile for Words {
    fn compile(&self, path: &Path, root: &Path, _: DateTime<Utc>) -> Compiled {
        let file = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        self.0.lock().unwrap().push(file);
        let (text, unreadable) = match fs::read_to_string(path) {
            Ok(text) => (text, None),
            Err(error) => (String::new(), Some(error.to_string())),
        };
        // What the defaults beside it say is part of the DAG.
        let tag = fs::read_to_string(path.with_file_name("defaults.yml")).ok();
        let dag = |id: &str| {
            let mut spec = DagSpec::new(id);
            spec.tags.extend(tag.clone());
            Arc::new(Dag::build(spec).unwrap())
        };
        assert!(!text.contains("panic"), "as the file says");
        Compiled {
            dags: text.split_whitespace().filter(|word| !matches!(*word, "bad" | "odd")).map(dag).collect(),
            source: text.as_str().into(),
            error: unreadable.or_else(|| text.contains("bad").then(|| "it is bad".to_owned())),
            warnings: text.contains("odd").then(|| "it is odd".to_owned()).into_iter().collect(),
        }
    }
}

struct World {
    folder: tempfile::TempDir,
    store: Store,
    words: Arc<Words>,
    _db: TestDb,
}

impl World {
    async fn all() -> Vec<Self> {
        let mut worlds = Vec::new();
        for db in towpath_testkit::databases().await {
            let options = towpath_store::Options { url: db.url.clone(), key: Key::random(), max_connections: 4 };
            let store = Store::connect(options).await.unwrap();
            store.migrate().await.unwrap();
            worlds.push(Self { folder: tempfile::tempdir().unwrap(), store, words: Arc::default(), _db: db });
        }
        worlds
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.folder.path().join(file)).unwrap();
    }

    fn dag_folder(&self) -> DagFolder {
        let options = Options {
            store: self.store.clone(),
            clock: Arc::new(SystemClock),
            folder: self.folder.path().to_owned(),
            limits: Limits::default(),
            paused_by_default: false,
            rescan: Duration::from_secs(60),
        };
        DagFolder::with(options, Arc::clone(&self.words) as Arc<dyn Compile>, Outages::default()).unwrap()
    }

    /// A folder that has been read once.
    async fn started(&self) -> DagFolder {
        let mut folder = self.dag_folder();
        folder.start(&CancellationToken::new()).await.unwrap();
        folder
    }

    /// What has been read since the last call.
    fn read(&self) -> Vec<String> {
        let mut read = std::mem::take(&mut *self.words.0.lock().unwrap());
        read.sort();
        read
    }

    /// Active DAGs with their files, then the files with import errors.
    async fn state(&self) -> String {
        let dags = self.store.dags(&DagFilter { limit: 100, ..DagFilter::default() }).await.unwrap().items;
        let errors = self.store.import_errors().await.unwrap();
        let dags = dags.iter().map(|dag| format!("{}@{}", dag.dag_id, dag.file));
        let errors = errors.iter().map(|error| format!("!{}", error.file));
        dags.chain(errors).collect::<Vec<_>>().join(" ")
    }

    /// Waits until that is `expected`.
    async fn becomes(&self, expected: &str) {
        let mut progress = self.store.wakes().subscribe(Topic::Progress);
        let begun = Instant::now();
        loop {
            progress.mark_unchanged();
            let state = self.state().await;
            if state == expected {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "expected `{expected}`, found `{state}`");
            let _ = tokio::time::timeout(Duration::from_millis(500), progress.changed()).await;
        }
    }
}

async fn look(folder: &mut DagFolder, paths: &[&str]) {
    let paths = paths.iter().map(ToString::to_string).collect();
    folder.look(Target::Paths(paths), &CancellationToken::new()).await.unwrap();
}

/// The second look, when its time has come.
async fn look_again(folder: &mut DagFolder) {
    let at = folder.doubts.values().max().copied().expect("there is something to look at again");
    tokio::time::sleep_until(at).await;
    let due = folder.due_doubts();
    folder.look(Target::Paths(due), &CancellationToken::new()).await.unwrap();
    assert!(folder.doubts.is_empty(), "{:?}", folder.doubts);
}

async fn look_at_everything(folder: &mut DagFolder) {
    folder.look(Target::Everything, &CancellationToken::new()).await.unwrap();
}

#[tokio::test]
async fn a_start_compares_the_folder_with_the_store() {
    for world in World::all().await {
        world.write("a.yml", "one two odd");
        world.write("b/c.yaml", "three");
        world.write("broken.yml", "four bad");
        world.write("panics.yml", "panic");
        world.started().await;
        assert_eq!(world.state().await, "four@broken.yml one@a.yml three@b/c.yaml two@a.yml !broken.yml !panics.yml");
        assert_eq!(world.read(), ["a.yml", "b/c.yaml", "broken.yml", "panics.yml"]);
        // While nobody looks: one DAG leaves, a file goes, one is repaired, one breaks.
        world.write("a.yml", "one bad");
        world.remove("b/c.yaml");
        world.write("broken.yml", "five");
        world.remove("panics.yml");
        world.started().await;
        assert_eq!(world.state().await, "five@broken.yml one@a.yml two@a.yml !a.yml");
        world.write("a.yml", "one");
        world.started().await;
        assert_eq!(world.state().await, "five@broken.yml one@a.yml");
    }
}

#[tokio::test]
async fn what_has_not_changed_is_not_read_again() {
    for world in World::all().await {
        world.write("a.yml", "one");
        world.write("b.yml", "two");
        let mut folder = world.started().await;
        world.read();
        look_at_everything(&mut folder).await;
        assert_eq!(world.read(), [""; 0]);
        world.write("b.yml", "two three");
        look_at_everything(&mut folder).await;
        assert_eq!(world.read(), ["b.yml"]);
        assert_eq!(world.state().await, "one@a.yml three@b.yml two@b.yml");
    }
}

#[tokio::test]
async fn bad_news_gets_a_second_look() {
    for world in World::all().await {
        world.write("a.yml", "one two");
        let mut folder = world.started().await;
        for half_written in ["", "bad", "one"] {
            world.write("a.yml", half_written);
            look(&mut folder, &["a.yml"]).await;
            assert_eq!(world.state().await, "one@a.yml two@a.yml", "{half_written}");
            world.write("a.yml", "one two");
            look_again(&mut folder).await;
            assert_eq!(world.state().await, "one@a.yml two@a.yml", "{half_written}");
        }
        // An editor that moves the old file away.
        world.remove("a.yml");
        look(&mut folder, &["a.yml"]).await;
        world.write("a.yml", "one two");
        look(&mut folder, &["a.yml"]).await;
        assert!(folder.doubts.is_empty());
        // What is still so at the second look is believed.
        world.write("a.yml", "one bad");
        look(&mut folder, &["a.yml"]).await;
        look_again(&mut folder).await;
        assert_eq!(world.state().await, "one@a.yml two@a.yml !a.yml");
        world.write("a.yml", "one");
        look(&mut folder, &["a.yml"]).await;
        look_again(&mut folder).await;
        assert_eq!(world.state().await, "one@a.yml");
        world.remove("a.yml");
        look_at_everything(&mut folder).await;
        look_again(&mut folder).await;
        assert_eq!(world.state().await, "");
    }
}

#[tokio::test]
async fn two_files_with_one_dag_are_told() {
    for world in World::all().await {
        world.write("b.yml", "one");
        world.write("c.yml", "one two");
        let mut folder = world.started().await;
        assert_eq!(world.state().await, "one@b.yml two@c.yml !c.yml");
        let message = world.store.import_errors().await.unwrap().remove(0).message;
        assert!(message.contains("`one`") && message.contains("`b.yml`") && message.contains("`c.yml`"), "{message}");
        world.write("a.yml", "one");
        look(&mut folder, &["a.yml"]).await;
        assert_eq!(world.state().await, "one@a.yml two@c.yml !b.yml !c.yml");
        // Its heir is read again, though it has not changed.
        world.remove("a.yml");
        look(&mut folder, &["a.yml"]).await;
        world.read();
        look_again(&mut folder).await;
        assert_eq!(world.read(), ["b.yml"]);
        assert_eq!(world.state().await, "one@b.yml two@c.yml !c.yml");
    }
}

#[tokio::test]
async fn a_renamed_file_takes_its_dags_along() {
    for world in World::all().await {
        world.write("b.yml", "one");
        let mut folder = world.started().await;
        for (from, to) in [("b.yml", "c.yml"), ("c.yml", "a.yml")] {
            fs::rename(world.folder.path().join(from), world.folder.path().join(to)).unwrap();
            look(&mut folder, &[from, to]).await;
            assert!(!world.state().await.contains('!'), "{}", world.state().await);
            look_again(&mut folder).await;
            assert_eq!(world.state().await, format!("one@{to}"));
        }
    }
}

#[tokio::test]
async fn defaults_reach_what_lies_beside_and_below_them() {
    for world in World::all().await {
        world.write("a.yml", "one");
        world.write("b/b.yml", "two");
        world.write("b/c/c.yml", "three");
        let mut folder = world.started().await;
        world.read();
        world.write("b/defaults.yml", "tag");
        look(&mut folder, &["b/defaults.yml"]).await;
        assert_eq!(world.read(), ["b/b.yml", "b/c/c.yml"]);
        assert_eq!(world.store.dag("two").await.unwrap().unwrap().tags, ["tag"]);
        world.write("b/defaults.yml", "other");
        look_at_everything(&mut folder).await;
        assert_eq!(world.read(), ["b/b.yml", "b/c/c.yml"]);
        world.remove("b/defaults.yml");
        look(&mut folder, &["b/defaults.yml"]).await;
        assert_eq!(world.read(), ["b/b.yml", "b/c/c.yml"]);
        assert_eq!(world.store.dag("two").await.unwrap().unwrap().tags, [""; 0]);
        look_at_everything(&mut folder).await;
        assert_eq!(world.read(), [""; 0]);
    }
}

#[tokio::test]
async fn dags_outlive_a_folder_that_is_out_of_reach() {
    for world in World::all().await {
        world.write("a.yml", "one");
        let mut folder = world.started().await;
        let (path, aside) = (world.folder.path().to_owned(), world.folder.path().with_extension("aside"));
        fs::rename(&path, &aside).unwrap();
        look_at_everything(&mut folder).await;
        assert!(folder.is_missing && folder.doubts.is_empty());
        assert_eq!(world.state().await, "one@a.yml");
        fs::rename(&aside, &path).unwrap();
        world.write("b.yml", "two");
        look(&mut folder, &[]).await;
        assert!(!folder.is_missing);
        assert_eq!(world.state().await, "one@a.yml two@b.yml", "all of it is looked at");
    }
}

#[tokio::test]
async fn a_missing_folder_is_said_at_the_start() {
    let world = World::all().await.remove(0);
    let mut options = world.dag_folder().options;
    for (folder, reason) in [("nowhere", "No such file"), ("a.yml", "Not a directory")] {
        world.write("a.yml", "one");
        options.folder = world.folder.path().join(folder);
        let message = DagFolder::new(options.clone()).unwrap_err().to_string();
        assert!(message.contains(folder) && message.contains(reason) && message.contains("`dags_dir`"), "{message}");
    }
}

#[tokio::test]
async fn changes_are_heard_of() {
    for world in World::all().await {
        world.write("a.yml", "one");
        let soft = CancellationToken::new();
        let folder = world.dag_folder();
        let mut ready = folder.ready();
        let running = tokio::spawn(folder.run(soft.clone()));
        ready.wait_for(|ready| *ready).await.unwrap();
        assert_eq!(world.state().await, "one@a.yml");
        world.write("b.yml", "two");
        world.becomes("one@a.yml two@b.yml").await;
        // Deeper than any folder that is watched yet.
        world.write("c/d/e.yml", "three");
        world.becomes("one@a.yml three@c/d/e.yml two@b.yml").await;
        world.write("c/d/e.yml", "four");
        world.becomes("four@c/d/e.yml one@a.yml two@b.yml").await;
        fs::rename(world.folder.path().join("c"), world.folder.path().join("f")).unwrap();
        world.becomes("four@f/d/e.yml one@a.yml two@b.yml").await;
        world.write("f/d/e.yml", "four five");
        world.becomes("five@f/d/e.yml four@f/d/e.yml one@a.yml two@b.yml").await;
        fs::remove_dir_all(world.folder.path().join("f")).unwrap();
        world.write("a.yml", "bad");
        world.becomes("one@a.yml two@b.yml !a.yml").await;
        // Its path is taken by another folder.
        world.write("f/g.yml", "six");
        world.becomes("one@a.yml six@f/g.yml two@b.yml !a.yml").await;
        world.remove("a.yml");
        world.becomes("six@f/g.yml two@b.yml").await;
        soft.cancel();
        running.await.unwrap();
    }
}

#[tokio::test]
async fn a_moved_link_is_noticed() {
    let world = World::all().await.remove(0);
    world.write("first/a.yml", "one");
    world.write("second/b.yml", "two");
    let link = world.folder.path().join("current");
    std::os::unix::fs::symlink("first", &link).unwrap();
    let options = Options { folder: link.clone(), ..world.dag_folder().options };
    let folder = DagFolder::with(options, Arc::clone(&world.words) as Arc<dyn Compile>, Outages::default()).unwrap();
    let soft = CancellationToken::new();
    let running = tokio::spawn(folder.run(soft.clone()));
    world.becomes("one@a.yml").await;
    let next = world.folder.path().join("next");
    std::os::unix::fs::symlink("second", &next).unwrap();
    fs::rename(next, link).unwrap();
    world.becomes("two@b.yml").await;
    soft.cancel();
    running.await.unwrap();
}
