//! `POST /assets/{asset_id}/materialize`: runs the DAG that updates an asset.

use axum::Json;
use axum::extract::{self, Path};
use towpath_model::run::{RunType, TriggeredBy};
use towpath_store::NewRun;

use crate::body::MaybeBody;
use crate::dag_runs::RunReply;
use crate::query::Query;
use crate::{Error, Result, State};

pub(crate) async fn post(
    extract::State(state): extract::State<State>,
    Path(asset_id): Path<String>,
    query: Query,
    MaybeBody(mut body): MaybeBody,
) -> Result<Json<RunReply>> {
    query.finish()?;
    let (run_id, note) = (body.text("dag_run_id"), body.text("note"));
    let (logical_date, run_after) = (body.time("logical_date"), body.time("run_after"));
    let conf = body.object("conf").unwrap_or_default();
    let interval = (body.time("data_interval_start"), body.time("data_interval_end"));
    let partition = body.text("partition_key");
    body.finish()?;
    if partition.is_some() || interval != (None, None) {
        return Err(Error::BadRequest(
            "this server takes neither `partition_key` nor a data interval here; trigger the DAG itself".to_owned(),
        ));
    }
    if let Some(run_id) = &run_id {
        crate::dag_runs::trigger::check_id(run_id)?;
    }
    let asset = super::find(&state, super::id(&asset_id)?).await?;
    let dag_id = match state.store.producer_of(&asset).await {
        Ok(dag_id) => dag_id,
        Err(towpath_store::Error::NotFound { .. }) => {
            return Err(Error::NotFound(format!("No DAG materializes asset with ID: {}", asset.id)));
        }
        Err(towpath_store::Error::Invalid(text)) => return Err(Error::Conflict(text)),
        Err(error) => return Err(error.into()),
    };
    let record = crate::dags::find(&state, &dag_id).await?;
    let dag = state.store.dag_of_version(record.version_id).await?;
    let now = state.clock.now();
    let new = NewRun {
        version_id: Some(record.version_id),
        run_id,
        run_type: RunType::Manual,
        logical_date,
        data_interval: logical_date.map(|date| dag.spec().schedule.manual_interval(date)),
        conf,
        note,
        ..NewRun::manual(&dag_id, run_after.unwrap_or(now), TriggeredBy::RestApi)
    };
    let created = state.store.create_run(new, now).await?;
    Ok(Json(RunReply::read(&state, created.run).await?))
}
