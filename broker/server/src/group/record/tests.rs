//! Bytes of Kafka's schemas, in both directions.

use std::sync::Arc;

use broker_protocol::topic_partition::TopicPartition;

use super::{Entry, GroupValue, MemberValue, RecordError};
use crate::group::state::request::CommittedOffset;

fn offset(expire_timestamp: Option<i64>, leader_epoch: i32) -> CommittedOffset {
    CommittedOffset {
        offset: 5,
        leader_epoch,
        metadata: Arc::from("m"),
        commit_timestamp: 7,
        expire_timestamp,
    }
}

fn group(version: i16) -> GroupValue {
    let member = MemberValue {
        member_id: Arc::from("c-1"),
        group_instance_id: (version >= 3).then(|| Arc::from("i")),
        client_id: Arc::from("c"),
        client_host: Arc::from("/h"),
        rebalance_timeout_ms: if version >= 1 { 9 } else { 8 },
        session_timeout_ms: 8,
        subscription: Arc::from(*b"s"),
        assignment: Arc::from(*b"as"),
    };
    GroupValue {
        protocol_type: Arc::from("consumer"),
        generation_id: 3,
        protocol_name: Some(Arc::from("range")),
        leader_id: Some(Arc::from("c-1")),
        state_timestamp: if version >= 2 { 6 } else { -1 },
        members: vec![member],
    }
}

const OFFSET_KEY: &[u8] = b"\0\x01\0\x01g\0\x01t\0\0\0\x02";
const GROUP_KEY: &[u8] = b"\0\x02\0\x01g";

/// Each version of an offset's value is read; the one to write is the one that was read.
#[test]
fn offsets_are_read_in_all_versions_and_written_as_kafka_does() {
    let cases: [(&str, &[u8], CommittedOffset, bool); 5] = [
        ("v0", b"\0\0\0\0\0\0\0\0\0\x05\0\x01m\0\0\0\0\0\0\0\x07", offset(None, -1), false),
        (
            "v1",
            b"\0\x01\0\0\0\0\0\0\0\x05\0\x01m\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09",
            offset(Some(9), -1),
            true,
        ),
        ("v2", b"\0\x02\0\0\0\0\0\0\0\x05\0\x01m\0\0\0\0\0\0\0\x07", offset(None, -1), false),
        (
            "v3",
            b"\0\x03\0\0\0\0\0\0\0\x05\0\0\0\x04\0\x01m\0\0\0\0\0\0\0\x07",
            offset(None, 4),
            true,
        ),
        (
            "v4",
            b"\0\x04\0\0\0\0\0\0\0\x05\0\0\0\x04\x02m\0\0\0\0\0\0\0\x07\0",
            offset(None, 4),
            false,
        ),
    ];
    for (name, bytes, value, is_written) in cases {
        let partition = TopicPartition { topic: Arc::from("t"), partition: 2 };
        let entry = Entry::Offset { group_id: Arc::from("g"), partition, value: Some(value) };
        assert_eq!(Entry::decode(Some(OFFSET_KEY), Some(bytes)), Ok(entry.clone()), "{name}");
        if is_written {
            assert_eq!(entry.encode(), (OFFSET_KEY.to_vec(), Some(bytes.to_vec())), "{name}");
        }
    }
}

/// Each version of a group's value is read; version 3 is written.
#[test]
fn groups_are_read_in_all_versions_and_written_in_the_third() {
    let head = b"\0\x08consumer\0\0\0\x03\0\x05range\0\x03c-1";
    let ids = b"\0\x01c\0\x02/h";
    let tail = b"\0\0\0\x01s\0\0\0\x02as";
    for version in 0..=3_i16 {
        let mut bytes = version.to_be_bytes().to_vec();
        bytes.extend_from_slice(head);
        if version >= 2 {
            bytes.extend_from_slice(&6_i64.to_be_bytes());
        }
        bytes.extend_from_slice(b"\0\0\0\x01\0\x03c-1");
        if version >= 3 {
            bytes.extend_from_slice(b"\0\x01i");
        }
        bytes.extend_from_slice(ids);
        if version >= 1 {
            bytes.extend_from_slice(&9_i32.to_be_bytes());
        }
        bytes.extend_from_slice(&8_i32.to_be_bytes());
        bytes.extend_from_slice(tail);
        let entry = Entry::Group { group_id: Arc::from("g"), value: Some(group(version)) };
        assert_eq!(Entry::decode(Some(GROUP_KEY), Some(&bytes)), Ok(entry.clone()), "v{version}");
        if version == 3 {
            assert_eq!(entry.encode(), (GROUP_KEY.to_vec(), Some(bytes)));
        }
    }
    let flexible = b"\0\x04\x09consumer\0\0\0\x03\x06range\x04c-1\0\0\0\0\0\0\0\x06\
        \x02\x04c-1\x02i\x02c\x03/h\0\0\0\x09\0\0\0\x08\x02s\x03as\0\0";
    let entry = Entry::Group { group_id: Arc::from("g"), value: Some(group(4)) };
    assert_eq!(Entry::decode(Some(GROUP_KEY), Some(flexible)), Ok(entry));
}

/// A record without a value is a tombstone; what is not known or damaged is told apart.
#[test]
fn tombstones_and_foreign_records_are_told_apart() {
    let entry = Entry::Group { group_id: Arc::from("g"), value: None };
    assert_eq!(entry.encode(), (GROUP_KEY.to_vec(), None));
    assert_eq!(Entry::decode(Some(GROUP_KEY), None), Ok(entry));
    let cases: [(Option<&[u8]>, Option<&[u8]>, RecordError); 5] = [
        (None, None, RecordError::NoKey),
        (Some(b"\0\x03\0\x01g"), None, RecordError::UnknownKeyVersion(3)),
        (Some(GROUP_KEY), Some(b"\0\x05"), RecordError::UnknownValueVersion(5)),
        (Some(GROUP_KEY), Some(b"\0\x03\0\x08con"), RecordError::Damaged),
        (Some(b"\0"), None, RecordError::Damaged),
    ];
    for (key, value, expected) in cases {
        assert_eq!(Entry::decode(key, value), Err(expected));
    }
}
