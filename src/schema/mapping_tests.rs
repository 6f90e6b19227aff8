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

/// Of another program's table every column is taken whose type we make, whole or not at all.
#[test]
fn columns_of_a_foreign_table_are_taken_by_their_types() {
    use iceberg::spec::{ListType, MapType, StructType};

    let plain = |ty: PrimitiveType| Type::Primitive(ty);
    let list = |id, ty| Type::List(ListType::new(NestedField::list_element(id, ty, false).into()));
    let map = |id, key, value| {
        let key = NestedField::map_key_element(id, plain(key));
        Type::Map(MapType::new(key.into(), NestedField::map_value_element(id + 1, plain(value), false).into()))
    };
    let record = |id, ty| {
        let inner = [(id, "x", PrimitiveType::Long), (id + 1, "y", ty)];
        Type::Struct(StructType::new(
            inner.into_iter().map(|(id, name, ty)| NestedField::optional(id, name, plain(ty)).into()).collect(),
        ))
    };
    let types = [
        ("string", plain(PrimitiveType::String)),
        ("long", plain(PrimitiveType::Long)),
        ("decimal", plain(PrimitiveType::Decimal { precision: 9, scale: 2 })),
        ("double", plain(PrimitiveType::Double)),
        ("boolean", plain(PrimitiveType::Boolean)),
        ("binary", plain(PrimitiveType::Binary)),
        ("list", list(101, plain(PrimitiveType::String))),
        ("map", map(111, PrimitiveType::String, PrimitiveType::Long)),
        ("struct", record(121, PrimitiveType::String)),
        ("", plain(PrimitiveType::Int)),
        ("", plain(PrimitiveType::Date)),
        ("", list(131, plain(PrimitiveType::Uuid))),
        ("", map(141, PrimitiveType::Long, PrimitiveType::Long)),
        ("", map(151, PrimitiveType::String, PrimitiveType::Int)),
        ("", record(161, PrimitiveType::Float)),
    ];
    let fields = (1..).zip(&types).map(|(id, (_, ty))| NestedField::optional(id, format!("c{id}"), ty.clone()).into());
    let schema = Schema::builder().with_fields(fields.collect::<Vec<_>>()).build().unwrap();
    let mapping = foreign_mapping(&schema);
    for (id, (conversion, _)) in (1..).zip(&types) {
        let found = mapping.fields.get(&id).map_or("", |field| field.conversion.as_str());
        assert_eq!(found, *conversion, "c{id}");
    }
    // Insides of what is not taken are not, those of what is are.
    let inside: Vec<i32> = mapping.fields.keys().copied().filter(|id| *id > 100).collect();
    assert_eq!(inside, [101, 112, 121, 122]);
    assert_eq!(mapping.fields[&121].name.as_deref(), Some("x"));
    assert_eq!(mapping.fields[&101].name, None);
}
