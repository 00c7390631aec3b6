//! Topic and directory identifiers: 16 bytes, printed the way Kafka prints them.
//!
//! Only their form is known here; who draws random ones is decided where they are needed.
//! Source: Kafka 3.9 `Uuid`, whose text is RFC 4648 base64 with the URL alphabet and no padding.

use std::fmt;
use std::str::FromStr;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Characters of the text form: 16 bytes in groups of 6 bits.
const TEXT_SIZE: usize = 22;

/// A 128-bit identifier; all zero stands for "none".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 16]);

/// Why a text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an identifier is {TEXT_SIZE} characters of unpadded URL-safe base64")]
pub struct ParseUuidError;

impl Uuid {
    /// The identifier that stands for "none".
    pub const ZERO: Self = Self([0; 16]);

    /// Takes the 16 bytes of the wire, most significant first.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Gives the 16 bytes of the wire, most significant first.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(TEXT_SIZE + 2);
        for group in self.0.chunks(3) {
            let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - group.len()));
            for digit in 0..=group.len() {
                let index = bits >> (18 - 6 * digit) & 0x3f;
                text.push(char::from(ALPHABET[index as usize]));
            }
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uuid({self})")
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    /// Reads the text form; `=` padding at the end is accepted, as Kafka's decoder does.
    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        let text = text.trim_end_matches('=').as_bytes();
        if text.len() != TEXT_SIZE {
            return Err(ParseUuidError);
        }
        let mut bits = 0_u128;
        for (index, character) in text.iter().enumerate() {
            let digit =
                ALPHABET.iter().position(|known| known == character).ok_or(ParseUuidError)? as u128;
            // 22 digits hold 132 bits: the last digit lends its upper 2.
            bits = if index + 1 == TEXT_SIZE { bits << 2 | digit >> 4 } else { bits << 6 | digit };
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_kafkas_and_reads_back() {
        let cases: [([u8; 16], &str); 3] = [
            ([0; 16], "AAAAAAAAAAAAAAAAAAAAAA"),
            // Kafka's reserved identifier of the metadata topic.
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "AAAAAAAAAAAAAAAAAAAAAQ"),
            ([0xff; 16], "_____________________w"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Uuid::from_bytes(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(Uuid::from_bytes(bytes)));
        }
        let all: [u8; 16] = std::array::from_fn(|index| (index * 37 + 11) as u8);
        assert_eq!(Uuid::from_bytes(all).to_string().parse(), Ok(Uuid::from_bytes(all)));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAA+A", "é"] {
            assert_eq!(text.parse::<Uuid>(), Err(ParseUuidError), "{text}");
        }
    }
}
