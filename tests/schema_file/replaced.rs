//! `--if-exists replace` without a schema file keeps what the table's own mapping has decided.

use super::{BTreeMap, Commit, Run, Site, Store, TableUpdate, Value, connect, fs, full, item, json, n, put, s};

const SECRET: &str = "top-secret";

/// A site whose table was loaded from one item by this schema file.
fn loaded(first: &Value, schema: &Value) -> Site {
    let site = Site::new();
    fs::write(site.path().join("schema.json"), schema.to_string()).unwrap();
    let export = full(0).files([[item(first)]]).write(site.bucket());
    site.run(&["full-load", export.to_str().unwrap(), "--schema", "schema.json"]).expect(0);
    site
}

/// Replaces its rows by these items, with nothing said but these flags.
fn replace(site: &Site, minutes: u32, items: &[Value], flags: &[&str]) -> Run {
    let export = full(minutes).files([items.iter().map(item).collect::<Vec<_>>()]).write(site.bucket());
    site.run(&[&["full-load", export.to_str().unwrap(), "--if-exists", "replace", "-vvv"], flags].concat())
}

fn quiet(run: &Run) {
    assert!(!run.stdout.contains(SECRET) && !run.stderr.contains(SECRET), "{}\n{}", run.stdout, run.stderr);
}

async fn types(site: &Site) -> BTreeMap<String, (i32, String)> {
    let table = site.table().await.unwrap();
    let fields = table.metadata.current_schema().as_struct().fields();
    fields.iter().map(|field| (field.name.clone(), (field.id, field.field_type.to_string()))).collect()
}

async fn set_property(site: &Site, name: &str, value: String) {
    let properties = BTreeMap::from([("warehouse".to_owned(), site.warehouse().display().to_string())]);
    let catalog = connect("default", &properties, Store::local()).await.unwrap();
    let updates = vec![TableUpdate::SetProperties { updates: [(name.to_owned(), value)].into() }];
    let base = site.table().await.unwrap();
    assert!(matches!(catalog.commit(&base, Vec::new(), updates).await.unwrap(), Commit::Done(_)));
}

fn schema() -> Value {
    json!({"version": 1, "key": ["pk"], "attributes": {
        "pk": {"type": "string", "column": "id"},
        "top-secret-name": {"exclude": true},
        "at": {"type": "timestamp(seconds)"},
        "whole": {"type": "long"},
        "price": {"type": "decimal(10,2)"},
        "digits": {"type": "number-string"},
        "any": {"type": "json"},
        "ratio": {"type": "double"},
        "per day": {"type": {"map": "long"}},
        "m": {"type": {"struct": {"when": {"type": "timestamp(iso-8601)", "column": "moment"}}}}
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_table_keeps_what_its_schema_file_said() {
    let first = json!({"pk": s("a"), "top-secret-name": s("top-secret-value"), "at": n("0"), "whole": n("1"),
        "digits": n("1"), "any": s("x"), "ratio": n("0.5"), "per day": {"M": {"x": n("1")}},
        "m": {"M": {"when": s("2026-01-14T10:00:00Z")}}});
    let site = loaded(&first, &schema());
    let before = types(&site).await;
    let second = json!({"pk": s("b"), "top-secret-name": {"M": {"top-secret-field": s("top-secret-value")}},
        "at": n("60"), "whole": n("1.5"), "price": n("2.50"), "digits": n("10"), "any": n("1"), "ratio": n("0.25"),
        "per day": {"M": {"x": n("2"), "y": n("3")}}, "m": {"M": {"when": s("2026-01-14T11:00:00Z"), "new": n("7")}},
        "id": s("an attribute called as the key's column"), "more": n("2.5")});
    let run = replace(&site, 10, &[second], &[]).expect(0);
    quiet(&run);
    assert_eq!(run.report["windows"][0]["rescued"], json!({"whole": 1}));
    assert!(run.warnings().contains("--schema"), "{}", run.warnings());
    let rows = site.rows().await;
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert!(!serde_json::to_string(&rows).unwrap().contains(SECRET));
    assert_eq!((&row["id"], &row["_ddb_rescued"]), (&json!("b"), &json!(r#"{"whole":{"N":"1.5"}}"#)));
    assert_eq!(row["at"], json!({"instant": "1970-01-01T00:01:00+00:00"}));
    assert_eq!((&row["digits"], &row["any"], &row["ratio"]), (&json!("10"), &json!("1"), &json!(0.25)));
    assert_eq!(row["price"], json!({"decimal": "2.5"}));
    assert_eq!(row["m"]["moment"], json!({"instant": "2026-01-14T11:00:00+00:00"}));
    assert_eq!(row["m"]["new"], json!(7));
    assert!(
        row.iter().any(|(name, value)| name.starts_with("id__") && *value == "an attribute called as the key's column")
    );
    let after = types(&site).await;
    for (name, (id, ty)) in &before {
        assert_eq!(after[name].0, *id, "{name} is another column");
        assert!(name == "m" || after[name].1 == *ty, "{name}: {ty}");
    }
    assert!(after["more"].1.contains("decimal(38"), "{after:?}");
    // Windows go on as before.
    let image = json!({"pk": s("b"), "top-secret-name": s("top-secret-value"), "whole": n("3")});
    let run = site.incremental(&[&site.window(10, 25, vec![put(&image)])], &["-vvv"]).expect(0);
    quiet(&run);
    let rows = site.rows().await;
    assert_eq!((rows.len(), &rows[0]["whole"]), (1, &json!(3)));
    // A damaged value of what is left out says nothing.
    for value in [json!({"N": "top-secret-value"}), json!({"S": 1}), json!("top-secret-value")] {
        let run = replace(&site, 40, &[json!({"pk": s("c"), "top-secret-name": value})], &[]).expect(3);
        quiet(&run);
        assert!(run.message().contains("left out"), "{}", run.message());
        fs::remove_dir_all(site.bucket()).unwrap();
        fs::create_dir(site.bucket()).unwrap();
    }
    // Only a schema file lifts it.
    let mut lifted = schema();
    lifted["attributes"]["top-secret-name"] = json!({"type": "string", "column": "open"});
    fs::write(site.path().join("lifted.json"), lifted.to_string()).unwrap();
    let item = json!({"pk": s("d"), "top-secret-name": s("meant to be seen")});
    replace(&site, 50, &[item], &["--schema", "lifted.json"]).expect(0);
    assert_eq!(site.rows().await[0]["open"], "meant to be seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_export_replaces_and_columns_stay() {
    let site = loaded(&json!({"pk": s("a"), "at": n("0"), "top-secret-name": s("x")}), &schema());
    let before = types(&site).await;
    replace(&site, 10, &[], &[]).expect(0);
    assert_eq!((site.rows().await.len(), types(&site).await), (0, before));
    let image = json!({"pk": s("a"), "at": n("60"), "top-secret-name": s("x")});
    site.incremental(&[&site.window(10, 25, vec![put(&image)])], &[]).expect(0);
    assert_eq!(site.rows().await[0]["at"], json!({"instant": "1970-01-01T00:01:00+00:00"}));
    assert_eq!(site.rows().await[0].len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn observed_types_are_healed_by_a_replacement() {
    let site =
        Site::loaded(vec![item(&json!({"pk": s("a"), "v": n("1"), "w": n("1"), "l": {"L": [n("1")]}}))], &["pk"]);
    let before = types(&site).await;
    let changed = json!({"pk": s("a"), "v": n("1.5"), "w": n("2"), "l": {"L": [n("1"), n("0.5")]}});
    let run = site.incremental(&[&site.window(0, 15, vec![put(&changed)])], &[]).expect(0);
    assert_eq!(run.report["windows"][0]["rescued"], json!({"l": 1, "v": 1}));
    let run = replace(&site, 20, &[changed], &[]).expect(0);
    assert_eq!(run.report["windows"][0]["rescued"], json!({}));
    let rows = site.rows().await;
    assert_eq!(rows[0]["v"], json!({"decimal": "1.5"}));
    assert!(!rows[0].contains_key("_ddb_rescued"), "{rows:?}");
    let after = types(&site).await;
    assert!(after["w"] == before["w"] && after["v"].0 != before["v"].0, "{before:?} {after:?}");
}

/// Tables that an earlier version made do not say which types were named.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_earlier_versions_keep_what_only_a_person_can_have_decided() {
    let site = loaded(&json!({"pk": s("a"), "at": n("0"), "whole": n("1"), "ratio": n("1")}), &schema());
    let table = site.table().await.unwrap();
    let mut mapping: Value = serde_json::from_str(&table.metadata.properties()["ddb-iceberg.schema"]).unwrap();
    let named = mapping.as_object_mut().unwrap().remove("named").unwrap();
    assert_eq!((&named["whole"], named.get("top-secret-name")), (&json!("type"), None));
    set_property(&site, "ddb-iceberg.schema", mapping.to_string()).await;
    let second = json!({"pk": s("b"), "at": n("60"), "whole": n("1.5"), "ratio": n("0.5"), "top-secret-name": s("x")});
    let run = replace(&site, 10, &[second], &[]).expect(0);
    quiet(&run);
    assert_eq!(run.report["windows"][0]["rescued"], json!({}));
    let rows = site.rows().await;
    assert_eq!(rows[0]["whole"], json!({"decimal": "1.5"}));
    assert_eq!((&rows[0]["ratio"], rows[0]["at"].is_object(), rows[0].len()), (&json!(0.5), true, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plain_form_keeps_its_kinds() {
    let site = Site::new();
    fs::write(site.path().join("plain.json"), r#"{"pk":"S","v":"N"}"#).unwrap();
    let export = full(0).files([[item(&json!({"pk": s("a"), "v": n("1")}))]]).write(site.bucket());
    site.run(&["full-load", export.to_str().unwrap(), "--schema", "plain.json", "--key", "pk"]).expect(0);
    let items = [json!({"pk": s("a"), "v": n("1.5")}), json!({"pk": s("b"), "v": s("text")})];
    for (minutes, flags) in [(10, &[][..]), (20, &["--schema", "plain.json"])] {
        let run = replace(&site, minutes, &items, flags).expect(0);
        assert_eq!(run.report["windows"][0]["rescued"], json!({"v": 1}));
        assert!(site.rows().await.iter().any(|row| row.get("v") == Some(&json!({"decimal": "1.5"}))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_stays_unless_a_schema_file_names_another() {
    let both = |pk: &str, sk: &str| json!({"pk": s(pk), "sk": s(sk)});
    let site = Site::loaded(vec![item(&both("a", "1"))], &["pk", "sk"]);
    let before = site.files();
    for wrong in [&["--key", "sk"][..], &["--key", "pk"], &["--key", "sk", "--key", "pk"]] {
        let run = replace(&site, 10, &[both("b", "1")], wrong).expect(2);
        assert!(
            run.message().contains("the table's key is pk, sk") && run.message().contains("--schema"),
            "{}",
            run.message()
        );
        fs::remove_dir_all(site.bucket().join("AWSDynamoDB")).unwrap();
    }
    let table = |files: BTreeMap<String, Vec<u8>>| {
        files.into_iter().filter(|(name, _)| name.starts_with("warehouse")).collect::<Vec<_>>()
    };
    assert!(table(before) == table(site.files()), "the table is untouched");
    replace(&site, 10, &[both("b", "1")], &["--key", "pk", "--key", "sk"]).expect(0);
    let file = json!({"version": 1, "key": ["sk"], "attributes": {"sk": {"type": "string"}, "pk": {"type": "string"}}});
    fs::write(site.path().join("turned.json"), file.to_string()).unwrap();
    replace(&site, 20, &[both("c", "1")], &["--schema", "turned.json"]).expect(0);
    let keys = site.table().await.unwrap().metadata.current_schema().identifier_field_ids().count();
    assert_eq!((keys, &site.rows().await[0]["pk"]), (1, &json!("c")));
    replace(&site, 30, &[both("d", "1")], &[]).expect(0);
    assert_eq!(site.table().await.unwrap().metadata.current_schema().identifier_field_ids().count(), 1);
}
