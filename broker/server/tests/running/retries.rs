//! What a producer is told that sends a batch again.

use broker_protocol::error_code::ErrorCode;

use super::client::{Client, beside_broker};
use super::records::append;
use super::topic::{batches, create, one_record};

/// The last five are answered with their places, older ones as a client takes it that needs no place: nothing
/// is appended twice, and nothing that was not appended is said to be.
#[tokio::test]
async fn a_batch_that_is_sent_again_is_in_the_log_once() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        create(client, "t", &[]);
        let mut send = |sequence, acks| {
            let mut batch = one_record(None, 10);
            (batch.header.producer_id, batch.header.producer_epoch) = (7, 0);
            batch.header.base_sequence = sequence;
            append(client, "t", 0, acks, batch)
        };
        for sequence in 0..10 {
            assert_eq!(send(sequence, -1), (ErrorCode::None, i64::from(sequence)));
        }
        for acks in [-1, 1] {
            for sequence in 0..5 {
                assert_eq!(send(sequence, acks), (ErrorCode::DuplicateSequenceNumber, -1));
            }
            for sequence in 5..10 {
                assert_eq!(send(sequence, acks), (ErrorCode::None, i64::from(sequence)));
            }
        }
        assert_eq!(send(11, -1).0, ErrorCode::OutOfOrderSequenceNumber);
        assert_eq!(batches(client, "t").len(), 10);
    })
    .await;
}
