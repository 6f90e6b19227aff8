//! Lengths and counts before what is hashed, so that no two rows have the same bytes.

/// Bytes with their length in front.
pub(crate) fn sized(bytes: &[u8], out: &mut Vec<u8>) {
    count(bytes.len(), out);
    out.extend_from_slice(bytes);
}

pub(crate) fn count(number: usize, out: &mut Vec<u8>) {
    out.extend(u64::try_from(number).unwrap_or(u64::MAX).to_le_bytes());
}
