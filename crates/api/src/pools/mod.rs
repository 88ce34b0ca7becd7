//! Pools. A pool without a limit has -1 slots on the wire.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{self, Path};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use towpath_model::state::TaskState;
use towpath_store::{Datum, Listing, PoolRecord, TaskField};

use crate::body::Body;
use crate::bulk::{self, BulkReply, Entity};
use crate::query::Query;
use crate::{Error, Problem, Result, State, filter};

/// Slots of a pool without a limit.
const UNLIMITED: u32 = i32::MAX as u32;
/// Scheduled task instances that are counted for pools at most.
const COUNTED: u32 = 10_000;

/// `PoolResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PoolReply {
    name: String,
    slots: i64,
    description: Option<String>,
    include_deferred: bool,
    occupied_slots: u64,
    running_slots: u64,
    queued_slots: u64,
    scheduled_slots: u64,
    open_slots: i64,
    deferred_slots: u64,
    team_name: Option<String>,
}

/// `PoolCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PoolList {
    pools: Vec<PoolReply>,
    total_entries: u64,
}

/// Slots by pool.
#[derive(Debug, Default)]
struct Slots {
    running: HashMap<String, u64>,
    queued: HashMap<String, u64>,
    scheduled: HashMap<String, u64>,
}

impl Slots {
    async fn now(state: &State) -> Result<Self> {
        let mut slots = Self::default();
        let live = [TaskState::Queued, TaskState::Running, TaskState::Restarting, TaskState::Scheduled];
        for word in live {
            let mut listing = Listing { limit: COUNTED, ..Listing::default() };
            listing.among(TaskField::State, vec![Datum::Word(word.into())]);
            for instance in state.store.list_tasks(&listing, true).await?.items {
                let counts = match word {
                    TaskState::Queued => &mut slots.queued,
                    TaskState::Scheduled => &mut slots.scheduled,
                    _ => &mut slots.running,
                };
                *counts.entry(instance.pool).or_default() += u64::from(instance.pool_slots);
            }
        }
        Ok(slots)
    }

    fn reply(&self, pool: PoolRecord) -> PoolReply {
        let of = |counts: &HashMap<String, u64>| counts.get(&pool.name).copied().unwrap_or(0);
        let (running, queued) = (of(&self.running), of(&self.queued));
        let slots = if pool.slots == UNLIMITED { -1 } else { i64::from(pool.slots) };
        let occupied = running + queued;
        PoolReply {
            slots,
            description: pool.description,
            include_deferred: false,
            occupied_slots: occupied,
            running_slots: running,
            queued_slots: queued,
            scheduled_slots: of(&self.scheduled),
            open_slots: if slots < 0 { -1 } else { slots - occupied as i64 },
            deferred_slots: 0,
            team_name: None,
            name: pool.name,
        }
    }
}

/// `PoolBody`, or with parts left open `PoolPatchBody`.
#[derive(Debug)]
pub(crate) struct Given {
    name: String,
    slots: Option<u32>,
    description: Option<String>,
}

impl Given {
    fn read_part(mut body: Body, name: &str) -> Result<Self> {
        let given = body.text("pool");
        let (slots, description) = (slots(&mut body), body.text("description"));
        body.flag("include_deferred");
        body.short_text("team_name", 50);
        body.finish()?;
        if given.is_some_and(|given| given != name) {
            return Err(Error::BadRequest(
                "Invalid body, pool name from request body doesn't match uri parameter".to_owned(),
            ));
        }
        Ok(Self { name: name.to_owned(), slots, description })
    }
}

fn slots(body: &mut Body) -> Option<u32> {
    let slots = body.whole("slots", -1)?;
    Some(if slots < 0 { UNLIMITED } else { u32::try_from(slots).unwrap_or(UNLIMITED).min(UNLIMITED) })
}

impl Entity for Given {
    type Place = ();

    fn read(mut body: Body) -> Result<Self> {
        let name = body.required_text("name").unwrap_or_default();
        if name.is_empty() && body.as_it_came().get("name").is_some_and(serde_json::Value::is_string) {
            let msg = "String should have at least 1 character";
            body.problem(Problem::new("string_too_short", "body", "name", msg, "".into()));
        }
        if name.chars().count() > 256 {
            let msg = "String should have at most 256 characters";
            body.problem(Problem::new("string_too_long", "body", "name", msg, name.clone().into()));
        }
        if body.as_it_came().get("slots").is_some_and(serde_json::Value::is_null) {
            let msg = "Input should be a valid integer";
            body.problem(Problem::new("int_type", "body", "slots", msg, serde_json::Value::Null));
        }
        body.required("slots");
        let slots = slots(&mut body);
        let description = body.text("description");
        body.flag_or("include_deferred", false);
        body.short_text("team_name", 50);
        body.finish()?;
        Ok(Self { name, slots, description })
    }

    fn named(name: String) -> Self {
        Self { name, slots: None, description: None }
    }

    fn key(&self, (): &()) -> String {
        self.name.clone()
    }

    async fn exists(&self, state: &State, (): &()) -> Result<bool> {
        Ok(find(state, &self.name).await?.is_some())
    }

    async fn write(&self, state: &State, (): &(), mask: &[String]) -> Result<()> {
        let named = |name: &str| mask.is_empty() || mask.iter().any(|field| field == name);
        let before = find(state, &self.name).await?;
        let slots = self.slots.filter(|_| named("slots")).or(before.map(|pool| pool.slots)).unwrap_or(0);
        let description = self.description.as_deref().filter(|_| named("description"));
        Ok(state.store.set_pool(&self.name, slots, description, state.clock.now()).await?)
    }

    async fn delete(&self, state: &State, (): &()) -> Result<()> {
        if self.name == towpath_model::dag::DEFAULT_POOL {
            return Err(Error::BadRequest("Default Pool can't be deleted".to_owned()));
        }
        if state.store.delete_pool(&self.name).await? { Ok(()) } else { Err(missing(&self.name)) }
    }
}

pub(crate) async fn list(extract::State(state): extract::State<State>, mut query: Query) -> Result<Json<PoolList>> {
    let window = query.window();
    let order = query.order(&["id", "name", "pool", "slots", "description", "include_deferred", "team_name"])?;
    let patterns = filter::patterns(&mut query, "pool_name");
    query.finish()?;
    let mut pools = state.store.pools().await?;
    pools.retain(|pool| patterns.iter().all(|pattern| pattern.fits(&pool.name)));
    if let Some((name, descends)) = order.first() {
        match *name {
            "slots" => pools.sort_by_key(|pool| pool.slots),
            "description" => pools.sort_by(|a, b| a.description.cmp(&b.description)),
            _ => {}
        }
        if *descends {
            pools.reverse();
        }
    }
    let total_entries = pools.len() as u64;
    let slots = Slots::now(&state).await?;
    Ok(Json(PoolList { pools: window.of(pools).into_iter().map(|pool| slots.reply(pool)).collect(), total_entries }))
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Json<PoolReply>> {
    query.finish()?;
    reply(&state, &name).await
}

pub(crate) async fn post(
    extract::State(state): extract::State<State>,
    query: Query,
    body: Body,
) -> Result<(StatusCode, Json<PoolReply>)> {
    query.finish()?;
    let given = Given::read(body)?;
    if given.exists(&state, &()).await? {
        return Err(Error::Conflict(format!("The Pool with name: `{}` already exists", given.name)));
    }
    given.write(&state, &(), &[]).await?;
    Ok((StatusCode::CREATED, reply(&state, &given.name).await?))
}

pub(crate) async fn patch(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    mut query: Query,
    body: Body,
) -> Result<Json<PoolReply>> {
    let mask = query.texts("update_mask");
    query.finish()?;
    let given = Given::read_part(body, &name)?;
    if !given.exists(&state, &()).await? {
        return Err(missing(&name));
    }
    given.write(&state, &(), &mask).await?;
    reply(&state, &name).await
}

pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    query: Query,
) -> Result<StatusCode> {
    query.finish()?;
    Given::named(name).delete(&state, &()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn bulk(
    extract::State(state): extract::State<State>,
    query: Query,
    body: Body,
) -> Result<Json<BulkReply>> {
    query.finish()?;
    Ok(Json(bulk::carry_out::<Given>(&state, &(), body).await?))
}

async fn reply(state: &State, name: &str) -> Result<Json<PoolReply>> {
    let pool = find(state, name).await?.ok_or_else(|| missing(name))?;
    Ok(Json(Slots::now(state).await?.reply(pool)))
}

async fn find(state: &State, name: &str) -> Result<Option<PoolRecord>> {
    Ok(state.store.pools().await?.into_iter().find(|pool| pool.name == name))
}

fn missing(name: &str) -> Error {
    Error::NotFound(format!("The Pool with name: `{name}` was not found"))
}
