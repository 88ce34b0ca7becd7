//! YAML in colours: keys, strings, numbers, comments and templates, told apart line by line. It
//! colours what is there and judges nothing; a file that is no YAML is shown all the same.

use super::text::shown;

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// `key`, `str`, `num`, `com`, `tpl`, `pun`, or empty.
    pub(crate) class: &'static str,
    pub(crate) text: String,
}

/// The pieces of a line.
pub(crate) fn pieces(line: &str) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    let mut push = |class, text: &str| {
        if !text.is_empty() {
            out.push(Piece { class, text: shown(text) });
        }
    };
    let body = line.trim_start();
    push("", &line[..line.len() - body.len()]);
    if body.starts_with('#') {
        push("com", body);
        return out;
    }
    let mut rest = body;
    while let Some(after) = rest.strip_prefix("- ") {
        push("pun", "- ");
        rest = after;
    }
    if let Some(end) = key_end(rest) {
        push("key", &rest[..end]);
        push("pun", ":");
        rest = &rest[end + 1..];
    }
    value(rest, &mut push);
    out
}

/// Where the key of a line ends, if it begins with one.
fn key_end(text: &str) -> Option<usize> {
    let end = text.find(": ").or_else(|| text.trim_end().strip_suffix(':').map(str::len))?;
    let key = &text[..end];
    (!key.is_empty() && !key.contains(['{', '[', '#', '"', '\''])).then_some(end)
}

fn value(text: &str, push: &mut impl FnMut(&'static str, &str)) {
    let mut rest = text;
    while !rest.is_empty() {
        let (class, length) = token(rest, rest.len() == text.len());
        push(class, &rest[..length]);
        rest = &rest[length..];
    }
}

/// The class and the length of what `text` begins with.
fn token(text: &str, is_first: bool) -> (&'static str, usize) {
    let until = |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    let first = text.chars().next().map_or(0, char::len_utf8);
    match text.as_bytes()[0] {
        b'{' if text.starts_with("{{") => ("tpl", until("}}", 2)),
        b'{' if text.starts_with("{%") => ("tpl", until("%}", 2)),
        b'"' => ("str", until("\"", 1)),
        b'\'' => ("str", until("'", 1)),
        b'#' if is_first => ("com", text.len()),
        b' ' if text.trim_start().starts_with('#') => ("com", text.len()),
        b'{' | b'}' | b'[' | b']' | b',' | b'|' | b'>' => ("pun", 1),
        b' ' => ("", 1),
        _ => {
            let end = text[first..].find([' ', ',', ']', '}', '{', '"']).map_or(text.len(), |at| first + at);
            let word = &text[..end];
            let is_number = word.parse::<f64>().is_ok() || matches!(word, "true" | "false" | "null" | "~");
            match word.strip_suffix(':') {
                Some(_) => ("key", end),
                None => (if is_number { "num" } else { "" }, end),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let found = pieces(line);
        let marked: String =
            found
                .iter()
                .map(|piece| {
                    if piece.class.is_empty() {
                        piece.text.clone()
                    } else {
                        format!("<{} {}>", piece.class, piece.text)
                    }
                })
                .collect();
        assert_eq!(marked, expected);
        let plain: String = found.into_iter().map(|piece| piece.text).collect();
        assert_eq!(plain, shown(line), "nothing is lost");
    }

    #[test]
    fn lines() {
        check("", "");
        check("  # why", "  <com # why>");
        check("dag_id: etl", "<key dag_id><pun :> etl");
        check("tasks:", "<key tasks><pun :>");
        check("  - task_id: a # first", "  <pun - ><key task_id><pun :> a<com  # first>");
        check("schedule: \"0 6 * * *\"", "<key schedule><pun :> <str \"0 6 * * *\">");
        check("retries: 2", "<key retries><pun :> <num 2>");
        check("command: echo {{ ds }} x", "<key command><pun :> echo <tpl {{ ds }}> x");
        check("tags: [a, true]", "<key tags><pun :> <pun [>a<pun ,> <num true><pun ]>");
        check("- { id: é, n: 1 }", "<pun - ><pun {> <key id:> é<pun ,> <key n:> <num 1> <pun }>");
        check("  echo \"open", "  echo <str \"open>");
        check("a\u{202e}b {{", "a⟨U+202E⟩b <tpl {{>");
    }
}
