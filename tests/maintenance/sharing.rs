//! Commands of one process: threads are not waited for by what holds them, and files belong to the command that wrote them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ddb_iceberg::commands::{
    Compact, Context, FullLoad, IfExists, Incremental, Maintenance, Report, compact, full_load, incremental,
};
use ddb_iceberg::error::Result;
use ddb_iceberg::merge::{NewAttributes, WriteMode};
use iceberg::TableIdent;
use serde_json::json;

use super::exports::FullExport;
use super::failing::unnamed;
use super::faults::{self, Call, Fault, Faults};
use super::program::{TABLE, at, item, window};
use super::{change, items, model_of, reader};

const PATIENCE: Duration = Duration::from_mins(2);

fn context(faults: &Arc<Faults>, warehouse: &Path, threads: usize) -> Context {
    Context {
        exports: faults::store(faults),
        catalog: Some(faults::catalog(faults, warehouse, None)),
        threads,
        memory_limit: 256 << 20,
        progress: Arc::default(),
    }
}

async fn load(context: &Context, table: &str, export: &Path, partition_by: &[&str]) -> Result<()> {
    let request = FullLoad {
        export: export.to_str().unwrap().to_owned(),
        without_manifest: false,
        table: TableIdent::from_strs(table.split('.')).unwrap(),
        schema: None,
        key: vec!["pk".to_owned()],
        partition_by: partition_by.iter().map(|text| (*text).to_owned()).collect(),
        allow_other_table: false,
        if_exists: IfExists::Fail,
        max_struct_fields: 256,
        dry_run: false,
    };
    full_load(context, &request, &mut Report::new("full-load", Some(table.to_owned()))).await.map(|_| ())
}

/// As where a container bounds threads, or they are slow to start: every command gets along with a single thread for what
/// the runtime itself does.
#[test]
fn no_command_holds_a_thread_that_it_waits_for() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).max_blocking_threads(1).enable_all().build().unwrap();
    let all = async {
        let folder = tempfile::tempdir().unwrap();
        let (warehouse, bucket) = (folder.path().join("warehouse"), folder.path().join("bucket"));
        std::fs::create_dir(&warehouse).unwrap();
        let context = context(&Faults::none(), &warehouse, 4);
        let export = FullExport::new("orders").time(&at(0)).files([items()]).write(&bucket);
        load(&context, TABLE, &export, &["bucket(8, pk)"]).await.unwrap();
        let table = TableIdent::from_strs(TABLE.split('.')).unwrap();
        let mut model = (0..40).map(|n| (format!("k{n:02}"), n)).collect();
        for n in 0..12 {
            let mut changes = change(n, &mut model);
            changes.extend((0..24).map(|k| super::program::put(&format!("new{n:03}{k:02}"), k)));
            model.extend((0..24).map(|k| (format!("new{n:03}{k:02}"), k)));
            let export = window(n, n + 1).files([changes]).write(folder.path().join("windows"));
            let request = Incremental {
                exports: vec![export.to_str().unwrap().to_owned()],
                table: table.clone(),
                key: Vec::new(),
                write_mode: n.is_multiple_of(5).then_some(WriteMode::CopyOnWrite),
                new_attributes: NewAttributes::Add,
                allow_gap: false,
                allow_overlap: false,
                maintenance: Maintenance::Off,
                dry_run: false,
            };
            incremental(&context, &request, &mut Report::new("incremental", None)).await.unwrap();
        }
        let mut report = Report::new("compact", None);
        compact(&context, &Compact { table, dry_run: false }, &mut report).await.unwrap();
        assert!(report.maintenance[0].data_files_removed > 8 * 5, "{}", report.maintenance[0].data_files_removed);
        assert_eq!(model_of(&reader::rows(&warehouse, TABLE).await), model);
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, all).await }).expect("it hangs");
}

/// A load that has written its data file, and waits at its first manifest.
async fn waiting(folder: &Path) -> (Context, Arc<Faults>, tokio::task::JoinHandle<Result<()>>) {
    let warehouse = folder.join("warehouse");
    let export = FullExport::new("orders").time(&at(0)).files([items()]).write(folder.join("a"));
    for n in 1.. {
        let _ = std::fs::remove_dir_all(&warehouse);
        std::fs::create_dir(&warehouse).unwrap();
        let faults = Faults::at(Fault::StallBefore, n);
        let shared = context(&faults, &warehouse, 1);
        let (ours, path) = (shared.clone(), export.clone());
        let mut first = tokio::spawn(async move { load(&ours, TABLE, &path, &[]).await });
        tokio::select! {
            () = faults.stalled() => {}
            done = &mut first => panic!("it was to wait: {done:?}"),
        }
        let (call, what) = faults.hit().unwrap();
        if !matches!(call, Call::Look | Call::Read) && what.contains("/metadata/") {
            return (shared, faults, first);
        }
        faults.go_on();
        first.await.unwrap().unwrap();
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_takes_back_its_own_files_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let (context, faults, first) = waiting(folder.path()).await;
    let lines = [vec![item(&json!({"pk": {"S": "a"}}))], vec!["{}".to_owned()]];
    let export = FullExport::new("other").time(&at(0)).files(lines).write(folder.path().join("b"));
    load(&context, "shop.other", &export, &[]).await.unwrap_err();
    faults.go_on();
    first.await.unwrap().unwrap();
    let warehouse = folder.path().join("warehouse");
    let table = reader::load(&warehouse, TABLE).await.unwrap();
    assert_eq!(reader::rows_of(&table).await.len(), 40);
    let left = unnamed(&warehouse, &table).await;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_dropped_takes_back_its_own_files_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let (context, _, first) = waiting(folder.path()).await;
    let export = FullExport::new("other").time(&at(0)).files([items()]).write(folder.path().join("b"));
    load(&context, "shop.other", &export, &[]).await.unwrap();
    let warehouse = folder.path().join("warehouse");
    let table = reader::load(&warehouse, "shop.other").await.unwrap();
    assert!(!unnamed(&warehouse, &table).await.is_empty(), "the first has written a file");
    first.abort();
    let _ = first.await;
    let patience = std::time::Instant::now() + Duration::from_secs(20);
    while !unnamed(&warehouse, &table).await.is_empty() {
        assert!(std::time::Instant::now() < patience, "files were left behind");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(reader::rows_of(&table).await.len(), 40);
}
