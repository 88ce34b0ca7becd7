//! `logical_date - macros.timedelta(days=1)`, which Jinja can and minijinja cannot calculate.
//!
//! minijinja's operators know numbers and texts only. A template that fails for that reason is tried once more with
//! each `a + b` written as a call of a filter, `(a)|__plus__(b)`, which knows dates too. Templates
//! that work as they are never come here.

/// The filter that stands for `+`.
pub(super) const PLUS: &str = "__plus__";
/// The filter that stands for `-`.
pub(super) const MINUS: &str = "__minus__";

/// Words that end an operand and begin another expression.
const KEYWORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "elif",
    "for",
    "set",
    "recursive",
    "do",
    "with",
    "call",
    "filter",
    "macro",
    "include",
    "import",
    "from",
    "as",
    "block",
    "extends",
    "autoescape",
    "endset",
];

/// The template with its sums as filters; `None` where there are none.
pub(super) fn as_filters(source: &str) -> Option<String> {
    let mut result = String::with_capacity(source.len() + 64);
    let mut rest = source;
    while let Some(at) = rest.find("{{").into_iter().chain(rest.find("{%")).chain(rest.find("{#")).min() {
        result.push_str(&rest[..at]);
        let (open, close) = match &rest[at..at + 2] {
            "{{" => ("{{", "}}"),
            "{%" => ("{%", "%}"),
            _ => ("{#", "#}"),
        };
        let body = &rest[at + 2..];
        if open == "{#" {
            let end = body.find(close)?;
            result.push_str(&rest[at..at + 2 + end + 2]);
            rest = &body[end + 2..];
            continue;
        }
        let end = block_end(body, close)?;
        // A sign at the edge of a block is about white space and no operator.
        let inner = &body[..end];
        let start = usize::from(inner.starts_with(['-', '+']));
        let stop = inner.len() - usize::from(inner.len() > start && inner.ends_with(['-', '+']));
        result.push_str(open);
        result.push_str(&inner[..start]);
        result.push_str(&expression(&inner[start..stop]));
        result.push_str(&inner[stop..]);
        result.push_str(close);
        rest = &body[end + 2..];
    }
    result.push_str(rest);
    (result != source).then_some(result)
}

/// The expression with its sums as filters.
pub(super) fn expression(text: &str) -> String {
    Parser { tokens: tokens(text), next: 0 }.run(None)
}

/// Where a block ends whose inside begins with `body`; brackets and quotes may hold its end mark.
fn block_end(body: &str, close: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    let mut characters = body.char_indices();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => drop(characters.next()),
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, _) if depth == 0 && body[at..].starts_with(close) => return Some(at),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    None
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    /// A name, a number or a text: may end an operand.
    Operand(&'a str),
    Open(&'a str),
    Close(&'a str),
    Sign(&'a str),
    /// Binds weaker than a sum.
    Weak(&'a str),
    /// Binds stronger than a sum, or is white space.
    Strong(&'a str),
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => text_length(rest, first),
            c if c.is_alphanumeric() || c == '_' => {
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())
            }
            '=' | '<' | '>' | '!' if rest[1..].starts_with('=') => 2,
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        found.push(match first {
            '"' | '\'' => Token::Operand(token),
            c if c.is_alphanumeric() || c == '_' => {
                if KEYWORDS.contains(&token) {
                    Token::Weak(token)
                } else {
                    Token::Operand(token)
                }
            }
            '(' | '[' | '{' => Token::Open(token),
            ')' | ']' | '}' => Token::Close(token),
            '+' | '-' => Token::Sign(token),
            ',' | ':' | '=' | '<' | '>' | '!' => Token::Weak(token),
            _ => Token::Strong(token),
        });
    }
    found
}

fn text_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        if !escaped && character == quote {
            return at + 1;
        }
        escaped = !escaped && character == '\\';
    }
    rest.len()
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
}

impl Parser<'_> {
    /// Rewrites up to the bracket that closes the current one, which it takes.
    fn run(&mut self, closing: Option<()>) -> String {
        let mut done = String::new();
        let mut sum = Sum::default();
        while let Some(&token) = self.tokens.get(self.next) {
            self.next += 1;
            match token {
                Token::Operand(text) => {
                    sum.push(text);
                    sum.complete = true;
                }
                Token::Open(text) => {
                    sum.push(text);
                    let inner = self.run(Some(()));
                    sum.push(&inner);
                    sum.complete = true;
                }
                Token::Close(text) => {
                    sum.finish(&mut done);
                    done.push_str(text);
                    if closing.is_some() {
                        return done;
                    }
                }
                Token::Sign(sign) if sum.complete => sum.split(if sign == "+" { PLUS } else { MINUS }),
                Token::Sign(text) => sum.push(text),
                Token::Weak(text) => {
                    sum.finish(&mut done);
                    done.push_str(text);
                }
                Token::Strong(text) => {
                    sum.push(text);
                    sum.complete &= text.trim().is_empty();
                }
            }
        }
        sum.finish(&mut done);
        done
    }
}

/// A sum whose operands are being collected.
#[derive(Default)]
struct Sum {
    /// What stands before the last operand, each with the filter that follows it.
    before: Vec<(String, &'static str)>,
    last: String,
    /// The last operand could end here, so that a sign is an operator and not a part of it.
    complete: bool,
}

impl Sum {
    fn push(&mut self, text: &str) {
        self.last.push_str(text);
    }

    fn split(&mut self, filter: &'static str) {
        self.before.push((std::mem::take(&mut self.last), filter));
        self.complete = false;
    }

    fn finish(&mut self, done: &mut String) {
        let Self { before, last, .. } = std::mem::take(self);
        let mut filter: Option<&str> = None;
        let ends = last.len() - last.trim_end().len();
        let (last, space) = last.split_at(last.len() - ends);
        for (operand, next) in
            before.iter().map(|(operand, next)| (operand.as_str(), Some(*next))).chain([(last, None)])
        {
            match (filter, next) {
                (None, None) => done.push_str(operand),
                (None, Some(_)) => {
                    let text = operand.trim_start();
                    done.push_str(&operand[..operand.len() - text.len()]);
                    done.push_str(&format!("({})", text.trim_end()));
                }
                (Some(name), _) => done.push_str(&format!("|{name}({})", operand.trim())),
            }
            filter = next;
        }
        done.push_str(space);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_become_filters() {
        for (source, expected) in [
            ("no template - here", None),
            ("{{ a }} - {{ b }}", None),
            ("{{- a -}}", None),
            ("{{ -1 }} {{ f(-1, x=-2) }} {{ a * -1 }}", None),
            ("{{ 'a - b' }} {# a - b #}", None),
            ("x {{ a - b }} y", Some("x {{ (a)|__minus__(b) }} y")),
            ("{{ a - b + c }}", Some("{{ (a)|__minus__(b)|__plus__(c) }}")),
            ("{{ (a - b.c(1)).days }}", Some("{{ ((a)|__minus__(b.c(1))).days }}")),
            ("{{ (a-b)|ds }}", Some("{{ ((a)|__minus__(b))|ds }}")),
            ("{{ f(a - b, c=d + 'x - y') }}", Some("{{ f((a)|__minus__(b), c=(d)|__plus__('x - y')) }}")),
            ("{% if a - b > c + d %}", Some("{% if (a)|__minus__(b) > (c)|__plus__(d) %}")),
            ("{%- set x = a + b -%}", Some("{%- set x = (a)|__plus__(b) -%}")),
            ("{{ a[b - 1] - {'x': c} }}", Some("{{ (a[(b)|__minus__(1)])|__minus__({'x': c}) }}")),
            ("{{ a - -b }}", Some("{{ (a)|__minus__(-b) }}")),
            ("{{ a\n - b }}", Some("{{ (a)|__minus__(b) }}")),
            ("{{ a - b", None),
        ] {
            assert_eq!(as_filters(source).as_deref(), expected, "{source}");
        }
    }
}
