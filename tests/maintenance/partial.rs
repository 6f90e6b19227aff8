//! Groups that are compacted or merged in part: a large file beside small ones, and delete files that both need.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use ddb_iceberg::catalog::LoadedTable;
use ddb_iceberg::table::{DeleteCache, live_table};
use serde_json::json;
use tokio::runtime::Handle;

use super::program::{Site, at, full, gone, item, put};
use super::{Model, counted, model_of, reader, set_properties};

const LARGE: usize = 800;

/// A table of one large file: rows of text that does not compress.
async fn site(partition_by: &[&str]) -> (Site, Model) {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut text = || {
        let mut text = String::new();
        for _ in 0..8 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            write!(text, "{state:016x}").unwrap();
        }
        text
    };
    let items: Vec<_> = (0..LARGE)
        .map(|n| item(&json!({"pk": {"S": format!("l{n:03}")}, "v": {"N": n.to_string()}, "t": {"S": text()}})))
        .collect();
    let site = Site::new();
    let export = full(0).files([items]).write(site.bucket());
    let mut arguments = vec!["full-load", export.to_str().unwrap(), "--key", "pk"];
    arguments.extend(partition_by.iter().flat_map(|term| ["--partition-by", term]));
    site.run(&arguments).expect(0);
    let live = live_table(&site.table().await.unwrap()).await.unwrap();
    let target = live.files.iter().map(|live| live.file.file_size_in_bytes()).min().unwrap();
    set_properties(&site, &[("write.target-file-size-bytes", &target.to_string())]).await;
    (site, (0..LARGE).map(|n| (format!("l{n:03}"), i64::try_from(n).unwrap())).collect())
}

/// Rows as the crate itself counts them: data files without what their delete files take away.
pub async fn counted_rows(table: &LoadedTable) -> u64 {
    let live = live_table(table).await.unwrap();
    let cache = DeleteCache::new(table.file_io.clone(), Handle::current(), 1 << 20);
    let count = move || {
        live.files
            .iter()
            .map(|one| {
                let gone =
                    cache.positions(one).unwrap().as_slice().iter().filter(|at| **at < one.file.record_count()).count();
                one.file.record_count() - gone as u64
            })
            .sum()
    };
    tokio::task::spawn_blocking(count).await.unwrap()
}

async fn is(site: &Site, model: &Model, when: &str) -> LoadedTable {
    let table = site.table().await.unwrap();
    assert_eq!(model_of(&reader::rows_of(&table).await), *model, "{when}");
    assert_eq!(reader::rows_of(&table).await.len(), model.len(), "{when}");
    assert_eq!(counted_rows(&table).await, model.len() as u64, "{when}");
    table
}

/// The window of minute `n`: new rows, rows of the large file that go or are replaced, and the first row of the window before.
fn change(n: u32, model: &mut Model) -> Vec<String> {
    let mut changes = Vec::new();
    for k in 0..6 {
        let (key, value) = (format!("s{n:02}{k}"), i64::from(n * 10 + k));
        changes.push(put(&key, value));
        model.insert(key, value);
    }
    let updated = format!("l{:03}", n * 7 % 800);
    changes.push(put(&updated, -1 - i64::from(n)));
    model.insert(updated, -1 - i64::from(n));
    let before = format!("s{:02}0", n.wrapping_sub(1));
    for key in [format!("l{:03}", n * 7 % 800 + 3), before] {
        model.remove(&key);
        changes.push(gone(&key));
    }
    changes
}

/// Delete files that data files of both kinds need: those that were large before, and those that were added since.
async fn shared(table: &LoadedTable, large: &BTreeSet<String>) -> usize {
    let live = live_table(table).await.unwrap();
    let of = |is_large: bool| -> BTreeSet<String> {
        let files = live.files.iter().filter(|one| large.contains(one.file.file_path()) == is_large);
        files.flat_map(|one| &one.deletes).map(|delete| delete.file.file_path().to_owned()).collect()
    };
    of(true).intersection(&of(false)).count()
}

async fn paths(table: &LoadedTable) -> BTreeSet<String> {
    live_table(table).await.unwrap().files.iter().map(|live| live.file.file_path().to_owned()).collect()
}

/// The small files are rewritten, the large one is not: the delete files that it shares with them stay.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_that_stays_needs_is_not_removed_with_the_files_that_go() {
    for partition_by in [&[][..], &["bucket(2, pk)"]] {
        let (site, mut model) = site(partition_by).await;
        let large = paths(&site.table().await.unwrap()).await;
        for n in 0..7 {
            let window = site.window(n, n + 1, change(n, &mut model));
            site.incremental(&[&window], &["--maintenance", "off", "--write-mode", "merge-on-read"]).expect(0);
        }
        let table = is(&site, &model, "before").await;
        assert!(shared(&table, &large).await > 0, "a delete file that both need");
        let run = site.run(&["compact"]).expect(0);
        assert!(counted(&run, "data_files_removed") >= 5, "{}", run.stdout);
        let table = is(&site, &model, "compacted").await;
        assert!(large.is_subset(&paths(&table).await), "the large file is left alone");
        let live = live_table(&table).await.unwrap();
        assert!(live.files.iter().any(|one| large.contains(one.file.file_path()) && !one.deletes.is_empty()));
        // Windows of both modes go on, and what they find is counted right.
        for (n, mode) in [(7, "merge-on-read"), (8, "copy-on-write"), (9, "merge-on-read")] {
            let window = site.window(n, n + 1, change(n, &mut model));
            let run = site.incremental(&[&window], &["--maintenance", "off", "--write-mode", mode]).expect(0);
            assert_eq!(run.counts(0), [6, 1, 2], "window {n}");
            is(&site, &model, mode).await;
        }
    }
}

/// The same for what the scheduled command does by itself.
#[tokio::test(flavor = "multi_thread")]
async fn upkeep_leaves_what_a_file_that_stays_needs() {
    let (site, mut model) = site(&[]).await;
    let large = paths(&site.table().await.unwrap()).await;
    for n in 0..20 {
        site.window(n, n + 1, change(n, &mut model));
    }
    let run = site.incremental(&[&site.bucket()], &["--write-mode", "merge-on-read"]).expect(0);
    assert_eq!(run.report["maintenance"][0]["action"], "compact", "{}", run.stdout);
    assert_eq!(run.report["maintenance"][0]["status"], "applied", "{}", run.stdout);
    assert_eq!(run.report["watermark"], at(20));
    let table = is(&site, &model, "compacted").await;
    assert!(large.is_subset(&paths(&table).await), "the large file is left alone");
    let window = site.window(20, 21, change(20, &mut model));
    assert_eq!(site.incremental(&[&window], &[]).expect(0).counts(0), [6, 1, 2]);
    is(&site, &model, "after").await;
}

/// A delete file that takes the place of many has what they say of all data files, not only of those that lose rows now.
#[tokio::test(flavor = "multi_thread")]
async fn delete_files_that_are_merged_say_of_untouched_files_what_they_said() {
    for partition_by in [&[][..], &["bucket(1, pk)"]] {
        let (site, mut model) = site(partition_by).await;
        let window = site.window(0, 1, (0..20).map(|k| put(&format!("s{k:02}"), k)).collect());
        site.incremental(&[&window], &["--maintenance", "off"]).expect(0);
        model.extend((0..20).map(|k| (format!("s{k:02}"), k)));
        let mut merged = false;
        for n in 1..14_u32 {
            // Both files lose a row; from the ninth on only the large one does.
            let mut lost = vec![format!("l{n:03}")];
            lost.extend((n < 9).then(|| format!("s{n:02}")));
            let before = live_table(&site.table().await.unwrap()).await.unwrap().deletes.len();
            let window = site.window(n, n + 1, lost.iter().map(|key| gone(key)).collect());
            let flags = ["--maintenance", "off", "--write-mode", "merge-on-read"];
            let run = site.incremental(&[&window], &flags).expect(0);
            assert_eq!(run.counts(0), [0, 0, lost.len() as u64]);
            model.retain(|key, _| !lost.contains(key));
            let table = is(&site, &model, &format!("window {n}")).await;
            let now = live_table(&table).await.unwrap();
            merged |= now.deletes.len() < before;
        }
        assert!(merged, "delete files were never merged");
        // Rows that are gone are not found again.
        let window = site.window(14, 15, (1..9).map(|n| gone(&format!("s{n:02}"))).collect());
        assert_eq!(site.incremental(&[&window], &["--maintenance", "off"]).expect(0).counts(0), [0, 0, 0]);
        site.run(&["compact"]).expect(0);
        is(&site, &model, "compacted").await;
    }
}
