//! Reads keys and values, of all versions; version 4 of both values is the flexible form (KIP-482).

use std::sync::Arc;

use broker_protocol::topic_partition::TopicPartition;

use super::{Entry, GroupValue, MemberValue, RecordError};
use crate::group::state::request::CommittedOffset;

/// The values' version from which on lengths are compact and tagged fields follow.
const FLEXIBLE_FROM: i16 = 4;

pub(super) fn entry(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Entry, RecordError> {
    let mut key = Cursor { bytes: key.ok_or(RecordError::NoKey)?, is_flexible: false };
    match key.i16()? {
        0 | 1 => {
            let group_id = key.string()?;
            let partition = TopicPartition { topic: key.string()?, partition: key.i32()? };
            let value = value.map(offset_value).transpose()?;
            Ok(Entry::Offset { group_id, partition, value })
        }
        2 => {
            let group_id = key.string()?;
            Ok(Entry::Group { group_id, value: value.map(group_value).transpose()? })
        }
        version => Err(RecordError::UnknownKeyVersion(version)),
    }
}

fn begin(bytes: &[u8]) -> Result<(i16, Cursor<'_>), RecordError> {
    let mut cursor = Cursor { bytes, is_flexible: false };
    let version = cursor.i16()?;
    if !(0..=FLEXIBLE_FROM).contains(&version) {
        return Err(RecordError::UnknownValueVersion(version));
    }
    cursor.is_flexible = version >= FLEXIBLE_FROM;
    Ok((version, cursor))
}

fn offset_value(bytes: &[u8]) -> Result<CommittedOffset, RecordError> {
    let (version, mut cursor) = begin(bytes)?;
    let offset = cursor.i64()?;
    let leader_epoch = if version >= 3 { cursor.i32()? } else { -1 };
    let metadata = cursor.string()?;
    let commit_timestamp = cursor.i64()?;
    // -1 stands for "none" where the version has the field at all.
    let expire_timestamp = if version == 1 { Some(cursor.i64()?) } else { None };
    let expire_timestamp = expire_timestamp.filter(|timestamp| *timestamp >= 0);
    Ok(CommittedOffset { offset, leader_epoch, metadata, commit_timestamp, expire_timestamp })
}

fn group_value(bytes: &[u8]) -> Result<GroupValue, RecordError> {
    let (version, mut cursor) = begin(bytes)?;
    let protocol_type = cursor.string()?;
    let generation_id = cursor.i32()?;
    let protocol_name = cursor.nullable_string()?;
    let leader_id = cursor.nullable_string()?;
    let state_timestamp = if version >= 2 { cursor.i64()? } else { -1 };
    let count = cursor.count()?;
    // Collected without a capacity: the count is only a claim.
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(member(version, &mut cursor)?);
    }
    Ok(GroupValue {
        protocol_type,
        generation_id,
        protocol_name,
        leader_id,
        state_timestamp,
        members,
    })
}

fn member(version: i16, cursor: &mut Cursor<'_>) -> Result<MemberValue, RecordError> {
    let member_id = cursor.string()?;
    let group_instance_id = if version >= 3 { cursor.nullable_string()? } else { None };
    let client_id = cursor.string()?;
    let client_host = cursor.string()?;
    let rebalance_timeout_ms = if version >= 1 { Some(cursor.i32()?) } else { None };
    let session_timeout_ms = cursor.i32()?;
    let value = MemberValue {
        member_id,
        group_instance_id,
        client_id,
        client_host,
        rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
        session_timeout_ms,
        subscription: cursor.blob()?,
        assignment: cursor.blob()?,
    };
    cursor.skip_tagged_fields()?;
    Ok(value)
}

/// What is left to read.
struct Cursor<'a> {
    bytes: &'a [u8],
    is_flexible: bool,
}

impl<'a> Cursor<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or(RecordError::Damaged)?;
        self.bytes = rest;
        Ok(*head)
    }

    fn slice(&mut self, size: usize) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self.bytes.split_at_checked(size).ok_or(RecordError::Damaged)?;
        self.bytes = rest;
        Ok(head)
    }

    fn i16(&mut self) -> Result<i16, RecordError> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        self.take().map(i64::from_be_bytes)
    }

    fn varint(&mut self) -> Result<usize, RecordError> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.take()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(value).map_err(|_| RecordError::Damaged);
            }
        }
        Err(RecordError::Damaged)
    }

    /// A length, `None` for null: plain, or one more than it is as a varint.
    fn length(&mut self, is_short: bool) -> Result<Option<usize>, RecordError> {
        if self.is_flexible {
            return self.varint().map(|length| length.checked_sub(1));
        }
        let length = if is_short { i32::from(self.i16()?) } else { self.i32()? };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| RecordError::Damaged),
        }
    }

    fn count(&mut self) -> Result<usize, RecordError> {
        self.length(false).map(Option::unwrap_or_default)
    }

    fn nullable_string(&mut self) -> Result<Option<Arc<str>>, RecordError> {
        let Some(length) = self.length(true)? else { return Ok(None) };
        let text = std::str::from_utf8(self.slice(length)?).map_err(|_| RecordError::Damaged)?;
        Ok(Some(Arc::from(text)))
    }

    fn string(&mut self) -> Result<Arc<str>, RecordError> {
        self.nullable_string()?.ok_or(RecordError::Damaged)
    }

    fn blob(&mut self) -> Result<Arc<[u8]>, RecordError> {
        let length = self.length(false)?.ok_or(RecordError::Damaged)?;
        self.slice(length).map(Arc::from)
    }

    fn skip_tagged_fields(&mut self) -> Result<(), RecordError> {
        if !self.is_flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.slice(size)?;
        }
        Ok(())
    }
}
