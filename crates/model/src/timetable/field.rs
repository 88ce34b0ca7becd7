//! One field of a cron expression: its text becomes the set of values that it allows.
//!
//! The reading is croniter's, because that is what DAGs written for Airflow rely on: ranges may
//! wrap (`FRI-MON`, `22-2`), `5/15` runs from 5 to the end, and a range from a value to itself is
//! the whole field. What only the two day fields know (`L`, `#`, `?`) is in [`super::cron`].

use std::collections::BTreeSet;

/// The values that a field can take.
#[derive(Debug)]
pub(super) struct Field {
    /// As error messages call it.
    pub(super) name: &'static str,
    pub(super) min: u32,
    pub(super) max: u32,
    /// Names of `min`, `min + 1` and so on.
    names: &'static [&'static str],
}

pub(super) const SECOND: Field = Field { name: "second", min: 0, max: 59, names: &[] };
pub(super) const MINUTE: Field = Field { name: "minute", min: 0, max: 59, names: &[] };
pub(super) const HOUR: Field = Field { name: "hour", min: 0, max: 23, names: &[] };
pub(super) const DAY: Field = Field { name: "day-of-month", min: 1, max: 31, names: &[] };
pub(super) const MONTH: Field = Field {
    name: "month",
    min: 1,
    max: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
/// Sunday is 0; 7 is read as 0.
pub(super) const WEEKDAY: Field =
    Field { name: "day-of-week", min: 0, max: 6, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };

impl Field {
    /// The values of a comma-separated list.
    ///
    /// # Errors
    /// The item at fault and what is wrong with it.
    pub(super) fn list(&self, text: &str) -> Result<BTreeSet<u32>, (String, String)> {
        let mut values = BTreeSet::new();
        for item in text.split(',') {
            values.extend(self.item(item).map_err(|problem| (item.to_owned(), problem))?);
        }
        Ok(values)
    }

    /// The values of one item: `*`, a value, a range, each with or without a step.
    ///
    /// # Errors
    /// What is wrong with the item.
    pub(super) fn item(&self, text: &str) -> Result<Vec<u32>, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (text, None),
        };
        let (low, high) = if range == "*" {
            (self.min, self.max)
        } else if let Some((low, high)) = range.split_once('-') {
            let high =
                if self.name == DAY.name && high.eq_ignore_ascii_case("L") { self.max } else { self.value(high)? };
            match (self.value(low)?, high) {
                (low, high) if low == high => (self.min, self.max),
                bounds => bounds,
            }
        } else {
            let value = self.value(range)?;
            (value, if step.is_some() { self.max } else { value })
        };
        // A range that wraps goes on from the maximum to the minimum without losing its step.
        let size = self.max - self.min + 1;
        let length = (high + size - low) % size;
        let step = step.unwrap_or(1);
        Ok((0..=length).step_by(step).map(|offset| self.min + (low - self.min + offset) % size).collect())
    }

    /// One value, as a number or a name.
    ///
    /// # Errors
    /// What may be written instead.
    pub(super) fn value(&self, text: &str) -> Result<u32, String> {
        let is_weekday = self.name == WEEKDAY.name;
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return match text.parse() {
                Ok(7) if is_weekday => Ok(0),
                Ok(value) if (self.min..=self.max).contains(&value) => Ok(value),
                _ => Err(self.allowed()),
            };
        }
        if let Some(position) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(self.min + position as u32);
        }
        Err(self.nearest(text).map_or_else(|| self.allowed(), |name| format!("did you mean `{name}`?")))
    }

    /// All values that there are.
    pub(super) fn all(&self) -> BTreeSet<u32> {
        (self.min..=self.max).collect()
    }

    /// Whether these are all values that there are.
    pub(super) fn is_all(&self, values: &BTreeSet<u32>) -> bool {
        values.len() as u32 == self.max - self.min + 1
    }

    fn step(&self, text: &str) -> Result<usize, String> {
        match text.parse() {
            Ok(step @ 1..) => Ok(step),
            _ => Err("a step is a whole number from 1".to_owned()),
        }
    }

    fn allowed(&self) -> String {
        let max = if self.name == WEEKDAY.name { 7 } else { self.max };
        match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!("write {} to {max} or {first} to {last}", self.min),
            _ => format!("write {} to {max}", self.min),
        }
    }

    /// The name that shares the most leading letters with `text`, two at least.
    fn nearest(&self, text: &str) -> Option<&'static str> {
        let text = text.to_ascii_uppercase();
        let shared = |name: &str| name.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
        self.names.iter().copied().filter(|name| shared(name) >= 2).max_by_key(|name| shared(name))
    }
}
