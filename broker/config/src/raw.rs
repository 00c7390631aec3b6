//! Java `.properties` text to pairs that remember their place.
//!
//! Format: one logical line a pair; `#` or `!` opens a comment; a line that ends in an odd number
//! of backslashes continues; the key ends at the first unescaped `=`, `:` or white space; `\t \n
//! \r \f \uXXXX` are escapes and any other escaped character stands for itself; the last of
//! duplicates wins. Source: the specification of `java.util.Properties.load`. Differs from it in
//! that the text is UTF-8, not ISO 8859-1, and in that a bad `\u` is an error with its place.

use std::{collections::BTreeMap, iter::Peekable, str::Chars, sync::Arc};

use crate::error::{ConfigError, Place};

/// Pairs by key, each with its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    pairs: BTreeMap<String, (String, Place)>,
}

impl Properties {
    /// Parses the text of `file`.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] for a bad `\u` escape or a pair without a key.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let file: Arc<str> = file.into();
        let mut properties = Self::default();
        for (line, logical) in logical_lines(text) {
            let place = Place { file: Arc::clone(&file), line };
            let (key, value) = pair(&logical)
                .map_err(|reason| ConfigError::Syntax { place: place.clone(), reason })?;
            properties.pairs.insert(key, (value, place));
        }
        Ok(properties)
    }

    /// Takes in another file's pairs: they win over what was read before.
    pub fn extend(&mut self, other: Self) {
        self.pairs.extend(other.pairs);
    }

    /// Sets `key=value` as given on a command line; wins over what was read before.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] where there is no `=` or no key.
    pub fn set(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let place = Place { file: "--set".into(), line: 0 };
        match assignment.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                self.pairs.insert(key.trim().to_owned(), (value.trim().to_owned(), place));
                Ok(())
            }
            _ => Err(ConfigError::Syntax { place, reason: "expected key=value" }),
        }
    }

    /// Returns the value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.get(key).map(|(value, _)| value.as_str())
    }

    /// Returns where `key` was written.
    pub fn place(&self, key: &str) -> Option<&Place> {
        self.pairs.get(key).map(|(_, place)| place)
    }

    /// Yields key and value, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, (value, _))| (key.as_str(), value.as_str()))
    }

    /// Returns the pairs without their places.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(u32, String)> = None;
    let natural =
        text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'));
    for (number, line) in (1u32..).zip(natural) {
        let line = line.trim_start_matches(is_blank);
        let (start, mut logical) = match open.take() {
            Some(open) => open,
            None if line.is_empty() || line.starts_with(['#', '!']) => continue,
            None => (number, String::new()),
        };
        let slashes = line.len() - line.trim_end_matches('\\').len();
        if slashes % 2 == 1 {
            logical.push_str(&line[..line.len() - 1]);
            // Java takes a backslash alone for a blank line, so that a comment may follow it.
            open = (!logical.is_empty()).then_some((start, logical));
        } else {
            logical.push_str(line);
            lines.push((start, logical));
        }
    }
    lines.extend(open);
    lines
}

fn pair(logical: &str) -> Result<(String, String), &'static str> {
    let mut chars = logical.chars().peekable();
    let mut key = String::new();
    while let Some(&c) = chars.peek() {
        if is_blank(c) || c == '=' || c == ':' {
            break;
        }
        chars.next();
        key.push(if c == '\\' { escape(&mut chars)? } else { c });
    }
    if key.is_empty() {
        return Err("a line without a key");
    }
    while chars.next_if(|&c| is_blank(c)).is_some() {}
    if chars.next_if(|&c| c == '=' || c == ':').is_some() {
        while chars.next_if(|&c| is_blank(c)).is_some() {}
    }
    let mut value = String::new();
    while let Some(c) = chars.next() {
        value.push(if c == '\\' { escape(&mut chars)? } else { c });
    }
    // Kafka trims values when it reads their types; doing it here keeps every reader alike.
    value.truncate(value.trim_end().len());
    Ok((key, value))
}

fn escape(chars: &mut Peekable<Chars<'_>>) -> Result<char, &'static str> {
    const BAD: &str = "\\u must be followed by four hexadecimal digits of a character";
    let unit = |chars: &mut Peekable<Chars<'_>>| -> Result<u16, &'static str> {
        let mut unit = 0u16;
        for _ in 0..4 {
            let digit = chars.next().and_then(|c| c.to_digit(16)).ok_or(BAD)?;
            unit = unit << 4 | digit as u16;
        }
        Ok(unit)
    };
    Ok(match chars.next() {
        Some('t') => '\t',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('f') => '\x0c',
        Some('u') => {
            let high = unit(chars)?;
            if !(0xd800..0xdc00).contains(&high) {
                return char::from_u32(u32::from(high)).ok_or(BAD);
            }
            if chars.next() != Some('\\') || chars.next() != Some('u') {
                return Err(BAD);
            }
            let low = unit(chars)?;
            char::decode_utf16([high, low]).next().and_then(Result::ok).ok_or(BAD)?
        }
        Some(other) => other,
        None => return Err("a backslash at the end of the file escapes nothing"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn properties_read_as_java_reads_them() {
        let cases: [(&str, &str, Pairs); 11] = [
            ("plain", "a=1\nb = 2", &[("a", "1"), ("b", "2")]),
            ("colon or space end the key", "a:1\nb 2\nc", &[("a", "1"), ("b", "2"), ("c", "")]),
            ("comments and blank lines", "# x\n  ! y\n\n a=1", &[("a", "1")]),
            ("continuation drops leading blanks", "a=1,\\\n   2,\\\n\t3", &[("a", "1,2,3")]),
            (
                "an even run of backslashes ends the line",
                "a=x\\\\\nb=1",
                &[("a", "x\\"), ("b", "1")],
            ),
            ("a comment sign inside a value stays", "a=1 # no", &[("a", "1 # no")]),
            ("escapes", "a\\=b=x\\ty\\u0041\\:", &[("a=b", "x\tyA:")]),
            ("the last duplicate wins", "a=1\na=2", &[("a", "2")]),
            ("a lone backslash continues nothing", "\\\n# x\na=1", &[("a", "1")]),
            ("carriage returns", "a=1\r\nb=2\r\n", &[("a", "1"), ("b", "2")]),
            ("a surrogate pair", "a=\\ud83d\\ude00", &[("a", "😀")]),
        ];
        for (name, text, expected) in cases {
            let read = Properties::parse("f", text).expect(name);
            assert_eq!(read.iter().collect::<Vec<_>>(), expected, "{name}");
        }
    }

    #[test]
    fn a_place_is_the_line_a_pair_starts_on() {
        let read = Properties::parse("server.properties", "a=1\nb=\\\n2\nc=3").expect("parses");
        let place = |key| read.place(key).map(ToString::to_string);
        assert_eq!(place("b").as_deref(), Some("server.properties:2"));
        assert_eq!(place("c").as_deref(), Some("server.properties:4"));
    }

    #[test]
    fn errors_name_file_and_line() {
        for (text, message) in [
            (
                "a=1\nb=\\u00g0",
                "s.properties:2: \\u must be followed by four hexadecimal digits of a character",
            ),
            ("=1", "s.properties:1: a line without a key"),
        ] {
            let error = Properties::parse("s.properties", text).expect_err("refused");
            assert_eq!(error.to_string(), message);
        }
        let mut read = Properties::default();
        assert_eq!(read.set("x").expect_err("refused").to_string(), "--set: expected key=value");
    }
}
