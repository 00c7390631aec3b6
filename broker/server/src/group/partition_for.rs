//! Which partition of `__consumer_offsets` keeps a group: Java's string hash, as every Kafka does.
//!
//! Source: Kafka 3.9 `GroupMetadataManager.partitionFor`, Java's `String.hashCode`.

/// Returns the partition, of `count`, that keeps `group_id`. `count` is at least 1.
pub fn partition_for(group_id: &str, count: i32) -> i32 {
    // Kafka's `abs` maps the smallest integer to 0 instead of overflowing.
    let hash = java_hash(group_id);
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % count.max(1)
}

/// The hash of UTF-16 code units that Java's strings have.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash is Java's, also where it is negative, overflows or meets a surrogate pair.
    #[test]
    fn hash_is_javas() {
        let cases = [
            ("", 0),
            ("a", 97),
            ("test-group", 627_841_412),
            ("polygenelubricants", i32::MIN),
            ("console-consumer-12345", 158_455_506),
            ("\u{1F600}", 1_772_899),
        ];
        for (text, expected) in cases {
            assert_eq!(java_hash(text), expected, "{text}");
        }
    }

    /// The smallest integer has no absolute value: it goes to partition 0.
    #[test]
    fn partition_is_never_negative() {
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("a", 50), 47);
        for n in 0..1_000 {
            assert!((0..50).contains(&partition_for(&format!("group-{n}"), 50)));
        }
    }
}
