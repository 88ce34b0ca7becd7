//! What attempts may ask of the store.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use towpath_model::asset::Asset;
use towpath_model::clock::SharedClock;
use towpath_model::connection::{Connection, is_secret_name};
use towpath_model::run::{RunType, TriggeredBy};
use towpath_model::state::TaskState;
use towpath_operators::assets::AssetEvent;
use towpath_operators::attempt::LoadScope;
use towpath_operators::log::Secrets;
use towpath_operators::runs::{DagStatus, RunOrder, RunRef, RunStatus, Tasks, Triggered};
use towpath_operators::{ServiceError, Services, XComQuery};
use towpath_store::{AssetEventFilter, AssetEventRecord, NewRun, RunRecord, Store, TaskKey};

/// The services of one attempt. Every secret that it hands out is masked in the attempt's log.
#[derive(Debug)]
pub(crate) struct StoreServices {
    pub(crate) store: Store,
    pub(crate) clock: SharedClock,
    pub(crate) run: Arc<RunRecord>,
    /// The task instance.
    pub(crate) task: TaskKey,
    pub(crate) secrets: Arc<Secrets>,
}

/// Most events of an asset that an attempt gets to see.
const EVENTS: u32 = 1_000;

fn event(record: AssetEventRecord) -> AssetEvent {
    let (dag_id, run_id, task_id, map_index) = match record.source {
        Some(source) => (Some(source.dag_id), Some(source.run_id), Some(source.task_id), source.map_index),
        None => (None, None, None, -1),
    };
    AssetEvent {
        asset: Asset { name: record.name, uri: record.uri, group: record.group, extra: serde_json::Map::new() },
        timestamp: record.at,
        extra: record.extra,
        source_dag_id: dag_id,
        source_run_id: run_id,
        source_task_id: task_id,
        source_map_index: map_index,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes by value")]
fn away(error: towpath_store::Error) -> ServiceError {
    ServiceError(error.to_string())
}

impl StoreServices {
    /// The own map index, for a task in the same mapped group: one sees what has the same element.
    async fn index_in_group(&self, task_id: &str) -> Result<Option<i32>, ServiceError> {
        if self.task.map_index < 0 || self.task.task_id == task_id {
            return Ok(None);
        }
        let dag = self.store.dag_of_version(self.run.version_id).await.map_err(away)?;
        let places = (dag.index_of(&self.task.task_id), dag.index_of(task_id));
        let is_local = matches!(places, (Some(one), Some(other)) if dag.is_local(one, other));
        Ok(is_local.then_some(self.task.map_index))
    }
}

#[async_trait]
impl Services for StoreServices {
    async fn xcoms(&self, query: &XComQuery) -> Result<Vec<Value>, ServiceError> {
        let dag_id = query.dag_id.as_deref().unwrap_or(&self.run.dag_id);
        let run_id = query.run_id.as_deref().unwrap_or(&self.run.run_id);
        let run_key = if dag_id == self.run.dag_id && run_id == self.run.run_id {
            self.run.key
        } else {
            match self.store.run(dag_id, run_id).await.map_err(away)? {
                Some(run) => run.key,
                None => return Ok(Vec::new()),
            }
        };
        let map_index = match query.map_index {
            None if run_key == self.run.key => self.index_in_group(&query.task_id).await?,
            given => given,
        };
        let found = self.store.xcoms(run_key, &query.task_id, &query.key, map_index).await.map_err(away)?;
        Ok(found.into_iter().map(|xcom| xcom.value).collect())
    }

    async fn variable(&self, key: &str) -> Result<Option<String>, ServiceError> {
        let value = self.store.variable(key).await.map_err(away)?;
        if let Some(value) = &value
            && is_secret_name(key)
        {
            self.secrets.add(value);
        }
        Ok(value)
    }

    async fn set_variable(&self, key: &str, value: Option<&str>) -> Result<(), ServiceError> {
        match value {
            Some(value) => self.store.set_variable(key, value, None, self.clock.now()).await.map_err(away),
            None => self.store.delete_variable(key).await.map(|_| ()).map_err(away),
        }
    }

    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, ServiceError> {
        let connection = self.store.connection(conn_id).await.map_err(away)?;
        if let Some(connection) = &connection {
            for secret in connection.secrets() {
                self.secrets.add(&secret);
            }
        }
        Ok(connection)
    }

    async fn dag(&self, dag_id: &str) -> Result<Option<DagStatus>, ServiceError> {
        let Some(record) = self.store.dag(dag_id).await.map_err(away)?.filter(|record| record.is_active) else {
            return Ok(None);
        };
        let dag = self.store.dag_of_version(record.version_id).await.map_err(away)?;
        Ok(Some(DagStatus { is_paused: record.is_paused, dag }))
    }

    async fn run(&self, dag_id: &str, which: &RunRef) -> Result<Option<RunStatus>, ServiceError> {
        let found = match which {
            RunRef::Id(run_id) => self.store.run(dag_id, run_id).await,
            RunRef::LogicalDate(date) => self.store.run_at(dag_id, *date).await,
        };
        Ok(found.map_err(away)?.map(|run| RunStatus {
            key: run.key,
            version_id: run.version_id,
            run_id: run.run_id,
            state: run.state,
            triggering_user: run.triggering_user,
        }))
    }

    async fn task_states(&self, run: &RunStatus, tasks: &Tasks) -> Result<Vec<(String, TaskState)>, ServiceError> {
        match tasks {
            Tasks::Ids(ids) => self.store.task_states(run.key, ids).await.map_err(away),
            Tasks::Group(group) => {
                // Groups are compiled away: what is left of one is the prefix of its tasks.
                let prefix = format!("{group}.");
                let dag = self.store.dag_of_version(run.version_id).await.map_err(away)?;
                let ids = dag.tasks().iter().map(|task| &task.task_id).filter(|id| id.starts_with(&prefix));
                let ids: Vec<String> = ids.cloned().collect();
                self.store.task_states(run.key, &ids).await.map_err(away)
            }
        }
    }

    async fn trigger_run(&self, order: &RunOrder) -> Result<Triggered, ServiceError> {
        let missing = || Triggered::Refused(format!("DAG `{}` does not exist", order.dag_id));
        let Some(record) = self.store.dag(&order.dag_id).await.map_err(away)?.filter(|record| record.is_active) else {
            return Ok(missing());
        };
        let dag = self.store.dag_of_version(record.version_id).await.map_err(away)?;
        let now = self.clock.now();
        let new = NewRun {
            version_id: Some(record.version_id),
            run_id: Some(order.run_id.clone()),
            run_type: RunType::OperatorTriggered,
            logical_date: order.logical_date,
            data_interval: order.logical_date.map(|date| dag.spec().schedule.manual_interval(date)),
            conf: order.conf.clone(),
            triggering_user: Some(order.origin.clone()),
            ..NewRun::manual(&order.dag_id, now, TriggeredBy::Operator)
        };
        match self.store.create_run(new, now).await {
            Ok(_) => Ok(Triggered::Created),
            Err(towpath_store::Error::RunExists { .. }) => Ok(Triggered::Exists),
            Err(towpath_store::Error::NotFound { .. }) => Ok(missing()),
            Err(error @ towpath_store::Error::Params { .. }) => Ok(Triggered::Refused(error.to_string())),
            Err(error) => Err(away(error)),
        }
    }

    async fn reset_run(&self, run: &RunStatus, origin: &str) -> Result<(), ServiceError> {
        self.store.reset_run(run.key, origin, self.clock.now()).await.map_err(away)
    }

    async fn triggering_asset_events(&self) -> Result<Vec<AssetEvent>, ServiceError> {
        let found = self.store.upstream_asset_events(self.run.key).await.map_err(away)?;
        Ok(found.into_iter().map(event).collect())
    }

    async fn asset_events(&self, asset: &str) -> Result<Vec<AssetEvent>, ServiceError> {
        let Some(asset) = self.store.asset_named(asset).await.map_err(away)? else { return Ok(Vec::new()) };
        let asset_id = Some(asset.id);
        let filter = AssetEventFilter { asset_id, newest_first: true, limit: EVENTS, ..AssetEventFilter::default() };
        let mut found = self.store.asset_events(&filter).await.map_err(away)?.items;
        found.reverse();
        Ok(found.into_iter().map(event).collect())
    }

    async fn load_scope(&self) -> Result<Option<LoadScope>, ServiceError> {
        // `tasks test` has no run.
        if self.run.key == 0 {
            return Ok(None);
        }
        // The one secret that each database has of its own; what it is cannot be told from its hash.
        let secret = self.store.signing_key().await.map_err(away)?;
        let installation = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, format!("loads {secret}").as_bytes());
        Ok(Some(LoadScope { installation: installation.simple().to_string(), run_key: self.run.key }))
    }

    async fn past_tries(&self) -> Result<Vec<(u32, TaskState)>, ServiceError> {
        let tries = self.store.tries(&self.task).await.map_err(away)?;
        Ok(tries.into_iter().map(|one| (one.try_number, one.state)).collect())
    }
}
