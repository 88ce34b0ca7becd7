//! Patterns of texts, as Airflow's lists take them: a part of a text, with `%` for anything, `_`
//! for one character and `|` between alternatives; `~` alone is everything. Case does not count.

use towpath_store::Test;

/// A pattern that a client has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Patterns of LIKE, of which one fits.
    Part(Vec<String>),
    /// Beginnings, of which one fits; here case counts.
    Prefix(Vec<String>),
}

impl Pattern {
    pub(crate) fn part(text: &str) -> Self {
        let piece = |piece: &str| if piece == "~" { "%".to_owned() } else { format!("%{piece}%") };
        Self::Part(pieces(text).map(piece).collect())
    }

    pub(crate) fn prefix(text: &str) -> Self {
        let piece = |piece: &str| if piece == "~" { String::new() } else { piece.to_owned() };
        Self::Prefix(pieces(text).map(piece).collect())
    }

    pub(crate) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Part(patterns) => {
                let text: Vec<char> = text.to_lowercase().chars().collect();
                patterns.iter().any(|pattern| like(&pattern.to_lowercase().chars().collect::<Vec<_>>(), &text))
            }
            Self::Prefix(prefixes) => prefixes.iter().any(|prefix| text.starts_with(prefix.as_str())),
        }
    }

    pub(crate) fn test(self) -> Test {
        match self {
            Self::Part(patterns) => Test::Like(patterns),
            Self::Prefix(prefixes) => Test::Prefix(prefixes),
        }
    }
}

/// What stands between the bars; a text without anything is one empty piece, which fits everything.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let all: Vec<&str> = text.split('|').map(str::trim).filter(|piece| !piece.is_empty()).collect();
    if all.is_empty() { vec![""] } else { all }.into_iter()
}

/// SQL's LIKE without escapes. Remembers the last `%` to come back to, so it never takes longer
/// than pattern times text.
fn like(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                back = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '_' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match back {
                Some((star, from)) => {
                    p = star + 1;
                    t = from + 1;
                    back = Some((star, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(Pattern::part(pattern).fits(text), expected, "{pattern} in {text}");
    }

    #[test]
    fn parts() {
        check("etl", "my_ETL_dag", true);
        check("e%l", "my_etl", true);
        check("e_l", "etl", true);
        check("e_l", "el", false);
        check("a | etl", "etl", true);
        check("a|b", "xyz", false);
        check("~", "anything", true);
        check("", "anything", true);
        check("%a%b%c", "xxaxxbxx", false);
        check("%a%b%c", "xxaxxbxxc", true);
    }

    #[test]
    fn beginnings() {
        for (prefix, text, expected) in
            [("et", "etl", true), ("tl", "etl", false), ("Et", "etl", false), ("x|et", "etl", true), ("~", "etl", true)]
        {
            assert_eq!(Pattern::prefix(prefix).fits(text), expected, "{prefix} of {text}");
        }
    }
}
