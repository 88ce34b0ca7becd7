//! Conditions that lists of several resources share, read from the query.

use chrono::{DateTime, Utc};
use strum::IntoEnumIterator;
use towpath_store::{Compare, Datum, Test};

use crate::Result;
use crate::body::Body;
use crate::pattern::Pattern;
use crate::query::Query;

/// The suffixes of bounds.
pub(crate) const BOUNDS: [(&str, Compare); 4] =
    [("gte", Compare::AtLeast), ("gt", Compare::Above), ("lte", Compare::AtMost), ("lt", Compare::Below)];

/// Conditions on the fields `F` of a table.
#[derive(Debug)]
pub(crate) struct Conditions<F>(pub(crate) Vec<(F, Test)>);

impl<F: Copy> Conditions<F> {
    /// `name_gte`, `name_gt`, `name_lte` and `name_lt`.
    pub(crate) fn times(&mut self, query: &mut Query, name: &str, field: F) {
        for (compare, time) in times(query, name) {
            self.0.push((field, Test::Bound(compare, Datum::Time(time))));
        }
    }

    /// The same for seconds.
    pub(crate) fn seconds(&mut self, query: &mut Query, name: &str, field: F) {
        for (suffix, compare) in BOUNDS {
            if let Some(seconds) = query.number(&format!("{name}_{suffix}")) {
                self.0.push((field, Test::Bound(compare, Datum::Seconds(seconds))));
            }
        }
    }

    /// `name_pattern` and `name_prefix_pattern`.
    pub(crate) fn patterns(&mut self, query: &mut Query, name: &str, field: F) {
        self.0.extend(patterns(query, name).into_iter().map(|pattern| (field, pattern.test())));
    }

    /// A field that may be repeated.
    pub(crate) fn texts(&mut self, query: &mut Query, name: &str, field: F) {
        let values = query.texts(name);
        if !values.is_empty() {
            self.0.push((field, Test::Among(values.into_iter().map(Datum::Text).collect())));
        }
    }

    /// Whole numbers of a field that may be repeated.
    pub(crate) fn wholes(&mut self, query: &mut Query, name: &str, field: F) {
        let values = query.wholes(name);
        if !values.is_empty() {
            self.0.push((field, Test::Among(values.into_iter().map(Datum::Number).collect())));
        }
    }

    /// Words of an enum in a field that may be repeated. `none` stands for no state, which is null.
    pub(crate) fn words<T>(&mut self, query: &mut Query, name: &str, field: F)
    where
        T: IntoEnumIterator + Into<&'static str>,
    {
        let known: Vec<&'static str> = T::iter().map(Into::into).collect();
        query.takes_words(name, &known);
        let given = query.texts(name);
        if given.is_empty() {
            return;
        }
        let mut words = Vec::new();
        for text in given {
            // Lists of older clients send null as a word.
            let text = if matches!(text.as_str(), "no_status" | "null" | "None") { "none".to_owned() } else { text };
            match known.iter().find(|word| **word == text) {
                Some(word) => words.push(Datum::Word(word)),
                // States that nothing has here.
                None if text == "awaiting_input" || text == "asset_materialization" => {}
                None => query.problem(crate::Problem::word("query", name, &known, text.into())),
            }
        }
        self.0.push((field, Test::Among(words)));
    }
}

/// `name_gte`, `name_gt`, `name_lte` and `name_lt`.
pub(crate) fn times(query: &mut Query, name: &str) -> Vec<(Compare, DateTime<Utc>)> {
    BOUNDS
        .into_iter()
        .filter_map(|(suffix, compare)| Some((compare, query.time(&format!("{name}_{suffix}"))?)))
        .collect()
}

/// Whether `value` lies within the bounds; what is missing lies in none.
pub(crate) fn within(bounds: &[(Compare, DateTime<Utc>)], value: Option<DateTime<Utc>>) -> bool {
    bounds.iter().all(|(compare, bound)| {
        value.is_some_and(|value| match compare {
            Compare::AtLeast => value >= *bound,
            Compare::Above => value > *bound,
            Compare::AtMost => value <= *bound,
            Compare::Below => value < *bound,
        })
    })
}

/// `name_pattern` and `name_prefix_pattern`.
pub(crate) fn patterns(query: &mut Query, name: &str) -> Vec<Pattern> {
    let part = query.text(&format!("{name}_pattern")).map(|text| Pattern::part(&text));
    let prefix = query.text(&format!("{name}_prefix_pattern")).map(|text| Pattern::prefix(&text));
    part.into_iter().chain(prefix).collect()
}

/// Fields of a `POST .../list` that hold lists, and what the query of a `GET` calls them.
pub(crate) struct Lists(pub(crate) &'static [(&'static str, &'static str)]);

/// Reads the body of a `POST .../list` as the query of a `GET`: the bounds of `times`, the seconds
/// of `duration`, the texts of `lists` and the page.
pub(crate) fn of_body(mut body: Body, times: &[&str], lists: &Lists, more: &[&str]) -> Result<Query> {
    let mut pairs = Vec::new();
    let mut add = |name: String, value: String| pairs.push((name, value));
    for name in times {
        for (suffix, _) in BOUNDS {
            let name = format!("{name}_{suffix}");
            if let Some(time) = body.time(&name) {
                add(name, time.to_rfc3339());
            }
        }
    }
    for (suffix, _) in BOUNDS {
        let name = format!("duration_{suffix}");
        if let Some(seconds) = body.number(&name) {
            add(name, seconds.to_string());
        }
    }
    for (name, as_query) in lists.0 {
        for text in body.texts_or_null(name).unwrap_or_default() {
            add((*as_query).to_owned(), text);
        }
    }
    for name in more {
        if let Some(text) = body.text(name) {
            add((*name).to_owned(), text);
        }
    }
    add("limit".to_owned(), body.whole("page_limit", 0).unwrap_or(100).to_string());
    add("offset".to_owned(), body.whole("page_offset", 0).unwrap_or(0).to_string());
    if let Some(order) = body.text("order_by") {
        add("order_by".to_owned(), order);
    }
    body.finish()?;
    Ok(Query::of_pairs(pairs))
}
