//! `/latest_producer_id_block`: the last block of producer ids that was handed out.

use serde::{Deserialize, Serialize};

use super::NodeError;

/// Producer ids in one block.
pub const BLOCK_SIZE: i64 = 1000;

/// A block of ids; both ends are inclusive and written as strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIdBlock {
    /// Version of this JSON.
    pub version: i32,
    /// The broker that took it.
    pub broker: i32,
    /// The first id, decimal.
    pub block_start: String,
    /// The last id, decimal.
    pub block_end: String,
}

impl ProducerIdBlock {
    /// Returns the block after `last`, for `broker`.
    pub fn after(last: Option<&Self>, broker: i32) -> Self {
        let start = last.map_or(0, |last| last.block_end.parse::<i64>().map_or(0, |end| end + 1));
        Self {
            version: 1,
            broker,
            block_start: start.to_string(),
            block_end: (start + BLOCK_SIZE - 1).to_string(),
        }
    }

    /// Returns the ids, the end exclusive; `None` when they are not decimal.
    pub fn ids(&self) -> Option<std::ops::Range<i64>> {
        Some(self.block_start.parse().ok()?..self.block_end.parse::<i64>().ok()?.checked_add(1)?)
    }

    /// Reads the node; one without data holds no block yet.
    pub fn decode(path: &str, data: &[u8]) -> Result<Option<Self>, NodeError> {
        if data.is_empty() {
            Ok(None)
        } else {
            super::decode(path, "producer id block", data).map(Some)
        }
    }

    /// Writes the node.
    pub fn encode(&self) -> Vec<u8> {
        super::encode(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks follow each other without a gap and read as Kafka writes them.
    #[test]
    fn blocks_follow_each_other() {
        let first = ProducerIdBlock::after(None, 0);
        let live = r#"{"version":1,"broker":0,"block_start":"0","block_end":"999"}"#;
        assert_eq!(first.encode(), live.as_bytes());
        assert_eq!(ProducerIdBlock::after(Some(&first), 0).ids(), Some(1000..2000));
        assert!(ProducerIdBlock::decode("/p", b"").unwrap().is_none());
    }
}
