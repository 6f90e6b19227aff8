//! Length and count prefixes for hashed data, so that different rows have different bytes.

/// Bytes with a length prefix.
pub(crate) fn sized(bytes: &[u8], out: &mut Vec<u8>) {
    count(bytes.len(), out);
    out.extend_from_slice(bytes);
}

pub(crate) fn count(number: usize, out: &mut Vec<u8>) {
    out.extend(u64::try_from(number).unwrap_or(u64::MAX).to_le_bytes());
}

/// The place of a value that is there, before it; `None` after the last: values that are missing have no bytes.
pub(crate) fn place(place: Option<usize>, out: &mut Vec<u8>) {
    out.extend(place.and_then(|place| u32::try_from(place).ok()).unwrap_or(u32::MAX).to_le_bytes());
}
