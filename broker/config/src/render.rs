//! Pairs to `.properties` text that [`crate::raw`] reads back to the same pairs.

use std::fmt::Write;

/// Writes one `key=value` line a pair, in the order given.
pub fn render<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        escape(&mut text, key, true);
        text.push('=');
        escape(&mut text, value, false);
        text.push('\n');
    }
    text
}

fn escape(text: &mut String, part: &str, is_key: bool) {
    for (position, c) in part.chars().enumerate() {
        match c {
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\x0c' => text.push_str("\\f"),
            '\\' => text.push_str("\\\\"),
            ' ' | '=' | ':' if is_key => escaped(text, c),
            '#' | '!' if is_key && position == 0 => escaped(text, c),
            ' ' if position == 0 => escaped(text, c),
            c if c.is_control() => {
                // A `String` takes any formatted text, so there is no error to handle.
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
}

fn escaped(text: &mut String, c: char) {
    text.push('\\');
    text.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::Properties;

    #[test]
    fn what_is_rendered_reads_back() {
        let pairs = [("#a b", " x\ty"), ("c=d:e", "1\\2\n3"), ("z", ""), ("ü", "\u{1}!=:")];
        let read = Properties::parse("f", &render(pairs)).expect("own text parses");
        assert_eq!(read.iter().collect::<Vec<_>>(), pairs);
    }
}
