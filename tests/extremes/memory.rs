//! Windows and maintenance of shapes that take more memory than their bytes tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::commands::{Context, Incremental, Maintenance, Report, incremental};
use ddb_iceberg::merge::NewAttributes;
use ddb_iceberg::storage::Store;
use iceberg::TableIdent;
use serde_json::{Map, Value, json};

use super::program::{Site, TABLE, change, full, item};
use super::{LIMIT, by_key, s, with};

/// Applies what lies in the bucket by the library, with so many bytes of memory.
async fn apply_within(site: &Site, memory_limit: usize) -> Report {
    let properties = BTreeMap::from([("warehouse".to_owned(), site.warehouse().display().to_string())]);
    let context = Context {
        exports: Store::local(),
        catalog: Some(connect("default", &properties, Store::local()).await.unwrap()),
        threads: 2,
        memory_limit,
        progress: Arc::default(),
    };
    let table = TableIdent::from_strs(TABLE.split('.')).unwrap();
    let request = Incremental {
        exports: vec![site.bucket().to_str().unwrap().to_owned()],
        table,
        key: Vec::new(),
        write_mode: None,
        new_attributes: NewAttributes::Add,
        allow_gap: false,
        allow_overlap: false,
        maintenance: Maintenance::Off,
        dry_run: false,
    };
    let mut report = Report::new("test", Some(TABLE.to_owned()));
    incremental(&context, &request, &mut report).await.unwrap();
    report
}

/// Keys by number, spread over all of their range.
fn spread(n: usize) -> String {
    format!("{:016x}-{n:08}", u64::try_from(n).unwrap().wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// The changes go to disk in many runs, and some keys change in several of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_any_number_of_changes_and_keys_of_any_width() {
    for (changes, width) in [(30_000, 0), (10_000, 100), (1_500, 950)] {
        let site = Site::new();
        let keys = |n: usize| json!({"pk": s(&format!("{}{}", spread(n), "p".repeat(width * 2))), "sk": s(&"k".repeat(width))});
        let image = |n: usize, v: usize| {
            let mut image = keys(n);
            image["v"] = json!({"N": v.to_string()});
            image
        };
        let export = full(0).files([(0..100).map(|n| item(&image(n, 0))).collect::<Vec<_>>()]).write(site.bucket());
        site.load(&export, &["pk", "sk"]).expect(0);
        // Every seventh change is of a key that changes later too; every third of the first hundred is a delete.
        let mut lines = Vec::new();
        for n in 0..changes {
            let deleted = n < 100 && n % 3 == 0;
            for (v, micros) in
                [(1, "1768386096366933"), (2, "1768386096366934")].into_iter().skip(usize::from(n % 7 != 0))
            {
                let image = image(n, v);
                let line = change(&keys(n), (!deleted).then_some(&image));
                lines.push(line.replace("1768386096366933", micros));
            }
        }
        lines.reverse();
        let half = lines.split_off(lines.len() / 2);
        super::program::window(0, 1).files([lines, half]).write(site.bucket());
        let report = apply_within(&site, 2 << 20).await;
        let counts = &report.windows[0].rows;
        assert_eq!(
            (counts.inserted, counts.updated, counts.deleted),
            (u64::try_from(changes).unwrap() - 100, 66, 34),
            "{width}"
        );
        let rows = site.rows().await;
        assert_eq!(rows.len(), changes - 34, "{width}");
        assert!(rows.iter().all(|row| row["v"] == 2), "{width}");
        let found = rows.iter().map(|row| row["pk"].as_str().unwrap()).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(found.len(), rows.len());
    }
}

/// Few of very many attributes in an item, and elements of very many optional fields: what is not there takes the most.
#[tokio::test(flavor = "multi_thread")]
async fn sparse_items_and_elements_are_compacted() {
    let sparse = |n: usize| {
        with(
            &format!("{n:05}"),
            (0..10).map(|k| (format!("a{}", (n * 37 + k * 401) % 3_000), json!({"N": n.to_string()}))),
        )
    };
    let elements = |n: usize| {
        let fields = |e: usize| {
            (0..2)
                .map(|k| (format!("f{}", (n + e * 7 + k * 31) % 100), json!({"N": n.to_string()})))
                .collect::<Map<_, _>>()
        };
        let list: Vec<Value> = (0..200).map(|e| json!({"M": fields(e)})).collect();
        with(&format!("{n:05}"), [("events".to_owned(), json!({"L": list}))])
    };
    let kinds: [(&dyn Fn(usize) -> Value, usize); 2] = [(&sparse, 200), (&elements, 60)];
    for (image, rows) in kinds {
        let site = Site::new();
        let lines = |window: usize| (window * rows..(window + 1) * rows).map(image).collect::<Vec<_>>();
        super::load(&site, lines(0).iter().map(item).collect());
        for window in 1..13 {
            let images = lines(window);
            let changes = images.iter().map(|image| change(&json!({"pk": image["pk"]}), Some(image))).collect();
            let minute = u32::try_from(window).unwrap();
            site.window(minute - 1, minute, changes);
        }
        let bucket = site.bucket();
        site.run(&["incremental", bucket.to_str().unwrap(), "--maintenance", "off"]).expect(0);
        let before = site.rows().await;
        let (run, peak) = site.measured(&["compact"]);
        let run = run.expect(0);
        assert!(peak <= LIMIT, "{peak} MiB to compact");
        assert!(run.report["maintenance"][0]["data_files_removed"].as_u64().unwrap() >= 12, "{}", run.stdout);
        let after = site.rows().await;
        assert_eq!(before.len(), rows * 13);
        assert!(by_key(&before) == by_key(&after), "other rows than before");
    }
}
