//! What is known of each file, and what follows for the store when files change: no I/O.
//!
//! A file claims the DAGs that it defines. A DAG belongs to the first file by path that claims it;
//! the others are told so in their import errors. A broken file keeps its claims, so that its DAGs
//! go on in their last good version. A DAG that nobody claims is deactivated.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::walk::{Stamp, is_below};

#[cfg(test)]
mod tests;

/// The files by path relative to the DAGs folder, with `/` between names.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    files: BTreeMap<String, File>,
    /// Files by the DAG that they claim.
    claims: HashMap<String, BTreeSet<String>>,
    /// The file that each active DAG has in the store.
    stored: HashMap<String, String>,
    /// DAGs and files to look at in [`Ledger::settle`].
    touched_dags: BTreeSet<String>,
    touched_files: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct File {
    /// As it was when it was read; `None`: read it again.
    stamp: Option<Stamp>,
    dags: BTreeSet<String>,
    /// What is wrong with the file itself.
    error: Option<String>,
    /// Its import error in the store.
    told: Option<String>,
}

/// What reading a file has given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Ids of the DAGs that are good.
    pub(super) dags: BTreeSet<String>,
    /// What is wrong; the file may define more DAGs than `dags` then.
    pub(super) error: Option<String>,
}

/// What is to be done after some changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// DAGs that no file defines any more.
    pub(super) deactivate: Vec<String>,
    /// Files that have become the owners of DAGs and must be read for them.
    pub(super) reread: Vec<String>,
    /// Import errors that have changed; `None`: there is none any more.
    pub(super) errors: Vec<(String, Option<String>)>,
}

impl Ledger {
    /// Takes over what the store knows of an active DAG.
    pub(super) fn remember_dag(&mut self, file: &str, dag_id: &str) {
        self.files.entry(file.to_owned()).or_default().dags.insert(dag_id.to_owned());
        self.claims.entry(dag_id.to_owned()).or_default().insert(file.to_owned());
        self.stored.insert(dag_id.to_owned(), file.to_owned());
    }

    /// Takes over what the store knows of a broken file.
    pub(super) fn remember_error(&mut self, file: &str, message: String) {
        self.files.entry(file.to_owned()).or_default().told = Some(message);
    }

    /// Whether `file` has been read as it is now.
    pub(super) fn is_current(&self, file: &str, stamp: Stamp) -> bool {
        self.files.get(file).is_some_and(|known| known.stamp == Some(stamp))
    }

    /// The known files at or below `path`.
    pub(super) fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a str> {
        self.files.keys().map(String::as_str).filter(move |file| is_below(file, path))
    }

    /// Whether something of `file` would get worse with `outcome`: bad news deserve a second look.
    pub(super) fn is_bad_news(&self, file: &str, outcome: &Outcome) -> bool {
        let known = self.files.get(file);
        outcome.error.is_some() && outcome.error.as_ref() != known.and_then(|known| known.error.as_ref())
            || known.is_some_and(|known| outcome.error.is_none() && !known.dags.is_subset(&outcome.dags))
    }

    /// Records what reading a file has given.
    pub(super) fn read(&mut self, file: &str, stamp: Option<Stamp>, outcome: Outcome) {
        let known = self.files.entry(file.to_owned()).or_default();
        let before = std::mem::take(&mut known.dags);
        let mut after = outcome.dags;
        if outcome.error.is_some() {
            after.extend(before.iter().cloned());
        }
        for dag_id in before.difference(&after) {
            withdraw(&mut self.claims, dag_id, file);
            self.touched_dags.insert(dag_id.clone());
        }
        for dag_id in after.difference(&before) {
            self.claims.entry(dag_id.clone()).or_default().insert(file.to_owned());
            self.touched_dags.insert(dag_id.clone());
        }
        known.dags = after;
        known.stamp = stamp;
        known.error = outcome.error;
        self.touched_files.insert(file.to_owned());
    }

    /// Adds to what is wrong with a file, from outside of it.
    pub(super) fn refuse(&mut self, file: &str, reason: &str) {
        let known = self.files.entry(file.to_owned()).or_default();
        let lines: Vec<&str> = known.error.as_deref().into_iter().chain([reason]).collect();
        known.error = Some(lines.join("\n"));
        self.touched_files.insert(file.to_owned());
    }

    /// Records that a file is gone.
    pub(super) fn remove(&mut self, file: &str) {
        let Some(known) = self.files.get_mut(file) else { return };
        for dag_id in std::mem::take(&mut known.dags) {
            withdraw(&mut self.claims, &dag_id, file);
            self.touched_dags.insert(dag_id);
        }
        known.error = None;
        known.stamp = None;
        self.touched_files.insert(file.to_owned());
        if known.told.is_none() {
            self.files.remove(file);
        }
    }

    /// Whether `file` is the one that defines `dag_id`.
    pub(super) fn owns(&self, file: &str, dag_id: &str) -> bool {
        self.owner(dag_id) == Some(file)
    }

    /// Records that the store has `dag_id` from `file`.
    pub(super) fn stored(&mut self, dag_id: &str, file: &str) {
        self.stored.insert(dag_id.to_owned(), file.to_owned());
    }

    /// What follows from all changes since the last call. Files for which `is_unsure` holds are
    /// about to be looked at again: nobody is told of a conflict with them yet.
    pub(super) fn settle(&mut self, is_unsure: impl Fn(&str) -> bool) -> Settled {
        let mut settled = Settled::default();
        let mut reread = BTreeSet::new();
        let mut files = std::mem::take(&mut self.touched_files);
        for dag_id in std::mem::take(&mut self.touched_dags) {
            let Some(owner) = self.owner(&dag_id) else {
                if self.stored.remove(&dag_id).is_some() {
                    settled.deactivate.push(dag_id);
                }
                continue;
            };
            // A broken owner cannot be read for it: the DAG goes on as it was stored.
            let is_stored = self.stored.get(&dag_id).is_some_and(|file| file == owner);
            if !is_stored && self.files.get(owner).is_some_and(|file| file.error.is_none()) {
                reread.insert(owner.to_owned());
            }
            let claimants = &self.claims[&dag_id];
            files.extend(claimants.iter().cloned());
            if claimants.len() > 1 && claimants.iter().any(|file| is_unsure(file)) {
                self.touched_dags.insert(dag_id);
            }
        }
        for file in files {
            let conflicts = self.conflicts(&file);
            if conflicts.iter().any(|(_, owner)| is_unsure(&file) || is_unsure(owner)) {
                continue;
            }
            let Some(known) = self.files.get(&file) else { continue };
            let message = message(&file, known.error.as_deref(), &conflicts);
            if message == known.told {
                continue;
            }
            if let Some(known) = self.files.get_mut(&file) {
                known.told.clone_from(&message);
            }
            if message.is_none() && self.files.get(&file).is_some_and(|known| known.stamp.is_none()) {
                self.files.remove(&file);
            }
            settled.errors.push((file, message));
        }
        settled.reread = reread.into_iter().collect();
        settled
    }

    /// How many files have an import error.
    pub(super) fn broken(&self) -> usize {
        self.files.values().filter(|file| file.told.is_some()).count()
    }

    fn owner(&self, dag_id: &str) -> Option<&str> {
        self.claims.get(dag_id)?.first().map(String::as_str)
    }

    /// The DAGs that `file` defines in vain, each with the file that it belongs to.
    fn conflicts(&self, file: &str) -> Vec<(String, String)> {
        let Some(known) = self.files.get(file) else { return Vec::new() };
        let lost = known.dags.iter().filter_map(|dag_id| Some((dag_id, self.owner(dag_id)?)));
        lost.filter(|(_, owner)| *owner != file).map(|(id, owner)| (id.clone(), owner.to_owned())).collect()
    }
}

fn withdraw(claims: &mut HashMap<String, BTreeSet<String>>, dag_id: &str, file: &str) {
    if let Some(files) = claims.get_mut(dag_id) {
        files.remove(file);
        if files.is_empty() {
            claims.remove(dag_id);
        }
    }
}

fn message(file: &str, error: Option<&str>, conflicts: &[(String, String)]) -> Option<String> {
    let mut lines: Vec<String> = error.into_iter().map(str::to_owned).collect();
    lines.extend(conflicts.iter().map(|(dag_id, owner)| {
        format!(
            "DAG `{dag_id}` is defined in `{owner}` already, so its definition in `{file}` is not used: give one of \
             them another `dag_id`, or delete it"
        )
    }));
    (!lines.is_empty()).then(|| lines.join("\n"))
}
