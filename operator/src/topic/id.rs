//! The id of a topic that is made for an object: always the same for the same object, so that whoever begins again, or
//! knows less than he wrote, makes no second topic. Pure.

use crate::digest;

/// The alphabet of ids, of 64 letters.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Returns the id of the topic that follows `before`, for the object with this uid; 22 characters.
pub(super) fn of(uid: &str, before: Option<&str>) -> String {
    let half = |salt: &str| {
        let text = format!("{salt} {uid} {}", before.unwrap_or_default());
        u128::from_str_radix(&digest::of(text.bytes()), 16).unwrap_or_default()
    };
    // The first bit is none, for tools take an id that begins with '-' for an option; the next makes it no small
    // number, which brokers keep for themselves.
    let number = (half("first") << 64) | half("second");
    let number = (number & !(1 << 127)) | (1 << 126);
    // 22 letters of six bits are four bits more than an id has.
    let letter = |place: u32| {
        let shifted = if place == 21 { number << 4 } else { number >> (122 - 6 * place) };
        char::from(LETTERS[(shifted & 63) as usize])
    };
    (0..22).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The same question has the same answer; another object, or another topic of it, has another id.
    #[test]
    fn ids_are_the_same_for_the_same_object() {
        let first = of("0f0e", None);
        assert_eq!(first, of("0f0e", None));
        let second = of("0f0e", Some(&first));
        let ids: BTreeSet<String> =
            [first, second.clone(), of("0f0e", Some(&second)), of("0f0f", None)].into();
        assert_eq!(ids.len(), 4);
        for id in ids {
            assert_eq!(id.len(), 22, "{id}");
            assert!(!id.starts_with('-'), "{id}");
            // Sixteen bytes leave the last four bits empty.
            assert!(matches!(id.as_bytes()[21], b'A' | b'Q' | b'g' | b'w'), "{id}");
        }
    }
}
