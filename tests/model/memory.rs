//! Windows larger than the memory that they may take.

use std::sync::Arc;

use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::commands::{Context, FullLoad, IfExists, Incremental, Report, full_load, incremental};
use ddb_iceberg::merge::NewAttributes;
use ddb_iceberg::runtime::progress::Progress;
use ddb_iceberg::storage::Store;
use iceberg::TableIdent;

use super::exports::{FullExport, IncrementalExport};

/// A table of one row, and a window of so many inserts of such a size, in files that each hold so many of every ten: all of
/// them must arrive.
pub async fn insert(count: usize, size: usize, files: &[usize], memory: usize) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap().to_owned();
    let full = FullExport::new("t").time("2026-01-14T10:00:00Z").files([[r#"{"Item":{"pk":{"S":"a"},"v":{"S":""}}}"#]]);
    let full = full.write(dir.path()).to_str().unwrap().to_owned();
    // Keys in no order, as DynamoDB's are.
    let key = |n: usize| format!("{:032x}", (n as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
    let record = |n: usize| {
        let keys = format!(r#"{{"pk":{{"S":"{}"}}"#, key(n));
        let image = format!(r#"{keys},"v":{{"S":"{}"}}}}"#, key(n).repeat(size / 32));
        format!(r#"{{"Metadata":{{"WriteTimestampMicros":{{"N":"1"}}}},"Keys":{keys}}},"NewImage":{image}}}"#)
    };
    let mut left = 0..count;
    let files = files.iter().map(|tenths| left.by_ref().take(count * tenths / 10).map(record).collect::<Vec<_>>());
    IncrementalExport::new("t")
        .from("2026-01-14T10:00:00Z")
        .to("2026-01-14T10:15:00Z")
        .files(files.collect::<Vec<_>>())
        .write(dir.path());
    let warehouse = [("warehouse".to_owned(), format!("{root}/warehouse"))].into();
    let context = Context {
        exports: Store::local(),
        catalog: Some(connect("default", &warehouse, Store::local()).await.unwrap()),
        threads: 2,
        memory_limit: memory,
        progress: Arc::new(Progress::default()),
    };
    let table = TableIdent::from_strs(["a", "t"]).unwrap();
    let load = FullLoad {
        export: full,
        without_manifest: false,
        table: table.clone(),
        schema: None,
        key: vec!["pk".to_owned()],
        partition_by: Vec::new(),
        if_exists: IfExists::Fail,
        allow_other_table: false,
        max_struct_fields: 256,
        dry_run: false,
    };
    full_load(&context, &load, &mut Report::new("full-load", None)).await.unwrap();
    let request = Incremental {
        exports: vec![root],
        table: table.clone(),
        key: Vec::new(),
        write_mode: None,
        new_attributes: NewAttributes::Add,
        allow_gap: false,
        allow_overlap: false,
        maintenance: ddb_iceberg::commands::Maintenance::Off,
        dry_run: false,
    };
    let mut report = Report::new("incremental", None);
    if let Err(error) = incremental(&context, &request, &mut report).await {
        panic!("{count} inserts of {size} bytes in {memory} bytes of memory: {error}");
    }
    assert_eq!(report.windows[0].rows.inserted, count as u64);
    let table = context.catalog.as_ref().unwrap().load(&table).await.unwrap().unwrap();
    let summary = &table.metadata.current_snapshot().unwrap().summary().additional_properties;
    assert_eq!(summary["total-records"], (count + 1).to_string());
}
