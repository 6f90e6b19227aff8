//! Nothing is lost: random items go through an export into a table, and are rebuilt from its rows.
//!
//! The way back is told by the documentation alone (README "The table", schemas/README.md): a column by the attribute
//! that the property `ddb-iceberg.schema` names, a value by its conversion, and `_ddb_rescued` before all columns.
//! NULL and missing are alike in typed columns, numbers are equal by value, sets have no order.
//!
//! `FIDELITY_CASES` says how many tables are made, `FIDELITY_SEED` which.

#![allow(missing_docs, clippy::pedantic, clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "fidelity/back.rs"]
mod back;
#[path = "common/exports.rs"]
mod exports;
#[path = "fidelity/items.rs"]
mod items;
#[path = "fidelity/json.rs"]
mod json;
#[path = "common/reader.rs"]
mod reader;
#[path = "model/values.rs"]
#[allow(dead_code, reason = "the model uses the rest")]
mod values;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::commands::{
    Context, DetectSchema, FullLoad, IfExists, Incremental, Report, detect_schema, full_load, incremental,
};
use ddb_iceberg::merge::NewAttributes;
use ddb_iceberg::runtime::progress::Progress;
use ddb_iceberg::storage::Store;
use exports::{ExportWriter, FullExport, IncrementalExport};
use iceberg::TableIdent;
use items::Case;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use values::{Item, identity, item_json};

const TABLE: &str = "shop.orders";
const KEY: &str = "pk";

/// What all cases together met, so that a test which tries nothing is noticed.
#[derive(Default)]
struct Met {
    conversions: BTreeSet<String>,
    rescued: usize,
    depth: usize,
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

#[test]
fn tables_give_back_every_item() {
    let cases = number("FIDELITY_CASES", 96);
    let config = Config {
        cases: u32::try_from(cases).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number("FIDELITY_SEED", 1).to_be_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let met = RefCell::new(Met::default());
    let result = runner.run(&items::case(), |case| {
        runtime.block_on(there_and_back(&case, &met));
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    let met = met.into_inner();
    if cases >= 50 {
        let all = "binary boolean decimal json list long map number-string set string struct";
        assert_eq!(met.conversions.into_iter().collect::<Vec<_>>().join(" "), all);
        assert!(met.rescued > 100, "{} rescued values", met.rescued);
        assert!(met.depth >= 10, "{} levels", met.depth);
    }
}

async fn there_and_back(case: &Case, met: &RefCell<Met>) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap().to_owned();
    let warehouse = dir.path().join("warehouse");
    let properties = BTreeMap::from([("warehouse".to_owned(), warehouse.display().to_string())]);
    let context = Context {
        exports: Store::local(),
        catalog: Some(connect("default", &properties, Store::local()).await.unwrap()),
        threads: 2,
        memory_limit: 512 << 20,
        progress: Arc::new(Progress::default()),
    };
    let mut expected: BTreeMap<String, Item> = BTreeMap::new();
    for item in &case.load {
        expected.insert(identity(&item[0].1), item.clone());
    }
    let export = write(FullExport::new("t").time("2026-01-14T10:00:00Z"), case.load.iter().map(item_line), &root);
    let schema = match case.sample {
        Some(count) => Some(sample(&context, case, count, &root).await),
        None => None,
    };
    let request = FullLoad {
        export,
        without_manifest: false,
        table: TableIdent::from_strs(TABLE.split('.')).unwrap(),
        schema,
        key: vec![KEY.to_owned()],
        partition_by: Vec::new(),
        allow_other_table: false,
        if_exists: IfExists::Fail,
        max_struct_fields: case.struct_fields,
        dry_run: false,
    };
    full_load(&context, &request, &mut Report::new("full-load", None)).await.unwrap();
    compare(&warehouse, &expected, met, "the load").await;
    for (n, changes) in case.windows.iter().enumerate() {
        let mut lines = Vec::new();
        for (key, change) in changes {
            let keys = item_json(&vec![(KEY.to_owned(), key.clone())]);
            let mut record = json!({"Metadata": {"WriteTimestampMicros": {"N": "1"}}, "Keys": keys});
            match change {
                Some(item) => {
                    record["NewImage"] = item_json(item);
                    expected.insert(identity(key), item.clone());
                }
                None => {
                    expected.remove(&identity(key));
                }
            }
            lines.push(record.to_string());
        }
        let (from, to) = (format!("2026-01-14T{:02}:00:00Z", 10 + n), format!("2026-01-14T{:02}:00:00Z", 11 + n));
        let export = write(IncrementalExport::new("t").from(&from).to(&to), lines, &root);
        let request = Incremental {
            exports: vec![export],
            table: request.table.clone(),
            key: Vec::new(),
            write_mode: None,
            new_attributes: if case.add { NewAttributes::Add } else { NewAttributes::Rescue },
            allow_gap: false,
            allow_overlap: false,
            dry_run: false,
            maintenance: ddb_iceberg::commands::Maintenance::Auto,
        };
        incremental(&context, &request, &mut Report::new("incremental", None)).await.unwrap();
        compare(&warehouse, &expected, met, &format!("window {n}")).await;
    }
}

/// The schema file of a few of the items, so that others do not fit.
async fn sample(context: &Context, case: &Case, count: usize, root: &str) -> String {
    let lines = case.load.iter().take(count.max(1)).map(item_line);
    let export = write(FullExport::new("t").time("2026-01-14T09:00:00Z"), lines, root);
    let output = format!("{root}/schema.json");
    let request = DetectSchema {
        export,
        without_manifest: false,
        output: Some(output.clone()),
        key: vec![KEY.to_owned()],
        flat: false,
        sample_files: None,
        max_struct_fields: case.struct_fields,
    };
    detect_schema(context, &request).await.unwrap();
    output
}

/// Two files, so that what tasks saw is joined; gives the export's folder.
fn write(export: ExportWriter, lines: impl IntoIterator<Item = String>, root: &str) -> String {
    let lines: Vec<String> = lines.into_iter().collect();
    let (a, b) = lines.split_at(lines.len() / 2);
    export.files([a.to_vec(), b.to_vec()]).write(root).to_str().unwrap().to_owned()
}

fn item_line(item: &Item) -> String {
    json!({ "Item": item_json(item) }).to_string()
}

async fn compare(warehouse: &std::path::Path, expected: &BTreeMap<String, Item>, met: &RefCell<Met>, when: &str) {
    let table = reader::load(warehouse, TABLE).await.unwrap();
    let back = back::Table::new(&table.metadata);
    let mut found = BTreeMap::new();
    for row in reader::rows_of(&table).await {
        let item = back.item(&row);
        let key = identity(item[KEY].exact());
        assert!(found.insert(key.clone(), item).is_none(), "{when}: {key} is there twice");
    }
    assert!(found.keys().eq(expected.keys()), "{when}: keys {:?} in place of {:?}", found.keys(), expected.keys());
    let mut met = met.borrow_mut();
    for (key, item) in &found {
        let original: BTreeMap<&str, _> = expected[key].iter().map(|(name, value)| (name.as_str(), value)).collect();
        for name in original.keys().copied().chain(item.keys().map(String::as_str)) {
            let value = item.get(name).unwrap_or(&back::Back::Nothing);
            let same = value.is(original.get(name).copied());
            assert!(same, "{when}: {name:?} of {key} was {:?}, came back as {value:?}", original.get(name));
            met.depth = met.depth.max(value.depth());
        }
    }
    met.rescued += back.rescued.get();
    met.conversions.extend(back.conversions().map(str::to_owned));
}
