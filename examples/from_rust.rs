//! The main job from Rust: `from_rust FULL-EXPORT EXPORTS WAREHOUSE` loads a full export into `shop.orders`, then
//! applies the windows below EXPORTS that follow it, and prints what each command did.
//!
//! A command takes a [`Context`], a request and a receiver of [`Event`]s. A [`Report`] is one, a closure another: what was
//! applied has been told also when the command fails, or when its future is dropped. [`Progress`] may be watched meanwhile.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::commands::{
    Context, Event, FullLoad, IfExists, Incremental, Maintenance, NewAttributes, Report, full_load, incremental,
};
use ddb_iceberg::runtime::progress::Progress;
use ddb_iceberg::storage::Store;
use iceberg::TableIdent;

#[tokio::main]
#[allow(dead_code, reason = "a test runs the job itself")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [full, exports, warehouse] = arguments.as_slice() else {
        eprintln!("usage: from_rust FULL-EXPORT EXPORTS WAREHOUSE");
        return ExitCode::FAILURE;
    };
    match run(full, exports, warehouse).await {
        Ok(reports) => {
            for report in reports {
                println!("{}: {:?}, complete up to {:?}", report.command, report.status, report.watermark);
                for window in &report.windows {
                    println!("  {:?} to {:?}: {:?}", window.from, window.to, window.rows);
                }
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Loads a full export and applies the windows below a folder; what the two commands did.
pub async fn run(full: &str, exports: &str, warehouse: &str) -> Result<Vec<Report>, Box<dyn Error>> {
    // The properties are those of `--catalog-property`; nothing more is an SQLite catalog in the warehouse.
    let properties = BTreeMap::from([("warehouse".to_owned(), warehouse.to_owned())]);
    let store = Store::local();
    let progress = Arc::new(Progress::default());
    let context = Context {
        exports: store.clone(),
        catalog: Some(connect("default", &properties, store).await?),
        threads: 2,
        memory_limit: 512 << 20,
        progress: Arc::clone(&progress),
    };
    let watching = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = progress.snapshot();
            eprintln!("{}: {} of {} files, {} items", now.step, now.files_done, now.files_total, now.items);
        }
    });

    let table = TableIdent::from_strs(["shop", "orders"])?;
    let name = Some(table.to_string());
    let mut loaded = Report::new("full-load", name.clone());
    let load = FullLoad {
        export: full.to_owned(),
        without_manifest: false,
        table: table.clone(),
        schema: None,
        key: vec!["customer_id".to_owned(), "order_id".to_owned()],
        partition_by: Vec::new(),
        if_exists: IfExists::Fail,
        allow_other_table: false,
        max_struct_fields: 256,
        dry_run: false,
    };
    full_load(&context, &load, &mut loaded).await?;

    let mut applied = Report::new("incremental", name);
    let windows = Incremental {
        exports: vec![exports.to_owned()],
        table,
        key: Vec::new(),
        write_mode: None,
        new_attributes: NewAttributes::Add,
        allow_gap: false,
        allow_overlap: false,
        maintenance: Maintenance::Auto,
        dry_run: false,
    };
    let mut events = |event: Event| {
        if let Event::Window(window) = &event {
            eprintln!("{:?} to {:?} has ended: {:?}", window.from, window.to, window.status);
        }
        applied.apply(event);
    };
    incremental(&context, &windows, &mut events).await?;
    watching.abort();
    Ok(vec![loaded, applied])
}
