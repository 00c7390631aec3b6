//! `/isr_change_notification/isr_change_<n>`: partitions whose state a leader wrote itself, as
//! brokers with an `inter.broker.protocol.version` below 2.7 do. The controller reads those again.

use super::NodeError;
use super::partition_list::{self, PartitionName};

/// Reads a notification.
///
/// # Errors
/// When it is no JSON of a list of partitions.
pub fn decode(path: &str, data: &[u8]) -> Result<Vec<PartitionName>, NodeError> {
    partition_list::decode(path, "ISR change", data)
}

/// Writes a notification.
pub fn encode(partitions: &[PartitionName]) -> Vec<u8> {
    partition_list::encode(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a broker of Kafka 2.6 writes is read, whatever the order of its keys.
    #[test]
    fn a_notification_round_trips() {
        let ours = r#"{"version":1,"partitions":[{"topic":"t","partition":3}]}"#;
        let kafka = r#"{"partitions":[{"partition":3,"topic":"t"}],"version":1}"#;
        let expected = [PartitionName { topic: "t".to_owned(), partition: 3 }];
        assert_eq!(decode("/i", kafka.as_bytes()).unwrap(), expected);
        assert_eq!(encode(&expected), ours.as_bytes());
    }
}
