//! Gzip files inflated in one go: libdeflate takes half the time of a decoder that can stop anywhere.
//!
//! It never says that a file is damaged. Whatever it does not take is left to the decoder that streams, and that judges.

use libdeflater::Decompressor;

/// Magic number, method, flags, time, extra flags, system (RFC 1952).
const HEAD: usize = 10;
/// Text that one byte can stand for, at most (zlib's technical details: 1032).
const DENSEST: usize = 1040;

/// How long the text of a gzip file is, as the file itself says; `None` if that cannot be.
pub(crate) fn text_size(file: &[u8]) -> Option<usize> {
    let (_, size) = file.split_last_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    (size <= file.len().saturating_mul(DENSEST)).then_some(size)
}

/// Inflates a file into the beginning of `text`; the size of the text. `None` unless the file is a single member that is
/// whole and as long as the text that it says it has, with nothing before or after it.
pub(crate) fn inflate(file: &[u8], text: &mut [u8]) -> Option<usize> {
    const NAME: u8 = 1 << 3;
    // A header with other parts may have a checksum of its own, which is not looked at here.
    let [0x1F, 0x8B, 8, 0 | NAME, ..] = file else { return None };
    let body = file.get(HEAD..)?;
    let size = Decompressor::new().gzip_decompress(file, text).ok()?;
    // It stopped behind a trailer that fits the text, wherever that was, and does not say where. The trailer ends with the
    // size: if those bytes stand nowhere but at the end of the file, it was there.
    let written = u32::try_from(size).ok()?.to_le_bytes();
    let first = memchr::memmem::find(body, &written)?;
    (first + written.len() == body.len()).then_some(size)
}

#[cfg(test)]
#[path = "whole_tests.rs"]
mod tests;
