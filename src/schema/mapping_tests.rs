use super::*;

fn table() -> TableSchema {
    let file = SchemaFile::parse(
        r#"{"version":1,"key":["pk","sk"],"attributes":{
        "z":{"type":{"struct":{"n":{"type":"long"},"t":{"type":{"set":"number-string"}}}}},
        "a":{"type":{"list":{"map":"json"}}},
        "t":{"type":{"list":"timestamp(milliseconds)"}},"u":{"type":"timestamp(iso-8601)"},
        "sk":{"type":"decimal(38,9)"},"pk":{"type":"string"},"x":{"exclude":true}}}"#,
    )
    .unwrap();
    TableSchema::create(&file, &file.key).unwrap()
}

#[test]
fn key_first_then_by_name_rescued_last() {
    let table = table();
    let fields = table.schema.as_struct().fields();
    let names: Vec<_> = fields.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["pk", "sk", "a", "t", "u", "z", RESCUED]);
    assert!(fields[0].required && fields[1].required && !fields[2].required);
    assert_eq!(table.schema.identifier_field_ids().collect::<BTreeSet<_>>(), BTreeSet::from([1, 2]));
    assert!(table.mapping.excluded.contains("x"));
    assert_eq!(table.key_fields().unwrap().len(), 2);
    assert_eq!(table.rescued_field().unwrap().id, 7);
}

#[test]
fn the_property_gives_back_every_conversion() {
    let table = table();
    let again = TableSchema::of_table(table.schema.clone(), Some(&table.mapping.to_text())).unwrap();
    assert_eq!(again.mapping, table.mapping);
    let types: Vec<_> = again
        .schema
        .as_struct()
        .fields()
        .iter()
        .filter_map(|f| again.source(f).unwrap())
        .map(|(name, ty)| format!("{} {ty}", name.unwrap()))
        .collect();
    assert_eq!(
        types,
        [
            "pk string",
            "sk decimal(38,9)",
            "a list<map<string, json>>",
            "t list<timestamp(milliseconds)>",
            "u timestamp(iso-8601)",
            "z struct<n: long, t: set<number-string>>"
        ]
    );
}

#[test]
fn names_chosen_by_hand_must_not_clash() {
    for (attributes, expected) in [
        (r#""a":{"column":"B","type":"long"},"b":{"type":"long"}"#, "named \"b\""),
        (r#""a":{"column":"pk","type":"long"}"#, "named \"pk\""),
        (r#""k":{"type":"long"},"x":{"column":"\u212a","type":"long"}"#, "named \"\u{212a}\""),
        (r#""a":{"type":{"struct":{"b":{"type":"long"}}}},"x":{"column":"A.b","type":"long"}"#, "named \"A.b\""),
        (r#""a":{"type":{"list":"long"}},"x":{"column":"a.element","type":"long"}"#, "named \"a.element\""),
        (r#""a":{"type":{"map":"long"}},"x":{"column":"a.key","type":"long"}"#, "named \"a.key\""),
        (
            r#""a":{"type":{"struct":{"b.c":{"type":"long"},"b":{"type":{"struct":{"c":{"type":"long"}}}}}}}"#,
            "named \"a.b.c\"",
        ),
    ] {
        let text = format!(r#"{{"version":1,"key":["pk"],"attributes":{{"pk":{{"type":"string"}},{attributes}}}}}"#);
        let file = SchemaFile::parse(&text).unwrap();
        let error = TableSchema::create(&file, &file.key).expect_err(attributes);
        assert_eq!(error.kind(), crate::error::Kind::Usage);
        assert!(error.to_string().contains(expected), "{attributes}: {error}");
    }
    // What stands beside each other without clashing.
    let text = r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"},"a":{"type":"long"},
        "x":{"column":"a.b","type":"long"},"s":{"type":{"struct":{"_file":{"type":"long"},"pk":{"type":"long"}}}}}}"#;
    let file = SchemaFile::parse(text).unwrap();
    TableSchema::create(&file, &file.key).unwrap();
}

#[test]
fn a_newer_mapping_is_refused() {
    assert!(Mapping::parse(r#"{"version":2,"key":[],"fields":{}}"#).is_err());
}
