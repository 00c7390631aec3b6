//! What a topic has seen, counted where it happens and read at scrape. Plain relaxed atomics: each is
//! a number of its own, no two are compared.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Returns the count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one topic, by the names of Kafka's `BrokerTopicMetrics`.
#[derive(Debug, Default)]
pub struct TopicCounters {
    /// Bytes of batches appended for producers, as they came.
    pub bytes_in: Counter,
    /// Bytes of batches sent to consumers.
    pub bytes_out: Counter,
    /// Bytes of batches refused for their size.
    pub bytes_rejected: Counter,
    /// Records appended for producers.
    pub messages_in: Counter,
    /// Partitions named in Produce requests.
    pub total_produce_requests: Counter,
    /// Partitions named in Fetch requests.
    pub total_fetch_requests: Counter,
    /// Partitions that a Produce request could not append to, for the broker's reasons.
    pub failed_produce_requests: Counter,
    /// Partitions that a Fetch request could not read, for the broker's reasons.
    pub failed_fetch_requests: Counter,
    /// Batches converted from the old formats.
    pub produce_message_conversions: Counter,
    /// Partitions of Fetch answers converted to the old formats.
    pub fetch_message_conversions: Counter,
    /// Batches refused because their bytes were damaged.
    pub invalid_message_crc_records: Counter,
    /// Batches refused because a record of a compacted topic had no key.
    pub no_key_compacted_topic_records: Counter,
}

impl TopicCounters {
    /// Returns each count with its name in Kafka, in a fixed order.
    pub fn named(&self) -> [(&'static str, &Counter); 12] {
        [
            ("bytesin", &self.bytes_in),
            ("bytesout", &self.bytes_out),
            ("bytesrejected", &self.bytes_rejected),
            ("messagesin", &self.messages_in),
            ("totalproducerequests", &self.total_produce_requests),
            ("totalfetchrequests", &self.total_fetch_requests),
            ("failedproducerequests", &self.failed_produce_requests),
            ("failedfetchrequests", &self.failed_fetch_requests),
            ("producemessageconversions", &self.produce_message_conversions),
            ("fetchmessageconversions", &self.fetch_message_conversions),
            ("invalidmessagecrcrecords", &self.invalid_message_crc_records),
            ("nokeycompactedtopicrecords", &self.no_key_compacted_topic_records),
        ]
    }

    /// Adds every count of `other`: what a deleted topic has seen still counts for the broker.
    pub fn absorb(&self, other: &Self) {
        for ((_, ours), (_, theirs)) in self.named().into_iter().zip(other.named()) {
            ours.add(theirs.get());
        }
    }
}
