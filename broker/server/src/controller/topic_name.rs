//! Which topic names are legal. Pure. Source: Kafka 3.9 `Topic`.

/// The longest legal name, in bytes: a directory is named after it.
const MAX_LENGTH: usize = 249;

/// Why a name is not legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is there.
    #[error("the topic name is empty")]
    Empty,
    /// `.` and `..` are directories.
    #[error("the topic name cannot be \".\" or \"..\"")]
    Dots,
    /// Longer than a directory's name may be.
    #[error("the topic name has more than {MAX_LENGTH} characters")]
    TooLong,
    /// Another character than ASCII letters, digits, `.`, `_` and `-`.
    #[error(
        "the topic name has the character {0:?}; allowed are ASCII letters, digits, '.', '_' and '-'"
    )]
    Character(char),
}

/// Checks a name.
pub fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(NameError::Dots);
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some(illegal) = name.chars().find(|c| !legal(*c)) {
        return Err(NameError::Character(illegal));
    }
    if name.len() > MAX_LENGTH {
        return Err(NameError::TooLong);
    }
    Ok(())
}

/// Returns whether a name is legal.
pub fn is_valid(name: &str) -> bool {
    check(name).is_ok()
}

/// Returns whether two names would share the name of a metric, which has `_` for `.`.
pub fn collide(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.replace('.', "_") == b.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name may be what a directory may be called, in ASCII.
    #[test]
    fn names_are_letters_digits_dots_dashes_and_underscores() {
        let long = "a".repeat(250);
        let cases = [
            ("orders.v1_eu-1", Ok(())),
            (&long[..249], Ok(())),
            (&long, Err(NameError::TooLong)),
            ("", Err(NameError::Empty)),
            ("..", Err(NameError::Dots)),
            ("a/b", Err(NameError::Character('/'))),
            ("a\0", Err(NameError::Character('\0'))),
            ("ä", Err(NameError::Character('ä'))),
        ];
        for (name, expected) in cases {
            assert_eq!(check(name), expected, "{name:?}");
        }
        assert!(collide("a.b", "a_b") && !collide("a.b", "a-b"));
    }
}
