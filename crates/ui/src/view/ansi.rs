//! The escape sequences of terminals, in the output of tasks: colours are kept, the rest is dropped.

use std::iter::Peekable;
use std::str::Chars;

use super::text::shown;

/// A part of a line in one style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Class of the style; empty for plain text.
    pub(crate) class: String,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    bold: bool,
    /// 0 to 7, and 8 to 15 for the bright ones.
    colour: Option<u8>,
}

impl Style {
    fn class(self) -> String {
        let colour = self.colour.map(|colour| format!("c{colour}"));
        match (self.bold, colour) {
            (true, Some(colour)) => format!("b {colour}"),
            (true, None) => "b".to_owned(),
            (false, colour) => colour.unwrap_or_default(),
        }
    }

    /// Applies the parameters of one "select graphic rendition".
    fn select(&mut self, params: &str) {
        for param in params.split([';', ':']) {
            match param.parse::<u8>() {
                Ok(0) => *self = Self::default(),
                Err(_) if param.is_empty() => *self = Self::default(),
                Ok(1) => self.bold = true,
                Ok(22) => self.bold = false,
                Ok(code @ 30..=37) => self.colour = Some(code - 30),
                Ok(code @ 90..=97) => self.colour = Some(code - 90 + 8),
                Ok(39) => self.colour = None,
                // What follows are the parts of an extended colour, not codes.
                Ok(38 | 48) => return,
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// The parts of a line, harmless to look at.
pub(crate) fn segments(line: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut style = Style::default();
    let mut text = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            text.push(c);
            continue;
        }
        let before = style;
        sequence(&mut chars, &mut style);
        if style != before && !text.is_empty() {
            segments.push(Segment { class: before.class(), text: shown(&std::mem::take(&mut text)) });
        }
    }
    if !text.is_empty() {
        segments.push(Segment { class: style.class(), text: shown(&text) });
    }
    segments
}

/// Reads what follows an escape character.
fn sequence(chars: &mut Peekable<Chars<'_>>, style: &mut Style) {
    match chars.next() {
        Some('[') => {
            let mut params = String::new();
            for c in chars.by_ref() {
                match c {
                    '\u{40}'..='\u{7e}' => {
                        if c == 'm' {
                            style.select(&params);
                        }
                        return;
                    }
                    _ => params.push(c),
                }
            }
        }
        // Titles, links and other texts for the terminal end with a bell or with `ESC \`.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    return;
                }
            }
        }
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[(&str, &str)]) {
        let found = segments(line);
        let found: Vec<(&str, &str)> = found.iter().map(|s| (s.class.as_str(), s.text.as_str())).collect();
        assert_eq!(found, expected, "{line:?}");
    }

    #[test]
    fn colours_are_kept_and_the_rest_dropped() {
        check("plain", &[("", "plain")]);
        check("", &[]);
        check("a\u{1b}[31mb\u{1b}[0mc", &[("", "a"), ("c1", "b"), ("", "c")]);
        check("\u{1b}[1;92mok\u{1b}[m!", &[("b c10", "ok"), ("", "!")]);
        check("\u{1b}[38;5;1mx", &[("", "x")]);
        check("a\u{1b}[2J\u{1b}[1;1Hb", &[("", "ab")]);
        check("\u{1b}]0;title\u{7}x\u{1b}]8;;http://evil\u{1b}\\link", &[("", "xlink")]);
        check("broken \u{1b}[31", &[("", "broken ")]);
        check("end \u{1b}", &[("", "end ")]);
        check("<b>\u{202e}", &[("", "<b>⟨U+202E⟩")]);
    }
}
