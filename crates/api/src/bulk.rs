//! Bulk actions: one `PATCH` of a collection that creates, updates and deletes many things. The
//! whole request is read before anything is done; then each entity succeeds or fails on its own.

use std::future::Future;

use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::body::Body;
use crate::{Error, Problem, Result, State};

/// What bulk actions can be about.
pub(crate) trait Entity: Sized + Send + Sync {
    /// What the path says about all of them.
    type Place: Sync;
    /// Whether it can be made this way.
    const CAN_BE_MADE: bool = true;

    fn read(body: Body) -> Result<Self>;
    /// One that is named only by its key, to be deleted.
    fn named(key: String) -> Self;
    /// Whether it lies below the place that the path names.
    fn belongs(&self, _place: &Self::Place) -> bool {
        true
    }
    /// What it is called in the reply.
    fn key(&self, place: &Self::Place) -> String;
    fn exists(&self, state: &State, place: &Self::Place) -> impl Future<Output = Result<bool>> + Send;
    /// Makes it, or changes all of it, or with a mask a part.
    fn write(&self, state: &State, place: &Self::Place, mask: &[String]) -> impl Future<Output = Result<()>> + Send;
    fn delete(&self, state: &State, place: &Self::Place) -> impl Future<Output = Result<()>> + Send;
}

/// `BulkResponse`: an action that was not asked for is null.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct BulkReply {
    create: Option<Outcome>,
    update: Option<Outcome>,
    delete: Option<Outcome>,
}

/// `BulkActionResponse`.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Outcome {
    success: Vec<String>,
    errors: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Create,
    Update,
    Delete,
}

/// What to do with what exists (create) or does not (update, delete).
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "snake_case")]
enum Otherwise {
    Fail,
    Skip,
    Overwrite,
}

#[derive(Debug)]
struct Action<E> {
    kind: Kind,
    entities: Vec<E>,
    otherwise: Otherwise,
    mask: Vec<String>,
}

/// Reads a request and carries it out.
pub(crate) async fn carry_out<E: Entity>(state: &State, place: &E::Place, mut body: Body) -> Result<BulkReply> {
    body.required("actions");
    let given = body.list("actions").unwrap_or_default();
    body.finish()?;
    let mut actions = Vec::new();
    for action in given {
        actions.push(read::<E>(action)?);
    }
    let mut reply = BulkReply::default();
    for action in actions {
        let outcome = match action.kind {
            Kind::Create => reply.create.get_or_insert_default(),
            Kind::Update => reply.update.get_or_insert_default(),
            Kind::Delete => reply.delete.get_or_insert_default(),
        };
        for entity in &action.entities {
            let key = entity.key(place);
            match one(state, place, &action, entity).await {
                Ok(true) => outcome.success.push(key),
                Ok(false) => {}
                Err(error) => outcome.errors.push(told(error)),
            }
        }
    }
    Ok(reply)
}

/// Whether something was done; what is to be skipped is not.
async fn one<E: Entity>(state: &State, place: &E::Place, action: &Action<E>, entity: &E) -> Result<bool> {
    if action.kind == Kind::Create && !E::CAN_BE_MADE {
        return Err(Error::MethodNotAllowed);
    }
    if !entity.belongs(place) {
        // Who calls was asked about what the path names.
        return Err(Error::BadRequest(format!("`{}` is not below the path of this request", entity.key(place))));
    }
    let exists = entity.exists(state, place).await?;
    let key = || entity.key(place);
    match (action.kind, exists, action.otherwise) {
        (Kind::Create, true, Otherwise::Skip) | (Kind::Update | Kind::Delete, false, Otherwise::Skip) => Ok(false),
        (Kind::Create, true, Otherwise::Fail) => Err(Error::Conflict(format!("`{}` exists already", key()))),
        (Kind::Update | Kind::Delete, false, _) => Err(Error::NotFound(format!("`{}` was not found", key()))),
        (Kind::Create, ..) => entity.write(state, place, &[]).await.map(|()| true),
        (Kind::Update, true, _) => entity.write(state, place, &action.mask).await.map(|()| true),
        (Kind::Delete, true, _) => entity.delete(state, place).await.map(|()| true),
    }
}

/// An error within a reply that is otherwise fine.
fn told(error: Error) -> Value {
    let text = error.to_string();
    let status = error.into_response().status();
    let text = if status.is_server_error() { "Internal Server Error".to_owned() } else { text };
    json!({"error": text, "status_code": status.as_u16()})
}

fn read<E: Entity>(action: Value) -> Result<Action<E>> {
    let mut body = Body::of(action)?;
    let kind = match body.required_text("action").as_deref() {
        Some("create") => Kind::Create,
        Some("update") => Kind::Update,
        Some("delete") => Kind::Delete,
        other => {
            if let Some(other) = other {
                body.problem(Problem::word("body", "action", &["create", "update", "delete"], other.into()));
            }
            Kind::Delete
        }
    };
    let otherwise = match kind {
        Kind::Create => body.word("action_on_existence", &["fail", "skip", "overwrite"]),
        Kind::Update | Kind::Delete => body.word("action_on_non_existence", &["fail", "skip"]),
    };
    let mask = if kind == Kind::Update { body.texts("update_mask") } else { None };
    body.required("entities");
    let given = body.list("entities").unwrap_or_default();
    body.finish()?;
    let mut entities = Vec::new();
    for entity in given {
        entities.push(match entity {
            Value::String(key) if kind == Kind::Delete => E::named(key),
            other => E::read(Body::of(other)?)?,
        });
    }
    Ok(Action { kind, entities, otherwise: otherwise.unwrap_or(Otherwise::Fail), mask: mask.unwrap_or_default() })
}
