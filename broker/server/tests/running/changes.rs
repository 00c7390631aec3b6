//! A setting that changes holds for the next request: of a topic, and of all topics of the broker.

use broker_protocol::error_code::ErrorCode;

use super::client::{Client, beside_broker};
use super::topic::{alter_brokers, alter_topic, create, one_record, produce};

#[tokio::test]
async fn a_live_topic_refuses_a_batch_above_its_new_max_message_bytes() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        create(client, "t", &[]);
        create(client, "other", &[]);
        let (none, too_large) = (ErrorCode::None, ErrorCode::MessageTooLarge);
        for (limit, expected) in [("2000", none), ("200", too_large), ("3000", none)] {
            alter_topic(client, "t", "max.message.bytes", limit);
            assert_eq!(produce(client, "t", one_record(None, 1_000)), expected, "{limit}");
            assert_eq!(produce(client, "other", one_record(None, 1_000)), none, "{limit}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_of_the_brokers_setting_reaches_topics_without_one_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        create(client, "t", &[]);
        create(client, "own", &[("max.message.bytes", "2000")]);
        let (none, too_large) = (ErrorCode::None, ErrorCode::MessageTooLarge);
        for (limit, expected) in [("2000", none), ("200", too_large), ("3000", none)] {
            alter_brokers(client, "message.max.bytes", limit);
            assert_eq!(produce(client, "t", one_record(None, 1_000)), expected, "{limit}");
            assert_eq!(produce(client, "own", one_record(None, 1_000)), none, "{limit}");
        }
    })
    .await;
}
