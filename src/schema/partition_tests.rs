use std::sync::Arc;

use iceberg::spec::PartitionSpec;

use super::*;
use crate::error::Kind;
use crate::schema::file::schema_file::SchemaFile;

fn table() -> TableSchema {
    let file = SchemaFile::parse(
        r#"{"version":1,"key":["customer_id"],"attributes":{"customer_id":{"type":"string"},"order-id":{"type":"string"},
        "n":{"type":"long"},"d":{"type":"decimal(38,9)"},"b":{"type":"binary"},"flag":{"type":"boolean"},"x":{"type":"double"},
        "renamed":{"column":"other","type":"long"},"n_bucket":{"type":"string"},"1st":{"type":"string"},
        "m":{"type":{"struct":{"a":{"type":"long"}}}},"l":{"type":{"list":"string"}},"secret":{"exclude":true}}}"#,
    )
    .unwrap();
    TableSchema::create(&file, &file.key).unwrap()
}

fn terms(texts: &[&str]) -> Vec<PartitionTerm> {
    texts.iter().map(|text| PartitionTerm::parse(text).unwrap()).collect()
}

fn names(texts: &[&str]) -> Vec<String> {
    let spec = partition_spec(&terms(texts), &table(), &[]).unwrap();
    spec.fields().iter().map(|field| field.name.clone()).collect()
}

#[test]
fn every_form_is_read() {
    use Transform as T;
    for (text, transform, source) in [
        ("bucket(16, customer_id)", T::Bucket(16), "customer_id"),
        (" BUCKET ( 16 ,a, b (c) ) ", T::Bucket(16), "a, b (c)"),
        ("truncate(4,x)", T::Truncate(4), "x"),
        ("year(t)", T::Year, "t"),
        ("years(t)", T::Year, "t"),
        ("month(t)", T::Month, "t"),
        ("months(t)", T::Month, "t"),
        ("day(t)", T::Day, "t"),
        ("days( t )", T::Day, "t"),
        ("hour(t)", T::Hour, "t"),
        ("hours(t)", T::Hour, "t"),
        ("identity(x)", T::Identity, "x"),
        ("identity(bucket(2, x))", T::Identity, "bucket(2, x)"),
        ("x", T::Identity, "x"),
        ("größe (cm)", T::Identity, "größe (cm)"),
        ("\"bucket(2, x)\"", T::Identity, "bucket(2, x)"),
        ("\" x \"", T::Identity, " x "),
        ("day(\"a \"\"quoted\"\" name\")", T::Day, "a \"quoted\" name"),
    ] {
        let expected = PartitionTerm { transform, source: source.to_owned() };
        assert_eq!(PartitionTerm::parse(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (text, said) in [
        ("", "name is missing"),
        ("day()", "name is missing"),
        ("bucket(16)", "bucket(16, name)"),
        ("bucket(x, 16)", "not \"x\""),
        ("bucket(-1, x)", "not \"-1\""),
        ("bucket(0, x)", "from 1 to 2147483647"),
        ("truncate(2147483648, x)", "from 1 to 2147483647"),
        ("truncate(99999999999999999999, x)", "from 1 to 2147483647"),
        ("day(\"x)", "closing quote"),
        ("\"a\"b\"", "written twice"),
        ("\"\"", "name is missing"),
    ] {
        let error = PartitionTerm::parse(text).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.message().contains(said), "{text}: {error}");
    }
}

#[test]
fn fields_have_icebergs_names() {
    let found = names(&["bucket(16, customer_id)", "truncate(3, customer_id)", "customer_id", "identity(other)"]);
    assert_eq!(found, ["customer_id_bucket", "customer_id_trunc", "customer_id", "other"]);
    // By the attribute's name, and it is the column's name that counts.
    assert_eq!(names(&["bucket(2, renamed)"]), ["other_bucket"]);
}

#[test]
fn names_are_plain_and_nobody_elses() {
    let found = names(&["bucket(2, n)", "order-id", "truncate(2, order-id)", "1st", "bucket(4, d)", "bucket(8, d)"]);
    let expected = ["n_bucket__", "order_id__", "order_id_trunc__", "_1st__", "d_bucket", "d_bucket__"];
    for (found, expected) in found.iter().zip(expected) {
        let digits = if expected.ends_with("__") { 8 } else { 0 };
        assert!(found.starts_with(expected) && found.len() == expected.len() + digits, "{found} {expected}");
        assert!(found.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{found}");
    }
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len());
}

#[test]
fn a_field_that_a_spec_has_keeps_its_name() {
    let table = table();
    let id = table.schema.field_id_by_name("customer_id").unwrap();
    let spec = |transform, name: &str| {
        let spec = PartitionSpec::builder(table.schema.clone()).with_spec_id(3);
        let field = UnboundPartitionField { source_id: id, field_id: Some(1000), name: name.to_owned(), transform };
        Arc::new(spec.add_unbound_field(field).unwrap().build().unwrap())
    };
    let existing =
        [spec(Transform::Bucket(16), "customer_id_bucket_16"), spec(Transform::Bucket(8), "customer_id_bucket")];
    let wanted = terms(&["bucket(16, customer_id)", "bucket(4, customer_id)"]);
    let found = partition_spec(&wanted, &table, &existing).unwrap();
    assert_eq!(found.fields()[0].name, "customer_id_bucket_16");
    assert!(found.fields()[1].name.starts_with("customer_id_bucket__"), "{}", found.fields()[1].name);
    assert_eq!(partition_names(&existing).len(), 2);
}

#[test]
fn what_does_not_fit_is_told() {
    let refused = |texts: &[&str]| {
        let error = partition_spec(&terms(texts), &table(), &[]).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        error.to_string()
    };
    for (text, said) in [
        ("bucket(2, custmer_id)", "did you mean \"customer_id\"?"),
        ("Customer_ID", "did you mean \"customer_id\"?"),
        ("nowhere", "no attribute \"nowhere\""),
        ("zorder(n)", "no transform \"zorder\""),
        ("secret", "leaves this attribute out"),
        ("_ddb_rescued", "no attribute"),
        ("m", "a struct"),
        ("bucket(2, l)", "a list"),
        ("bucket(2, flag)", "bucket takes string, long"),
        ("bucket(2, x)", "this column is double"),
        ("truncate(2, flag)", "truncate takes string, long"),
        ("day(n)", "day takes date and timestamp columns; this column is long"),
        ("hour(customer_id)", "hour takes timestamp columns"),
    ] {
        let error = refused(&[text]);
        assert!(error.contains(said), "{text}: {error}");
    }
    assert!(refused(&["bucket(2, n)", "bucket(2, n)"]).contains("twice"));
    assert!(refused(&["n", "identity(\"n\")"]).contains("twice"));
    assert!(!refused(&["nowhere"]).contains("did you mean"));
    assert!(refused(&["d", "truncate(10, d)"]).contains("decimal(38, 9)"));
    assert_eq!(names(&["d", "bucket(2, d)"]).len(), 2);
}

/// A partition field may have neither a column's name nor that of an attribute whose column has another one.
#[test]
fn names_of_columns_and_of_attributes_are_taken() {
    let file = SchemaFile::parse(
        r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"},"n":{"type":"long"},"m":{"type":"long"},
        "x":{"column":"n_bucket","type":"long"},"m_bucket":{"column":"y","type":"long"},"k":{"type":"long"}}}"#,
    )
    .unwrap();
    let table = TableSchema::create(&file, &file.key).unwrap();
    let spec = partition_spec(&terms(&["bucket(2, n)", "bucket(2, m)", "bucket(2, k)", "k"]), &table, &[]).unwrap();
    let names: Vec<&str> = spec.fields().iter().map(|field| field.name.as_str()).collect();
    assert!(names[0].starts_with("n_bucket__") && names[1].starts_with("m_bucket__"), "{names:?}");
    assert_eq!(names[2..], ["k_bucket", "k"]);
}
