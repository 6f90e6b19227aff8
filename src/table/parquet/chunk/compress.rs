//! Compression of pages, with the codecs that a table may choose.

use std::cell::RefCell;
use std::io::Write as _;

use bytes::Bytes;
use flate2::write::GzEncoder;
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};

/// Compresses pages, one at a time.
pub(crate) enum Compressor {
    None,
    Snappy(Box<snap::raw::Encoder>),
    Gzip(flate2::Compression),
    Lz4,
    /// Its level.
    Zstd(i32),
}

thread_local! {
    /// What compresses by zstd, and its level: to make it takes longer than to compress a small page.
    static ZSTD: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
}

impl Compressor {
    pub fn new(compression: Compression) -> Result<Self> {
        Ok(match compression {
            Compression::UNCOMPRESSED => Self::None,
            Compression::SNAPPY => Self::Snappy(Box::new(snap::raw::Encoder::new())),
            Compression::GZIP(level) => Self::Gzip(flate2::Compression::new(level.compression_level())),
            Compression::LZ4_RAW => Self::Lz4,
            Compression::ZSTD(level) => Self::Zstd(level.compression_level()),
            other => return Err(ParquetError::General(format!("pages are not compressed by {other}"))),
        })
    }

    pub fn compress(&mut self, page: &[u8]) -> Result<Bytes> {
        Ok(Bytes::from(match self {
            Self::None => page.to_vec(),
            Self::Snappy(encoder) => encoder.compress_vec(page).map_err(|e| ParquetError::External(Box::new(e)))?,
            Self::Gzip(level) => {
                let mut encoder = GzEncoder::new(Vec::new(), *level);
                encoder.write_all(page)?;
                encoder.finish()?
            }
            Self::Lz4 => lz4_flex::block::compress(page),
            Self::Zstd(level) => zstd(*level, page)?,
        }))
    }
}

fn zstd(level: i32, page: &[u8]) -> Result<Vec<u8>> {
    ZSTD.with_borrow_mut(|kept| {
        let (_, compressor) = match kept.take_if(|(of, _)| *of == level) {
            Some(same) => kept.insert(same),
            None => kept.insert((level, zstd::bulk::Compressor::new(level)?)),
        };
        Ok(compressor.compress(page)?)
    })
}
