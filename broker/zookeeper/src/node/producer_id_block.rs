//! `/latest_producer_id_block`: the last block of producer ids that was handed out.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::NodeError;

/// Producer ids in one block.
pub const BLOCK_SIZE: i64 = 1000;

/// A block of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The broker that took it.
    pub broker: i32,
    /// The ids.
    pub ids: Range<i64>,
}

/// Both ends are inclusive and written as strings.
#[derive(Serialize, Deserialize)]
struct Json {
    version: i32,
    broker: i32,
    block_start: String,
    block_end: String,
}

impl ProducerIdBlock {
    /// Returns the block after `last`, for `broker`.
    pub fn after(last: Option<&Self>, broker: i32) -> Self {
        Self::beginning(last.map_or(0, |last| last.ids.end), broker)
    }

    /// Returns the block that begins with the id `first`.
    pub fn beginning(first: i64, broker: i32) -> Self {
        Self { broker, ids: first..first.saturating_add(BLOCK_SIZE) }
    }

    /// Reads the node; one without data holds no block yet.
    ///
    /// # Errors
    /// When it is no JSON of a block, its ends are no ids, or no block can follow it: ids that begin
    /// anew would be given out twice.
    pub fn decode(path: &str, data: &[u8]) -> Result<Option<Self>, NodeError> {
        const WHAT: &str = "producer id block";
        if data.is_empty() {
            return Ok(None);
        }
        let Json { broker, block_start, block_end, .. } = super::decode(path, WHAT, data)?;
        let ends = (block_start.parse::<i64>().ok(), block_end.parse::<i64>().ok());
        let (Some(start), Some(last)) = ends else {
            let words = format!("block_start {block_start:?}, block_end {block_end:?}");
            return Err(NodeError::new(path, WHAT, words));
        };
        if start < 0 || last < start || last > i64::MAX - 2 * BLOCK_SIZE {
            return Err(NodeError::new(path, WHAT, format!("ids from {start} to {last}")));
        }
        Ok(Some(Self { broker, ids: start..last + 1 }))
    }

    /// Writes the node.
    pub fn encode(&self) -> Vec<u8> {
        super::encode(&Json {
            version: 1,
            broker: self.broker,
            block_start: self.ids.start.to_string(),
            block_end: (self.ids.end - 1).to_string(),
        })
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
        assert_eq!(ProducerIdBlock::after(Some(&first), 0).ids, 1000..2000);
        let read = ProducerIdBlock::decode("/p", live.as_bytes()).unwrap();
        assert_eq!(read, Some(first));
        assert!(ProducerIdBlock::decode("/p", b"").unwrap().is_none());
    }

    /// A block that cannot be read is never taken for "none yet".
    #[test]
    fn a_bad_block_is_an_error() {
        for (start, end) in [("x", "999"), ("0", ""), ("9", "3"), ("-1", "3")] {
            let data = format!(
                r#"{{"version":1,"broker":0,"block_start":"{start}","block_end":"{end}"}}"#
            );
            assert!(ProducerIdBlock::decode("/p", data.as_bytes()).is_err(), "{data}");
        }
    }
}
