//! What handlers read of a query and a body, learnt by letting them read.
//!
//! A request that carries a [`Recorder`] is answered by nobody: [`Query`](crate::query::Query) and
//! [`Body`](crate::body::Body) give nothing, note what they are asked for, and end the handler where it has read all.
//! So the document cannot say anything else than the code does. Only this process can make such a request.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

/// Something that is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// Its JSON Schema.
    pub(crate) schema: Value,
    pub(crate) is_required: bool,
}

/// What a handler has read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recording {
    pub(crate) query: Vec<Field>,
    /// `None` for a handler that takes no body.
    pub(crate) body: Option<Vec<Field>>,
    /// Whether a request may come without its body.
    pub(crate) body_is_optional: bool,
    /// Whether the handler has come to the end of its reading.
    pub(crate) is_over: bool,
}

/// Goes along with a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Recording>>);

/// Where something is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Query,
    Body,
}

impl Recorder {
    pub(crate) fn recording(&self) -> Recording {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Recording)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The handler takes a body.
    pub(crate) fn takes_body(&self, is_optional: bool) {
        self.change(|recording| {
            recording.body.get_or_insert_default();
            recording.body_is_optional = is_optional;
        });
    }

    /// Notes a field; what is known of it already stays.
    pub(crate) fn note(&self, place: Place, name: &str, schema: impl FnOnce() -> Value) {
        self.change(|recording| {
            let fields = match place {
                Place::Query => &mut recording.query,
                Place::Body => recording.body.get_or_insert_default(),
            };
            match fields.iter_mut().find(|field| field.name == name) {
                // It was only said to be required.
                Some(field) if field.schema == Value::Bool(true) => field.schema = schema(),
                Some(_) => {}
                None => fields.push(Field { name: name.to_owned(), schema: schema(), is_required: false }),
            }
        });
    }

    /// The field has to be there.
    pub(crate) fn require(&self, place: Place, name: &str) {
        self.note(place, name, || Value::Bool(true));
        self.change(|recording| {
            let fields = match place {
                Place::Query => &mut recording.query,
                Place::Body => recording.body.get_or_insert_default(),
            };
            if let Some(field) = fields.iter_mut().find(|field| field.name == name) {
                field.is_required = true;
            }
        });
    }

    /// The end of a query: the end of everything, unless a body follows. Whether it is.
    pub(crate) fn ends_query(&self) -> bool {
        let mut is_over = false;
        self.change(|recording| {
            recording.is_over |= recording.body.is_none();
            is_over = recording.is_over;
        });
        is_over
    }

    pub(crate) fn ends_body(&self) {
        self.change(|recording| recording.is_over = true);
    }
}

/// A schema of a type by its name.
pub(crate) fn of(kind: &str) -> Value {
    json!({"type": kind})
}

/// A time in RFC 3339.
pub(crate) fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

/// A list.
pub(crate) fn list(items: &Value) -> Value {
    json!({"type": "array", "items": items})
}

/// One of some words.
pub(crate) fn words(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_first_counts_unless_it_says_nothing() {
        let recorder = Recorder::default();
        recorder.require(Place::Query, "interval");
        recorder.note(Place::Query, "interval", || of("number"));
        recorder.note(Place::Query, "interval", || of("string"));
        let field = Field { name: "interval".to_owned(), schema: of("number"), is_required: true };
        assert_eq!(recorder.recording().query, [field]);
        assert!(recorder.ends_query());
    }

    #[test]
    fn a_query_before_a_body_is_not_the_end() {
        let recorder = Recorder::default();
        recorder.takes_body(false);
        assert!(!recorder.ends_query() && !recorder.recording().is_over);
        recorder.ends_body();
        assert!(recorder.recording().is_over);
    }
}
