//! How a DAG and its tasks are set up.

use askama::Template;
use axum::extract::{self, Path};
use axum::response::Html;
use chrono::{DateTime, Utc};
use towpath_model::duration::humanize;

use super::super::html;
use super::{Head, load};
use crate::frame::Frame;
use crate::view::moment::absolute;
use crate::view::text::{plural, shown};
use crate::view::why;
use crate::{Result, State, links};

/// Tasks in the table.
const TASKS: usize = 500;

#[derive(Template)]
#[template(path = "dag/details.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    head: Head,
    why: String,
    doc: String,
    facts: Vec<(&'static str, String)>,
    params: Vec<(String, String, String)>,
    tasks: Vec<Row>,
    left_out: Option<String>,
    delete_href: String,
}

struct Row {
    task_id: String,
    operator: String,
    after: String,
    trigger_rule: String,
    retries: String,
    pool: String,
    owner: String,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let loaded = load(&state, &dag_id, "Details", now).await?;
    let spec = loaded.dag.spec();
    let told = state.store.explain_dag(&dag_id, now).await?;
    let reasons: Vec<_> = told.reasons.into_iter().map(|told| told.reason).collect();
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let mut facts = vec![
        ("Owner", loaded.head.owners.clone()),
        ("Zone", spec.timezone.name().to_owned()),
        ("Catchup", yes(spec.catchup)),
        ("Most runs at a time", spec.max_active_runs.to_string()),
        ("Most tasks of a run at a time", spec.max_active_tasks.to_string()),
        ("Tasks", loaded.dag.tasks().len().to_string()),
        ("File", loaded.head.file.clone()),
        ("Read", absolute(loaded.record.last_parsed_at)),
        ("Version", loaded.record.version_number.to_string()),
    ];
    for (name, at) in [("Start date", spec.start_date), ("End date", spec.end_date)] {
        facts.extend(at.map(|at| (name, absolute(at))));
    }
    facts.extend(spec.dagrun_timeout.map(|limit| ("Longest run", humanize(limit))));
    let left = loaded.dag.tasks().len().saturating_sub(TASKS);
    html(&Page {
        why: why::line(&reasons, now),
        doc: spec.doc_md.as_deref().map(shown).unwrap_or_default(),
        facts,
        params: spec
            .params
            .iter()
            .map(|(name, param)| {
                let default = param.default.as_ref().map(|value| shown(&value.to_string())).unwrap_or_default();
                (shown(name), default, param.description.as_deref().map(shown).unwrap_or_default())
            })
            .collect(),
        tasks: loaded
            .dag
            .topological()
            .iter()
            .take(TASKS)
            .map(|index| &loaded.dag.tasks()[*index])
            .map(|task| Row {
                task_id: shown(&task.task_id),
                operator: shown(&task.operator),
                after: few(&task.upstream),
                trigger_rule: task.trigger_rule.to_string(),
                retries: task.retry.retries.to_string(),
                pool: shown(&task.pool),
                owner: shown(&task.owner),
            })
            .collect(),
        left_out: (left > 0).then(|| plural(left as u64, "more task", "more tasks")),
        delete_href: format!("{}/delete", links::dag(&dag_id)),
        frame: loaded.frame,
        now,
        head: loaded.head,
    })
}

fn few(ids: &[String]) -> String {
    let first: Vec<String> = ids.iter().take(4).map(|id| shown(id)).collect();
    let more = ids.len().saturating_sub(4);
    if more == 0 { first.join(", ") } else { format!("{} and {more} more", first.join(", ")) }
}
