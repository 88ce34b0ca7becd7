//! Objects of stores (S3, Google Cloud Storage, Azure): `s3_key_sensor`, and `file_sensor` where its path is a URL.

use async_trait::async_trait;
use towpath_model::run::iso_time;

use super::{Error, Poke, Sensor, flag, text, texts};
use crate::attempt::Attempt;
use crate::object_storage::{self, Location};

/// Waits for objects of S3, or of another store whose URL is given.
#[derive(Debug, Clone, Copy, Default)]
pub struct ObjectSensor;

#[async_trait]
impl Sensor for ObjectSensor {
    fn awaits(&self, attempt: &Attempt) -> Result<String, Error> {
        let locations = locations(attempt)?;
        let urls: Vec<String> = locations.iter().map(|location| format!("`{}`", location.url())).collect();
        Ok(format!("an object at {}", urls.join(" and ")))
    }

    async fn poke(&self, attempt: &Attempt) -> Result<Poke, Error> {
        let conn_id = text(&attempt.args, "aws_conn_id");
        let mut told = Vec::new();
        for location in locations(attempt)? {
            match look(attempt, &location, conn_id).await? {
                Some(found) => told.push(found),
                None => return Ok(Poke::NotYet),
            }
        }
        told.iter().for_each(|line| attempt.log.info(line));
        Ok(Poke::Done(None))
    }
}

/// What `bucket_key` names: URLs, or keys in `bucket_name`.
fn locations(attempt: &Attempt) -> Result<Vec<Location>, Error> {
    let args = &attempt.args;
    let keys = match text(args, "bucket_key") {
        Some(key) => vec![key.to_owned()],
        None => texts(args, "bucket_key"),
    };
    if keys.is_empty() {
        return Err(Error::Wrong("`bucket_key` is empty; write a key or a URL such as s3://bucket/key".to_owned()));
    }
    let bucket = text(args, "bucket_name");
    let locations = keys.iter().map(|key| {
        let url = match (object_storage::is_url(key), bucket) {
            (true, None) => key.clone(),
            (false, Some(bucket)) => format!("s3://{bucket}/{}", key.trim_start_matches('/')),
            (true, Some(_)) => {
                return Err(Error::Wrong(format!("`bucket_key` is the URL `{key}`, which leaves nothing for `bucket_name`")));
            }
            (false, None) => {
                return Err(Error::Wrong(format!(
                    "`bucket_key` is `{key}`, in no bucket; write s3://bucket/{key}, or name the bucket as `bucket_name`"
                )));
            }
        };
        let location = Location::parse(&url).map_err(|error| Error::Wrong(error.message))?;
        if location.is_glob() && !flag(args, "wildcard_match") {
            return Err(Error::Wrong(format!("`{url}` is a glob; set `wildcard_match: true` if it is meant as one")));
        }
        Ok(location)
    });
    locations.collect()
}

/// Looks for a first object at `location`; what it found, in words.
pub(super) async fn look(
    attempt: &Attempt,
    location: &Location,
    conn_id: Option<&str>,
) -> Result<Option<String>, Error> {
    let told = |error: object_storage::Error| {
        if error.retry { Error::Passing(error.message) } else { Error::Wrong(error.message) }
    };
    let connection = match conn_id {
        None => None,
        Some(conn_id) => {
            let found = crate::sql::named_connection(attempt, conn_id).await;
            Some(found.map_err(|error| Error::Passing(error.message))?)
        }
    };
    let store = object_storage::open(location, connection.as_ref()).map_err(told)?;
    let found = object_storage::first(store.as_ref(), location).await.map_err(told)?;
    Ok(found.map(|found| {
        let url = location.url_of(found.meta.location.as_ref());
        format!("Found `{url}`, {} bytes, last modified {}", found.meta.size, iso_time(found.meta.last_modified))
    }))
}
