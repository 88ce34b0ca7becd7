//! Routes that can be told: axum's router with a note of each operation beside it.
//!
//! The functions have the names of axum's, so a list of routes reads as any other. What a handler answers is
//! taken from its type, and whether it reads a query or a body as well, so that neither is written twice.

use std::any::type_name;
use std::convert::Infallible;
use std::future::Future;

use axum::body::Bytes;
use axum::extract::{self, Path, Request};
use axum::handler::Handler;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, Route};
use axum::{Extension, Json};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use tower::{Layer, Service};
use towpath_auth::{Principal, Visible};

use crate::State;
use crate::body::Body;
use crate::query::Query;

/// What a reply looks like.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Media type and schema; `None` for a reply without a body, or one whose handler makes it by hand.
    pub(crate) content: Option<(&'static str, Schema)>,
    /// Whether the handler makes it by hand, so that `words` has to tell.
    pub(crate) by_hand: bool,
}

impl Answer {
    fn json<T: JsonSchema>(status: StatusCode, generator: &mut SchemaGenerator) -> Self {
        Self { status, content: Some(("application/json", generator.subschema_for::<T>())), by_hand: false }
    }
}

/// A type that handlers answer with.
pub(crate) trait Reply {
    fn answer(generator: &mut SchemaGenerator) -> Answer;
}

impl<T: JsonSchema> Reply for Json<T> {
    fn answer(generator: &mut SchemaGenerator) -> Answer {
        Answer::json::<T>(StatusCode::OK, generator)
    }
}

/// Handlers that name a status have made something.
impl<T: JsonSchema> Reply for (StatusCode, Json<T>) {
    fn answer(generator: &mut SchemaGenerator) -> Answer {
        Answer::json::<T>(StatusCode::CREATED, generator)
    }
}

impl<T: JsonSchema> Reply for (StatusCode, [(HeaderName, HeaderValue); 1], Json<T>) {
    fn answer(generator: &mut SchemaGenerator) -> Answer {
        Answer::json::<T>(StatusCode::CREATED, generator)
    }
}

impl Reply for StatusCode {
    fn answer(_: &mut SchemaGenerator) -> Answer {
        Answer { status: StatusCode::NO_CONTENT, content: None, by_hand: false }
    }
}

impl Reply for Response {
    fn answer(_: &mut SchemaGenerator) -> Answer {
        Answer { status: StatusCode::OK, content: None, by_hand: true }
    }
}

impl Reply for ([(HeaderName, &'static str); 1], String) {
    fn answer(_: &mut SchemaGenerator) -> Answer {
        Answer { status: StatusCode::OK, content: None, by_hand: true }
    }
}

/// What only fails is not served.
impl Reply for crate::Error {
    fn answer(_: &mut SchemaGenerator) -> Answer {
        Answer { status: StatusCode::NOT_FOUND, content: None, by_hand: false }
    }
}

impl<T: Reply> Reply for crate::Result<T> {
    fn answer(generator: &mut SchemaGenerator) -> Answer {
        T::answer(generator)
    }
}

/// What handlers take.
pub(crate) trait Input {
    /// Whether it can be asked what it is read for (see `recording`).
    const READS: bool = false;
}

impl Input for Query {
    const READS: bool = true;
}
impl Input for Body {
    const READS: bool = true;
}
impl Input for crate::body::MaybeBody {
    const READS: bool = true;
}
impl Input for extract::State<State> {}
impl<T> Input for Path<T> {}
impl<T> Input for Extension<T> {}
impl Input for Option<Extension<Principal>> {}
impl Input for HeaderMap {}
impl Input for Visible {}
impl Input for Bytes {}
impl Input for towpath_auth::guard::Peer {}

/// A handler whose type tells what it takes and answers; `T` is what axum's [`Handler`] infers.
pub(crate) trait Told<T> {
    const READS: bool;
    fn answer(generator: &mut SchemaGenerator) -> Answer;
}

impl<F, Fut, R> Told<((),)> for F
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = R>,
    R: Reply,
{
    const READS: bool = false;
    fn answer(generator: &mut SchemaGenerator) -> Answer {
        R::answer(generator)
    }
}

macro_rules! told {
    ($($input:ident),+) => {
        impl<F, Fut, M, R, $($input),+> Told<(M, $($input,)+)> for F
        where
            F: FnOnce($($input),+) -> Fut,
            Fut: Future<Output = R>,
            R: Reply,
            $($input: Input,)+
        {
            const READS: bool = $($input::READS ||)+ false;
            fn answer(generator: &mut SchemaGenerator) -> Answer {
                R::answer(generator)
            }
        }
    };
}

told!(A);
told!(A, B);
told!(A, B, C);
told!(A, B, C, D);
told!(A, B, C, D, E);
told!(A, B, C, D, E, G);
told!(A, B, C, D, E, G, H);

/// One method of one path.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    /// As it was registered.
    pub(crate) path: String,
    /// The handler within this crate: `dag_runs::trigger::post`.
    pub(crate) handler: &'static str,
    pub(crate) reads: bool,
    pub(crate) answer: fn(&mut SchemaGenerator) -> Answer,
}

/// The methods of a path.
pub(crate) struct Methods {
    router: MethodRouter<State>,
    operations: Vec<Operation>,
}

macro_rules! method {
    ($name:ident, $filter:ident) => {
        impl Methods {
            pub(crate) fn $name<H, T>(self, handler: H) -> Self
            where
                H: Handler<T, State> + Told<T>,
                T: 'static,
            {
                self.on(MethodFilter::$filter, stringify!($filter), handler)
            }
        }
    };
    ($name:ident, $filter:ident, first) => {
        pub(crate) fn $name<H, T>(handler: H) -> Methods
        where
            H: Handler<T, State> + Told<T>,
            T: 'static,
        {
            Methods { router: MethodRouter::new(), operations: Vec::new() }.$name(handler)
        }

        method!($name, $filter);
    };
}

method!(get, GET, first);
method!(post, POST, first);
method!(put, PUT, first);
method!(patch, PATCH, first);
method!(delete, DELETE);

impl Methods {
    fn on<H, T>(mut self, filter: MethodFilter, method: &'static str, handler: H) -> Self
    where
        H: Handler<T, State> + Told<T>,
        T: 'static,
    {
        let name = type_name::<H>();
        let handler_name = name.split_once("::").map_or(name, |(_, within)| within);
        self.operations.push(Operation {
            method,
            path: String::new(),
            handler: handler_name,
            reads: H::READS,
            answer: <H as Told<T>>::answer,
        });
        self.router = self.router.on(filter, handler);
        self
    }
}

/// A router, and what it serves.
#[derive(Debug, Default)]
pub(crate) struct Router {
    router: axum::Router<State>,
    operations: Vec<Operation>,
}

impl Router {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn route(mut self, path: &str, methods: Methods) -> Self {
        self.router = self.router.route(path, methods.router);
        let at = methods.operations.into_iter().map(|operation| Operation { path: path.to_owned(), ..operation });
        self.operations.extend(at);
        self
    }

    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.operations.extend(other.operations);
        self
    }

    pub(crate) fn nest(mut self, path: &str, other: Self) -> Self {
        self.router = self.router.nest(path, other.router);
        self.operations.extend(other.operations.into_iter().map(|operation| {
            let below = if operation.path == "/" { "" } else { &operation.path };
            Operation { path: format!("{path}{below}"), ..operation }
        }));
        self
    }

    pub(crate) fn fallback<H, T>(mut self, handler: H) -> Self
    where
        H: Handler<T, State>,
        T: 'static,
    {
        self.router = self.router.fallback(handler);
        self
    }

    pub(crate) fn method_not_allowed_fallback<H, T>(mut self, handler: H) -> Self
    where
        H: Handler<T, State>,
        T: 'static,
    {
        self.router = self.router.method_not_allowed_fallback(handler);
        self
    }

    pub(crate) fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.router = self.router.layer(layer);
        self
    }

    pub(crate) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    pub(crate) fn with_state(self, state: State) -> axum::Router {
        self.router.with_state(state)
    }
}
