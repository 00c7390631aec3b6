//! The zigzag varints inside records.

/// Reads one of at most five bytes.
pub(super) fn read_i32(rest: &mut &[u8]) -> Option<i32> {
    let before = *rest;
    let value = read_i64(rest)?;
    if before.len() - rest.len() > 5 {
        return None;
    }
    i32::try_from(value).ok()
}

/// Reads one of at most ten bytes.
pub(super) fn read_i64(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for (index, byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *rest = &rest[index + 1..];
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Reads a size, then that many bytes; -1 is null.
#[expect(clippy::option_option, reason = "the outer says whether it was read, the inner is null")]
pub(super) fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match read_i32(rest)? {
        -1 => Some(None),
        size => take(rest, usize::try_from(size).ok()?).map(Some),
    }
}

/// Takes `size` bytes, if they are there.
pub(super) fn take<'a>(rest: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(size)?;
    *rest = after;
    Some(taken)
}

/// Appends a number.
pub(super) fn write(bytes: &mut Vec<u8>, value: i64) {
    let mut value = (value << 1 ^ value >> 63) as u64;
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Appends a size and the bytes; null is -1.
pub(super) fn write_bytes(bytes: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => write(bytes, -1),
        Some(field) => {
            write(bytes, field.len() as i64);
            bytes.extend_from_slice(field);
        }
    }
}
