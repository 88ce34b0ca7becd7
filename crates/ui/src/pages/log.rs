//! The log of a try, apart from its page: what was added since, and all of it as text.

use std::convert::Infallible;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{self, Path, Query};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use towpath_store::{LogKey, TaskInstanceRecord, TaskKey};

use super::{find_run, html, task};
use crate::view::log::{Hits, Log, Place, plain};
use crate::{Result, State, links};

/// Chunks read at a time.
const BATCH: u32 = 32;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    map_index: Option<i32>,
    #[serde(rename = "try")]
    try_number: u32,
    /// The next chunk, and the number of its first line.
    from: u32,
    line: u64,
    /// Of a part in the middle: the last line before it, and the first after it.
    after: Option<u64>,
    until: Option<u64>,
    /// What to look for.
    q: String,
}

/// Lines of a part in the middle.
const WINDOW: usize = 1_000;

/// The address of a form of the log of a try.
pub(super) fn address(instance: &TaskInstanceRecord, try_number: u32, form: &str) -> String {
    let run = links::run(&instance.dag_id, &instance.run_id);
    let TaskKey { task_id, map_index, .. } = &instance.key;
    format!("{run}/tasks/{}/{form}?map_index={map_index}&try={try_number}", links::part(task_id))
}

/// List items for what was added, with the place where to go on and whether there will be more.
pub(crate) async fn part(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    Query(params): Query<Params>,
) -> Result<Response> {
    let instance = find(&state, &dag_id, &run_id, task_id, &params).await?;
    // Read before the log: what is written in between is then asked for once more.
    let is_open = task::is_open(&instance, params.try_number);
    let key = LogKey { task: instance.key, try_number: params.try_number };
    if let Some(after) = params.after {
        let place = Place { seq: params.from, line: params.line.max(1) };
        let until = params.until.unwrap_or(u64::MAX);
        let (lines, next) = Log::window(&state.store, &key, place, after, until, WINDOW).await?;
        let headers = [("x-log-next", next.seq.to_string()), ("x-log-line", next.line.to_string())];
        return Ok((headers, html(&lines)?).into_response());
    }
    let log = Log::read(&state.store, &key, Place { seq: params.from, line: params.line.max(1) }).await?;
    let mut page = html(&log.head)?.0;
    if let Some(gap) = &log.gap {
        page.push_str(&format!("<li class=\"gap\">{gap}</li>"));
    }
    page.push_str(&html(&log.tail)?.0);
    let headers = [
        ("x-log-next", log.next.seq.to_string()),
        ("x-log-line", log.next.line.to_string()),
        ("x-log-open", is_open.to_string()),
    ];
    Ok((headers, Html(page)).into_response())
}

/// Where in the whole log a text is.
pub(crate) async fn find_lines(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    Query(params): Query<Params>,
) -> Result<Json<Hits>> {
    let instance = find(&state, &dag_id, &run_id, task_id, &params).await?;
    let key = LogKey { task: instance.key, try_number: params.try_number };
    if params.q.is_empty() {
        return Ok(Json(Hits { total: 0, lines: Vec::new() }));
    }
    Ok(Json(Log::find(&state.store, &key, &params.q).await?))
}

/// All of the log, as a file.
pub(crate) async fn whole(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    Query(params): Query<Params>,
) -> Result<Response> {
    let instance = find(&state, &dag_id, &run_id, task_id, &params).await?;
    let name = file_name(&instance, params.try_number);
    let key = LogKey { task: instance.key, try_number: params.try_number };
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        if let Err(error) = send(&state, &key, &sender).await {
            tracing::error!(error = &error as &dyn std::error::Error, "a log cannot be sent");
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>))).into_response())
}

async fn send(state: &State, key: &LogKey, sender: &mpsc::Sender<Bytes>) -> Result<(), towpath_store::Error> {
    let mut next = 0;
    loop {
        let chunks = state.store.read_log(key, next, BATCH).await?;
        let is_end = chunks.len() < BATCH as usize;
        for chunk in chunks {
            next = chunk.seq + 1;
            let text: String = chunk.text.lines().map(plain).collect();
            if sender.send(text.into()).await.is_err() {
                return Ok(());
            }
        }
        if is_end {
            return Ok(());
        }
    }
}

async fn find(
    state: &State,
    dag_id: &str,
    run_id: &str,
    task_id: String,
    params: &Params,
) -> Result<TaskInstanceRecord> {
    let run = find_run(state, dag_id, run_id).await?;
    task::find(state, &TaskKey { run_key: run.key, task_id, map_index: params.map_index.unwrap_or(-1) }).await
}

/// A name that every file system takes.
fn file_name(instance: &TaskInstanceRecord, try_number: u32) -> String {
    let name = format!("{}_{}_{}", instance.dag_id, instance.run_id, instance.key.task_id);
    let name: String =
        name.chars().take(150).map(|c| if c.is_ascii_alphanumeric() || "._-+".contains(c) { c } else { '-' }).collect();
    format!("{name}_try{try_number}.log")
}
