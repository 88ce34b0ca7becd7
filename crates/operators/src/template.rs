//! Templates in arguments: Jinja2's language, with the names, filters and macros of Airflow.
//!
//! [`render_args`] is what a worker calls before there is an [`crate::Attempt`]; [`Renderer`] serves
//! operators that render something themselves later, such as a script from a file or a filter over a response.
//!
//! - Arguments without a template cost a search for `{`, no more. The others are rendered together on a thread that may
//!   block, since reading a variable, a connection or an XComs waits for [`Services`].
//! - A name that is not defined is an error, as in Airflow, and says which name is close.
//! - Work, output and depth have [`Limits`].
//! - Values print as Python prints them: `True`, `None`, `['a']`.

mod arithmetic;
mod assets;
mod check;
mod date_format;
mod dates;
mod delta;
mod diagnose;
pub mod lint;
mod macros;
mod names;
mod values;

use std::sync::{Arc, LazyLock};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use towpath_model::operator::OperatorSpec;

use crate::attempt::{Attempt, Context, Services};
use crate::log::TaskLog;

pub use check::check_rendered;

/// How much one text may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Steps of the template engine; printing costs too.
    pub fuel: u64,
    /// Length of the result, bytes.
    pub output_bytes: usize,
    /// Calls inside of calls, and values inside of values.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { fuel: 5_000_000, output_bytes: 16 * 1024 * 1024, depth: 100 }
    }
}

/// Why a template could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The template is wrong, or what it reads is not there.
    #[error("`{place}`{}: {reason}{}", line.map(|line| format!(", line {line}")).unwrap_or_default(), excerpt.as_ref().map(|text| format!(" (in `{text}`)")).unwrap_or_default())]
    Template {
        /// The argument: `bash_command`, `env.X`, `op_kwargs.a[0]`.
        place: String,
        /// From 1.
        line: Option<usize>,
        reason: String,
        /// The line of the template.
        excerpt: Option<String>,
    },
    /// It gives something else than the argument takes.
    #[error(
        "`{place}` must be {expected}, but the template gives {found}; convert it with a filter such as `| int` or `| tojson`, or set render_template_as_native_obj"
    )]
    Kind { place: String, expected: String, found: String },
    /// The thread that rendered it has died.
    #[error("`{place}`: rendering has ended unexpectedly: {reason}")]
    Aborted { place: String, reason: String },
}

/// Renders those arguments of `spec` that may be templates, and checks their kinds. To be called before an attempt exists.
///
/// # Errors
/// The first [`Error`], in the order of the arguments.
pub async fn render_args(
    context: &Context,
    services: &Arc<dyn Services>,
    log: &TaskLog,
    limits: Limits,
    spec: &OperatorSpec,
    mut args: Map<String, Value>,
) -> Result<Map<String, Value>, Error> {
    let is_templated = |name: &str| spec.arg(name).is_some_and(|arg| arg.templated);
    let found: Vec<String> = args
        .iter()
        .filter(|(name, value)| is_templated(name) && has_template(value))
        .map(|(name, _)| name.clone())
        .collect();
    if found.is_empty() {
        return Ok(args);
    }
    let jobs = found.iter().map(|name| (name.clone(), args[name].clone())).collect();
    let renderer = Renderer { context: context.clone(), services: Arc::clone(services), log: log.clone(), limits };
    let rendered = renderer.blocking(Map::new(), move |work| work.all(jobs)).await?;
    for (name, value) in found.into_iter().zip(rendered) {
        args.insert(name, value);
    }
    check_rendered(spec, &mut args)?;
    Ok(args)
}

/// Whether a text in `value` is a template.
#[must_use]
pub fn has_template(value: &Value) -> bool {
    match value {
        Value::String(text) => is_template(text),
        Value::Array(items) => items.iter().any(has_template),
        Value::Object(map) => map.values().any(has_template),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_template(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'{', bytes).any(|at| matches!(bytes.get(at + 1), Some(b'{' | b'%' | b'#')))
}

/// Renders what belongs to one attempt.
#[derive(Debug, Clone)]
pub struct Renderer {
    context: Context,
    services: Arc<dyn Services>,
    log: TaskLog,
    limits: Limits,
}

impl Renderer {
    /// The renderer of an attempt.
    #[must_use]
    pub fn new(attempt: &Attempt, limits: Limits) -> Self {
        let services = Arc::clone(&attempt.services);
        Self { context: attempt.context.clone(), services, log: attempt.log.clone(), limits }
    }

    /// `value` with every text in it rendered. `place` names it in errors.
    ///
    /// # Errors
    /// The first [`Error`].
    pub async fn render(&self, place: &str, value: &Value) -> Result<Value, Error> {
        if !has_template(value) {
            return Ok(value.clone());
        }
        let job = (place.to_owned(), value.clone());
        let mut rendered = self.clone().blocking(Map::new(), move |work| work.all(vec![job])).await?;
        Ok(rendered.remove(0))
    }

    /// As [`Self::render`], with the names in `extra` too.
    ///
    /// # Errors
    /// The first [`Error`].
    pub async fn render_with(&self, place: &str, value: &Value, extra: Map<String, Value>) -> Result<Value, Error> {
        let job = (place.to_owned(), value.clone());
        let mut rendered = self.clone().blocking(extra, move |work| work.all(vec![job])).await?;
        Ok(rendered.remove(0))
    }

    /// The value of one expression, which may stand in `{{ }}` or by itself, and which knows the names in `extra` too.
    ///
    /// # Errors
    /// [`Error`], when it is wrong or not defined.
    pub async fn evaluate(&self, place: &str, expression: &str, extra: Map<String, Value>) -> Result<Value, Error> {
        let text = expression.trim();
        let inner = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}")).unwrap_or(text).to_owned();
        let place = place.to_owned();
        self.clone().blocking(extra, move |work| work.expression(&place, &inner)).await
    }

    async fn blocking<T: Send + 'static>(
        self,
        extra: Map<String, Value>,
        job: impl FnOnce(&Work) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (context, services, log) = (self.context, self.services, self.log);
        let native = context.native_templates;
        let scope = Arc::new(names::Scope { context, services, log, runtime: Handle::current(), extra });
        let work = Work { root: minijinja::Value::from_object(names::Root(scope)), limits: self.limits, native };
        let ended = tokio::task::spawn_blocking(move || job(&work)).await;
        ended.unwrap_or_else(|error| Err(Error::Aborted { place: "template".to_owned(), reason: error.to_string() }))
    }
}

/// Everything but the limits is the same for all, and building it takes longer than rendering.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    env.set_syntax(syntax.expect("the default delimiters are valid"));
    env.set_formatter(|out, _, value| values::write_str(out, value).map_err(minijinja::Error::from));
    macros::add_filters(&mut env);
    env
});

/// A rendering, on its own thread.
struct Work {
    root: minijinja::Value,
    limits: Limits,
    native: bool,
}

impl Work {
    fn all(&self, jobs: Vec<(String, Value)>) -> Result<Vec<Value>, Error> {
        let env = self.environment();
        jobs.into_iter().map(|(mut place, value)| self.value(&env, &mut place, value)).collect()
    }

    fn environment(&self) -> Environment<'static> {
        let mut env = ENVIRONMENT.clone();
        env.set_fuel(Some(self.limits.fuel));
        env.set_recursion_limit(self.limits.depth);
        env
    }

    /// `value` with its texts rendered; `place` is its path and is the same afterwards.
    fn value(&self, env: &Environment<'static>, place: &mut String, value: Value) -> Result<Value, Error> {
        let length = place.len();
        Ok(match value {
            Value::String(text) if is_template(&text) => self.text(env, place, &text)?,
            Value::Array(items) => {
                let mut rendered = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    place.push_str(&format!("[{index}]"));
                    rendered.push(self.value(env, place, item)?);
                    place.truncate(length);
                }
                Value::Array(rendered)
            }
            Value::Object(map) => {
                let mut rendered = Map::with_capacity(map.len());
                for (key, item) in map {
                    place.push('.');
                    place.push_str(&key);
                    rendered.insert(key, self.value(env, place, item)?);
                    place.truncate(length);
                }
                Value::Object(rendered)
            }
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => value,
        })
    }

    fn text(&self, env: &Environment<'static>, place: &str, text: &str) -> Result<Value, Error> {
        if self.native
            && let Some(inner) = text.trim().strip_prefix("{{").and_then(|text| text.strip_suffix("}}"))
            && let Ok(expression) = env.compile_expression_owned(inner.to_owned())
        {
            let result = expression.eval(self.root.clone()).and_then(|value| defined(value, inner));
            return match result.and_then(|value| values::to_json(&value)) {
                Err(error) if is_date_arithmetic(&error) => self.expression(place, inner),
                Err(error) => Err(diagnose::explain(&self.root, place, text, &error)),
                Ok(value) => Ok(value),
            };
        }
        let rendered = match self.print(env, text) {
            Err(error) if is_date_arithmetic(&error) => match arithmetic::as_filters(text) {
                Some(rewritten) => self.print(env, &rewritten),
                None => Err(error),
            },
            result => result,
        };
        rendered.map(Value::String).map_err(|error| diagnose::explain(&self.root, place, text, &error))
    }

    fn print(&self, env: &Environment<'_>, text: &str) -> Result<String, minijinja::Error> {
        let mut output = Limited { bytes: Vec::new(), limit: self.limits.output_bytes };
        env.template_from_str(text)?.render_captured_to(self.root.clone(), &mut output)?;
        Ok(String::from_utf8_lossy(&output.bytes).into_owned())
    }

    fn expression(&self, place: &str, text: &str) -> Result<Value, Error> {
        let env = self.environment();
        let evaluate = |text: String| {
            let value = env.compile_expression_owned(text)?.eval(self.root.clone())?;
            values::to_json(&defined(value, "")?)
        };
        let result = match evaluate(text.to_owned()) {
            Err(error) if is_date_arithmetic(&error) => evaluate(arithmetic::expression(text)),
            result => result,
        };
        result.map_err(|error| diagnose::explain(&self.root, place, &format!("{{{{{text}}}}}"), &error))
    }
}

/// An expression whose value is not defined is an error, as it is where a template prints it.
fn defined(value: minijinja::Value, name: &str) -> Result<minijinja::Value, minijinja::Error> {
    if value.is_undefined() {
        return Err(minijinja::Error::new(ErrorKind::UndefinedError, format!("`{}` is not defined", name.trim())));
    }
    Ok(value)
}

/// Whether the engine has met `+` or `-` between things that are not numbers.
fn is_date_arithmetic(error: &minijinja::Error) -> bool {
    error.kind() == ErrorKind::InvalidOperation
        && error.detail().is_some_and(|text| text.contains("operator on unsupported"))
}

/// At most the first 100 characters.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// Takes so many bytes and then refuses.
struct Limited {
    bytes: Vec<u8>,
    limit: usize,
}

impl std::io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(std::io::Error::other(format!("the result has more than {} bytes", self.limit)));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
