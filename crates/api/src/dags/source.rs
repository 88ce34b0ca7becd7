//! `GET /dagSources/{dag_id}`: the text of a DAG's file, as JSON or as it is.

use axum::Json;
use axum::extract::{self, Path};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::media::{self, Media};
use crate::query::Query;
use crate::{Error, Result, State};

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response> {
    let number = query.whole("version_number", i64::MIN);
    query.finish()?;
    let media = media::accepted(&headers)?;
    let record = super::find(&state, &dag_id).await?;
    let version = match number {
        None => state.store.version(record.version_id).await?,
        Some(number) => {
            state.store.versions(&dag_id).await?.into_iter().find(|version| i64::from(version.number) == number)
        }
    };
    let version = version.ok_or_else(|| {
        let number = number.map_or_else(String::new, |number| number.to_string());
        Error::NotFound(format!("The source code of the DAG {dag_id}, version_number {number} was not found"))
    })?;
    let name = state.version(version.id).await?.dag_display_name.clone();
    Ok(match media {
        Media::Text => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], version.source).into_response(),
        Media::Json => Json(json!({
            "content": version.source,
            "dag_id": dag_id,
            "version_number": version.number,
            "dag_display_name": name,
        }))
        .into_response(),
    })
}
