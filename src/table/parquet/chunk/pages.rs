//! The pages of a column chunk, compressed one at a time.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::compress::Compressor;

/// The compressed pages of a chunk.
pub(crate) struct Pages {
    sink: TrackedWrite<Vec<u8>>,
    compression: Compression,
    compressor: Compressor,
    /// The values of a page in plain encoding.
    pub data: Vec<u8>,
    /// An uncompressed page.
    pub page: Vec<u8>,
    uncompressed: usize,
    /// Offset of the first data page.
    first_data: Option<usize>,
    stats: Vec<PageEncodingStats>,
}

impl Pages {
    pub fn new(compression: Compression) -> Result<Self> {
        Ok(Self {
            sink: TrackedWrite::new(Vec::new()),
            compression,
            compressor: Compressor::new(compression)?,
            data: Vec::new(),
            page: Vec::new(),
            uncompressed: 0,
            first_data: None,
            stats: Vec::new(),
        })
    }

    /// Adds the content of `data` as the dictionary page.
    pub fn add_dictionary(&mut self, values: usize) -> Result<()> {
        std::mem::swap(&mut self.data, &mut self.page);
        let num_values = number(values)?;
        self.add(PageType::DICTIONARY_PAGE, Encoding::PLAIN, |buf| Page::DictionaryPage {
            buf,
            num_values,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        })
    }

    /// Adds the content of `page` as a data page.
    pub fn add_data(&mut self, values: usize, encoding: Encoding) -> Result<()> {
        self.first_data.get_or_insert(self.sink.bytes_written());
        let num_values = number(values)?;
        self.add(PageType::DATA_PAGE, encoding, |buf| Page::DataPage {
            buf,
            num_values,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        })
    }

    fn add(&mut self, page_type: PageType, encoding: Encoding, page: impl FnOnce(Bytes) -> Page) -> Result<()> {
        let compressed = self.compressor.compress(&self.page)?;
        let page = CompressedPage::new(page(compressed), self.page.len());
        self.uncompressed += SerializedPageWriter::new(&mut self.sink).write_page(page)?.uncompressed_size;
        match self.stats.iter_mut().find(|stats| stats.page_type == page_type) {
            Some(stats) => stats.count += 1,
            None => self.stats.push(PageEncodingStats { page_type, encoding, count: 1 }),
        }
        Ok(())
    }

    pub fn finish(
        self,
        descriptor: &ColumnDescPtr,
        values: usize,
        statistics: Option<Statistics>,
        varying_bytes: Option<usize>,
    ) -> Result<(Bytes, ColumnChunkMetaData)> {
        let has_dictionary = self.stats.iter().any(|stats| stats.page_type == PageType::DICTIONARY_PAGE);
        let mut encodings = vec![Encoding::PLAIN, Encoding::RLE];
        encodings.extend(has_dictionary.then_some(Encoding::RLE_DICTIONARY));
        let mut bytes = self.sink.into_inner()?;
        bytes.shrink_to_fit();
        let bytes = Bytes::from(bytes);
        let mut metadata = ColumnChunkMetaData::builder(Arc::clone(descriptor))
            .set_compression(self.compression)
            .set_encodings(encodings)
            .set_page_encoding_stats(self.stats)
            .set_num_values(signed(values)?)
            .set_total_compressed_size(signed(bytes.len())?)
            .set_total_uncompressed_size(signed(self.uncompressed)?)
            .set_data_page_offset(signed(self.first_data.unwrap_or(0))?)
            // Readers tell by it how much memory values take that a dictionary holds.
            .set_unencoded_byte_array_data_bytes(varying_bytes.map(signed).transpose()?)
            .set_dictionary_page_offset(has_dictionary.then_some(0));
        if let Some(statistics) = statistics {
            metadata = metadata.set_statistics(statistics);
        }
        Ok((bytes, metadata.build()?))
    }
}

fn number(count: usize) -> Result<u32> {
    u32::try_from(count).map_err(|e| ParquetError::External(Box::new(e)))
}

pub(crate) fn long(count: usize) -> Result<u64> {
    u64::try_from(count).map_err(|e| ParquetError::External(Box::new(e)))
}

fn signed(count: usize) -> Result<i64> {
    i64::try_from(count).map_err(|e| ParquetError::External(Box::new(e)))
}
