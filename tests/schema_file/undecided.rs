//! Columns are made when their type is known; until then nothing is lost.

use std::fs;

use serde_json::{Value, json};

use super::program::{Site, change, full, item};
use super::reader::Row;
use super::{edited, load, n, put, s};

const MODES: [&str; 2] = ["merge-on-read", "copy-on-write"];

fn absent() -> Value {
    json!({ "NULL": true })
}

fn list(elements: &[Value]) -> Value {
    json!({ "L": elements })
}

/// A site whose table holds these items.
fn loaded(items: &[Value], more: &[&str]) -> Site {
    let site = Site::new();
    let export = full(0).files([items.iter().map(item).collect::<Vec<_>>()]).write(site.bucket());
    let run = site.run(&[&["full-load", export.to_str().unwrap(), "--key", "pk"], more].concat()).expect(0);
    assert_eq!(run.report["warnings"], json!([]));
    site
}

/// The table has exactly the rows of these items, as `verify` sees it.
fn verify(site: &Site, minutes: u32, items: &[Value]) {
    let export = full(minutes).files([items.iter().map(item).collect::<Vec<_>>()]).write(site.path().join("verified"));
    let run = site.run(&["verify", export.to_str().unwrap()]).expect(0);
    assert_eq!(run.report["comparison"]["equal"], items.len(), "{}", run.stdout);
    fs::remove_dir_all(site.path().join("verified")).unwrap();
}

async fn columns(site: &Site) -> Vec<String> {
    let table = site.table().await.unwrap();
    table.metadata.current_schema().as_struct().fields().iter().map(|field| field.name.clone()).collect()
}

/// The rows by key, with what was rescued as JSON.
async fn rows(site: &Site) -> Vec<Row> {
    let mut rows = site.rows().await;
    rows.sort_by_key(|row| row["pk"].to_string());
    for row in &mut rows {
        if let Some(text) = row.get("_ddb_rescued") {
            let rescued = serde_json::from_str(text.as_str().unwrap()).unwrap();
            row.insert("_ddb_rescued".to_owned(), rescued);
        }
    }
    rows
}

/// What says nothing of a type, a value that does, and what the column then holds.
fn shapes() -> Vec<(Value, Value, Value)> {
    let empty = json!({"M": {}});
    vec![
        (absent(), n("1.5"), json!({"decimal": "1.5"})),
        (list(&[]), list(&[n("1"), n("2")]), json!([1, 2])),
        (empty.clone(), json!({"M": {"x": n("1")}}), json!({"x": 1})),
        (list(&[absent(), absent()]), list(&[s("a"), absent()]), json!(["a", null])),
        (list(&[list(&[])]), list(&[list(&[s("text")])]), json!([["text"]])),
        (
            json!({"M": {"x": absent(), "y": {"M": {"z": list(&[])}}}}),
            json!({"M": {"y": {"M": {"z": list(&[s("a")])}}}}),
            json!({"y": {"z": ["a"]}}),
        ),
        (
            list(&[json!({"M": {"x": absent()}})]),
            list(&[json!({"M": {"x": n("1"), "y": absent()}})]),
            json!([{"x": 1}]),
        ),
        (json!({"M": {"a": empty}}), json!({"M": {"a": {"M": {"b": {"SS": ["b"]}}}}}), json!({"a": {"b": ["b"]}})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_value_that_has_a_type_makes_the_column() {
    for mode in MODES {
        for (nothing, value, column) in shapes() {
            let about = format!("{mode} {nothing} {value}");
            let kept = nothing != absent();
            let a = json!({"pk": s("a"), "v": nothing});
            let site = loaded(&[a.clone(), json!({"pk": s("b")})], &[]);
            assert_eq!(columns(&site).await, ["pk", "_ddb_rescued"], "{about}");
            verify(&site, 0, &[a.clone(), json!({"pk": s("b")})]);

            // Windows that say no more of it: nothing is added, and nobody is alarmed.
            let c = json!({"pk": s("c"), "v": nothing});
            for (at, policy) in [(0, "add"), (15, "rescue"), (30, "fail")] {
                let export = site.window(at, at + 15, vec![put(&c)]);
                let report =
                    site.incremental(&[&export], &["--write-mode", mode, "--new-attributes", policy]).expect(0).report;
                let window = &report["windows"][0];
                assert_eq!(window["columns_added"], json!([]), "{about}");
                assert_eq!(window["rescued"], if kept { json!({"v": 1}) } else { json!({}) }, "{about}");
                assert_eq!(report["warnings"], json!([]), "{about}");
            }
            verify(&site, 45, &[a.clone(), json!({"pk": s("b")}), c.clone()]);

            // A value: the column is made, and rows that are written from here on have what was empty in it.
            let (b, d) = (json!({"pk": s("b"), "v": value}), json!({"pk": s("d"), "v": nothing}));
            let export = site.window(45, 60, vec![put(&b), put(&d)]);
            let refused = site.incremental(&[&export], &["--new-attributes", "fail"]).expect(3);
            assert!(refused.message().contains("table lacks: v "), "{about}: {}", refused.message());
            let report = site.incremental(&[&export], &["--write-mode", mode]).expect(0).report;
            assert_eq!(report["windows"][0]["columns_added"], json!(["v"]), "{about}");
            assert_eq!(columns(&site).await, ["pk", "_ddb_rescued", "v"], "{about}");
            verify(&site, 60, &[a.clone(), b, c, d]);
            let rows = rows(&site).await;
            assert_eq!(rows.len(), 4, "{about}");
            assert_eq!(rows[1]["v"], column, "{about}");
            assert!(!rows[1].contains_key("_ddb_rescued"), "{about}");
            for row in [&rows[0], &rows[2]] {
                assert!(!row.contains_key("v"), "{about}");
                assert_eq!(row.get("_ddb_rescued"), kept.then(|| json!({"v": nothing})).as_ref(), "{about}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_structs_wait_for_a_type_too() {
    let struct_of = |fields: Value| json!({ "M": fields });
    for mode in MODES {
        for inside in [false, true] {
            let around = |value: Value| if inside { list(&[value, absent()]) } else { value };
            let shown = |value: Value| if inside { json!([value, null]) } else { value };
            let path = if inside { "m.element." } else { "m." };
            let a = json!({"pk": s("a"), "m": around(struct_of(json!({"x": n("1"), "n": absent()})))});
            let b = json!({"pk": s("b"), "m": around(struct_of(json!({"x": n("2"), "l": list(&[]), "deep": struct_of(json!({"e": struct_of(json!({}))}))})))});
            let site = loaded(&[a.clone(), b.clone()], &[]);
            let found = rows(&site).await;
            assert_eq!(found[0]["m"], shown(json!({"x": 1})));
            assert!(!found[0].contains_key("_ddb_rescued"), "NULL needs nothing");
            assert_eq!((&found[1]["m"], &found[1]["_ddb_rescued"]), (&shown(json!({"x": 2})), &json!({"m": b["m"]})));
            verify(&site, 0, &[a.clone(), b.clone()]);

            let c = json!({"pk": s("c"), "m": around(struct_of(json!({"l": list(&[n("7")]), "deep": struct_of(json!({"e": struct_of(json!({"f": s("g")}))})), "n": absent()})))});
            let a2 = json!({"pk": s("a"), "m": around(struct_of(json!({"l": list(&[])})))});
            let export = site.window(0, 15, vec![put(&c), put(&a2)]);
            let report = site.incremental(&[&export], &["--write-mode", mode]).expect(0).report;
            assert_eq!(report["windows"][0]["columns_added"], json!([format!("{path}deep"), format!("{path}l")]));
            assert_eq!(report["windows"][0]["rescued"], json!({}));
            let found = rows(&site).await;
            assert_eq!(found[0]["m"], shown(json!({"l": []})));
            assert_eq!(found[1]["_ddb_rescued"], json!({"m": b["m"]}));
            assert_eq!(found[2]["m"], shown(json!({"deep": {"e": {"f": "g"}}, "l": [7]})));
            verify(&site, 15, &[a2, b, c]);
        }
    }
}

/// A map that is too wide for a struct: its values say nothing either, or some of them do.
#[tokio::test(flavor = "multi_thread")]
async fn wide_maps_wait_for_a_type_too() {
    let wide = |value: &Value| {
        let fields: serde_json::Map<String, Value> = (0..5).map(|n| (format!("f{n}"), value.clone())).collect();
        json!({ "M": fields })
    };
    let more = ["--max-struct-fields", "3"];
    for value in [absent(), list(&[]), list(&[absent()])] {
        let a = json!({"pk": s("a"), "v": wide(&value)});
        let site = loaded(std::slice::from_ref(&a), &more);
        assert_eq!(columns(&site).await, ["pk", "_ddb_rescued"]);
        assert_eq!(rows(&site).await[0]["_ddb_rescued"], json!({"v": a["v"]}));
        verify(&site, 0, &[a]);
    }
    let a = json!({"pk": s("a"), "v": wide(&json!({"M": {"x": n("1"), "y": list(&[]), "z": absent()}}))});
    let site = loaded(std::slice::from_ref(&a), &more);
    assert_eq!(rows(&site).await[0]["v"]["f3"], json!({"x": 1}));
    assert_eq!(rows(&site).await[0]["_ddb_rescued"], json!({"v": a["v"]}));
    verify(&site, 0, &[a]);
}

/// A table from before: `string`, `list<string>` and `map<string, string>` take what they took.
#[tokio::test(flavor = "multi_thread")]
async fn types_named_by_hand_stay_as_named() {
    let a = json!({"pk": s("a"), "n": absent(), "l": list(&[]), "m": {"M": {}}, "t": {"L": [absent()]}});
    let (site, export) = edited(std::slice::from_ref(&a), |attributes| {
        for (name, ty) in [("n", json!("string")), ("l", json!({"list": "string"})), ("m", json!({"map": "string"}))] {
            assert_eq!(attributes[name]["type"], "undecided");
            attributes[name]["type"] = ty;
        }
        attributes["t"]["type"] = json!({"list": "timestamp(seconds)"});
    });
    assert_eq!(load(&site, &export).expect(0).report["windows"][0]["rescued"], json!({}));
    let b = json!({"pk": s("b"), "n": s("x"), "l": list(&[s("y")]), "m": {"M": {}}, "t": list(&[])});
    let c = json!({"pk": s("c"), "n": n("1")});
    let run = site.incremental(&[&site.window(0, 15, vec![put(&b), put(&c)])], &[]).expect(0);
    assert_eq!(run.report["windows"][0]["columns_added"], json!([]));
    assert_eq!(run.report["windows"][0]["rescued"], json!({"n": 1}));
    assert!(run.warnings().contains("1 values of \\\"n\\\" did not fit"), "{}", run.warnings());
    let found = rows(&site).await;
    let expected = json!({"pk": "a", "l": [], "m": {}, "t": [null]});
    assert_eq!(json!(found[0]), expected);
    let expected = json!({"pk": "b", "n": "x", "l": ["y"], "m": {}, "t": []});
    assert_eq!(json!(found[1]), expected);
    verify(&site, 15, &[a, b, c]);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_load_decides_what_a_schema_file_leaves_undecided() {
    let sample = json!({"pk": s("a"), "v": absent(), "l": list(&[]), "secret": absent(), "m": {"M": {"x": n("1"), "y": absent(), "z": list(&[])}}});
    let (site, export) = edited(std::slice::from_ref(&sample), |attributes| {
        for name in ["v", "l", "secret"] {
            assert_eq!(attributes[name]["type"], "undecided");
        }
        assert_eq!(attributes["m"]["type"]["struct"]["y"]["type"], "undecided");
        attributes["v"]["column"] = json!("value");
        attributes["l"]["column"] = json!("letters");
        attributes["secret"] = json!({"exclude": true});
        attributes["m"]["type"]["struct"]["y"]["column"] = json!("ypsilon");
        attributes["m"]["type"]["struct"]["z"]["column"] = json!("zed");
    });
    fs::remove_dir_all(&export).unwrap();
    // Of an attribute that is left out nothing is looked at, or told.
    let b = json!({"pk": s("b"), "v": n("1.5"), "secret": {"S": "hidden"}, "m": {"M": {"y": list(&[s("e")])}}, "unlisted": absent()});
    let export = full(0).files([vec![item(&sample), item(&b)]]).write(site.bucket());
    load(&site, export.to_str().unwrap()).expect(0);
    assert_eq!(columns(&site).await, ["pk", "m", "value", "_ddb_rescued"]);
    let found = rows(&site).await;
    assert_eq!(json!(found[1]), json!({"pk": "b", "value": {"decimal": "1.5"}, "m": {"ypsilon": ["e"]}}));
    assert_eq!(found[0]["_ddb_rescued"], json!({"l": list(&[]), "m": sample["m"]}));

    // The names that were chosen hold when the columns are made; an attribute called so gets another one.
    let c = json!({"pk": s("c"), "letters": s("x"), "zed": n("1"), "m": {"M": {"zed": n("2")}}});
    let d = json!({"pk": s("d"), "l": list(&[n("1")]), "m": {"M": {"z": list(&[n("3")])}}});
    let run = site.incremental(&[&site.window(0, 15, vec![put(&c)])], &[]).expect(0);
    let added = run.report["windows"][0]["columns_added"].clone();
    let renamed = |path: &str, name: &str| {
        added.as_array().unwrap().iter().any(|one| one.as_str().unwrap().starts_with(&format!("{path}{name}__")))
    };
    assert!(renamed("", "letters") && renamed("m.", "zed") && added.as_array().unwrap().len() == 3, "{added}");
    let run = site.incremental(&[&site.window(15, 30, vec![put(&d)])], &[]).expect(0);
    assert_eq!(run.report["windows"][0]["columns_added"], json!(["m.zed", "letters"]));
    assert_eq!(json!(rows(&site).await[3]), json!({"pk": "d", "letters": [1], "m": {"zed": [3]}}));
    verify(&site, 30, &[sample, b, c, d]);
}

#[test]
fn what_stands_for_no_whole_column_or_field_is_refused() {
    for (ty, expected) in [
        (json!({"list": "undecided"}), "a list of what is undecided"),
        (json!({"map": {"set": "undecided"}}), "a set of what is undecided"),
        (json!({"struct": {"x": {"type": "undecided"}, "y": {"type": "undecided"}}}), "fields are all undecided"),
        (json!(5), "expected a type, found 5"),
        (json!(["long"]), r#"expected a type, found ["long"]"#),
    ] {
        let (site, export) = edited(&[json!({"pk": s("a"), "v": absent()})], |attributes| attributes["v"]["type"] = ty);
        let run = load(&site, &export).expect(2);
        assert!(
            run.message().contains(expected) && run.message().contains("attributes[\"v\"].type"),
            "{}",
            run.message()
        );
    }
    let (site, export) = edited(&[json!({"pk": s("a"), "v": absent()})], |attributes| {
        attributes["pk"]["type"] = json!("undecided");
    });
    assert!(load(&site, &export).expect(2).message().contains("a key cannot be of type undecided"));
    for value in [absent(), list(&[])] {
        let site = Site::new();
        let export = full(0).files([vec![item(&json!({"pk": s("a"), "k": value}))]]).write(site.bucket());
        let run = site.load(&export, &["k"]).expect(2);
        assert!(
            run.message().contains("(attribute \"k\")") && run.message().contains("Check --key"),
            "{}",
            run.message()
        );
        let run = site.plain(&["detect-schema", export.to_str().unwrap(), "--key", "k"]);
        assert!(run.code == 2 && run.stderr.contains("(attribute \"k\")"), "{}", run.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plain_form_leaves_open_what_no_item_has() {
    let site = Site::new();
    let export = full(0).files([Vec::<String>::new()]).write(site.bucket());
    let kinds = json!({"pk": "N", "a": "N", "b": "NS", "c": "L", "d": "M", "e": "NULL", "f": "S", "g": "BS"});
    fs::write(site.path().join("schema.json"), kinds.to_string()).unwrap();
    site.run(&["full-load", export.to_str().unwrap(), "--schema", "schema.json", "--key", "pk"]).expect(0);
    assert_eq!(columns(&site).await, ["pk", "f", "g", "_ddb_rescued"]);
    let keys = json!({"pk": n("1")});
    let image =
        json!({"pk": n("1"), "a": n("0.5"), "b": {"NS": ["1"]}, "c": list(&[s("x")]), "d": {"M": {}}, "e": s("y")});
    let run = site.incremental(&[&site.window(0, 15, vec![change(&keys, Some(&image))])], &[]).expect(0);
    assert_eq!(run.report["windows"][0]["columns_added"], json!(["a", "b", "c", "e"]));
    let row = &rows(&site).await[0];
    let rescued = json!({"d": {"M": {}}});
    assert_eq!(
        json!(row),
        json!({"pk": 1, "a": {"decimal": "0.5"}, "b": [1], "c": ["x"], "e": "y", "_ddb_rescued": rescued})
    );
}
