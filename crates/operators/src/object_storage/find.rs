//! The objects that a URL names: one, those of a folder, or those that fit a glob.

use std::collections::HashSet;
use std::time::Duration;

use cloud_store::path::Path;
use cloud_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use futures::StreamExt as _;
use glob::{MatchOptions, Pattern};

use super::{Commit, Error, Location};

/// As in paths: `*` does not cross folders. `**` does, as a name of its own.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// So often a folder is listed that is changed meanwhile.
const MOST_LOOKS: usize = 50;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub meta: ObjectMeta,
    /// Its name below the folder that the URL names; empty where the URL or its glob names the object itself.
    pub below: String,
}

/// All objects that `location` names, by name. Where it is an object that is the only one; else it is a folder. What begins with
/// `.` or `_` below a folder is no data, as with Hive and Spark.
///
/// # Errors
/// When the store does not answer, does not let the credentials in, or the glob is none.
pub async fn find(store: &dyn ObjectStore, location: &Location) -> Result<Vec<Found>, Error> {
    search(store, location, usize::MAX).await
}

/// The first one found of them.
///
/// # Errors
/// As [`find`].
pub async fn first(store: &dyn ObjectStore, location: &Location) -> Result<Option<Found>, Error> {
    Ok(search(store, location, 1).await?.into_iter().next())
}

async fn search(store: &dyn ObjectStore, location: &Location, most: usize) -> Result<Vec<Found>, Error> {
    let url = location.url();
    let failed = |error: cloud_store::Error| Error::of_store(&url, &error);
    let parse = |path: &str| Path::parse(path).map_err(|error| failed(error.into()));
    if !location.is_glob() && !location.path.is_empty() {
        match store.head(&parse(&location.path)?).await {
            Ok(meta) => return Ok(vec![Found { meta, below: String::new() }]),
            Err(cloud_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let pattern = if location.is_glob() { Some(Glob::new(location)?) } else { None };
    let folder = match &pattern {
        Some(glob) => glob.folder.clone(),
        None => location.path.clone(),
    };
    let prefix = if folder.is_empty() { None } else { Some(parse(&folder)?) };
    let wanted = |meta: ObjectMeta| {
        let name = meta.location.as_ref();
        let below = match &pattern {
            Some(glob) => glob.below(name)?.to_owned(),
            None => name.strip_prefix(&folder).unwrap_or(name).trim_start_matches('/').to_owned(),
        };
        // A name that ends in a slash is how consoles draw a folder; it has no data.
        let own = meta.location.filename().unwrap_or_default();
        let is_folder = meta.size == 0 && name.ends_with('/');
        let passed_over = is_folder || below.split('/').any(is_hidden) || is_hidden(own);
        (!passed_over).then_some(Found { meta, below })
    };
    for _ in 0..MOST_LOOKS {
        let (mut found, mut names, mut marks) = (Vec::new(), HashSet::new(), Vec::new());
        let mut listed = store.list(prefix.as_ref());
        while let Some(meta) = listed.next().await {
            let meta = meta.map_err(failed)?;
            if Commit::is_mark(&meta.location) {
                marks.push(meta);
                continue;
            }
            names.insert(meta.location.clone());
            if let Some(one) = wanted(meta) {
                found.push(one);
                // Who waits for a first object does not care which one it is, nor for how long it is there.
                if found.len() == most {
                    return Ok(found);
                }
            }
        }
        if let Some(hidden) = hidden(store, &marks, &names).await.map_err(failed)? {
            found.retain(|found| !hidden.contains(found.meta.location.as_ref()));
            found.sort_by(|a, b| a.meta.location.cmp(&b.meta.location));
            return Ok(found);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(Error { message: format!("`{url}` is changed by one load after the other; try again later"), retry: true })
}

/// The names that do not count, as `marks` say that were listed beside `names`. `None` where the load of one has gone on since then, so
/// that the list may have some of its objects and lack others.
async fn hidden(
    store: &dyn ObjectStore,
    marks: &[ObjectMeta],
    names: &HashSet<Path>,
) -> Result<Option<HashSet<String>>, cloud_store::Error> {
    let mut hidden = HashSet::new();
    for mark in marks {
        let Some(commit) = Commit::read(store, mark).await? else { return Ok(None) };
        let is_listed = |name: &String| Path::parse(name).is_ok_and(|name| names.contains(&name));
        // Nothing that is old has gone before it says that the new ones count, and all new ones were there by then.
        if commit.switched && !commit.new.iter().all(is_listed) {
            return Ok(None);
        }
        hidden.extend(commit.hidden().map(str::to_owned));
    }
    Ok(Some(hidden))
}

/// Whether a name is that of something that is no data.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// A glob over the names of objects.
struct Glob {
    /// The part before the first special character, which need not be looked through.
    folder: String,
    parts: Vec<Part>,
}

enum Part {
    Name(Pattern),
    /// `**`: any number of folders.
    Folders,
}

impl Glob {
    fn new(location: &Location) -> Result<Self, Error> {
        let names: Vec<&str> = location.path.split('/').collect();
        let plain = names.iter().take_while(|name| !name.contains(['*', '?', '['])).count();
        let parts = names[plain..].iter().map(|name| match *name {
            "**" => Ok(Part::Folders),
            name => Pattern::new(name).map(Part::Name),
        });
        let parts = parts.collect::<Result<_, _>>();
        let wrong =
            |error: glob::PatternError| Error::lasting(format!("`{}` is not a glob: {}", location.url(), error.msg));
        Ok(Self { folder: names[..plain].join("/"), parts: parts.map_err(wrong)? })
    }

    /// Whether an object fits; its name below what the glob names, where that is a folder.
    fn below<'n>(&self, name: &'n str) -> Option<&'n str> {
        let rest = name.strip_prefix(&self.folder)?.trim_start_matches('/');
        fits(&self.parts, rest)
    }
}

/// What is left of `rest` behind the parts, if they fit.
fn fits<'n>(parts: &[Part], rest: &'n str) -> Option<&'n str> {
    let Some((part, others)) = parts.split_first() else { return Some(rest) };
    let (name, behind) = rest.split_once('/').unwrap_or((rest, ""));
    match part {
        Part::Name(pattern) => {
            let fits_here = !rest.is_empty() && pattern.matches_with(name, OPTIONS);
            fits_here.then(|| fits(others, behind)).flatten()
        }
        // It stands for no folder, or for this one and maybe more.
        Part::Folders => fits(others, rest).or_else(|| {
            let is_folder = !behind.is_empty() && !is_hidden(name);
            is_folder.then(|| fits(parts, behind)).flatten()
        }),
    }
}
