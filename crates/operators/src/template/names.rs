//! The names that templates know: Airflow's, from [`Context`] and [`Services`].
//!
//! Variables, connections and XComs are fetched when a template reads them and not before. Templates are rendered
//! on a thread that may block, so a name that must be fetched waits for it there.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use serde_json::Map;
use tokio::runtime::Handle;
use towpath_model::connection::{Connection, Secret};
use towpath_model::run::iso_time;

use super::assets;
use super::dates::{Moment, invalid};
use super::values::{from_json, from_map};
use super::{date_format, macros};
use crate::attempt::{Context, RETURN_VALUE, Services, XComQuery};
use crate::log::TaskLog;

/// Names at the top level, for the template engine and for suggestions.
#[rustfmt::skip]
pub(super) const NAMES: &[&str] = &[
    "conn", "dag", "dag_run", "data_interval_end", "data_interval_start", "ds", "ds_nodash", "execution_date", "group",
    "inlet_events",
    "inlets",
    "logical_date", "macros", "outlets", "params", "prev_data_interval_end_success", "prev_data_interval_start_success",
    "prev_start_date_success", "run_id", "task", "task_instance", "task_instance_key_str", "ti", "triggering_asset_events",
    "ts", "ts_nodash", "ts_nodash_with_tz", "var",
];

/// What a rendering can reach.
pub(super) struct Scope {
    pub(super) context: Context,
    pub(super) services: Arc<dyn Services>,
    pub(super) log: TaskLog,
    pub(super) runtime: Handle,
    /// Further names, which go first.
    pub(super) extra: Map<String, serde_json::Value>,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("template names")
    }
}

/// The top level.
#[derive(Debug, Clone)]
pub(super) struct Root(pub(super) Arc<Scope>);

fn optional<T>(value: Option<T>, convert: impl FnOnce(T) -> Value) -> Value {
    value.map_or_else(|| Value::from(()), convert)
}

fn moment(at: DateTime<Utc>) -> Value {
    Value::from_object(Moment::utc(at))
}

impl Object for Root {
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(NAMES)
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let scope = &self.0;
        if let Some(value) = scope.extra.get(name) {
            return Some(from_json(value));
        }
        let context = &scope.context;
        Some(match name {
            "dag" => from_json(&serde_json::json!({
                "dag_id": context.dag_id, "description": context.dag_description, "tags": context.dag_tags,
            })),
            "dag_run" => dag_run(context),
            "run_id" => context.run_id.as_str().into(),
            "task" => from_json(&serde_json::json!({
                "task_id": context.task_id, "owner": context.owner, "task_type": context.operator,
                "operator": context.operator, "queue": context.queue, "pool": context.pool,
                "priority_weight": context.priority_weight, "params": context.params,
            })),
            "ti" | "task_instance" => Value::from_object(TaskInstance(Arc::clone(scope))),
            "params" => from_map(&context.params),
            "group" => match &context.group {
                Some(element) => from_map(element),
                None => Value::from(invalid(
                    "`group` is the element of a mapped task group, and this task is in none; give a group around it `expand`".to_owned(),
                )),
            },
            "var" => Value::from_pairs([
                ("value", Value::from_object(Variables { scope: Arc::clone(scope), json: false })),
                ("json", Value::from_object(Variables { scope: Arc::clone(scope), json: true })),
            ]),
            "conn" => Value::from_object(Connections(Arc::clone(scope))),
            "macros" => macros::all(Arc::clone(scope.log.clock())),
            "logical_date"
            | "execution_date"
            | "ds"
            | "ds_nodash"
            | "ts"
            | "ts_nodash"
            | "ts_nodash_with_tz"
            | "task_instance_key_str" => match context.logical_date {
                Some(date) => of_logical_date(context, name, date),
                None => Value::from(invalid(format!(
                    "`{name}` needs a logical date, and this run has none; use `run_id` or `dag_run.run_after`, or trigger it with a logical date"
                ))),
            },
            "data_interval_start" => optional(context.data_interval, |interval| moment(interval.start)),
            "data_interval_end" => optional(context.data_interval, |interval| moment(interval.end)),
            "prev_data_interval_start_success" => {
                optional(context.prev_data_interval_success, |interval| moment(interval.start))
            }
            "prev_data_interval_end_success" => {
                optional(context.prev_data_interval_success, |interval| moment(interval.end))
            }
            "prev_start_date_success" => optional(context.prev_start_date_success, moment),
            "triggering_asset_events" => assets::triggering(scope),
            "inlet_events" => Value::from_object(assets::InletEvents(Arc::clone(scope))),
            "inlets" => assets::list(&context.inlets),
            "outlets" => assets::list(&context.outlets),
            _ => return None,
        })
    }
}

fn of_logical_date(context: &Context, name: &str, date: DateTime<Utc>) -> Value {
    let date = Moment::utc(date);
    let text = |format: &str| date_format::strftime(&date, format).map_or_else(Value::from, Value::from);
    match name {
        "ds" => text("%Y-%m-%d"),
        "ds_nodash" => text("%Y%m%d"),
        "ts" => date.isoformat('T').into(),
        "ts_nodash" => text("%Y%m%dT%H%M%S"),
        "ts_nodash_with_tz" => text("%Y%m%dT%H%M%S%z"),
        "task_instance_key_str" => format!("{}__{}__{}", context.dag_id, context.task_id, text("%Y%m%d")).into(),
        _ => Value::from_object(date),
    }
}

fn dag_run(context: &Context) -> Value {
    let run_type = Value::from(context.run_type.to_string());
    Value::from_pairs([
        ("dag_id", Value::from(context.dag_id.as_str())),
        ("run_id", Value::from(context.run_id.as_str())),
        ("run_type", run_type),
        ("run_after", moment(context.run_after)),
        ("start_date", optional(context.run_start_date, moment)),
        ("logical_date", optional(context.logical_date, moment)),
        ("data_interval_start", optional(context.data_interval, |interval| moment(interval.start))),
        ("data_interval_end", optional(context.data_interval, |interval| moment(interval.end))),
        ("conf", from_map(&context.conf)),
    ])
}

/// `var.value` and `var.json`.
#[derive(Debug)]
struct Variables {
    scope: Arc<Scope>,
    json: bool,
}

impl Variables {
    fn fetch(&self, key: &str) -> Result<Option<Value>, Error> {
        let scope = &self.scope;
        let found = scope.runtime.block_on(scope.services.variable(key));
        let Some(text) = found.map_err(|error| invalid(format!("variable `{key}` cannot be read: {error}")))? else {
            return Ok(None);
        };
        scope.log.secrets().add_variable(key, &text);
        if !self.json {
            return Ok(Some(text.into()));
        }
        let json: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| invalid(format!("variable `{key}` is not JSON: {error}")))?;
        Ok(Some(from_json(&json)))
    }
}

impl Object for Variables {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        let missing = || {
            let name = if self.json { "json" } else { "value" };
            invalid(format!(
                "variable `{key}` does not exist; create it with `towpath variables set {key} VALUE`, or write `var.{name}.get('{key}', 'default')`"
            ))
        };
        Some(self.fetch(key).and_then(|found| found.ok_or_else(missing)).unwrap_or_else(Value::from))
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        if method != "get" {
            return Err(ErrorKind::UnknownMethod.into());
        }
        let (key, default) = get_arguments(args)?;
        Ok(self.fetch(key)?.unwrap_or(default))
    }
}

/// The arguments of `get(key, default)`; the default may be a keyword under either of Airflow's names.
fn get_arguments(args: &[Value]) -> Result<(&str, Value), Error> {
    let (key, default, kwargs): (&str, Option<Value>, Kwargs) = from_args(args)?;
    let named = kwargs.get::<Option<Value>>("default_var")?.or(kwargs.get::<Option<Value>>("default")?);
    kwargs.assert_all_used()?;
    Ok((key, default.or(named).unwrap_or_else(|| Value::from(()))))
}

/// `conn`.
#[derive(Debug)]
struct Connections(Arc<Scope>);

impl Connections {
    fn fetch(&self, conn_id: &str) -> Result<Option<Value>, Error> {
        let found = self.0.runtime.block_on(self.0.services.connection(conn_id));
        let found = found.map_err(|error| invalid(format!("connection `{conn_id}` cannot be read: {error}")))?;
        Ok(found.map(|connection| {
            connection.secrets().iter().for_each(|secret| self.0.log.secrets().add(secret));
            Value::from_object(OneConnection(connection))
        }))
    }
}

impl Object for Connections {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let conn_id = key.as_str()?;
        let missing = || {
            invalid(format!(
                "connection `{conn_id}` does not exist; create it with `towpath connections add {conn_id}`"
            ))
        };
        Some(self.fetch(conn_id).and_then(|found| found.ok_or_else(missing)).unwrap_or_else(Value::from))
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        if method != "get" {
            return Err(ErrorKind::UnknownMethod.into());
        }
        let (conn_id, default) = get_arguments(args)?;
        Ok(self.fetch(conn_id)?.unwrap_or(default))
    }
}

#[derive(Debug)]
struct OneConnection(Connection);

impl OneConnection {
    fn extras(&self) -> Value {
        self.0.extra_dejson().map_or_else(|error| Value::from(invalid(error.to_string())), |extra| from_map(&extra))
    }
}

impl Object for OneConnection {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let connection = &self.0;
        let text = |value: &Option<String>| optional(value.as_deref(), Value::from);
        Some(match key.as_str()? {
            "conn_id" => connection.conn_id.as_str().into(),
            "conn_type" => connection.conn_type.as_str().into(),
            "description" => text(&connection.description),
            "host" => text(&connection.host),
            "login" => text(&connection.login),
            "password" => optional(connection.password.as_ref().map(Secret::expose), Value::from),
            "schema" => text(&connection.schema),
            "port" => optional(connection.port, Value::from),
            "extra" => text(&connection.extra),
            "extra_dejson" => self.extras(),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        const FIELDS: &[&str] = &[
            "conn_id",
            "conn_type",
            "description",
            "host",
            "login",
            "password",
            "schema",
            "port",
            "extra",
            "extra_dejson",
        ];
        Enumerator::Str(FIELDS)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.conn_id)
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        from_args::<()>(args)?;
        match method {
            "get_uri" => Ok(self.0.get_uri().into()),
            "get_extra_dejson" => Ok(self.extras()),
            "get_password" => Ok(optional(self.0.password.as_ref().map(Secret::expose), Value::from)),
            _ => Err(ErrorKind::UnknownMethod.into()),
        }
    }
}

/// `ti`.
#[derive(Debug)]
struct TaskInstance(Arc<Scope>);

impl Object for TaskInstance {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let context = &self.0.context;
        Some(match key.as_str()? {
            "dag_id" => context.dag_id.as_str().into(),
            "task_id" => context.task_id.as_str().into(),
            "run_id" => context.run_id.as_str().into(),
            "map_index" => context.map_index.into(),
            "try_number" => context.try_number.into(),
            "max_tries" => context.max_tries.into(),
            "start_date" => moment(context.start_date),
            "hostname" => context.hostname.as_str().into(),
            "operator" => context.operator.as_str().into(),
            "queue" => context.queue.as_str().into(),
            "pool" => context.pool.as_str().into(),
            "priority_weight" => context.priority_weight.into(),
            "logical_date" | "execution_date" => optional(context.logical_date, moment),
            "key" => format!(
                "{} {} {} {}",
                context.dag_id,
                context.task_id,
                context.logical_date.map_or_else(|| context.run_id.clone(), iso_time),
                context.try_number
            )
            .into(),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        const FIELDS: &[&str] = &[
            "dag_id",
            "hostname",
            "logical_date",
            "map_index",
            "max_tries",
            "operator",
            "pool",
            "priority_weight",
            "queue",
            "run_id",
            "start_date",
            "task_id",
            "try_number",
            "xcom_pull",
        ];
        Enumerator::Str(FIELDS)
    }

    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        if method != "xcom_pull" {
            return Err(ErrorKind::UnknownMethod.into());
        }
        self.xcom_pull(args)
    }
}

impl TaskInstance {
    /// `xcom_pull(task_ids=None, dag_id=None, key="return_value", *, map_indexes, run_id, default)`. One task with at most one
    /// map index gives its value, or a list where a mapped task has several; more of either give a list.
    fn xcom_pull(&self, args: &[Value]) -> Result<Value, Error> {
        let (task_ids, dag_id, key, _, kwargs): (Option<Value>, Option<Value>, Option<Value>, Option<Value>, Kwargs) =
            from_args(args)?;
        let argument = |positional: Option<Value>, name: &str| {
            let named = kwargs.get::<Option<Value>>(name)?;
            Ok::<_, Error>(positional.or(named).filter(|value| !value.is_none()))
        };
        let task_ids = argument(task_ids, "task_ids")?;
        let dag_id = argument(dag_id, "dag_id")?.map(|id| id.to_string());
        let key = argument(key, "key")?.map_or_else(|| RETURN_VALUE.to_owned(), |key| key.to_string());
        let run_id = argument(None, "run_id")?.map(|id| id.to_string());
        let map_indexes = argument(None, "map_indexes")?;
        let default = kwargs.get::<Option<Value>>("default")?.unwrap_or_else(|| Value::from(()));
        // It speaks of earlier runs, whose XComs are asked for by `run_id` instead.
        if kwargs.get::<Option<bool>>("include_prior_dates")?.unwrap_or(false) {
            return Err(invalid("`include_prior_dates` is not supported; name the run with `run_id`"));
        }
        kwargs.assert_all_used()?;
        let (tasks, one_task) = match task_ids {
            None => (vec![self.0.context.task_id.clone()], true),
            Some(ids) => match ids.as_str() {
                Some(id) => (vec![id.to_owned()], true),
                None => (ids.try_iter()?.map(|id| id.to_string()).collect(), false),
            },
        };
        let (indexes, one_index) = match map_indexes {
            None => (vec![None], true),
            Some(indexes) if indexes.is_number() => (vec![Some(i32::try_from(indexes)?)], true),
            Some(indexes) => {
                (indexes.try_iter()?.map(|index| i32::try_from(index).map(Some)).collect::<Result<_, _>>()?, false)
            }
        };
        let mut values = Vec::new();
        for task_id in tasks {
            for &map_index in &indexes {
                let (dag_id, run_id, key) = (dag_id.clone(), run_id.clone(), key.clone());
                let query = XComQuery { dag_id, run_id, task_id: task_id.clone(), key, map_index };
                let found = self.0.runtime.block_on(self.0.services.xcoms(&query));
                let found =
                    found.map_err(|error| invalid(format!("the XCom of task `{task_id}` cannot be read: {error}")))?;
                if found.is_empty() {
                    values.push(default.clone());
                }
                values.extend(found.iter().map(from_json));
            }
        }
        Ok(if one_task && one_index && values.len() == 1 { values.remove(0) } else { values.into() })
    }
}
