//! `GET .../taskInstances/{task_id}/logs/{try_number}`: as one JSON object, in parts that a token
//! continues; or as NDJSON, which follows the log until the try has ended.

use axum::body::Bytes;
use axum::extract::{self, Path};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::de::IgnoredAny;
use serde_json::json;
use towpath_store::LogKey;
use towpath_store::Topic;
use towpath_store::{TaskInstanceRecord, TaskKey};

use crate::ndjson::{self, Lines};
use crate::problem::Problem;
use crate::query::Query;
use crate::{Error, Result, State, dag_runs};

/// Chunks read at a time.
const BATCH: u32 = 32;
/// Longest time between two looks at a log that is followed.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(2);
/// How much text one JSON reply holds before a token takes over, unless all of it is asked for.
const PART_BYTES: usize = 2 * 1024 * 1024;
/// How much text one JSON reply may hold; the rest needs NDJSON or the token.
const FULL_BYTES: usize = 64 * 1024 * 1024;

/// `TaskInstancesLogResponse`, written as text: lines are stored in the shape of
/// `StructuredLogMessage`, so there is nothing to take apart and put together again.
#[derive(Debug)]
struct LogReply {
    /// JSON objects with commas between them.
    content: String,
    /// Null once the try has ended and all of its log was told.
    continuation_token: Option<String>,
}

impl IntoResponse for LogReply {
    fn into_response(self) -> Response {
        let token = json!(self.continuation_token);
        let text = format!("{{\"content\":[{}],\"continuation_token\":{token}}}", self.content);
        ([(header::CONTENT_TYPE, "application/json")], text).into_response()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Ndjson,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id, try_text)): Path<(String, String, String, String)>,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response> {
    let map_index = super::map_index(&mut query);
    let full = query.flag("full_content").unwrap_or(false);
    let token = query.text("token");
    query.finish()?;
    let form = form(headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()))?;
    let Ok(try_number) = try_text.parse::<u32>() else {
        let msg = "Input should be a valid integer, unable to parse string as an integer";
        return Err(Error::Invalid(vec![Problem::new("int_parsing", "path", "try_number", msg, try_text.into())]));
    };
    let from_seq = token.map(|token| read_token(&token)).transpose()?.unwrap_or(0);
    let run = dag_runs::find(&state, &dag_id, &run_id).await?;
    let instance = super::find(&state, &run, &task_id, map_index).await?;
    if try_number > instance.try_number {
        return Err(Error::NotFound(format!(
            "Task instance `{task_id}` has had {} tries; there is no try {try_number}",
            instance.try_number
        )));
    }
    let key = LogKey { task: instance.key.clone(), try_number };
    match form {
        Form::Json => {
            let most = if full { FULL_BYTES } else { PART_BYTES };
            Ok(part(&state, &key, &instance, from_seq, most).await?.into_response())
        }
        Form::Ndjson => {
            let follower = state.clone();
            Ok(ndjson::reply(&state, |lines| follow(follower, key, from_seq, lines)))
        }
    }
}

/// Whether a try of an instance can still write.
fn is_open(instance: &TaskInstanceRecord, try_number: u32) -> bool {
    instance.try_number == try_number && instance.state.is_live()
}

async fn part(
    state: &State,
    key: &LogKey,
    instance: &TaskInstanceRecord,
    from_seq: u32,
    most: usize,
) -> Result<LogReply> {
    let mut content = String::new();
    let mut next = from_seq;
    // Whether it is over is what was true before its chunks were read, so that none is missed.
    let open = is_open(instance, key.try_number);
    loop {
        let chunks = state.store.read_log(key, next, BATCH).await?;
        let ended = chunks.len() < BATCH as usize;
        for chunk in chunks {
            next = chunk.seq + 1;
            add_lines(&mut content, &chunk.text);
        }
        if ended {
            return Ok(LogReply { content, continuation_token: open.then(|| next.to_string()) });
        }
        if content.len() >= most {
            return Ok(LogReply { content, continuation_token: Some(next.to_string()) });
        }
    }
}

/// Adds the lines of a chunk; one that is not JSON would spoil the whole reply and is left out.
fn add_lines(content: &mut String, text: &str) {
    for line in text.lines().filter(|line| serde_json::from_str::<IgnoredAny>(line).is_ok()) {
        if !content.is_empty() {
            content.push(',');
        }
        content.push_str(line);
    }
}

async fn follow(state: State, key: LogKey, from_seq: u32, lines: Lines) {
    if let Err(error) = send_all(&state, &key, from_seq, &lines).await {
        tracing::error!(error = &error as &dyn std::error::Error, "a log cannot be followed any more");
    }
}

async fn send_all(state: &State, key: &LogKey, mut next: u32, lines: &Lines) -> Result<(), towpath_store::Error> {
    let mut progress = state.store.wakes().subscribe(Topic::Progress);
    loop {
        progress.mark_unchanged();
        let open = still_open(state, &key.task, key.try_number).await?;
        loop {
            let chunks = state.store.read_log(key, next, BATCH).await?;
            let ended = chunks.len() < BATCH as usize;
            for chunk in chunks {
                next = chunk.seq + 1;
                if lines.send(Bytes::from(chunk.text)).await.is_err() {
                    return Ok(());
                }
            }
            if ended {
                break;
            }
        }
        // Other processes on PostgreSQL do not tell of progress.
        if !open || matches!(tokio::time::timeout(LOOK_AGAIN, progress.changed()).await, Ok(Err(_))) {
            return Ok(());
        }
    }
}

async fn still_open(state: &State, key: &TaskKey, try_number: u32) -> Result<bool, towpath_store::Error> {
    Ok(state.store.task_instance(key).await?.is_some_and(|instance| is_open(&instance, try_number)))
}

/// What the client takes; JSON where it takes both.
fn form(accept: Option<&str>) -> Result<Form> {
    let mut form = None;
    for media in accept.unwrap_or("*/*").split(',') {
        match media.split(';').next().unwrap_or_default().trim() {
            "application/json" | "*/*" | "application/*" => return Ok(Form::Json),
            "application/x-ndjson" => form = Some(Form::Ndjson),
            _ => {}
        }
    }
    form.ok_or_else(|| Error::NotAcceptable("Only application/json or application/x-ndjson is supported".to_owned()))
}

fn read_token(token: &str) -> Result<u32> {
    token.parse().map_err(|_| Error::BadRequest("`token` is not one that this API gave out".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (accept, expected) in [
            (None, Some(Form::Json)),
            (Some("*/*"), Some(Form::Json)),
            (Some("application/json"), Some(Form::Json)),
            (Some("application/x-ndjson"), Some(Form::Ndjson)),
            (Some("text/html, application/x-ndjson;q=0.9"), Some(Form::Ndjson)),
            (Some("application/x-ndjson, application/json"), Some(Form::Json)),
            (Some("text/plain"), None),
        ] {
            assert_eq!(form(accept).ok(), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_broken_line_does_not_spoil_the_rest() {
        let mut content = String::new();
        add_lines(&mut content, "{\"event\":\"a\"}\n{broken\n\n");
        add_lines(&mut content, "{\"event\":\"b\"}\n");
        assert_eq!(content, "{\"event\":\"a\"},{\"event\":\"b\"}");
    }
}
