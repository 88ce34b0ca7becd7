//! Replies of one JSON value a line that go on while something happens.

use std::convert::Infallible;
use std::future::Future;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::State;

/// The client's end of a reply; sending fails once it has gone.
pub(crate) type Lines = Sender<Bytes>;

/// A reply whose lines are sent by `write`, in a task of its own that ends with the client or the
/// server.
pub(crate) fn reply<F>(state: &State, write: impl FnOnce(Lines) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(16);
    let stop = state.stop.clone();
    let gone = sender.clone();
    let work = write(sender);
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            () = gone.closed() => {}
            () = stop.cancelled() => {}
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}
