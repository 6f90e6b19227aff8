//! From rows back to items.

use std::cell::Cell;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use iceberg::spec::{NestedField, TableMetadata, Type};
use serde_json::Value;

use super::json::{Json, parse};
use super::reader::Row;
use super::values::{Number, V};

/// A value that came back.
#[derive(Debug)]
pub enum Back {
    /// A null of a typed column: NULL, or missing.
    Nothing,
    /// Exactly this value.
    Exact(V),
    List(Vec<Back>),
    /// Fields that were not there are null.
    Struct(BTreeMap<String, Back>),
    Map(BTreeMap<String, Back>),
}

impl Back {
    pub fn exact(&self) -> &V {
        match self {
            Self::Exact(value) => value,
            other => panic!("{other:?} as a key"),
        }
    }

    /// Whether the original could be this.
    pub fn is(&self, original: Option<&V>) -> bool {
        match (self, original) {
            (Self::Nothing, None | Some(V::Null)) => true,
            (Self::Exact(value), Some(original)) => canonical(value) == canonical(original),
            (Self::List(list), Some(V::L(original))) => {
                list.len() == original.len() && list.iter().zip(original).all(|(a, b)| a.is(Some(b)))
            }
            (Self::Map(fields), Some(V::M(original))) => {
                fields.len() == original.len()
                    && original.iter().all(|(n, v)| fields.get(n).is_some_and(|f| f.is(Some(v))))
            }
            (Self::Struct(fields), Some(V::M(original))) => {
                let named = |name: &str| original.iter().find(|(n, _)| n == name).map(|(_, v)| v);
                // NULL alone makes no field.
                original.iter().all(|(name, value)| fields.contains_key(name) || matches!(value, V::Null))
                    && fields.iter().all(|(name, field)| field.is(named(name)))
            }
            _ => false,
        }
    }

    pub fn depth(&self) -> usize {
        match self {
            Self::Nothing | Self::Exact(_) => 0,
            Self::List(list) => 1 + list.iter().map(Self::depth).max().unwrap_or(0),
            Self::Struct(fields) | Self::Map(fields) => 1 + fields.values().map(Self::depth).max().unwrap_or(0),
        }
    }
}

/// One text for equal values: numbers by value, sets and maps sorted.
fn canonical(value: &V) -> String {
    let sorted = |kind: &str, mut all: Vec<String>| {
        all.sort();
        format!("{kind}{all:?}")
    };
    match value {
        V::N(text) => format!("N {}", Number::read(text).canonical()),
        V::Ss(list) => sorted("SS", list.clone()),
        V::Ns(list) => sorted("NS", list.iter().map(|text| Number::read(text).canonical()).collect()),
        V::Bs(list) => sorted("BS", list.iter().map(|bytes| format!("{bytes:?}")).collect()),
        V::L(list) => format!("L{:?}", list.iter().map(canonical).collect::<Vec<_>>()),
        V::M(fields) => {
            sorted("M", fields.iter().map(|(name, value)| format!("{name:?}:{}", canonical(value))).collect())
        }
        other => format!("{other:?}"),
    }
}

/// Reads rows of one table.
pub struct Table<'a> {
    fields: Vec<&'a NestedField>,
    mapping: BTreeMap<i32, (Option<String>, String)>,
    /// Values taken from `_ddb_rescued` so far.
    pub rescued: Cell<usize>,
}

impl<'a> Table<'a> {
    pub fn new(metadata: &'a TableMetadata) -> Self {
        let property: Value = serde_json::from_str(&metadata.properties()["ddb-iceberg.schema"]).unwrap();
        assert_eq!(property["version"], 1);
        let fields = property["fields"].as_object().unwrap().iter().map(|(id, field)| {
            let conversion = field["type"].as_str().unwrap().to_owned();
            (id.parse().unwrap(), (field["name"].as_str().map(str::to_owned), conversion))
        });
        Self {
            fields: metadata.current_schema().as_struct().fields().iter().map(AsRef::as_ref).collect(),
            mapping: fields.collect(),
            rescued: Cell::new(0),
        }
    }

    pub fn conversions(&self) -> impl Iterator<Item = &str> {
        self.mapping.values().map(|(_, conversion)| conversion.as_str())
    }

    /// The item that a row was.
    pub fn item(&self, row: &Row) -> BTreeMap<String, Back> {
        let mut item = BTreeMap::new();
        let mut rescued = Vec::new();
        for field in &self.fields {
            match (self.mapping.get(&field.id), row.get(&field.name)) {
                (Some((Some(name), conversion)), value) => {
                    item.insert(name.clone(), self.value(field, conversion, value.unwrap_or(&Value::Null)));
                }
                (None, Some(Value::String(text))) if field.name == "_ddb_rescued" => {
                    let Json::Object(fields) = parse(text) else { panic!("{text}") };
                    rescued = fields;
                }
                (None, None) => {}
                (mapped, value) => panic!("column {:?}: {mapped:?} {value:?}", field.name),
            }
        }
        assert!(row.keys().all(|name| self.fields.iter().any(|f| f.name == *name)));
        for (name, value) in rescued {
            self.rescued.set(self.rescued.get() + 1);
            item.insert(name, Back::Exact(descriptor(&value)));
        }
        item
    }

    fn value(&self, field: &NestedField, conversion: &str, value: &Value) -> Back {
        let inner = |field: &NestedField, value: &Value| {
            let (_, conversion) = &self.mapping[&field.id];
            self.value(field, conversion, value)
        };
        match (conversion, &*field.field_type, value) {
            (_, _, Value::Null) => Back::Nothing,
            ("set", Type::List(list), Value::Array(elements)) => {
                let conversion = &self.mapping[&list.element_field.id].1;
                // What a set lost is in `_ddb_rescued`, which comes before it.
                let whole: Vec<_> =
                    elements.iter().filter(|one| !one.is_null()).map(|v| scalar(conversion, v)).collect();
                Back::Exact(match conversion.as_str() {
                    "string" => {
                        V::Ss(whole.into_iter().map(|v| if let V::S(text) = v { text } else { panic!() }).collect())
                    }
                    "binary" => {
                        V::Bs(whole.into_iter().map(|v| if let V::B(bytes) = v { bytes } else { panic!() }).collect())
                    }
                    _ => V::Ns(whole.into_iter().map(|v| if let V::N(text) = v { text } else { panic!() }).collect()),
                })
            }
            ("list", Type::List(list), Value::Array(elements)) => {
                Back::List(elements.iter().map(|one| inner(&list.element_field, one)).collect())
            }
            ("map", Type::Map(map), Value::Object(pairs)) => {
                Back::Map(pairs.iter().map(|(name, one)| (name.clone(), inner(&map.value_field, one))).collect())
            }
            ("struct", Type::Struct(fields), Value::Object(found)) => {
                let fields = fields.fields().iter().map(|field| {
                    let (name, _) = &self.mapping[&field.id];
                    let value = found.get(&field.name).unwrap_or(&Value::Null);
                    (name.clone().expect("fields of structs have names"), inner(field, value))
                });
                Back::Struct(fields.collect())
            }
            (conversion, Type::Primitive(_), value) => Back::Exact(scalar(conversion, value)),
            other => panic!("{other:?}"),
        }
    }
}

fn scalar(conversion: &str, value: &Value) -> V {
    match (conversion, value) {
        ("string", Value::String(text)) => V::S(text.clone()),
        ("number-string", Value::String(text)) => {
            assert_eq!(*text, Number::read(text).canonical(), "digits are canonical");
            V::N(text.clone())
        }
        ("long", Value::Number(number)) => V::N(number.to_string()),
        ("decimal", Value::Object(object)) => V::N(object["decimal"].as_str().unwrap().to_owned()),
        ("boolean", Value::Bool(value)) => V::Bool(*value),
        ("binary", Value::Object(object)) => {
            let hex = object["hex"].as_str().unwrap();
            V::B((0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect())
        }
        ("json", Value::String(text)) => plain(&parse(text)),
        other => panic!("{other:?}"),
    }
}

const DESCRIPTORS: [&str; 10] = ["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"];

/// A value of a column of type `json`.
fn plain(json: &Json) -> V {
    let map = |fields: &[(String, Json)]| V::M(fields.iter().map(|(name, one)| (name.clone(), plain(one))).collect());
    match json {
        Json::Null => V::Null,
        Json::Bool(value) => V::Bool(*value),
        Json::Number(digits) => V::N(digits.clone()),
        Json::Text(text) => V::S(text.clone()),
        Json::List(list) => V::L(list.iter().map(plain).collect()),
        Json::Object(fields) => match fields.as_slice() {
            [(name, Json::Object(inner))] if name == "M" => map(inner),
            [(name, _)] if ["B", "SS", "NS", "BS"].contains(&name.as_str()) => descriptor(json),
            [(name, _)] if DESCRIPTORS.contains(&name.as_str()) => panic!("{json:?} can be taken for a descriptor"),
            fields => map(fields),
        },
    }
}

/// A value of DynamoDB JSON.
fn descriptor(json: &Json) -> V {
    let Json::Object(fields) = json else { panic!("{json:?}") };
    let [(kind, content)] = fields.as_slice() else { panic!("{json:?}") };
    let text = |json: &Json| if let Json::Text(text) = json { text.clone() } else { panic!("{json:?} is no text") };
    let bytes = |json: &Json| STANDARD.decode(text(json)).unwrap();
    match (kind.as_str(), content) {
        ("S", one) => V::S(text(one)),
        ("N", one) => V::N(text(one)),
        ("B", one) => V::B(bytes(one)),
        ("BOOL", Json::Bool(value)) => V::Bool(*value),
        ("NULL", Json::Bool(true)) => V::Null,
        ("SS", Json::List(list)) => V::Ss(list.iter().map(text).collect()),
        ("NS", Json::List(list)) => V::Ns(list.iter().map(text).collect()),
        ("BS", Json::List(list)) => V::Bs(list.iter().map(bytes).collect()),
        ("L", Json::List(list)) => V::L(list.iter().map(descriptor).collect()),
        ("M", Json::Object(fields)) => V::M(fields.iter().map(|(name, one)| (name.clone(), descriptor(one))).collect()),
        _ => panic!("{json:?}"),
    }
}
