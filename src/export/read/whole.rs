//! Inflates gzip files in one call: libdeflate takes half the time of a streaming decoder.
//!
//! It never reports damage. Files that it does not accept go to the streaming decoder, which decides.

use libdeflater::Decompressor;

/// Magic number, method, flags, time, extra flags, system (RFC 1952).
const HEAD: usize = 10;
/// Maximum number of bytes of text per compressed byte (zlib's technical details: 1032).
const DENSEST: usize = 1040;

/// The length of a gzip file's text, as declared in the file; `None` if it is impossible.
pub(crate) fn text_size(file: &[u8]) -> Option<usize> {
    let (_, size) = file.split_last_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    (size <= file.len().saturating_mul(DENSEST)).then_some(size)
}

/// Inflates a file to the start of `text`; returns the size of the text. `None` unless the file is a single complete
/// member, its text has the declared length, and there is nothing before or after it.
pub(crate) fn inflate(file: &[u8], text: &mut [u8]) -> Option<usize> {
    const NAME: u8 = 1 << 3;
    // A header with optional parts may have its own checksum, which is not verified here.
    let [0x1F, 0x8B, 8, 0 | NAME, ..] = file else { return None };
    let body = file.get(HEAD..)?;
    let size = Decompressor::new().gzip_decompress(file, text).ok()?;
    // Decoding stopped after a trailer that matches the text, but its position is unknown. The trailer ends with the
    // size: if those bytes occur only at the end of the file, the trailer was there.
    let written = u32::try_from(size).ok()?.to_le_bytes();
    let first = memchr::memmem::find(body, &written)?;
    (first + written.len() == body.len()).then_some(size)
}

#[cfg(test)]
#[path = "whole_tests.rs"]
mod tests;
