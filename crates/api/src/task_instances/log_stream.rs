//! `GET .../taskInstances/{task_id}/logs/{try_number}/stream`: the log of a try as server-sent events, until the try has
//! ended. The id of an event is the number of its piece of the log, so that whoever comes back goes on behind it.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{self, Path};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use towpath_store::{LogKey, Topic};

use crate::query::Query;
use crate::{Error, Result, State, dag_runs, events, path};

/// Pieces that are read at a time.
const BATCH: u32 = 16;
/// Pieces that wait for a slow reader; the log itself is in the database.
const WAITING: usize = 2;
/// Shortest and longest time between two looks: other processes on PostgreSQL do not tell of progress.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(2);
/// Followers that look at the same time.
static LOOKING: Semaphore = Semaphore::const_new(4);

type Sender = mpsc::Sender<Result<Event, Infallible>>;

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id, try_number)): Path<(String, String, String, String)>,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response> {
    let map_index = super::map_index(&mut query);
    let last = query.text("last_event_id");
    query.finish()?;
    let wanted = path::whole("try_number", &try_number)?;
    let run = dag_runs::find(&state, &dag_id, &run_id).await?;
    let instance = super::find(&state, &run, &task_id, map_index).await?;
    let try_number = u32::try_from(wanted).ok().filter(|wanted| *wanted <= instance.try_number).ok_or_else(|| {
        let had = instance.try_number;
        Error::NotFound(format!("Task instance `{task_id}` has had {had} tries; there is no try {wanted}"))
    })?;
    let last = last.or_else(|| Some(headers.get("last-event-id")?.to_str().ok()?.to_owned()));
    let from = last.and_then(|last| last.parse::<u32>().ok()).map_or(0, |last| last.saturating_add(1));
    let (sender, receiver) = mpsc::channel(WAITING);
    let key = LogKey { task: instance.key, try_number };
    tokio::spawn(async move {
        let gone = sender.clone();
        let stop = state.stop.clone();
        tokio::select! {
            () = follow(&state, &key, from, sender) => {}
            () = gone.closed() => {}
            () = stop.cancelled() => {}
        }
    });
    Ok(events::reply(ReceiverStream::new(receiver)))
}

async fn follow(state: &State, key: &LogKey, mut next: u32, sender: Sender) {
    let mut progress = state.store.wakes().subscribe(Topic::Progress);
    loop {
        progress.mark_unchanged();
        match look(state, key, &mut next, &sender).await {
            Ok(true) => {}
            Ok(false) => return,
            // The next look begins at the same place.
            Err(error) if error.is_transient() => {}
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a log cannot be followed any more");
                return;
            }
        }
        tokio::time::sleep(SHORTEST).await;
        tokio::select! {
            changed = progress.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LONGEST) => {}
        }
    }
}

/// Sends what there is; whether more can come.
async fn look(state: &State, key: &LogKey, next: &mut u32, sender: &Sender) -> Result<bool, towpath_store::Error> {
    loop {
        let (open, chunks) = {
            let _turn = LOOKING.acquire().await.expect("nobody closes the semaphore");
            // Whether it is over is what was true before its pieces were read, so that none is missed.
            let instance = state.store.task_instance(&key.task).await?;
            let open = instance.is_some_and(|it| it.try_number == key.try_number && it.state.is_live());
            (open, state.store.read_log(key, *next, BATCH).await?)
        };
        let ended = chunks.len() < BATCH as usize;
        for chunk in chunks {
            *next = chunk.seq + 1;
            let lines =
                Event::default().event("lines").id(chunk.seq.to_string()).data(chunk.text.trim_end_matches('\n'));
            if sender.send(Ok(lines)).await.is_err() {
                return Ok(false);
            }
        }
        if ended {
            if !open {
                // Without it, an `EventSource` would come back for ever. It may have gone, too.
                let _ = sender.send(Ok(Event::default().event("end").data("{}"))).await;
            }
            return Ok(open);
        }
    }
}
