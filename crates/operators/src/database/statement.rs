//! The text of statements: where one ends, and where its parameters stand.
//!
//! Nothing here understands SQL beyond what is quoted, what is a comment and which words open a block.

use std::ops::Range;

use serde_json::{Map, Value};

use super::Kind;

/// Values for the markers of a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameters {
    /// There are none: `%`, `?` and `:` are nothing special.
    None,
    /// For `%s`, `?` (not in PostgreSQL, where it is an operator) and `$1` (there alone).
    List(Vec<Value>),
    /// For `%(name)s` and `:name`.
    Named(Map<String, Value>),
}

/// A statement with its values apart from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    pieces: Vec<Piece>,
    /// One for each number that [`Bound::sql`] asks for.
    pub values: Vec<Value>,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    /// The value at this position.
    Value(usize),
}

impl Bound {
    /// The text, with what `marker` makes of the position of each value, from 0.
    pub fn sql(&self, marker: impl Fn(usize) -> String) -> String {
        let texts = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Value(position) => marker(*position),
        });
        texts.collect()
    }
}

/// The statements of `sql`, without the semicolons; empty ones and those that are comments alone are left out.
#[must_use]
pub fn split(sql: &str, kind: Kind) -> Vec<&str> {
    let mut statements = Vec::new();
    let (mut start, mut position, mut blocks) = (0, 0, Blocks::default());
    // Whether the statement has anything but comments.
    let mut says = false;
    while position < sql.len() {
        if let Some((end, is_comment)) = skipped(sql, position, kind) {
            says |= !is_comment;
            position = end;
            continue;
        }
        let word = word_at(sql, position);
        if !word.is_empty() {
            blocks.word(&sql[word.clone()], &sql[word.end..]);
            says = true;
            position = word.end;
            continue;
        }
        let character = sql[position..].chars().next().expect("the position is before the end");
        if character == ';' && blocks.depth == 0 {
            if says {
                statements.push(sql[start..position].trim());
            }
            (start, says, blocks) = (position + 1, false, Blocks::default());
        } else {
            says |= !character.is_whitespace() && character != ';';
        }
        position += character.len_utf8();
    }
    if says {
        statements.push(sql[start..].trim());
    }
    statements
}

/// Which blocks are open: semicolons inside of the body of a trigger or a procedure end no statement.
#[derive(Debug, Default)]
struct Blocks {
    words: usize,
    creates: bool,
    has_body: bool,
    depth: usize,
    /// The next word is the second one of `END CASE`.
    closes_case: bool,
}

impl Blocks {
    fn word(&mut self, word: &str, rest: &str) {
        let is = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
        self.words += 1;
        if self.words == 1 {
            self.creates = is(&["create"]);
        }
        self.has_body |= self.creates && is(&["trigger", "procedure", "function", "event"]);
        if !self.has_body || std::mem::take(&mut self.closes_case) {
            return;
        }
        if is(&["begin", "case"]) {
            self.depth += 1;
        } else if is(&["end"]) {
            let next = rest.trim_start().split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            // These are opened by words that stand elsewhere as well, so they are not counted.
            let counts = !["if", "while", "loop", "repeat", "for"].iter().any(|word| next.eq_ignore_ascii_case(word));
            self.depth = self.depth.saturating_sub(usize::from(counts));
            self.closes_case = next.eq_ignore_ascii_case("case");
        }
    }
}

/// The statement with its markers found and the value of each looked up.
///
/// Where `parameters` is a list it has to fit the markers exactly. With markers that begin with `%`, every other `%` is written
/// twice, as Python's drivers have it.
///
/// # Errors
/// When a marker has no value, or the list another length than there are markers.
pub fn bind(statement: &str, kind: Kind, parameters: &Parameters) -> Result<Bound, String> {
    if *parameters == Parameters::None {
        return Ok(Bound { pieces: vec![Piece::Text(statement.to_owned())], values: Vec::new() });
    }
    let markers = markers(statement, kind, parameters);
    let percents = markers.iter().any(|(range, _)| statement[range.clone()].starts_with('%'));
    let text = |range: Range<usize>| {
        let text = &statement[range];
        Piece::Text(if percents { text.replace("%%", "%") } else { text.to_owned() })
    };
    let mut pieces = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut from = 0;
    let mut next = 0;
    for (range, marker) in markers {
        pieces.push(text(from..range.start));
        from = range.end;
        let value = match (&marker, parameters) {
            (Marker::Next, Parameters::List(list)) => {
                next += 1;
                list.get(next - 1)
            }
            (Marker::Number(number), Parameters::List(list)) => {
                next = next.max(*number);
                number.checked_sub(1).and_then(|position| list.get(position))
            }
            (Marker::Name(name), Parameters::Named(map)) => map.get(name),
            _ => None,
        };
        if let (None, Marker::Name(name), Parameters::Named(map)) = (value, &marker, parameters) {
            let names: Vec<&str> = map.keys().map(String::as_str).collect();
            return Err(format!("the statement names a parameter `{name}`; `parameters` has {}", names.join(", ")));
        }
        pieces.push(Piece::Value(values.len()));
        values.push(value.cloned().unwrap_or(Value::Null));
    }
    pieces.push(text(from..statement.len()));
    match parameters {
        Parameters::List(list) if list.len() != next => {
            Err(format!("the statement has {next} markers for parameters; `parameters` has {} values", list.len()))
        }
        _ => Ok(Bound { pieces, values }),
    }
}

/// So many values of a list this statement takes.
#[must_use]
pub fn wanted(statement: &str, kind: Kind) -> usize {
    let markers = markers(statement, kind, &Parameters::List(Vec::new()));
    let numbered =
        markers.iter().filter_map(|(_, marker)| if let Marker::Number(n) = marker { Some(*n) } else { None });
    let next = markers.iter().filter(|(_, marker)| matches!(marker, Marker::Next)).count();
    numbered.max().unwrap_or(0).max(next)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Marker {
    /// The next value of a list.
    Next,
    /// A value of a list, from 1.
    Number(usize),
    Name(String),
}

fn markers(statement: &str, kind: Kind, parameters: &Parameters) -> Vec<(Range<usize>, Marker)> {
    let mut found = Vec::new();
    let mut position = 0;
    while position < statement.len() {
        if let Some((end, _)) = skipped(statement, position, kind) {
            position = end;
            continue;
        }
        let word = word_at(statement, position);
        if !word.is_empty() {
            position = word.end;
            continue;
        }
        let rest = &statement[position..];
        if let Some((length, marker)) = marker(rest, &statement[..position], kind, parameters) {
            found.push((position..position + length, marker));
            position += length;
        } else if rest.starts_with("%%") || rest.starts_with("::") {
            position += 2;
        } else {
            position += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    found
}

/// The marker that `rest` begins with, and its length.
fn marker(rest: &str, before: &str, kind: Kind, parameters: &Parameters) -> Option<(usize, Marker)> {
    let named = match parameters {
        Parameters::None => return None,
        Parameters::List(_) => None,
        Parameters::Named(map) => Some(map),
    };
    let Some(map) = named else {
        if rest.starts_with("%s") && word_at(rest, 1) == (1..2) {
            return Some((2, Marker::Next));
        }
        let sign = match kind {
            Kind::Postgres => '$',
            Kind::Sqlite | Kind::MySql => '?',
        };
        let digits = rest.strip_prefix(sign)?;
        let length = digits.bytes().take_while(u8::is_ascii_digit).count();
        return match digits[..length].parse() {
            Ok(number) if kind != Kind::MySql => Some((1 + length, Marker::Number(number))),
            _ => (sign == '?').then_some((1, Marker::Next)),
        };
    };
    if let Some(name) = rest.strip_prefix("%(") {
        let name = name.split_once(")s")?.0;
        return Some((name.len() + 4, Marker::Name(name.to_owned())));
    }
    // A cast and the bounds of a slice have colons as well; only names that are given are markers.
    let name = rest.strip_prefix(':').filter(|_| !before.ends_with(':'))?;
    let name = &name[word_at(name, 0)];
    map.contains_key(name).then(|| (1 + name.len(), Marker::Name(name.to_owned())))
}

/// The word at `position`; empty where none begins there.
fn word_at(sql: &str, position: usize) -> Range<usize> {
    let rest = &sql[position..];
    let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    position..position + length
}

/// The end of the quoted text or the comment that begins at `position`, and whether it is a comment.
fn skipped(sql: &str, position: usize, kind: Kind) -> Option<(usize, bool)> {
    let rest = &sql[position..];
    let line = || rest.find('\n').map_or(sql.len(), |end| position + end);
    let first = rest.chars().next()?;
    match first {
        '-' if rest.starts_with("--") => Some((line(), true)),
        '#' if kind == Kind::MySql => Some((line(), true)),
        '/' if rest.starts_with("/*") => Some((position + comment(rest, kind == Kind::Postgres), true)),
        '\'' => {
            let escapes = kind == Kind::MySql || (kind == Kind::Postgres && ends_with_e(&sql[..position]));
            Some((position + quoted(rest, '\'', escapes), false))
        }
        '"' => Some((position + quoted(rest, '"', kind == Kind::MySql), false)),
        '`' if kind != Kind::Postgres => Some((position + quoted(rest, '`', false), false)),
        '[' if kind == Kind::Sqlite => Some((rest.find(']').map_or(sql.len(), |end| position + end + 1), false)),
        '$' if kind == Kind::Postgres => {
            let tag = rest.get(..=word_at(rest, 1).end)?;
            let tag = tag.strip_suffix('$').filter(|tag| !tag[1..].starts_with(|c: char| c.is_ascii_digit()))?;
            let tag = format!("{tag}$");
            let end = rest[tag.len()..].find(&tag).map_or(rest.len(), |end| tag.len() * 2 + end);
            Some((position + end, false))
        }
        _ => None,
    }
}

/// Whether text ends with the `E` of a string with escapes.
fn ends_with_e(text: &str) -> bool {
    let mut last = text.chars().rev();
    last.next().is_some_and(|c| c.eq_ignore_ascii_case(&'e'))
        && !last.next().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// The length of the text in quotes that `rest` begins with; a quote that is doubled does not end it.
fn quoted(rest: &str, quote: char, escapes: bool) -> usize {
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\\' && escapes {
            characters.next();
        } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    rest.len()
}

/// The length of the comment that `rest` begins with.
fn comment(rest: &str, nests: bool) -> usize {
    let (mut depth, mut position) = (1, 2);
    while depth > 0 {
        let Some(end) = rest[position..].find("*/").map(|end| position + end) else { return rest.len() };
        if let Some(open) = rest[position..end].find("/*").filter(|_| nests) {
            depth += 1;
            position += open + 2;
        } else {
            depth -= 1;
            position = end + 2;
        }
    }
    position
}
