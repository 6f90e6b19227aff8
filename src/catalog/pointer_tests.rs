use std::sync::Mutex;

use iceberg::TableCreation;
use iceberg::spec::{Schema, TableMetadataBuilder};

use super::*;

#[test]
fn the_version_goes_on_whoever_named_the_file() {
    let uuid = "2cd22b57-5127-4198-92ba-e4e67c79821b";
    assert_eq!(next_version(&format!("file:///t/metadata/00003-{uuid}.metadata.json")), 4);
    assert_eq!(next_version(&format!("s3://b/t/metadata/00009-{uuid}.gz.metadata.json")), 10);
    assert_eq!(next_version(&format!("/t/m/00012-{uuid}.metadata.json.gz")), 13);
    assert_eq!(next_version("/t/metadata/v7.metadata.json"), 8);
    assert_eq!(next_version("/t/metadata/current.metadata.json"), 0);
    assert_eq!(next_version("/t/metadata/-1-x.metadata.json"), 0);
    assert_eq!(next_version("/t/metadata/2147483647-x.metadata.json"), 0);
    assert_eq!(next_version("/t/metadata/99999999999999999999-x.metadata.json"), 0);
    assert_eq!(next_version(""), 0);
}

#[test]
fn names_that_leave_the_warehouse_are_refused() {
    for bad in ["", ".", "..", "a/b", "a\\b", "a\0b", "a\nb", " a", "a?b", "a#b", "a%2e", &"x".repeat(256)] {
        assert!(check_name(bad).is_err(), "{bad:?}");
    }
    for good in ["orders", "Orders-2024", "naïve table", "a..b", "日本", &"x".repeat(255)] {
        assert!(check_name(good).is_ok(), "{good:?}");
    }
}

/// Pointers that say something else each time that they are read; in the end the last thing.
#[derive(Debug)]
struct Moving {
    reads: Mutex<Vec<Option<String>>>,
}

#[async_trait]
impl Pointers for Moving {
    async fn read_pointer(&self, _: &TableIdent) -> Result<Option<Pointer>> {
        let mut reads = self.reads.lock().unwrap();
        let now = if reads.len() > 1 { reads.remove(0) } else { reads[0].clone() };
        Ok(now.map(|location| Pointer { location, version: None }))
    }

    async fn insert_pointer(&self, _: &TableIdent, _: &str, _: &TableMetadata) -> Result<Swap> {
        unreachable!("nothing is made")
    }

    async fn swap_pointer(&self, _: &TableIdent, _: &Pointer, _: &str, _: &TableMetadata) -> Result<Swap> {
        unreachable!("nothing is changed")
    }

    async fn ensure_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        Ok(())
    }
}

/// While a metadata file is read, another writer may move the pointer and delete that file.
#[tokio::test]
async fn a_metadata_file_that_goes_while_it_is_read_is_looked_for_anew() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("file://{}/shop/t", folder.path().display());
    let creation = TableCreation::builder()
        .name("t".to_owned())
        .location(location)
        .schema(Schema::builder().build().unwrap())
        .build();
    let metadata = TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata;
    let there = folder.path().join("there.metadata.json").display().to_string();
    std::fs::write(&there, serde_json::to_vec(&metadata).unwrap()).unwrap();
    let gone = |n: usize| Some(folder.path().join(format!("{n}.metadata.json")).display().to_string());

    // Each attempt reads the pointer twice: before the file, and once that could not be read.
    let load = async |reads: Vec<Option<String>>| {
        let allowed = AllowedLocations::below(Some(Location::parse(folder.path().to_str().unwrap()).unwrap()));
        let pointers = Moving { reads: Mutex::new(reads) };
        let catalog = PointerCatalog::new(pointers, Store::local(), allowed);
        let loaded = catalog.load(&TableIdent::from_strs(["shop", "t"]).unwrap()).await;
        let left = catalog.pointers.reads.lock().unwrap().clone();
        (loaded.map(|table| table.map(|table| table.metadata_location)).map_err(|error| error.to_string()), left)
    };
    let there = Some(there);
    let (found, _) = load(vec![gone(0), gone(1), gone(1), gone(2), there.clone()]).await;
    assert_eq!(found, Ok(there.clone()));
    let (found, _) = load(vec![gone(0), None]).await;
    assert_eq!(found, Ok(None), "it was dropped meanwhile");
    // The file that the pointer still names is lost, or others are always quicker.
    let (lost, left) = load(vec![gone(0), gone(0), there.clone()]).await;
    assert!(lost.as_ref().is_err_and(|error| error.contains("could not be read")), "{lost:?}");
    assert_eq!(left, std::slice::from_ref(&there));
    let reads = [gone(0), gone(1), gone(1), gone(2), gone(2), gone(3), there.clone()];
    let (late, left) = load(reads.to_vec()).await;
    assert!(late.as_ref().is_err_and(|error| error.contains("2.metadata.json")), "{late:?}");
    assert_eq!(left, [there]);
}

/// A catalog that can't tell what it is and has.
#[tokio::test]
async fn nothing_is_told_of_a_catalog_that_tells_nothing() {
    let allowed = AllowedLocations::below(Some(Location::parse("/w").unwrap()));
    let pointers = Moving { reads: Mutex::new(vec![None]) };
    let catalog = PointerCatalog::new(pointers, Store::local(), allowed);
    assert_eq!(catalog.place(), "the catalog");
    assert!(catalog.some_tables(&TableIdent::from_strs(["shop", "t"]).unwrap()).await.unwrap().is_empty());
}
