//! The one thing that a coordinator reads of what consumers tell each other: their topics.
//!
//! Source: Kafka 3.9 `ConsumerProtocolSubscription`: i16 version, topics, user data, and more that
//! later versions add after them.

use std::sync::Arc;

/// Returns the topics in a consumer's subscription, or `None` if the bytes are not one.
pub(super) fn subscribed_topics(mut bytes: &[u8]) -> Option<Vec<Arc<str>>> {
    let version = i16::from_be_bytes(take(&mut bytes)?);
    let count = i32::from_be_bytes(take(&mut bytes)?);
    if version < 0 || count < 0 {
        return None;
    }
    // Collected without a capacity: the count is only a claim.
    let mut topics = Vec::new();
    for _ in 0..count {
        let size = usize::try_from(i16::from_be_bytes(take(&mut bytes)?)).ok()?;
        let (topic, rest) = bytes.split_at_checked(size)?;
        topics.push(Arc::from(std::str::from_utf8(topic).ok()?));
        bytes = rest;
    }
    Some(topics)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Topics are found in any version; what is not a subscription has none.
    #[test]
    fn topics_are_found_and_garbage_is_refused() {
        let two = b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0";
        let cases: [(&str, &[u8], Option<Vec<&str>>); 5] = [
            ("two topics, version 1", two, Some(vec!["a", "bc"])),
            ("cut short", &two[..10], None),
            ("nothing", b"", None),
            ("a count beyond the bytes", b"\0\0\x7f\xff\xff\xff", None),
            ("not UTF-8", b"\0\0\0\0\0\x01\0\x01\xff", None),
        ];
        for (name, bytes, expected) in cases {
            let topics = subscribed_topics(bytes);
            let topics = topics.as_ref().map(|t| t.iter().map(|t| &**t).collect::<Vec<_>>());
            assert_eq!(topics, expected, "{name}");
        }
    }
}
