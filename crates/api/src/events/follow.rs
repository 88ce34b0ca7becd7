//! One who follows.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::sse::Event;
use serde_json::json;
use tokio::time::Sleep;
use tokio_stream::Stream;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::hub::{Missed, Seat, Told, Wanted};
use crate::State;

/// How long a stream lasts: who comes back is asked anew who they are.
const LIFE: Duration = Duration::from_secs(30 * 60);

/// The events for one who follows.
pub(super) struct Follower {
    wanted: Wanted,
    /// What is sent before anything new.
    first: VecDeque<Event>,
    news: BroadcastStream<Arc<Told>>,
    end: Pin<Box<Sleep>>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Tells the hub when it goes.
    _seat: Seat,
}

impl Follower {
    /// `last` is the id of the last event that it has seen. `None` when there is no room.
    pub(super) fn new(state: &State, wanted: Wanted, last: Option<&str>) -> Option<Self> {
        let (seat, news, missed) = state.hub.join(state, &wanted, last)?;
        let mut first = VecDeque::new();
        match missed {
            Missed::Nothing(id) => first.push_back(named("hello", Some(&id), "{}")),
            Missed::Known(events) => {
                first.extend(events.iter().filter(|told| wanted.fits(told)).map(|told| event(told)));
            }
            Missed::Unknown(id) => first.push_back(named("reset", Some(&id), "{}")),
        }
        Some(Self {
            wanted,
            first,
            news: BroadcastStream::new(news),
            end: Box::pin(tokio::time::sleep(LIFE)),
            stop: Box::pin(state.stop.clone().cancelled_owned()),
            _seat: seat,
        })
    }
}

impl Stream for Follower {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(event) = self.first.pop_front() {
            return Poll::Ready(Some(Ok(event)));
        }
        if self.stop.as_mut().poll(context).is_ready() || self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut self.news).poll_next(context) {
                Poll::Ready(Some(Ok(told))) if self.wanted.fits(&told) => {
                    return Poll::Ready(Some(Ok(event(&told))));
                }
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(BroadcastStreamRecvError::Lagged(count)))) => {
                    let data = json!({"events": count}).to_string();
                    return Poll::Ready(Some(Ok(named("lost", None, &data))));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn event(told: &Told) -> Event {
    named(told.kind, Some(&told.id), &told.data)
}

fn named(kind: &str, id: Option<&str>, data: &str) -> Event {
    let event = Event::default().event(kind).data(data);
    match id {
        Some(id) => event.id(id),
        None => event,
    }
}
