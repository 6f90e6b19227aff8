//! Reads position deletes: the deleted rows of a data file.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use iceberg::io::FileIO;
use iceberg::metadata_columns::{RESERVED_FIELD_ID_DELETE_FILE_PATH, RESERVED_FIELD_ID_DELETE_FILE_POS};
use parquet::file::statistics::Statistics;
use tokio::runtime::Handle;

use crate::error::{Error, Result};
use crate::table::files::LiveDeleteFile;
use crate::table::parquet::batches::BatchSize;
use crate::table::parquet::reader::ParquetFile;

/// A batch of a delete file, at most; paths are long.
const BATCH: BatchSize = BatchSize { rows: 8192, bytes: 4 << 20 };

/// Deleted positions by data file.
pub type PathPositions = HashMap<String, Vec<u64>>;

/// A set of row positions within one data file, counted from 0.
///
/// A sorted list, 8 bytes a position. A roaring bitmap takes 0.3 bytes if every second row is deleted, 2.5 if every 20th
/// is, but 70 to 200 if positions are far apart, as they may be in other writers' files; and inserting positions in no
/// order takes two to ten times as long as sorting them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions {
    sorted: Vec<u64>,
}

impl Positions {
    /// The set of these positions, which may be in any order and repeat.
    pub fn new(mut positions: Vec<u64>) -> Self {
        positions.sort_unstable();
        positions.dedup();
        Self { sorted: positions }
    }

    /// Whether the position is in the set.
    pub fn contains(&self, position: u64) -> bool {
        self.sorted.binary_search(&position).is_ok()
    }

    /// Number of positions.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The positions in order.
    pub fn as_slice(&self) -> &[u64] {
        &self.sorted
    }

    /// The positions in order.
    pub fn into_vec(self) -> Vec<u64> {
        self.sorted
    }

    /// A cursor for membership tests of ascending positions, with at most one step each.
    pub fn cursor(&self) -> PositionCursor<'_> {
        PositionCursor { rest: &self.sorted }
    }
}

/// Membership tests of ascending positions.
#[derive(Debug, Clone)]
pub struct PositionCursor<'a> {
    rest: &'a [u64],
}

impl PositionCursor<'_> {
    /// Moves to the first position of a range; earlier positions are not tested any more.
    pub fn skip_to(&mut self, position: u64) {
        let behind = self.rest.partition_point(|p| *p < position);
        self.rest = self.rest.get(behind..).unwrap_or_default();
    }

    /// Whether the position is in the set. Positions must not decrease from call to call.
    pub fn contains(&mut self, position: u64) -> bool {
        while let Some((first, rest)) = self.rest.split_first() {
            if *first > position {
                return false;
            }
            if *first == position {
                return true;
            }
            self.rest = rest;
        }
        false
    }
}

/// Reads the positions of one data file from the given delete files. Synchronous: for a blocking thread.
///
/// Reads each delete file once, for this path only; for many data files use [`DeleteCache`](super::cache::DeleteCache).
pub fn read_positions(
    file_io: &FileIO,
    handle: &Handle,
    deletes: &[Arc<LiveDeleteFile>],
    data_path: &str,
) -> Result<Positions> {
    let mut positions = Vec::new();
    for delete in deletes {
        read_delete_file(file_io, handle, delete, Some(data_path), &mut |_, position| positions.push(position))?;
    }
    Ok(Positions::new(positions))
}

/// Passes on the paths and positions of a delete file, or only those of one path, in file order.
///
/// Row groups whose statistics exclude the path are not read.
pub(crate) fn read_delete_file(
    file_io: &FileIO,
    handle: &Handle,
    delete: &LiveDeleteFile,
    only: Option<&str>,
    on_position: &mut dyn FnMut(&str, u64),
) -> Result<()> {
    let file = ParquetFile::open(file_io, handle, &delete.file)?;
    let location = file.location().to_owned();
    let column = |id: i32, name: &str| {
        file.column(id)
            .ok_or_else(|| Error::failed(format!("the position delete file has no column {name}")).in_file(&location))
    };
    let path_column = column(RESERVED_FIELD_ID_DELETE_FILE_PATH, "file_path")?;
    let position_column = column(RESERVED_FIELD_ID_DELETE_FILE_POS, "pos")?;
    let path_leaf = file.leaf(path_column);
    let groups = file.metadata().row_groups().iter().enumerate().filter(|(_, group)| {
        let statistics = path_leaf.and_then(|leaf| group.columns().get(leaf)?.statistics());
        only.is_none_or(|path| statistics.is_none_or(|statistics| may_hold(statistics, path)))
    });
    let groups: Vec<usize> = groups.map(|(index, _)| index).collect();
    if groups.is_empty() {
        return Ok(());
    }
    let path_first = path_column < position_column;
    file.read(handle, &[path_column, position_column], groups, BATCH, &mut |batch| {
        take_batch(&batch, path_first, only, on_position).map_err(|e| e.in_file(&location))
    })
}

fn take_batch(
    batch: &RecordBatch,
    path_first: bool,
    only: Option<&str>,
    on_position: &mut dyn FnMut(&str, u64),
) -> Result<()> {
    let (path_index, position_index) = if path_first { (0, 1) } else { (1, 0) };
    let paths = cast(batch.column(path_index), &DataType::Utf8)?;
    let positions = cast(batch.column(position_index), &DataType::Int64)?;
    if paths.null_count() > 0 || positions.null_count() > 0 {
        return Err(Error::failed("the position delete file has an empty path or position"));
    }
    for (path, position) in paths.as_string::<i32>().iter().zip(positions.as_primitive::<Int64Type>().values()) {
        let Some(path) = path else { continue };
        if only.is_some_and(|only| only != path) {
            continue;
        }
        let position = u64::try_from(*position)
            .map_err(|_| Error::failed(format!("the position delete file has position {position}")))?;
        on_position(path, position);
    }
    Ok(())
}

/// Whether a column chunk with these statistics can contain the text; truncated statistics are valid bounds too.
fn may_hold(statistics: &Statistics, text: &str) -> bool {
    if statistics.is_min_max_deprecated() || !matches!(statistics, Statistics::ByteArray(_)) {
        return true;
    }
    let text = text.as_bytes();
    statistics.min_bytes_opt().is_none_or(|min| min <= text) && statistics.max_bytes_opt().is_none_or(|max| text <= max)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use parquet::data_type::ByteArray;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn row_groups_are_passed_over_by_bounds_that_hold() {
        let bounds = |min: Option<&str>, max: Option<&str>, deprecated: bool| {
            Statistics::byte_array(min.map(ByteArray::from), max.map(ByteArray::from), None, None, deprecated)
        };
        let both = bounds(Some("b"), Some("d"), false);
        assert_eq!(["a", "b", "c", "d", "e"].map(|text| may_hold(&both, text)), [false, true, true, true, false]);
        let half = bounds(Some("b"), None, false);
        assert!(!may_hold(&half, "a") && may_hold(&half, "z"));
        assert!(may_hold(&bounds(Some("b"), Some("d"), true), "z"), "their order is not defined");
        assert!(may_hold(&Statistics::int32(Some(1), Some(2), None, None, false), "z"), "no text");
    }

    #[test]
    fn a_cursor_skips_ranges() {
        let positions = Positions::new(vec![7, 3, 3, 9, 100]);
        assert_eq!(positions.len(), 4);
        let mut cursor = positions.cursor();
        assert!(!cursor.contains(2) && cursor.contains(3) && cursor.contains(3));
        cursor.skip_to(8);
        assert!(!cursor.contains(8) && cursor.contains(9));
        cursor.skip_to(101);
        assert!(!cursor.contains(1000));
    }

    proptest! {
        #[test]
        fn a_cursor_agrees_with_the_set(deleted in prop::collection::vec(0_u64..40, 0..30)) {
            let positions = Positions::new(deleted.clone());
            let mut cursor = positions.cursor();
            for position in 0..40 {
                prop_assert_eq!(cursor.contains(position), deleted.contains(&position));
                prop_assert_eq!(positions.contains(position), deleted.contains(&position));
            }
        }
    }

    #[test]
    fn a_row_without_path_or_position_is_refused() {
        assert!(Positions::default().is_empty() && !Positions::new(vec![0]).is_empty());
        let take = |paths: &[Option<&str>], positions: &[Option<i64>], only| {
            let columns: [(&str, ArrayRef, bool); 2] = [
                ("file_path", Arc::new(StringArray::from(paths.to_vec())), true),
                ("pos", Arc::new(Int64Array::from(positions.to_vec())), true),
            ];
            let mut found = Vec::new();
            let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
            take_batch(&batch, true, only, &mut |path, position| found.push((path.to_owned(), position)))?;
            Ok::<_, Error>(found)
        };
        let found = take(&[Some("a"), Some("b")], &[Some(3), Some(0)], None).unwrap();
        assert_eq!(found, [("a".to_owned(), 3), ("b".to_owned(), 0)]);
        assert_eq!(take(&[Some("a"), Some("b")], &[Some(3), Some(-1)], Some("a")).unwrap().len(), 1);
        for (paths, positions, message) in [
            ([Some("a"), None], [Some(1), Some(2)], "an empty path or position"),
            ([Some("a"), Some("b")], [None, Some(2)], "an empty path or position"),
            ([None, None], [None, None], "an empty path or position"),
            ([Some("a"), Some("b")], [Some(1), Some(-2)], "has position -2"),
        ] {
            let error = take(&paths, &positions, None).unwrap_err();
            assert!(error.message().contains(message), "{error}");
        }
    }

    #[test]
    fn row_groups_are_left_out_by_their_paths() {
        let texts = |min: Option<&str>, max: Option<&str>, deprecated| {
            let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec().into());
            Statistics::byte_array(bytes(min), bytes(max), None, None, deprecated)
        };
        for (statistics, expected) in [
            (texts(Some("b"), Some("d"), false), [false, true, true, true, false]),
            (texts(Some("c"), Some("c"), false), [false, false, true, false, false]),
            (texts(Some("c"), None, false), [false, false, true, true, true]),
            (texts(None, Some("c"), false), [true, true, true, false, false]),
            (texts(None, None, false), [true; 5]),
            // Whose order is not defined, and of another type.
            (texts(Some("c"), Some("c"), true), [true; 5]),
            (Statistics::int64(Some(1), Some(2), None, None, false), [true; 5]),
        ] {
            assert_eq!(["a", "b", "c", "d", "e"].map(|text| may_hold(&statistics, text)), expected, "{statistics}");
        }
    }
}
