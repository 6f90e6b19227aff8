//! Keys whose records lie on both sides of what is taken in at a time: batches, files, lines.

use std::collections::BTreeMap;

use super::{Site, json, pairs, simple, window};

const KEYS: usize = 20_000;
/// Records of one key, more than two batches.
const HOT: usize = 20_000;

/// A change at a time, in microseconds.
fn at(pk: &str, v: i64, micros: usize) -> String {
    let mut record =
        json!({"Metadata": {"WriteTimestampMicros": {"N": micros.to_string()}}, "Keys": {"pk": {"S": pk}}});
    if v >= 0 {
        record["NewImage"] = json!({"pk": {"S": pk}, "v": {"N": v.to_string()}});
    }
    record.to_string()
}

/// Each key has one to five records, so that keys lie over every kind of border of a batch; the last of one in seven is a
/// delete. The newest is in any file, at any place, and where two are of one time the later file, then the later line, counts.
#[tokio::test(flavor = "multi_thread")]
async fn each_key_of_a_window_has_one_row_wherever_its_records_lie() {
    let mut expected = BTreeMap::from([("first".to_owned(), 1)]);
    let mut files: Vec<Vec<String>> = vec![Vec::new(); 3];
    for n in 0..KEYS {
        let pk = format!("k{n:05}");
        let records = n % 5 + 1;
        for record in 0..records {
            // The newest stands in any of the files; of one in three keys all records have one time.
            let (file, micros) =
                if n % 3 == 0 { (record / 2, 5) } else { ((n + record) % 3, 10 + (record + n) % records) };
            let newest = if n % 3 == 0 { record + 1 == records } else { micros + 1 == 10 + records };
            let value = if newest && n % 7 == 0 { -1 } else { i64::try_from(n * 10 + record).unwrap() };
            files[file].push(at(&pk, value, micros));
            if newest && value >= 0 {
                expected.insert(pk.clone(), value);
            }
        }
    }
    // One key over whole batches, in the midst of the others.
    for n in 0..HOT {
        files[n % 2].push(at("k10000x", i64::try_from(n).unwrap(), 1_000_000 - n));
    }
    expected.insert("k10000x".to_owned(), 0);
    for mode in ["merge-on-read", "copy-on-write"] {
        let site = Site::loaded(vec![simple("first", 1), simple("k00001", 1), simple("k10000x", 1)], &["pk"]);
        let export = window(0, 15).files(files.clone()).write(site.bucket());
        let run = site.incremental(&[&export], &["--write-mode", mode]).expect(0);
        assert_eq!(run.counts(0), [expected.len() as u64 - 3, 2, 0], "{mode}");
        let rows = site.rows().await;
        let found = pairs(&rows);
        assert_eq!(found.len(), expected.len(), "{mode}: a key has two rows, or none");
        assert!(found.iter().all(|(pk, v)| expected.get(*pk) == Some(v)), "{mode}: an older record won");
    }
}
