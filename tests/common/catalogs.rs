//! Tables and changes to try catalogs with.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ddb_iceberg::catalog::patience::Patience;
use ddb_iceberg::catalog::{Catalog, Commit, LoadedTable, NewTable, TableHome};
use ddb_iceberg::error::Result;
use ddb_iceberg::storage::{AllowedLocations, Location};
use iceberg::spec::{
    MAIN_BRANCH, NestedField, Operation, PrimitiveType, Schema, Snapshot, SnapshotReference, SnapshotRetention,
    Summary, TableMetadata, TableMetadataBuildResult, TableMetadataBuilder, Type,
};
use iceberg::{TableCreation, TableIdent, TableRequirement, TableUpdate};
use uuid::Uuid;

/// Quick to give up.
pub const SHORT: Patience = Patience {
    first_pause: Duration::from_millis(5),
    longest_pause: Duration::from_millis(20),
    reload: Duration::from_millis(300),
    in_flight: Duration::from_millis(300),
};

/// For what must come, however slow the machine is.
pub const LONG: Patience = Patience { reload: Duration::from_secs(30), in_flight: Duration::from_secs(30), ..SHORT };

pub fn orders() -> TableIdent {
    TableIdent::from_strs(["shop", "orders"]).unwrap()
}

pub fn schema(fields: &[&str]) -> Schema {
    let fields = fields.iter().zip(1..).map(|(name, id)| match id {
        1 => NestedField::required(1, *name, Type::Primitive(PrimitiveType::String)).into(),
        _ => NestedField::optional(id, *name, Type::Primitive(PrimitiveType::String)).into(),
    });
    Schema::builder().with_fields(fields).with_identifier_field_ids([1]).build().unwrap()
}

/// A snapshot on top of the table's main, as updates, and its id. The files it speaks of do not exist.
pub fn append(metadata: &TableMetadata) -> (Vec<TableUpdate>, i64) {
    let id = i64::from_be_bytes(Uuid::new_v4().as_bytes()[..8].try_into().unwrap()) & i64::MAX;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = i64::try_from(now).unwrap();
    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(metadata.current_snapshot_id())
        .with_sequence_number(metadata.next_sequence_number())
        .with_timestamp_ms(now.max(metadata.last_updated_ms()))
        .with_schema_id(metadata.current_schema_id())
        .with_manifest_list(format!("{}/metadata/snap-{id}.avro", metadata.location()))
        .with_summary(Summary { operation: Operation::Append, additional_properties: HashMap::new() })
        .build();
    let reference = SnapshotReference::new(id, SnapshotRetention::branch(None, None, None));
    let updates = vec![
        TableUpdate::AddSnapshot { snapshot },
        TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference },
    ];
    (updates, id)
}

fn empty_table(location: &str, properties: &[(&str, &str)], uuid: Option<Uuid>) -> TableMetadataBuildResult {
    let creation = TableCreation::builder()
        .name("unused".to_owned())
        .location(location.to_owned())
        .schema(schema(&["pk", "a"]))
        .properties(properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
        .build();
    let builder = TableMetadataBuilder::from_table_creation(creation).unwrap();
    uuid.into_iter().fold(builder, TableMetadataBuilder::assign_uuid).build().unwrap()
}

/// Where a new table goes; `None` if the name is taken.
pub async fn home(catalog: &dyn Catalog, ident: &TableIdent) -> Result<Option<TableHome>> {
    catalog.prepare(ident, &empty_table("", &[], None).metadata).await
}

/// A table with one snapshot.
pub fn new_table(location: &str, properties: &[(&str, &str)]) -> NewTable {
    with_snapshot(empty_table(location, properties, None))
}

/// A table with one snapshot, at the place that the catalog gives it; `None` if the name is taken.
pub async fn placed(catalog: &dyn Catalog, ident: &TableIdent, properties: &[(&str, &str)]) -> Option<NewTable> {
    let home = home(catalog, ident).await.unwrap()?;
    Some(with_snapshot(empty_table(&home.location, properties, home.uuid)))
}

fn with_snapshot(empty: TableMetadataBuildResult) -> NewTable {
    let mut updates = empty.changes;
    let mut builder = empty.metadata.clone().into_builder(None);
    for update in append(&empty.metadata).0 {
        updates.push(update.clone());
        builder = update.apply(builder).unwrap();
    }
    NewTable { metadata: builder.build().unwrap().metadata, updates }
}

/// Everything that a change is planned on.
pub fn base(metadata: &TableMetadata) -> Vec<TableRequirement> {
    vec![
        TableRequirement::UuidMatch { uuid: metadata.uuid() },
        TableRequirement::RefSnapshotIdMatch {
            r#ref: MAIN_BRANCH.to_owned(),
            snapshot_id: metadata.current_snapshot_id(),
        },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
        TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: metadata.last_column_id() },
        TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: metadata.last_partition_id() },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: metadata.default_partition_spec_id() },
        TableRequirement::DefaultSortOrderIdMatch { default_sort_order_id: metadata.default_sort_order_id() },
    ]
}

/// Creates `shop.orders` and loads it.
pub async fn create_orders(catalog: &dyn Catalog, properties: &[(&str, &str)]) -> LoadedTable {
    let ident = orders();
    catalog.ensure_namespace(ident.namespace()).await.unwrap();
    let table = placed(catalog, &ident, properties).await.unwrap();
    done(catalog.create(&ident, table).await.unwrap());
    load(catalog).await
}

pub async fn load(catalog: &dyn Catalog) -> LoadedTable {
    catalog.load(&orders()).await.unwrap().unwrap()
}

pub fn done(answer: Commit) -> LoadedTable {
    match answer {
        Commit::Done(table) => table,
        other => panic!("not done: {other:?}"),
    }
}

#[track_caller]
pub fn assert_conflict(answer: &Commit) {
    assert!(matches!(answer, Commit::Conflict(_)), "no conflict: {answer:?}");
}

/// The metadata files in a local table's folder.
pub fn metadata_files(table: &LoadedTable) -> Vec<String> {
    let folder = format!("{}/metadata", table.metadata.location());
    let mut names: Vec<String> = std::fs::read_dir(folder.strip_prefix("file://").unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".metadata.json"))
        .collect();
    names.sort();
    names
}

/// Tables below a warehouse.
pub fn below(warehouse: &str) -> AllowedLocations {
    AllowedLocations::below(Some(Location::parse(warehouse).unwrap()))
}
