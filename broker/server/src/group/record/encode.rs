//! Writes keys and values.

use super::{Entry, GroupValue, MemberValue};
use crate::group::state::request::CommittedOffset;

pub(super) fn entry(entry: &Entry) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut key = Vec::new();
    match entry {
        Entry::Offset { group_id, partition, value } => {
            put_i16(&mut key, 1);
            put_string(&mut key, group_id);
            put_string(&mut key, &partition.topic);
            put_i32(&mut key, partition.partition);
            (key, value.as_ref().map(offset_value))
        }
        Entry::Group { group_id, value } => {
            put_i16(&mut key, 2);
            put_string(&mut key, group_id);
            (key, value.as_ref().map(group_value))
        }
    }
}

fn offset_value(value: &CommittedOffset) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_i16(&mut bytes, if value.expire_timestamp.is_some() { 1 } else { 3 });
    put_i64(&mut bytes, value.offset);
    if value.expire_timestamp.is_none() {
        put_i32(&mut bytes, value.leader_epoch);
    }
    put_string(&mut bytes, &value.metadata);
    put_i64(&mut bytes, value.commit_timestamp);
    if let Some(expire_timestamp) = value.expire_timestamp {
        put_i64(&mut bytes, expire_timestamp);
    }
    bytes
}

fn group_value(value: &GroupValue) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_i16(&mut bytes, 3);
    put_string(&mut bytes, &value.protocol_type);
    put_i32(&mut bytes, value.generation_id);
    put_nullable_string(&mut bytes, value.protocol_name.as_deref());
    put_nullable_string(&mut bytes, value.leader_id.as_deref());
    put_i64(&mut bytes, value.state_timestamp);
    put_i32(&mut bytes, value.members.len() as i32);
    for member in &value.members {
        put_member(&mut bytes, member);
    }
    bytes
}

fn put_member(bytes: &mut Vec<u8>, member: &MemberValue) {
    put_string(bytes, &member.member_id);
    put_nullable_string(bytes, member.group_instance_id.as_deref());
    put_string(bytes, &member.client_id);
    put_string(bytes, &member.client_host);
    put_i32(bytes, member.rebalance_timeout_ms);
    put_i32(bytes, member.session_timeout_ms);
    put_bytes(bytes, &member.subscription);
    put_bytes(bytes, &member.assignment);
}

fn put_i16(bytes: &mut Vec<u8>, value: i16) {
    bytes.extend_from_slice(&value.to_be_bytes());
}

fn put_i32(bytes: &mut Vec<u8>, value: i32) {
    bytes.extend_from_slice(&value.to_be_bytes());
}

fn put_i64(bytes: &mut Vec<u8>, value: i64) {
    bytes.extend_from_slice(&value.to_be_bytes());
}

/// Every string here came in a request with the same 16 bits for its size, or is a member id:
/// `handler`s refuse what is longer.
fn put_string(bytes: &mut Vec<u8>, text: &str) {
    debug_assert!(i16::try_from(text.len()).is_ok(), "a string of {} bytes", text.len());
    put_i16(bytes, text.len() as i16);
    bytes.extend_from_slice(text.as_bytes());
}

fn put_nullable_string(bytes: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put_string(bytes, text),
        None => put_i16(bytes, -1),
    }
}

fn put_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    put_i32(bytes, value.len() as i32);
    bytes.extend_from_slice(value);
}
