//! Columns that another program drops and adds: their ids are never given to other columns.

use std::collections::{BTreeMap, BTreeSet};

use iceberg::spec::{NestedField, StructType, Type};
use serde_json::{Value, json};

use super::other_writer::schema_of;
use super::program::{Site, simple};
use super::{Commit, Store, connect, n, put, s};

async fn alter(site: &Site, change: impl FnOnce(&mut Vec<NestedField>)) {
    let table = site.table().await.unwrap();
    let properties = BTreeMap::from([("warehouse".to_owned(), site.warehouse().display().to_string())]);
    let catalog = connect("default", &properties, Store::local()).await.unwrap();
    let updates = schema_of(&table, change);
    assert!(matches!(catalog.commit(&table, Vec::new(), updates).await.unwrap(), Commit::Done(_)));
}

/// All ids of the current columns and their fields.
async fn ids(site: &Site) -> BTreeSet<i32> {
    fn within(fields: &[iceberg::spec::NestedFieldRef], found: &mut BTreeSet<i32>) {
        for field in fields {
            assert!(found.insert(field.id), "an id twice");
            match &*field.field_type {
                Type::Struct(inner) => within(inner.fields(), found),
                Type::List(list) => within(std::slice::from_ref(&list.element_field), found),
                Type::Map(map) => within(&[map.key_field.clone(), map.value_field.clone()], found),
                Type::Primitive(_) => {}
            }
        }
    }
    let mut found = BTreeSet::new();
    within(site.table().await.unwrap().metadata.current_schema().as_struct().fields(), &mut found);
    found
}

async fn row(site: &Site, pk: &str) -> Value {
    let rows = site.rows().await;
    let row = rows.into_iter().find(|row| row["pk"] == pk).unwrap();
    Value::Object(row.into_iter().collect())
}

/// Another program drops the newest column, then a window adds one: the old rows have nothing in it.
#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_a_dropped_column_is_not_given_to_another() {
    for mode in ["merge-on-read", "copy-on-write"] {
        let site = Site::loaded(vec![simple("a", 1), simple("b", 2)], &["pk"]);
        let flags = ["--write-mode", mode, "--maintenance", "off"];
        let mut used = ids(&site).await;
        let mut at = 0;
        let mut window = |image: Value| {
            let export = site.window(at, at + 15, vec![put(&image)]);
            at += 15;
            site.incremental(&[&export], &flags).expect(0)
        };
        window(json!({"pk": s("c"), "v": n("3"), "secret": s("dropped")}));
        let with = ids(&site).await;
        let dropped: BTreeSet<i32> = with.difference(&used).copied().collect();
        assert_eq!(dropped.len(), 1);
        used.extend(&with);
        alter(&site, |fields| fields.retain(|field| field.name != "secret")).await;
        // One of the same type, so that the old values would be read as its own.
        let run = window(json!({"pk": s("d"), "v": n("4"), "next": s("new")}));
        assert_eq!(run.report["windows"][0]["columns_added"], json!(["next"]));
        let now = ids(&site).await;
        assert!(now.is_disjoint(&dropped), "{now:?} has a dropped id");
        assert_eq!(row(&site, "c").await, json!({"pk": "c", "v": 3}), "{mode}");
        assert_eq!(row(&site, "d").await, json!({"pk": "d", "v": 4, "next": "new"}));
        used.extend(&now);

        // The attribute comes again, as another type.
        alter(&site, |fields| fields.retain(|field| field.name != "next")).await;
        window(
            json!({"pk": s("e"), "v": n("5"), "secret": n("7"), "next": n("8"), "m": {"M": {"x": n("1"), "y": s("q")}}}),
        );
        let again = ids(&site).await;
        let fresh: Vec<i32> = again.difference(&now).copied().collect();
        assert!(fresh.len() == 5 && fresh.iter().all(|id| !used.contains(id)), "{fresh:?} of {used:?}");
        assert_eq!(row(&site, "c").await, json!({"pk": "c", "v": 3}), "{mode}");
        assert_eq!(row(&site, "d").await, json!({"pk": "d", "v": 4}), "{mode}");
        used.extend(&again);

        // So for a field of a struct.
        alter(&site, |fields| {
            let m = fields.iter_mut().find(|field| field.name == "m").unwrap();
            let Type::Struct(inner) = &*m.field_type else { panic!("a struct") };
            let kept = inner.fields().iter().filter(|field| field.name != "y").cloned().collect();
            *m.field_type = Type::Struct(StructType::new(kept));
        })
        .await;
        let before = ids(&site).await;
        window(json!({"pk": s("f"), "v": n("6"), "m": {"M": {"x": n("2"), "z": s("r")}}}));
        let last = ids(&site).await;
        assert!(last.difference(&before).all(|id| !used.contains(id)), "{last:?} of {used:?}");
        assert_eq!(row(&site, "e").await["m"], json!({"x": 1}), "{mode}");
        assert_eq!(row(&site, "f").await["m"], json!({"x": 2, "z": "r"}), "{mode}");

        // And files that are written anew hold what the columns of now hold.
        for pk in ["g", "h", "i"] {
            window(json!({"pk": s(pk), "v": n("1")}));
        }
        let rows = site.rows().await;
        site.run(&["compact"]).expect(0);
        assert_eq!(site.rows().await, rows);
    }
}
