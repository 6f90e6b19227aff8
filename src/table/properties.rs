//! Iceberg's table properties that define how files are written: which ones are followed, and which values are invalid.
//!
//! One rule for all: an invalid value is an error of kind `Usage` before anything is written ([`check_properties`]);
//! valid values that are not supported are reported ([`unfollowed`]).

use std::collections::HashMap;

use iceberg::spec::TableMetadata;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};

use crate::error::{Error, Result};
use crate::table::write::locations::OBJECT_STORAGE;
use crate::table::write::metrics::MetricsMode;

/// The table's target size of a data file, in bytes.
pub const TARGET_FILE_BYTES: &str = "write.target-file-size-bytes";
/// Prefix of the properties for encoding data files.
const PARQUET: &str = "write.parquet.";
/// Prefix of the properties for encoding delete files, where they differ.
const DELETE_PARQUET: &str = "write.delete.parquet.";
const CODEC: &str = "compression-codec";
const LEVEL: &str = "compression-level";
const ROW_GROUP: &str = "row-group-size-bytes";
const PAGE: &str = "page-size-bytes";
const PAGE_ROWS: &str = "page-row-limit";
const DICTIONARY: &str = "dict-size-bytes";
const FOLLOWED: [&str; 6] = [CODEC, LEVEL, ROW_GROUP, PAGE, PAGE_ROWS, DICTIONARY];
const METADATA_CODEC: &str = "write.metadata.compression-codec";
const METRICS: &str = "write.metadata.metrics.";
const INFERRED_COLUMNS: &str = "write.metadata.metrics.max-inferred-column-defaults";

pub(crate) type Properties = HashMap<String, String>;

/// Encoding of files. `None`: the default of Parquet's writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Compression of pages.
    pub compression: Compression,
    /// Encoded bytes after which a row group ends.
    pub row_group_bytes: usize,
    /// Maximum bytes of a data page.
    pub page_bytes: Option<usize>,
    /// Maximum rows of a data page.
    pub page_rows: Option<usize>,
    /// Maximum bytes of a dictionary.
    pub dictionary_bytes: Option<usize>,
}

impl Encoding {
    /// For data files.
    pub(crate) fn of_data(properties: &Properties) -> Self {
        Self::read(&|name| named(properties, PARQUET, name))
    }

    /// For delete files: as for data files unless set separately.
    pub(crate) fn of_deletes(properties: &Properties) -> Self {
        Self::read(&|name| named(properties, DELETE_PARQUET, name).or_else(|| named(properties, PARQUET, name)))
    }

    /// Invalid values count as unset; [`check_properties`] has refused them before.
    fn read<'a>(get: &dyn Fn(&str) -> Option<(String, &'a str)>) -> Self {
        let number = |name: &str| get(name).and_then(|(_, text)| size(text));
        Self {
            compression: compression(get).ok().flatten().unwrap_or_else(|| zstd(DEFAULT_ZSTD_LEVEL)),
            row_group_bytes: number(ROW_GROUP).unwrap_or(DEFAULT_ROW_GROUP_BYTES),
            page_bytes: number(PAGE),
            page_rows: number(PAGE_ROWS),
            dictionary_bytes: number(DICTIONARY),
        }
    }
}

/// A property's full name and value.
fn named<'a>(properties: &'a Properties, prefix: &str, name: &str) -> Option<(String, &'a str)> {
    let full = format!("{prefix}{name}");
    let text = properties.get(&full)?.trim();
    Some((full, text))
}

fn size(text: &str) -> Option<usize> {
    text.parse::<usize>().ok().filter(|number| (1..=1 << 40).contains(number))
}

fn zstd(level: i32) -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(level).unwrap_or_default())
}

/// Parquet codecs that other writers support and this one does not.
const OTHER_CODECS: [&str; 2] = ["brotli", "lzo"];

/// `None`: unset, or a codec that is not supported.
fn compression<'a>(get: &dyn Fn(&str) -> Option<(String, &'a str)>) -> Result<Option<Compression>> {
    let level = |least: i32, most: i32| match get(LEVEL) {
        None => Ok(None),
        Some((name, text)) => match text.parse::<i32>() {
            Ok(level) if (least..=most).contains(&level) => Ok(Some(level)),
            _ => Err(wrong(&name, text, &format!("a whole number from {least} to {most}"))),
        },
    };
    let codec = get(CODEC);
    Ok(match codec.as_ref().map(|(_, codec)| codec.to_ascii_lowercase()).as_deref() {
        // Level 0 is zstd's default; negative levels are its fastest.
        None | Some("zstd") => level(-7, 22)?.filter(|level| *level > 0).map(zstd),
        Some("gzip") => {
            let level = level(0, 9)?.and_then(|level| u32::try_from(level).ok());
            let level = level.and_then(|level| GzipLevel::try_new(level).ok());
            Some(Compression::GZIP(level.unwrap_or_default()))
        }
        Some("snappy") => Some(Compression::SNAPPY),
        // Parquet's first LZ4 codec uses Hadoop's framing; readers support both.
        Some("lz4" | "lz4_raw") => Some(Compression::LZ4_RAW),
        Some("uncompressed" | "none") => Some(Compression::UNCOMPRESSED),
        Some(other) if OTHER_CODECS.contains(&other) => None,
        Some(other) => {
            let name = codec.as_ref().map_or(CODEC, |(name, _)| name);
            return Err(wrong(name, other, "one of zstd, gzip, snappy, lz4 and uncompressed"));
        }
    })
}

fn wrong(name: &str, text: &str, wanted: &str) -> Error {
    Error::usage(format!("the table property {name} is {text:?}, not {wanted}"))
        .advice("Set it right, or remove it from the table")
}

/// The table's target size of a data file in bytes, if set.
pub fn target_file_bytes(properties: &Properties) -> Result<Option<u64>> {
    let Some(text) = properties.get(TARGET_FILE_BYTES).map(|text| text.trim()) else { return Ok(None) };
    let bytes = size(text).and_then(|bytes| u64::try_from(bytes).ok());
    bytes.map(Some).ok_or_else(|| wrong(TARGET_FILE_BYTES, text, "a number of bytes"))
}

/// Refuses properties with invalid values, before anything is written.
pub fn check_properties(metadata: &TableMetadata) -> Result<()> {
    let properties = metadata.properties();
    for prefix in [PARQUET, DELETE_PARQUET] {
        for name in [ROW_GROUP, PAGE, PAGE_ROWS, DICTIONARY] {
            if let Some((name, text)) = named(properties, prefix, name)
                && size(text).is_none()
            {
                return Err(wrong(&name, text, "a whole number above 0"));
            }
        }
    }
    compression(&|name| named(properties, PARQUET, name))?;
    compression(&|name| named(properties, DELETE_PARQUET, name).or_else(|| named(properties, PARQUET, name)))?;
    target_file_bytes(properties)?;
    if let Err(error) = metadata.metadata_compression_codec() {
        let text = properties.get(METADATA_CODEC).map_or("", String::as_str);
        return Err(wrong(METADATA_CODEC, text, "gzip or none").caused_by(error));
    }
    for (name, text) in properties {
        if name == OBJECT_STORAGE && !["true", "false"].contains(&text.trim().to_ascii_lowercase().as_str()) {
            return Err(wrong(name, text, "true or false"));
        }
        if name == INFERRED_COLUMNS {
            if text.trim().parse::<usize>().is_err() {
                return Err(wrong(name, text, "a number of columns"));
            }
        } else if name.starts_with(METRICS) && MetricsMode::parse(text).is_none() {
            return Err(wrong(name, text, "one of none, counts, truncate(16) and full"));
        }
    }
    Ok(())
}

/// Describes the table's properties that are not followed, for users; at most one text.
pub fn unfollowed(metadata: &TableMetadata) -> Option<String> {
    let mut names: Vec<String> =
        metadata.properties().iter().filter_map(|(name, text)| why_unfollowed(name, text.trim())).collect();
    if names.is_empty() {
        return None;
    }
    names.sort_unstable();
    Some(format!("these table properties are not followed: {}", names.join(", ")))
}

/// The property, and what is done instead, unless this is obvious.
fn why_unfollowed(name: &str, text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let why = match name {
        "write.format.default" | "write.delete.format.default" if lower != "parquet" => "files are Parquet",
        "write.location-provider.impl" => "it names a Java class",
        "write.delete.target-file-size-bytes" => "a delete file holds what one window deletes in a partition",
        METADATA_CODEC if !["", "none", "gzip"].contains(&lower.as_str()) => "metadata files are not compressed",
        _ => {
            let option = name.strip_prefix(DELETE_PARQUET).or_else(|| name.strip_prefix(PARQUET))?;
            match option {
                CODEC if OTHER_CODECS.contains(&lower.as_str()) => "files are compressed by zstd",
                _ if option.starts_with("bloom-filter-enabled.") && lower == "false" => return None,
                _ if option.starts_with("bloom-filter-") => "no bloom filters are written yet",
                _ if FOLLOWED.contains(&option) => return None,
                _ => return Some(name.to_owned()),
            }
        }
    };
    Some(format!("{name} ({why})"))
}

/// Encoded bytes of a row group; a writer holds about one row group in memory.
pub const DEFAULT_ROW_GROUP_BYTES: usize = 32 * 1024 * 1024;

/// Default zstd level. Level 3 makes the files of a load 10 % smaller, but takes a fifth of its CPU time instead of a
/// seventh.
pub const DEFAULT_ZSTD_LEVEL: i32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::table::fixture;

    fn metadata(properties: &[(&str, &str)]) -> TableMetadata {
        let properties = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        fixture::metadata("file:///t", properties)
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (name, text) in [
            ("write.parquet.compression-codec", "zip"),
            ("write.parquet.compression-level", "high"),
            ("write.parquet.compression-level", "99"),
            ("write.parquet.row-group-size-bytes", "64 MB"),
            ("write.parquet.page-size-bytes", "0"),
            ("write.parquet.page-row-limit", "-1"),
            ("write.parquet.dict-size-bytes", ""),
            ("write.delete.parquet.page-size-bytes", "x"),
            ("write.target-file-size-bytes", "1e9"),
            ("write.metadata.compression-codec", "zip"),
            ("write.metadata.metrics.default", "some"),
            ("write.metadata.metrics.column.pk", "truncate(0)"),
            ("write.metadata.metrics.max-inferred-column-defaults", "all"),
            ("write.object-storage.enabled", "yes please"),
        ] {
            let error = check_properties(&metadata(&[(name, text)])).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(name), "{error}");
        }
        let fine = [
            ("write.parquet.compression-codec", "GZIP"),
            ("write.parquet.compression-level", "9"),
            ("write.delete.parquet.compression-codec", "snappy"),
            ("write.target-file-size-bytes", " 134217728 "),
            ("write.metadata.metrics.column.pk", "full"),
        ];
        check_properties(&metadata(&fine)).unwrap();
        assert_eq!(unfollowed(&metadata(&fine)), None);
        let data = Encoding::of_data(metadata(&fine).properties());
        assert_eq!(data.compression, Compression::GZIP(GzipLevel::try_new(9).unwrap()));
        assert_eq!(Encoding::of_deletes(metadata(&fine).properties()).compression, Compression::SNAPPY);
    }

    #[test]
    fn zstd_has_levels_below_zero() {
        let data =
            |level: &str| Encoding::of_data(metadata(&[("write.parquet.compression-level", level)]).properties());
        for level in ["-7", "1", "3", "22"] {
            check_properties(&metadata(&[("write.parquet.compression-level", level)])).unwrap();
        }
        for level in ["-8", "23"] {
            assert!(check_properties(&metadata(&[("write.parquet.compression-level", level)])).is_err());
        }
        assert_eq!(data("3").compression, Compression::ZSTD(ZstdLevel::try_new(3).unwrap()));
        assert_eq!(data("-7").compression, data("0").compression);
    }

    #[test]
    fn what_is_not_followed_is_told_by_name() {
        let asked = [
            ("write.parquet.bloom-filter-enabled.column.pk", "true"),
            ("write.parquet.bloom-filter-max-bytes", "1000"),
            ("write.parquet.shiny-new", "1"),
            ("write.parquet.compression-codec", "brotli"),
            ("write.format.default", "orc"),
        ];
        let told = unfollowed(&metadata(&asked)).unwrap();
        for (name, _) in asked {
            assert!(told.contains(name), "{told}");
        }
        check_properties(&metadata(&asked)).unwrap();
        for (name, text, why) in [
            ("write.location-provider.impl", "com.example.Provider", "it names a Java class"),
            ("write.delete.target-file-size-bytes", "1", "what one window deletes"),
            ("write.delete.format.default", "avro", "files are Parquet"),
            (METADATA_CODEC, "zstd", "metadata files are not compressed"),
        ] {
            assert_eq!(why_unfollowed(name, text).map(|told| told.contains(why)), Some(true), "{name}");
        }
        for text in ["", "none", "gzip", "GZIP"] {
            assert_eq!(why_unfollowed(METADATA_CODEC, text), None, "{text}");
        }
        for why in ["no bloom filters are written yet", "files are compressed by zstd", "files are Parquet"] {
            assert!(told.contains(why), "{told}");
        }
        assert_eq!(unfollowed(&metadata(&[("write.parquet.bloom-filter-enabled.column.a", "false")])), None);
        assert_eq!(unfollowed(&metadata(&[("write.format.default", "parquet"), ("write.wap.enabled", "true")])), None);
    }

    #[test]
    fn levels_are_those_of_their_codec() {
        let encoding = |codec: &str, level: &str| {
            let asked =
                metadata(&[("write.parquet.compression-codec", codec), ("write.parquet.compression-level", level)]);
            check_properties(&asked).map(|()| Encoding::of_data(asked.properties()).compression)
        };
        let gzip = |level| Compression::GZIP(GzipLevel::try_new(level).unwrap());
        for (codec, level, expected) in [
            ("zstd", "1", zstd(1)),
            ("zstd", "5", zstd(5)),
            ("ZSTD", "22", zstd(22)),
            ("zstd", "0", zstd(DEFAULT_ZSTD_LEVEL)),
            ("zstd", "-7", zstd(DEFAULT_ZSTD_LEVEL)),
            ("gzip", "0", gzip(0)),
            ("gzip", "9", gzip(9)),
            ("lz4", "3", Compression::LZ4_RAW),
            ("none", "3", Compression::UNCOMPRESSED),
        ] {
            assert_eq!(encoding(codec, level).unwrap(), expected, "{codec} {level}");
        }
        for (codec, level, range) in
            [("zstd", "-8", "-7 to 22"), ("zstd", "23", "-7 to 22"), ("gzip", "-1", "0 to 9"), ("gzip", "10", "0 to 9")]
        {
            let error = encoding(codec, level).unwrap_err();
            assert!(error.message().contains(range) && error.message().contains(level), "{error}");
        }
    }

    #[test]
    fn what_is_done_instead_is_told() {
        for (name, text, why) in [
            ("write.parquet.bloom-filter-enabled.column.pk", "true", " (no bloom filters are written yet)"),
            ("write.delete.parquet.bloom-filter-max-bytes", "1000", " (no bloom filters are written yet)"),
            ("write.parquet.compression-codec", "LZO", " (files are compressed by zstd)"),
            ("write.parquet.shiny-new", "1", ""),
        ] {
            let told = unfollowed(&metadata(&[(name, text)])).unwrap();
            assert_eq!(told, format!("these table properties are not followed: {name}{why}"));
        }
    }
}
