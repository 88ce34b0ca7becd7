//! What must come of a case, as a test file says it.

use std::str::FromStr;

use serde_json::Map;
use towpath_dagfile::tree::Part;
use towpath_model::dag::Dag;
use towpath_model::operator;
use towpath_model::state::{RunState, TaskState};
use towpath_operators::attempt::RETURN_VALUE;

use super::Reader;
use crate::suite::Expect;

const KEYS: &[&str] = &["state", "states", "order", "tries", "xcom", "xcoms", "rendered", "next_runs"];
const RUN_STATES: &[&str] = &["success", "failed", "running", "queued"];
const TASK_STATES: &[&str] = &["success", "failed", "skipped", "upstream_failed", "none", "scheduled", "queued"];

impl Reader<'_> {
    pub(super) fn expect(&mut self, part: Part<'_>, dag: &Dag) -> Expect {
        let mut expect = Expect::default();
        for (name, part) in self.mapping(part, "expect").unwrap_or_default() {
            match name.text {
                "state" => expect.state = self.state(part, "state", RUN_STATES).unwrap_or(RunState::Success),
                "states" => {
                    for (task, part) in self.by_task(part, "states", dag) {
                        let state: Option<TaskState> = self.state(part, task.text, TASK_STATES);
                        expect.states.extend(state.map(|state| (task.text.to_owned(), state)));
                    }
                }
                "order" => expect.order = self.order(part, dag),
                "tries" => {
                    for (task, part) in self.by_task(part, "tries", dag) {
                        let tries = self.count(part, task.text);
                        expect.tries.extend(tries.map(|tries| (task.text.to_owned(), tries)));
                    }
                }
                "xcom" => {
                    for (task, part) in self.by_task(part, "xcom", dag) {
                        expect.xcoms.insert((task.text.to_owned(), RETURN_VALUE.to_owned()), part.json());
                    }
                }
                "xcoms" => {
                    for (task, part) in self.by_task(part, "xcoms", dag) {
                        for (key, part) in self.mapping(part, task.text).unwrap_or_default() {
                            expect.xcoms.insert((task.text.to_owned(), key.text.to_owned()), part.json());
                        }
                    }
                }
                "rendered" => self.rendered(part, dag, &mut expect),
                "next_runs" => expect.next_runs = self.next_runs(part, dag),
                key => {
                    self.problems.unknown(
                        name.place,
                        format!("`expect` has no key `{key}`"),
                        key,
                        KEYS.iter().copied(),
                    );
                }
            }
        }
        expect
    }

    fn state<T: FromStr>(&mut self, part: Part<'_>, name: &str, known: &'static [&'static str]) -> Option<T> {
        let word = if part.is_null() { "none".to_owned() } else { self.text(part, name)? };
        let state = word.parse().ok();
        if state.is_none() {
            self.problems.unknown(part.place(), format!("`{word}` is not a state"), &word, known.iter().copied());
        }
        state
    }

    /// A list of tasks, or of lists of tasks among which there is no order.
    fn order(&mut self, part: Part<'_>, dag: &Dag) -> Vec<Vec<String>> {
        let Some(items) = part.items() else {
            self.problems.wrong(part, "order", "a list of tasks");
            return Vec::new();
        };
        let mut order = Vec::new();
        for item in items {
            let mut group = Vec::new();
            for part in item.items().unwrap_or_else(|| vec![item]) {
                let Some(task_id) = self.text(part, "order") else { continue };
                if self.is_task(part.place(), &task_id, dag) {
                    group.push(task_id);
                }
            }
            if !group.is_empty() {
                order.push(group);
            }
        }
        order
    }

    fn rendered(&mut self, part: Part<'_>, dag: &Dag, expect: &mut Expect) {
        for (name, part) in self.by_task(part, "rendered", dag) {
            let Some(task) = dag.task(name.text) else { continue };
            let spec = operator::find(&task.operator);
            let mut args = Map::new();
            for (arg, part) in self.mapping(part, name.text).unwrap_or_default() {
                let canonical = spec.and_then(|spec| spec.arg(arg.text)).map_or(arg.text, |spec| spec.name);
                if task.args.contains_key(canonical) {
                    args.insert(canonical.to_owned(), part.json());
                } else {
                    let message = format!("task `{}` is given no `{}`", name.text, arg.text);
                    self.problems.unknown(arg.place, message, arg.text, task.args.keys().map(String::as_str));
                }
            }
            expect.rendered.insert(name.text.to_owned(), args);
        }
    }

    fn next_runs(&mut self, part: Part<'_>, dag: &Dag) -> Option<Vec<chrono::DateTime<chrono::Utc>>> {
        let Some(items) = part.items() else {
            self.problems.wrong(part, "next_runs", "a list of times");
            return None;
        };
        Some(items.into_iter().filter_map(|item| self.date(item, "next_runs", dag)).collect())
    }
}
