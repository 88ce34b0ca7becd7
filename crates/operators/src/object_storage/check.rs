//! Whether a connection opens its store.

use serde_json::Value;
use towpath_model::connection::Connection;

use super::{Location, first, open};

/// The types of connections that open stores, each with a URL that needs no account in it.
const TYPES: &[(&str, &str)] =
    &[("aws", "s3"), ("s3", "s3"), ("google_cloud_platform", "gs"), ("wasb", "az"), ("adls", "az")];
/// The bucket of a connection that names none: it is not asked for.
const NO_BUCKET: &str = "bucket";

/// Asks the bucket that `connection` names for an object; without one only its settings are looked at. `None` for connections of
/// other types.
pub(crate) async fn check(connection: &Connection) -> Option<Result<String, String>> {
    let (_, scheme) = TYPES.iter().find(|(kind, _)| *kind == connection.conn_type)?;
    Some(ask(connection, scheme).await)
}

async fn ask(connection: &Connection, scheme: &str) -> Result<String, String> {
    let extra = connection.extra_dejson().map_err(|error| error.to_string())?;
    let of_service = extra.get("service_config").and_then(|config| config.pointer("/s3/bucket_name"));
    let named = of_service.or_else(|| extra.get("bucket_name")).and_then(Value::as_str);
    let url = format!("{scheme}://{}", named.unwrap_or(NO_BUCKET));
    let location = Location::parse(&url).map_err(|error| error.message)?;
    let store = open(&location, Some(connection)).map_err(|error| error.message)?;
    if named.is_none() {
        return Ok("the settings fit together; name a bucket (extra `bucket_name`) to have the store asked".to_owned());
    }
    let found = first(store.as_ref(), &location).await.map_err(|error| error.message)?;
    Ok(match found {
        Some(_) => format!("{url} answers, and has objects"),
        None => format!("{url} answers, and has no objects"),
    })
}
