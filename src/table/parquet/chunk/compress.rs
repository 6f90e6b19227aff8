//! Compression of pages, with the codecs that a table may choose.

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
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Compressor {
    pub fn new(compression: Compression) -> Result<Self> {
        Ok(match compression {
            Compression::UNCOMPRESSED => Self::None,
            Compression::SNAPPY => Self::Snappy(Box::new(snap::raw::Encoder::new())),
            Compression::GZIP(level) => Self::Gzip(flate2::Compression::new(level.compression_level())),
            Compression::LZ4_RAW => Self::Lz4,
            Compression::ZSTD(level) => Self::Zstd(zstd::bulk::Compressor::new(level.compression_level())?),
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
            Self::Zstd(compressor) => compressor.compress(page)?,
        }))
    }
}
