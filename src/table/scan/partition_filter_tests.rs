use arrow::array::StringArray;
use iceberg::spec::{PartitionSpec, Transform, UnboundPartitionSpec};

use super::*;
use crate::table::fixture::Fixture;

/// A file of the fixture's table (`pk`, `n`, `tag`), of any spec and partition.
fn live(fixture: &Fixture, spec_id: i32, partition: Vec<Option<Literal>>) -> LiveFile {
    let mut live = LiveFile::unlisted(fixture.write_with(&["a"], Struct::from_iter(partition), &fixture.options()));
    live.spec_id = spec_id;
    live
}

fn spec(fixture: &Fixture, id: i32, fields: &[(&str, Transform)]) -> PartitionSpecRef {
    let mut builder = PartitionSpec::builder(fixture.schema()).with_spec_id(id);
    for (n, (source, transform)) in fields.iter().enumerate() {
        builder = builder.add_partition_field(source, format!("p{n}"), *transform).unwrap();
    }
    Arc::new(builder.build().unwrap())
}

#[test]
fn files_of_other_partitions_are_skipped() {
    let fixture = Fixture::with_spec(UnboundPartitionSpec::builder().build());
    let specs = [
        spec(&fixture, 0, &[("n", Transform::Identity)]),
        spec(&fixture, 1, &[("n", Transform::Identity), ("pk", Transform::Truncate(1))]),
        spec(&fixture, 2, &[("pk", Transform::Void)]),
        spec(&fixture, 3, &[("pk", Transform::Bucket(16))]),
    ];
    let column: ArrayRef = Arc::new(StringArray::from(vec!["apple", "avocado", "iceberg"]));
    let keys = RecordBatch::try_from_iter([("pk", column)]).unwrap();
    let partitions = PartitionFilter::new(&specs, &fixture.key(), &keys);
    let may = |spec_id, partition| partitions.may_contain(&live(&fixture, spec_id, partition));
    let text = |t: &str| Some(Literal::string(t));
    // A column that is no key's says nothing, whatever it holds.
    assert!(may(0, vec![Some(Literal::long(4))]) && may(0, vec![None]));
    assert!(may(1, vec![Some(Literal::long(4)), text("a")]) && may(1, vec![None, text("i")]));
    assert!(!may(1, vec![Some(Literal::long(4)), text("b")]) && !may(1, vec![None, text("apple")]));
    assert!(may(1, vec![None, None]), "a null that should not be there");
    assert!(may(2, vec![None]) && may(9, vec![text("?")]), "void, and a spec that is not known");
    // 1210000089 is the hash of "iceberg".
    assert!(may(3, vec![Some(Literal::int(1_210_000_089 % 16))]));
    assert_eq!((0..16).filter(|n| may(3, vec![Some(Literal::int(*n))])).count(), 3);
}

#[test]
fn very_many_partitions_are_not_remembered() {
    let fixture = Fixture::new();
    let specs = [spec(&fixture, 1, &[("pk", Transform::Identity)])];
    let column: ArrayRef = Arc::new((0..=MAX_VALUES).map(|n| Some(format!("{n}"))).collect::<StringArray>());
    let keys = RecordBatch::try_from_iter([("pk", column)]).unwrap();
    let file = live(&fixture, 1, vec![Some(Literal::string("none of them"))]);
    assert!(PartitionFilter::new(&specs, &fixture.key(), &keys).may_contain(&file));
    assert!(!PartitionFilter::new(&specs, &fixture.key(), &keys.slice(0, 100)).may_contain(&file));
}
