//! Text that somebody else wrote, made harmless to look at.

use std::borrow::Cow;

/// `text` with everything visible that would change how its neighbours are read: control
/// characters, marks that turn the direction of writing, and characters without a width.
/// (Characters that HTML gives a meaning are the template engine's business.)
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            // Unicode has pictures of the ASCII control characters.
            '\0'..='\u{1f}' => out.push(char::from_u32(0x2400 + c as u32).expect("pictures follow U+2400")),
            '\u{7f}' => out.push('\u{2421}'),
            _ if is_hidden(c) => out.push_str(&format!("⟨U+{:04X}⟩", c as u32)),
            _ => out.push(c),
        }
    }
    out
}

/// `text` as it is, for a value that a form gives back: escaped, and what would turn the direction of
/// writing as references, so that the source of the page can be read as well.
pub(crate) fn exact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '&' | '<' | '>' | '"' | '\'') || is_hidden(c) {
            out.push_str(&format!("&#{};", c as u32));
        } else {
            out.push(c);
        }
    }
    out
}

fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

/// The first `most` bytes of `text`, or fewer so that no character is cut.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A number with a thin space between thousands.
pub(crate) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `1 run`, `2 runs`.
pub(crate) fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A size in bytes with a unit: `10.0 MB`.
pub(crate) fn size(bytes: usize) -> Cow<'static, str> {
    match bytes {
        0..1_000 => format!("{bytes} B").into(),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3).into(),
        _ => format!("{:.1} MB", bytes as f64 / 1e6).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_visible() {
        for (text, expected) in [
            ("plain\ttext\n", "plain\ttext\n"),
            ("a\u{202e}txt.exe", "a⟨U+202E⟩txt.exe"),
            ("\u{1b}[31mred", "␛[31mred"),
            ("a\u{0}b\r\u{7f}", "a␀b␍␡"),
            ("zero\u{200b}width\u{feff}", "zero⟨U+200B⟩width⟨U+FEFF⟩"),
            ("naïve 日本 👩\u{200d}💻", "naïve 日本 👩\u{200d}💻"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn values_of_forms() {
        assert_eq!(exact("a<b>\"'&\u{202e}é"), "a&#60;b&#62;&#34;&#39;&#38;&#8238;é");
    }

    #[test]
    fn cuts_between_characters() {
        for (text, most, expected) in
            [("abc", 5, "abc"), ("abc", 2, "ab"), ("aé", 2, "a"), ("日本", 4, "日"), ("é", 0, "")]
        {
            assert_eq!(cut(text, most), expected);
        }
    }

    #[test]
    fn numbers() {
        for (number, expected) in
            [(0_u64, "0"), (999, "999"), (1_000, "1\u{202f}000"), (1_234_567, "1\u{202f}234\u{202f}567")]
        {
            assert_eq!(count(number), expected);
        }
        assert_eq!(plural(1, "run", "runs"), "1 run");
        assert_eq!(plural(0, "run", "runs"), "0 runs");
        assert_eq!((size(12), size(1_500), size(10_000_000)), ("12 B".into(), "1.5 kB".into(), "10.0 MB".into()));
    }
}
