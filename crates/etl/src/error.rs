//! What goes wrong with data, said to whoever wrote the task.

use datafusion::error::DataFusionError;

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why data could not be read, changed or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The thing, the place and the way out.
    pub message: String,
    /// Whether another try may go better.
    pub retry: bool,
}

/// How errors begin that tell of too little memory.
const OUT_OF_MEMORY: &str = "the task needs more memory than it may have: ";

impl Error {
    /// Whether operators have asked for more memory than there is, wherever the error has travelled through.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.message.contains(OUT_OF_MEMORY)
    }

    /// Something that stays as it is until the task or its data are changed.
    pub fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry: false }
    }

    /// Something that may be over at the next try.
    pub fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry: true }
    }

    /// The same, with a place before it.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        // What comes from afar names its place itself.
        if !self.message.strip_prefix('`').is_some_and(|rest| rest.starts_with(&format!("{place}`"))) {
            self.message = format!("{place}: {}", self.message);
        }
        self
    }

    /// A file or folder that could not be used.
    pub(crate) fn io(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let full = error.kind() == std::io::ErrorKind::StorageFull;
        let hint = if full { "; the disk is full: free some space, or move the data folder" } else { "" };
        Self { message: format!("cannot {what} `{}`: {error}{hint}", path.display()), retry: true }
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<datafusion::arrow::error::ArrowError> for Error {
    fn from(error: datafusion::arrow::error::ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

impl From<datafusion::parquet::errors::ParquetError> for Error {
    fn from(error: datafusion::parquet::errors::ParquetError) -> Self {
        DataFusionError::from(error).into()
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        // An error of this crate that has travelled through a plan comes out as it went in.
        let mut inner: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(current) = inner {
            if let Some(own) = current.downcast_ref::<Self>() {
                return own.clone();
            }
            inner = match current.downcast_ref::<std::sync::Arc<DataFusionError>>() {
                Some(shared) => Some(shared.as_ref()),
                None => current.source(),
            };
        }
        let root = error.find_root();
        if let DataFusionError::ResourcesExhausted(reason) = root {
            let reason = reason.lines().next().unwrap_or_default();
            return Self::lasting(format!("{OUT_OF_MEMORY}{reason}; raise `memory`"));
        }
        let text = root.strip_backtrace();
        let full = text.contains("No space left on device");
        let hint = if full { "; the disk is full: free some space, or move the data folder" } else { "" };
        let retry = matches!(root, DataFusionError::IoError(_) | DataFusionError::ObjectStore(_));
        Self { message: format!("{}{hint}", plain(&text)), retry: retry || full }
    }
}

/// DataFusion's messages without the names of its own layers.
fn plain(text: &str) -> String {
    let mut text = text.trim();
    for layer in [
        "Error during planning: ",
        "Schema error: ",
        "Execution error: ",
        "Arrow error: ",
        "External error: ",
        "Optimizer rule 'simplify_expressions' failed",
        "SQL error: ParserError(\"",
    ] {
        text = text.strip_prefix(layer).unwrap_or(text);
    }
    let text = text.trim_end_matches("\")").trim_end_matches('.').replace("\"?table?\".", "").replace("?table?.", "");
    in_own_words(without_step_names(&text).replace('\n', " "))
}

/// Messages that tell what is wrong in words of the engine alone, with the way out.
fn in_own_words(text: String) -> String {
    let between = |before: &str, after: &str| {
        let rest = text.split_once(before)?.1;
        rest.split_once(after).map(|(name, _)| name.trim_matches('"').rsplit('.').next().unwrap_or(name).to_owned())
    };
    if text.contains("which would be ambiguous")
        && let Some(name) = between("field name ", " ")
    {
        return format!("two columns are named `{name}`; give one of them another name");
    }
    if let Some(name) = between("table 'datafusion.public.", "' not found") {
        return format!("there is no table `{name}`: tables are the inputs of the task, by their names");
    }
    if text.starts_with("Divide by zero") {
        return "a number is divided by zero; `nullif(x, 0)` as the divisor makes null of it".to_owned();
    }
    if let Some(what) = text.strip_prefix("Cast error: ") {
        return format!("{what}; `try_cast` makes null of what does not fit, and `validate` can put such rows aside");
    }
    if let Some(what) = text.strip_prefix("Parquet error: ") {
        let what = what.trim_start_matches("Parquet error: ").trim_start_matches("EOF: ");
        return format!("it is no Parquet file, or is damaged: {what}");
    }
    if let Some(what) = text.strip_prefix("Json error: ") {
        return format!("{what}; where a field has values of different types, write them alike");
    }
    for (what, statements) in [("DDL", "tables"), ("DML", "rows")] {
        if text.starts_with(&format!("{what} not supported")) {
            return format!("a query reads, and changes no {statements}; a `load` writes");
        }
    }
    text
}

/// Takes away the names under which steps are known to SQL.
pub(crate) fn without_step_names(text: &str) -> String {
    let mut rest = text;
    let mut result = String::with_capacity(text.len());
    while let Some(at) = rest.find("__step_") {
        let digits = rest[at + 7..].bytes().take_while(u8::is_ascii_digit).count();
        result.push_str(rest[..at].trim_end_matches('"'));
        rest = rest[at + 7 + digits..].trim_start_matches('"').trim_start_matches('.');
    }
    result.push_str(rest);
    result
}
