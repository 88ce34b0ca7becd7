//! Variables and connections from the process environment: `TOWPATH_VAR_*`, `TOWPATH_CONN_*`, and
//! Airflow's `AIRFLOW_VAR_*`, `AIRFLOW_CONN_*`, where the rest of the name is the id in capitals.

use std::collections::HashMap;

use towpath_model::connection::Connection;

use crate::{Error, Result};

/// What the environment holds, by name.
#[derive(Debug, Default)]
pub(crate) struct Environment(HashMap<String, String>);

impl Environment {
    pub(crate) fn of_process() -> Self {
        const PREFIXES: [&str; 4] = ["TOWPATH_VAR_", "TOWPATH_CONN_", "AIRFLOW_VAR_", "AIRFLOW_CONN_"];
        Self(std::env::vars().filter(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix))).collect())
    }

    fn get(&self, kind: &str, id: &str) -> Option<(String, &str)> {
        ["TOWPATH", "AIRFLOW"].iter().find_map(|product| {
            let name = format!("{product}_{kind}_{}", id.to_uppercase());
            self.0.get(&name).map(|value| (name, value.as_str()))
        })
    }

    pub(crate) fn variable(&self, key: &str) -> Option<String> {
        self.get("VAR", key).map(|(_, value)| value.to_owned())
    }

    /// A connection as URI or JSON, whichever the text looks like.
    pub(crate) fn connection(&self, conn_id: &str) -> Result<Option<Connection>> {
        let Some((name, text)) = self.get("CONN", conn_id) else { return Ok(None) };
        let connection = Connection::parse(conn_id, text);
        connection.map(Some).map_err(|error| Error::Invalid(format!("environment variable {name}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn towpath_wins_over_airflow() {
        let env = environment(&[("AIRFLOW_VAR_REGION", "a"), ("TOWPATH_VAR_REGION", "t"), ("AIRFLOW_VAR_ZONE", "z")]);
        assert_eq!(env.variable("region").as_deref(), Some("t"));
        assert_eq!(env.variable("zone").as_deref(), Some("z"));
        assert_eq!(env.variable("other"), None);
    }

    #[test]
    fn connections_are_uris_or_json() {
        let env = environment(&[
            ("AIRFLOW_CONN_DB", "postgres://me:pw@host:5433/base"),
            ("TOWPATH_CONN_API", r#"{"conn_type": "http", "host": "example.org"}"#),
            ("TOWPATH_CONN_BAD", "{"),
        ]);
        let db = env.connection("db").unwrap().unwrap();
        assert_eq!((db.conn_type.as_str(), db.port), ("postgres", Some(5433)));
        assert_eq!(env.connection("api").unwrap().unwrap().host.as_deref(), Some("example.org"));
        let error = env.connection("bad").unwrap_err().to_string();
        assert!(error.contains("TOWPATH_CONN_BAD"), "{error}");
    }
}
