//! Keys as text, for messages.

/// A key as text: `pk=…, sk=…`.
pub(crate) fn key_text(keys: &arrow::array::RecordBatch, row: usize) -> String {
    use arrow::array::AsArray;
    use arrow::datatypes::DataType;
    let schema = keys.schema();
    let parts = schema.fields().iter().zip(keys.columns()).map(|(field, column)| {
        let value = match column.data_type() {
            DataType::LargeBinary => {
                column.as_binary::<i64>().value(row).iter().fold("0x".to_owned(), |hex, b| format!("{hex}{b:02x}"))
            }
            DataType::Utf8 => format!("{:?}", column.as_string::<i32>().value(row)),
            _ => arrow::util::display::array_value_to_string(column, row).unwrap_or_default(),
        };
        let shown: String = value.chars().take(120).collect();
        format!("{}={shown}", field.name())
    });
    parts.collect::<Vec<_>>().join(", ")
}
