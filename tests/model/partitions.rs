//! Partition fields at random, and whether each data file's partition is that of its rows.

use arrow::array::{Array, ArrayRef, RecordBatch};
use iceberg::spec::{DataFile, Literal, PartitionSpec, PrimitiveLiteral, Schema, Transform};

use super::columns::{Table, Ty};
use super::metadata::{field_id, literal};
use super::random::Random;

/// Up to three fields, as `--partition-by` takes them.
pub fn fields(random: &mut Random, table: &Table) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut used = Vec::new();
    for _ in 0..random.range(0, 4) {
        let column = random.pick(&table.columns);
        let name = format!("\"{}\"", column.attribute.replace('"', "\"\""));
        let transform = match (&column.ty, random.range(0, 3)) {
            (Ty::Undecided | Ty::Foreign | Ty::List(_) | Ty::Set(_) | Ty::Struct(_) | Ty::Map(_), _) => continue,
            (_, 0) | (Ty::Boolean, _) => "identity(".to_owned(),
            (_, 1) => format!("bucket({}, ", random.pick(&[1, 2, 5])),
            _ => format!("truncate({}, ", random.pick(&[1, 3, 100])),
        };
        // Two partition fields of one decimal type are refused.
        let kind = match &column.ty {
            Ty::Decimal(scale) if !transform.starts_with('b') => (format!("decimal {scale}"), String::new()),
            _ => (column.attribute.clone(), transform[..1].to_owned()),
        };
        if !used.contains(&kind) {
            used.push(kind);
            found.push(format!("{transform}{name})"));
        }
    }
    found
}

/// Every row of the file belongs to the file's partition.
pub fn check(spec: &PartitionSpec, schema: &Schema, file: &DataFile, batch: &RecordBatch) {
    let values = file.partition().fields();
    assert_eq!(values.len(), spec.fields().len(), "{}", file.file_path());
    for (field, value) in spec.fields().iter().zip(values) {
        let value = value.as_ref().map(|value| match value {
            Literal::Primitive(value) => value.clone(),
            other => panic!("{other:?}"),
        });
        assert!(schema.as_struct().fields().iter().any(|f| f.id == field.source_id));
        let Some(column) = batch.schema().fields().iter().position(|f| field_id(f) == field.source_id) else {
            // A column younger than the file.
            assert_eq!(value, None, "{}", field.name);
            continue;
        };
        let column: &ArrayRef = batch.column(column);
        for row in 0..batch.num_rows() {
            let source = (!column.is_null(row)).then(|| literal(column, row));
            let expected = source.and_then(|source| transformed(field.transform, source));
            assert_eq!(value, expected, "{} of row {row} of {}", field.name, file.file_path());
        }
    }
}

fn transformed(transform: Transform, value: PrimitiveLiteral) -> Option<PrimitiveLiteral> {
    use PrimitiveLiteral as P;
    Some(match (transform, value) {
        (Transform::Void, _) => return None,
        (Transform::Identity, value) => value,
        (Transform::Truncate(width), P::String(text)) => P::String(text.chars().take(width as usize).collect()),
        (Transform::Truncate(width), P::Binary(bytes)) => P::Binary(bytes.into_iter().take(width as usize).collect()),
        (Transform::Truncate(width), P::Long(n)) => P::Long(n.wrapping_sub(n.rem_euclid(i64::from(width)))),
        (Transform::Truncate(width), P::Int128(n)) => P::Int128(n - n.rem_euclid(i128::from(width))),
        (Transform::Bucket(width), value) => {
            let bytes = match value {
                P::String(text) => text.into_bytes(),
                P::Binary(bytes) => bytes,
                P::Long(n) => n.to_le_bytes().to_vec(),
                P::Int128(n) => {
                    let all = n.to_be_bytes();
                    // The fewest bytes from which the sign extends to the same number.
                    let shorter = |start: &usize| {
                        let fill = if n < 0 { 0xff } else { 0 };
                        all[..*start].iter().all(|b| *b == fill) && (all[*start] >= 0x80) == (n < 0)
                    };
                    let start = (0..16).filter(shorter).max().unwrap_or(0);
                    all[start..].to_vec()
                }
                other => panic!("{other:?}"),
            };
            P::Int(((murmur3(&bytes) & 0x7fff_ffff) % width) as i32)
        }
        (transform, value) => panic!("{transform} of {value:?}"),
    })
}

/// MurmurHash3, x86, 32 bits, seed 0.
fn murmur3(bytes: &[u8]) -> u32 {
    let mix = |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut hash = 0_u32;
    let mut blocks = bytes.chunks_exact(4);
    for block in &mut blocks {
        hash ^= mix(u32::from_le_bytes(block.try_into().unwrap()));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let rest = blocks.remainder().iter().rev().fold(0_u32, |rest, byte| (rest << 8) | u32::from(*byte));
    hash ^= mix(rest) ^ bytes.len() as u32;
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}
