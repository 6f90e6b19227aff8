//! Types in the schema file's notation: names for scalars, objects with one member for nested types.

use serde_json::{Map, Value, json};

use super::naming::{fold, short};
use super::types::{ColumnType, Field, MAX_NESTING, TimestampForm};
use crate::error::{Error, Result};
use crate::schema::file::strict_json::{alike, member, only, text_at, wrong, wrong_value};

const ALLOWED: &str = "allowed are string, long, decimal(P,S), double, number-string, boolean, binary, json, \
    timestamp(seconds), timestamp(milliseconds), timestamp(iso-8601), {\"list\":T}, {\"set\":T}, {\"map\":T}, \
    {\"struct\":{\"field\":{\"type\":T}}}, and undecided";

/// Scalars without parameters.
const PLAIN: [(&str, ColumnType); 8] = [
    ("undecided", ColumnType::Undecided),
    ("string", ColumnType::String),
    ("number-string", ColumnType::NumberString),
    ("json", ColumnType::Json),
    ("long", ColumnType::Long),
    ("double", ColumnType::Double),
    ("boolean", ColumnType::Boolean),
    ("binary", ColumnType::Binary),
];

/// Other programs' names of our types.
const FOREIGN: [(&[&str], &str); 8] = [
    (&["s", "text", "varchar", "char", "utf8"], "string"),
    (&["n", "number", "int", "integer", "bigint", "int64", "i64"], "long, decimal(38,9) or number-string"),
    (&["numeric", "decimal"], "decimal(38,9)"),
    (&["float", "real", "float64", "f64"], "double"),
    (&["bool"], "boolean"),
    (&["b", "bytes", "bytea", "blob"], "binary"),
    (
        &["timestamp", "timestamptz", "datetime", "date", "time", "instant", "iso-8601", "iso8601", "iso"],
        "timestamp(seconds), timestamp(milliseconds) or timestamp(iso-8601)",
    ),
    (&["epoch", "epoch-seconds", "seconds"], "timestamp(seconds)"),
];

/// Parses a type. Errors name the path.
pub(super) fn parse_type(value: &Value, path: &str, level: u32) -> Result<ColumnType> {
    match value {
        Value::String(name) => scalar(name).ok_or_else(|| unknown(path, name)),
        Value::Object(object) => {
            let mut members = object.iter();
            let (Some((head, inner)), None) = (members.next(), members.next()) else {
                return Err(wrong_value(value, path, "a type has exactly one member", ALLOWED));
            };
            if level >= MAX_NESTING && head != "set" {
                return Err(wrong(
                    path,
                    &format!("types are nested deeper than {MAX_NESTING} levels"),
                    "use \"json\" here",
                ));
            }
            let below = member(path, head);
            let nested = |level| match parse_type(inner, &below, level)? {
                ColumnType::Undecided => Err(wrong(
                    path,
                    &format!("a {head} of what is undecided"),
                    "undecided stands for a whole column or a field of a struct: write \"undecided\" here",
                )),
                ty => Ok(ty),
            };
            match head.as_str() {
                "list" => Ok(ColumnType::List(Box::new(nested(level + 1)?))),
                "map" => Ok(ColumnType::Map(Box::new(nested(level + 1)?))),
                "set" => match nested(level + 1)? {
                    element @ (ColumnType::String
                    | ColumnType::NumberString
                    | ColumnType::Long
                    | ColumnType::Double
                    | ColumnType::Decimal { .. }
                    | ColumnType::Timestamp(_)
                    | ColumnType::Binary) => Ok(ColumnType::Set(Box::new(element))),
                    other => Err(wrong(
                        &below,
                        &format!("a set cannot hold {}", short(&other.to_string())),
                        "string, a number type, a timestamp, or binary",
                    )),
                },
                "struct" => parse_struct(inner, &below, level + 1),
                other => Err(unknown(path, other)),
            }
        }
        _ => Err(wrong_value(value, path, "expected a type", ALLOWED)),
    }
}

fn scalar(name: &str) -> Option<ColumnType> {
    let plain = PLAIN.iter().find(|(known, _)| *known == name).map(|(_, ty)| ty.clone());
    plain.or_else(|| TimestampForm::from_type_name(name).map(ColumnType::Timestamp)).or_else(|| decimal(name))
}

/// `decimal(P,S)`, with or without a space after the comma.
fn decimal(text: &str) -> Option<ColumnType> {
    let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    let number = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        if plain { text.parse::<u32>().ok() } else { None }
    };
    let (precision, scale) = (number(precision)?, number(scale.strip_prefix(' ').unwrap_or(scale))?);
    ((1..=38).contains(&precision) && scale <= precision).then_some(ColumnType::Decimal { precision, scale })
}

fn unknown(path: &str, name: &str) -> Error {
    let lower = name.to_lowercase();
    let what = format!("unknown type {:?}", short(name));
    let foreign = FOREIGN.iter().find(|(names, _)| names.contains(&lower.as_str())).map(|(_, ours)| *ours);
    let known = PLAIN.iter().map(|(name, _)| *name).chain(TimestampForm::ALL.map(TimestampForm::type_name));
    if lower.starts_with("decimal(") {
        return wrong(path, &what, "decimal(P,S) has P digits, 1 to 38, of which S, at most P, are after the point");
    }
    if ["list", "set", "map", "struct"].contains(&lower.as_str()) {
        return wrong(path, &what, &format!("it takes what is inside: {{\"{lower}\":…}}; {ALLOWED}"));
    }
    match foreign.or_else(|| alike(&lower, known.chain(["list", "set", "map", "struct"]))) {
        Some(meant) => wrong(path, &what, &format!("did you mean {meant}? {}", capital(ALLOWED))),
        None => wrong(path, &what, ALLOWED),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn parse_struct(value: &Value, path: &str, level: u32) -> Result<ColumnType> {
    let Value::Object(object) = value else {
        let form = "{\"street\":{\"type\":\"string\"}}";
        return Err(wrong_value(value, path, "expected an object by field name", form));
    };
    if object.is_empty() {
        return Err(wrong(path, "a struct without fields", "use {\"map\":\"string\"}"));
    }
    let mut fields = Vec::with_capacity(object.len());
    for (name, entry) in object {
        let path = member(path, name);
        let Value::Object(entry) = entry else {
            return Err(wrong_value(entry, &path, "expected an object", "{\"type\":\"string\"}"));
        };
        only(entry, &path, &["column", "type"])?;
        let ty = entry.get("type").ok_or_else(|| wrong(&path, "no `type`", ALLOWED))?;
        let column = match entry.get("column") {
            Some(column) => text_at(column, &format!("{path}.column"))?,
            None => name,
        };
        if column.is_empty() {
            return Err(wrong(&path, "an empty name", "give the field a `column`"));
        }
        fields.push(Field {
            name: name.clone(),
            column: column.to_owned(),
            ty: parse_type(ty, &format!("{path}.type"), level)?,
        });
    }
    if fields.iter().all(|field| field.ty == ColumnType::Undecided) {
        return Err(wrong(path, "a struct whose fields are all undecided", "write \"undecided\" for the whole"));
    }
    let mut folded: Vec<_> = fields.iter().map(|f| (fold(&f.column), &f.column)).collect();
    folded.sort_unstable();
    let twins = folded.windows(2).find_map(|pair| match pair {
        [(a, first), (b, second)] if a == b => Some((*first, *second)),
        _ => None,
    });
    if let Some((first, second)) = twins {
        let what = if first == second { "are named" } else { "have names that differ by case only:" };
        return Err(wrong(
            path,
            &format!("two fields {what} {:?}", short(second)),
            "give one of them another `column`",
        ));
    }
    Ok(ColumnType::Struct(fields))
}

/// The type in the schema file's notation.
pub(super) fn type_to_json(ty: &ColumnType) -> Value {
    match ty {
        ColumnType::List(element) => json!({"list": type_to_json(element)}),
        ColumnType::Set(element) => json!({"set": type_to_json(element)}),
        ColumnType::Map(value) => json!({"map": type_to_json(value)}),
        ColumnType::Struct(fields) => {
            let fields: Map<String, Value> = fields
                .iter()
                .map(|field| {
                    let mut entry = Map::new();
                    if field.column != field.name {
                        entry.insert("column".into(), json!(field.column));
                    }
                    entry.insert("type".into(), type_to_json(&field.ty));
                    (field.name.clone(), Value::Object(entry))
                })
                .collect();
            json!({"struct": fields})
        }
        scalar => json!(scalar.to_string()),
    }
}
