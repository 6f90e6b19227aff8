use iceberg::spec::{DataContentType, DataFileBuilder, DataFileFormat, Literal, Struct};

use super::*;

const MIB: u64 = 1024 * 1024;

fn file(size: u64, deleted: u64, partition: i64) -> Candidate {
    file_of(size, deleted, partition, 100, Some(1))
}

fn file_of(size: u64, deleted: u64, partition: i64, rows: u64, order: Option<i32>) -> Candidate {
    let mut builder = DataFileBuilder::default();
    if let Some(order) = order {
        builder.sort_order_id(order);
    }
    let file = builder
        .content(DataContentType::Data)
        .file_path(format!("file:///t/{size}-{deleted}-{partition}"))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::long(partition))]))
        .partition_spec_id(0)
        .record_count(rows)
        .file_size_in_bytes(size)
        .build()
        .unwrap();
    Candidate { live: LiveFile::unlisted(file), deleted }
}

fn sizes(groups: &[Group]) -> Vec<Vec<u64>> {
    groups.iter().map(|g| g.files.iter().map(|live| live.file.file_size_in_bytes()).collect()).collect()
}

fn picked(files: Vec<Candidate>, policy: &Policy) -> Vec<Vec<u64>> {
    sizes(&pick(files, policy, Some(1), u64::MAX))
}

#[test]
fn few_small_files_stay() {
    let policy = Policy::thorough(256 * MIB);
    let small = |n: u64| (0..n).map(|n| file(n + 1, 0, 0)).collect::<Vec<_>>();
    assert!(picked(small(4), &policy).is_empty());
    assert_eq!(picked(small(5), &policy), [[1, 2, 3, 4, 5]]);
    // Large ones do not count, nor do those of another partition.
    let mut files = small(4);
    files.extend([file(200 * MIB, 0, 0), file(1, 0, 1)]);
    assert!(picked(files, &policy).is_empty());
}

#[test]
fn many_deletes_are_a_reason_alone() {
    let policy = Policy::thorough(256 * MIB);
    let files = vec![file(300 * MIB, 10, 0), file(301 * MIB, 9, 0), file(1, 0, 0)];
    assert_eq!(picked(files, &policy), [[300 * MIB]]);
}

#[test]
fn partitions_and_orders_stay_apart() {
    let policy = Policy::thorough(256 * MIB);
    let files: Vec<_> = (0..12).map(|n| file(n + 1, 0, i64::from(n % 2 == 0))).collect();
    assert_eq!(picked(files.clone(), &policy), [[1, 3, 5, 7, 9, 11], [2, 4, 6, 8, 10, 12]]);
    assert!(pick(files, &policy, None, 0).iter().all(|group| !group.sorted), "without an order nothing is sorted");
}

#[test]
fn groups_fit_the_memory_and_have_at_least_two_files() {
    let policy = Policy::thorough(256 * MIB);
    let files: Vec<_> = (0..6).map(|_| file(MIB, 0, 0)).collect();
    assert_eq!(sizes(&pick(files.clone(), &policy, Some(1), 3 * MIB)), [[MIB; 3]; 2]);
    assert_eq!(sizes(&pick(files, &policy, Some(1), 0)), [[MIB; 2]; 3]);
}

/// Sixteen windows at a time: a byte is rewritten about as often as the logarithm of the windows.
#[test]
fn tiers_bound_files_and_work() {
    let policy = Policy::frugal(256 * MIB);
    let mut sizes: Vec<u64> = Vec::new();
    let (mut rewritten, mut most) = (0, 0);
    for _ in 0..2_000 {
        sizes.push(MIB / 4);
        let files: Vec<_> = sizes.iter().map(|size| file(*size, 0, 0)).collect();
        for group in pick(files, &policy, Some(1), u64::MAX) {
            for live in &group.files {
                let size = live.file.file_size_in_bytes();
                let at = sizes.iter().position(|known| *known == size).unwrap();
                sizes.swap_remove(at);
            }
            sizes.push(group.bytes);
            rewritten += group.bytes;
        }
        most = most.max(sizes.len());
    }
    assert!(most <= 16 + 16, "{most} files");
    assert!(rewritten < 2_000 * MIB / 4 * 10, "every byte was rewritten {} times", rewritten / (2_000 * MIB / 4));
}

#[test]
fn a_scheduled_run_is_bounded_and_takes_the_worst_first() {
    let policy = Policy { max_bytes: Some(300 * MIB), ..Policy::frugal(32 * MIB) };
    let files = vec![file(250 * MIB, 20, 0), file(260 * MIB, 90, 0), file(270 * MIB, 30, 0)];
    assert_eq!(picked(files, &policy), [[260 * MIB]]);
}

/// Three quarters of the target are no longer small, one byte less is.
#[test]
fn a_file_is_small_below_three_quarters_of_the_target() {
    let policy = Policy::thorough(100 * MIB);
    let five = |size: u64| (0..5).map(|_| file(size, 0, 0)).collect::<Vec<_>>();
    assert!(picked(five(75 * MIB), &policy).is_empty());
    assert_eq!(picked(five(75 * MIB - 1), &policy), [[75 * MIB - 1; 5]]);
}

/// No deletes are no reason, however few rows a file has.
#[test]
fn a_file_without_deletes_or_rows_is_not_rewritten_alone() {
    let policy = Policy { max_delete_files: Some(0), ..Policy::thorough(256 * MIB) };
    assert!(picked(vec![file_of(300 * MIB, 0, 0, 0, None)], &policy).is_empty());
}

/// Eight files of the target's size go together, and not one byte more.
#[test]
fn a_group_has_at_most_eight_targets() {
    let policy = Policy::thorough(100 * MIB);
    let eight = |last: u64| {
        let mut files: Vec<_> = (0..7).map(|_| file(100 * MIB, 10, 0)).collect();
        files.push(file(last, 10, 0));
        sizes(&pick(files, &policy, None, 0))
    };
    assert_eq!(eight(100 * MIB), [[100 * MIB; 8]]);
    assert_eq!(eight(100 * MIB + 1), [vec![100 * MIB; 7], vec![100 * MIB + 1]]);
}

/// Without an order of the table, files that say none are not sorted; of another order neither.
#[test]
fn only_files_of_the_tables_order_are_sorted() {
    let policy = Policy::thorough(256 * MIB);
    let files: Vec<_> = (0..5).map(|n| file(n + 1, 0, 0)).collect();
    let sorted = |order: Option<i32>| pick(files.clone(), &policy, order, u64::MAX)[0].sorted;
    assert_eq!([Some(1), Some(2), None].map(sorted), [true, false, false]);
    assert!(!pick(vec![file_of(300 * MIB, 90, 0, 100, None)], &policy, None, u64::MAX)[0].sorted);
}

/// The first group is taken whatever its size, the next ones as far as the bound goes.
#[test]
fn what_a_scheduled_run_takes_ends_at_its_bound() {
    assert_eq!(Policy::frugal(1).max_bytes, Some(4 << 30));
    let files = || vec![file(200 * MIB, 90, 0), file(100 * MIB, 80, 1), file(101 * MIB, 20, 2), file(100 * MIB, 10, 3)];
    let taken = |most: u64| picked(files(), &Policy { max_bytes: Some(most), ..Policy::frugal(32 * MIB) });
    assert_eq!(taken(1), [[200 * MIB]]);
    assert_eq!(taken(300 * MIB), [[200 * MIB], [100 * MIB]]);
    assert_eq!(taken(300 * MIB - 1), [[200 * MIB]]);
    assert_eq!(taken(401 * MIB), [[200 * MIB], [100 * MIB], [101 * MIB]]);
}
