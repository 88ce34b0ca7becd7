//! The rules of SEMANTICS.md, written down once more: for whole lists of ends, without counters, and
//! without anything of the code that is tested.

use std::collections::{BTreeMap, BTreeSet};

use towpath_model::state::TaskState::{self, Failed, Skipped, Success, UpstreamFailed};

/// What becomes of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Runs,
    Skipped,
    UpstreamFailed,
}

/// What a rule says when `ended` have ended and `open` have not; `None` while it waits.
pub(crate) fn settle(rule: &str, ended: &[TaskState], open: usize) -> Option<Fate> {
    let (all, done) = (ended.len() + open, open == 0);
    if all == 0 {
        return Some(Fate::Runs);
    }
    let has = |state| ended.contains(&state);
    let only = |state| done && ended.iter().all(|end| *end == state);
    let (bad, good, skipped) = (has(Failed) || has(UpstreamFailed), has(Success), has(Skipped));
    let fate = match rule {
        "all_success" | "none_failed" if bad => Fate::UpstreamFailed,
        "all_success" if skipped => Fate::Skipped,
        "all_failed" if good || skipped => Fate::Skipped,
        "all_skipped" if good || bad => Fate::Skipped,
        "one_success" if good => Fate::Runs,
        "one_success" if only(Skipped) => Fate::Skipped,
        "one_success" if done => Fate::UpstreamFailed,
        "one_failed" if bad => Fate::Runs,
        "one_failed" if done => Fate::Skipped,
        "one_done" if good || has(Failed) => Fate::Runs,
        "one_done" if done => Fate::Skipped,
        "none_failed_min_one_success" if bad => Fate::UpstreamFailed,
        "none_failed_min_one_success" if only(Skipped) => Fate::Skipped,
        "none_skipped" if skipped => Fate::Skipped,
        "all_done_min_one_success" if skipped => Fate::Skipped,
        "all_done_min_one_success" if done && !good => Fate::UpstreamFailed,
        "always" => Fate::Runs,
        "one_success" | "one_failed" | "one_done" => return None,
        _ if done => Fate::Runs,
        _ => return None,
    };
    Some(fate)
}

/// A task, as the generator has written it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Task {
    pub(crate) rule: &'static str,
    pub(crate) upstream: BTreeSet<String>,
    /// How its instances end when they run; one for a task that is not mapped.
    pub(crate) script: Vec<TaskState>,
    pub(crate) mapped: bool,
    pub(crate) in_group: bool,
    pub(crate) is_setup: bool,
    pub(crate) is_teardown: bool,
    /// What it rules out directly when it succeeds, and whether all that follows goes with it.
    pub(crate) rules_out: Option<(BTreeSet<String>, bool)>,
}

pub(crate) type Ends = BTreeMap<(String, i32), (TaskState, u32)>;

pub(crate) struct Reference<'t> {
    pub(crate) tasks: &'t BTreeMap<String, Task>,
    pub(crate) ends: &'t Ends,
}

impl Reference<'_> {
    /// Complains about the first instance whose end the rules do not allow.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (id, task) in self.tasks {
            let mut indices: Vec<i32> = self.ends.keys().filter(|(other, _)| other == id).map(|(_, i)| *i).collect();
            indices.sort_unstable();
            let all: Vec<i32> = (0..).take(task.script.len()).collect();
            let is_whole =
                if task.mapped || task.in_group { indices == all || indices == [-1] } else { indices == [-1] };
            if !is_whole {
                return Err(format!("{id} has the instances {indices:?}"));
            }
            for index in indices {
                let (state, tries) = self.ends[&(id.clone(), index)];
                let allowed = self.allowed(id, index);
                let at = usize::try_from(index).unwrap_or(0);
                let fits = allowed.iter().any(|fate| match fate {
                    Fate::Runs if (task.mapped || task.in_group) && index < 0 => false,
                    Fate::Runs => (state, tries) == (task.script[at], 1),
                    Fate::Skipped => (state, tries) == (Skipped, 0),
                    Fate::UpstreamFailed => (state, tries) == (UpstreamFailed, 0),
                });
                if !fits {
                    return Err(format!("{id}[{index}] is {state} after {tries} tries; allowed are {allowed:?}"));
                }
            }
        }
        Ok(())
    }

    /// What may become of an instance. Rules that do not wait for everything may have seen any part of
    /// what has ended, so there can be several answers.
    fn allowed(&self, id: &str, index: i32) -> BTreeSet<Fate> {
        let task = &self.tasks[id];
        let (ruled_out, blind) = if task.is_teardown { Default::default() } else { self.ruled_out(id) };
        let seen: Vec<TaskState> = self.upstream_of(id, index, &blind);
        let total = self.upstream_of(id, index, &BTreeSet::new()).len();
        let mut fates = BTreeSet::new();
        if task.is_teardown {
            // Nobody can rule it out.
            fates.insert(self.teardown(id, index));
        } else {
            for mask in 0..1_u32 << seen.len() {
                let part = seen.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, state)| *state);
                let part: Vec<TaskState> = part.collect();
                let open = total - part.len();
                fates.extend(settle(task.rule, &part, open));
            }
            self.within_setups(id, &mut fates);
        }
        if ruled_out {
            fates.insert(Fate::Skipped);
        }
        fates
    }

    fn teardown(&self, id: &str, index: i32) -> Fate {
        let setups = self.tasks[id].upstream.iter().filter(|up| self.tasks[*up].is_setup);
        let ends: Vec<TaskState> = setups.flat_map(|up| self.instances(up, id, index)).collect();
        if ends.is_empty() || ends.contains(&Success) {
            Fate::Runs
        } else if ends.iter().all(|end| *end == Skipped) {
            Fate::Skipped
        } else {
            Fate::UpstreamFailed
        }
    }

    /// A task whose setup has not succeeded does not run.
    fn within_setups(&self, id: &str, fates: &mut BTreeSet<Fate>) {
        let below = self.reach(id, false);
        for setup in self.reach(id, true) {
            let (is_direct, task) = (self.tasks[id].upstream.contains(&setup), &self.tasks[&setup]);
            if !task.is_setup || is_direct {
                continue;
            }
            let mut teardowns =
                self.tasks.iter().filter(|(_, t)| t.is_teardown && t.upstream.contains(&setup)).peekable();
            let is_around = teardowns.peek().is_none() || teardowns.any(|(teardown, _)| below.contains(teardown));
            if !is_around {
                continue;
            }
            match self.ends[&(setup.clone(), -1)].0 {
                Success => continue,
                Skipped => fates.insert(Fate::Skipped),
                _ => fates.insert(Fate::UpstreamFailed),
            };
            fates.remove(&Fate::Runs);
        }
    }

    /// Whether something may have ruled the task out, and the upstream whose end it has not seen if it was not.
    fn ruled_out(&self, id: &str) -> (bool, BTreeSet<String>) {
        let mut found = false;
        let mut blind = BTreeSet::new();
        for (by, task) in &self.tasks.iter().filter(|(_, t)| t.rules_out.is_some()).collect::<BTreeMap<_, _>>() {
            let Some((direct, everything)) = &task.rules_out else { continue };
            if self.ends[&((*by).clone(), -1)].0 != Success {
                continue;
            }
            let behind: BTreeSet<String> = self.reach(by, false);
            if direct.contains(id) || (*everything && behind.contains(id)) {
                found = true;
                blind.insert((*by).clone());
                if *everything {
                    // They were skipped in the same moment, unless they had ended before.
                    blind.extend(behind.into_iter().filter(|other| self.ended_with(other)));
                }
            }
        }
        (found, blind)
    }

    /// Whether a task was skipped and could not have been by its own rule before its upstream had ended.
    fn ended_with(&self, id: &str) -> bool {
        let task = &self.tasks[id];
        let hasty = ["all_failed", "all_skipped", "all_success", "none_skipped", "all_done_min_one_success"];
        let instances = self.ends.iter().filter(|((other, _), _)| other == id);
        let skipped = instances.clone().count() > 0 && instances.clone().all(|(_, end)| *end == (Skipped, 0));
        skipped && (!hasty.contains(&task.rule) || task.upstream.len() < 2)
    }

    /// The ends of the direct upstream of an instance, without those of `blind`.
    fn upstream_of(&self, id: &str, index: i32, blind: &BTreeSet<String>) -> Vec<TaskState> {
        let upstream = self.tasks[id].upstream.iter().filter(|up| !blind.contains(*up));
        upstream.flat_map(|up| self.instances(up, id, index)).collect()
    }

    /// The instances of `up` that an instance of `id` looks at: inside of the group the one of its index.
    fn instances(&self, up: &str, id: &str, index: i32) -> Vec<TaskState> {
        let local = self.tasks[up].in_group && self.tasks[id].in_group && index >= 0;
        let looks_at = |other: i32| !local || other == index || other < 0;
        let found = self.ends.iter().filter(|((other, i), _)| other == up && looks_at(*i));
        found.map(|(_, (state, _))| *state).collect()
    }

    /// What lies above or below a task.
    pub(crate) fn reach(&self, id: &str, up: bool) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![id.to_owned()];
        while let Some(next) = open.pop() {
            let around: Vec<String> = match up {
                true => self.tasks[&next].upstream.iter().cloned().collect(),
                false => {
                    let below = self.tasks.iter().filter(|(_, task)| task.upstream.contains(&next));
                    below.map(|(id, _)| id.clone()).collect()
                }
            };
            open.extend(around.into_iter().filter(|id| found.insert(id.clone())));
        }
        found
    }

    /// Whether the run has to have failed: by the tasks that only teardowns follow.
    pub(crate) fn fails(&self) -> bool {
        let is_last = |id: &String| {
            let mut below = self.tasks.values().filter(|task| task.upstream.contains(id));
            !self.tasks[id].is_teardown && below.all(|task| task.is_teardown)
        };
        let bad = |state| matches!(state, Failed | UpstreamFailed);
        let any = self.tasks.keys().any(is_last);
        self.ends.iter().any(|((id, _), (state, _))| {
            let decides = if any { is_last(id) } else { !self.tasks.values().any(|task| task.upstream.contains(id)) };
            decides && bad(*state)
        })
    }
}
