//! The schema file, version 1: observations, and the column of each attribute. Meant to be edited by hand.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::strict_json::{self, member, only, text_at, wrong, wrong_value};
use crate::attribute::Kind;
use crate::error::Result;
use crate::schema::named::Named;
use crate::schema::naming::{RESCUED, fold, is_reserved, short};
use crate::schema::observed::{Fields, Observed};
use crate::schema::type_text::{parse_type, type_to_json};
use crate::schema::types::ColumnType;

/// The file that `detect-schema` writes and `full-load` reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFile {
    /// Partition key, then sort key; empty if unknown.
    pub key: Vec<String>,
    /// Number of items observed.
    pub items: Option<u64>,
    /// The attributes, in the file's order.
    pub attributes: Vec<Attribute>,
}

/// One attribute of a schema file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The name in DynamoDB.
    pub name: String,
    /// In how many items each type was seen.
    pub seen: Vec<(Kind, u64)>,
    /// The column's name, if the user or a clash made it differ from the attribute's.
    pub column: Option<String>,
    /// Its column.
    pub target: Target,
    /// The type that the file's author named; nothing if it is derived from observations.
    pub named: Option<Named>,
}

/// The column of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A column of this type.
    Column(ColumnType),
    /// A column with the type that the values of this DynamoDB type need: the flat form.
    Observe(Kind),
    /// No column: the attribute is omitted.
    Exclude,
}

impl SchemaFile {
    /// The version that this program writes and reads.
    pub const VERSION: u64 = 1;

    /// The file derived from observations.
    pub fn suggest(key: &[String], items: u64, fields: &Fields) -> Self {
        let sorted = fields.sorted();
        let columns = crate::schema::naming::column_names(key, sorted.iter().map(|(name, _)| *name));
        let attributes = sorted.into_iter().zip(columns).map(|((name, observed), column)| {
            let ty = ColumnType::of(observed);
            Attribute {
                name: name.to_owned(),
                seen: observed.kinds().map(|kind| (kind, observed.count(kind))).collect(),
                // A column that is added later gets its name then, next to the columns that exist at that time.
                column: (column != name && ty != ColumnType::Undecided).then_some(column),
                target: Target::Column(ty),
                named: None,
            }
        });
        Self { key: key.to_vec(), items: Some(items), attributes: attributes.collect() }
    }

    /// Whether the file leaves types to be derived from observations.
    pub fn needs_observation(&self) -> bool {
        self.attributes.iter().any(|a| match &a.target {
            Target::Column(ty) => ty.is_open(),
            Target::Observe(_) => true,
            Target::Exclude => false,
        })
    }

    /// Derives the types that the file leaves open, as far as values were observed.
    #[must_use]
    pub fn with_observations(mut self, fields: &Fields) -> Self {
        let nothing = Observed::default();
        for attribute in &mut self.attributes {
            let seen = fields.get(&attribute.name).unwrap_or(&nothing);
            let ty = match &attribute.target {
                Target::Observe(Kind::Null) => ColumnType::of(seen),
                Target::Observe(kind) => ColumnType::of_kind(seen, *kind),
                Target::Column(ty) if ty.is_open() => ty.clone().decided_by(seen),
                Target::Column(_) | Target::Exclude => continue,
            };
            if ty != ColumnType::Undecided {
                attribute.target = Target::Column(ty);
            }
        }
        self
    }

    /// The maximum number of fields of any struct in it, at any depth.
    pub fn widest_struct(&self) -> usize {
        let types = self.attributes.iter().filter_map(|attribute| match &attribute.target {
            Target::Column(ty) => Some(ty.widest_struct()),
            Target::Observe(_) | Target::Exclude => None,
        });
        types.max().unwrap_or(0)
    }

    /// The omitted attributes.
    pub fn excluded(&self) -> BTreeSet<String> {
        let excluded = self.attributes.iter().filter(|a| a.target == Target::Exclude);
        excluded.map(|a| a.name.clone()).collect()
    }

    /// Parses a schema file in either form. Errors are of kind `Usage` and name the line and column, or the JSON path.
    pub fn parse(text: &str) -> Result<Self> {
        let object = match strict_json::parse(text)? {
            Value::Object(object) => object,
            other => {
                let form = "a schema file looks like {\"version\":1,\"key\":[…],\"attributes\":{…}}";
                return Err(wrong_value(&other, "$", "expected an object", form));
            }
        };
        if !object.is_empty() && object.values().all(Value::is_string) {
            return Self::parse_plain(&object);
        }
        only(&object, "$", &["version", "key", "items", "attributes"])?;
        if object.get("version").and_then(Value::as_u64) != Some(Self::VERSION) {
            let version = object.get("version").unwrap_or(&Value::Null);
            return Err(wrong_value(version, "$.version", "expected 1", "this program reads version 1"));
        }
        let key = match object.get("key") {
            None => Vec::new(),
            Some(Value::Array(names)) => names
                .iter()
                .enumerate()
                .map(|(n, name)| text_at(name, &format!("$.key[{n}]")).map(str::to_owned))
                .collect::<Result<Vec<_>>>()?,
            Some(other) => {
                let form = "partition key, then sort key";
                return Err(wrong_value(other, "$.key", "expected a list of attribute names", form));
            }
        };
        if key.len() > 2 {
            return Err(wrong("$.key", "a key has one or two attributes", "partition key, then sort key"));
        }
        if key.len() == 2 && key.first() == key.get(1) {
            return Err(wrong("$.key", "the same attribute twice", "partition key, then sort key"));
        }
        let items = match object.get("items") {
            None => None,
            Some(value) => {
                let count = value.as_u64();
                Some(count.ok_or_else(|| wrong_value(value, "$.items", "expected a count", "or leave it out"))?)
            }
        };
        let Some(Value::Object(listed)) = object.get("attributes") else {
            return Err(wrong(
                "$.attributes",
                "expected an object by attribute name",
                "{\"pk\":{\"type\":\"string\"}}",
            ));
        };
        let attributes = listed.iter().map(|(name, value)| parse_attribute(name, value)).collect::<Result<Vec<_>>>()?;
        for name in &key {
            match attributes.iter().find(|a| a.name == *name).map(|a| &a.target) {
                Some(Target::Column(ty)) if ty.is_key() => {}
                Some(Target::Column(ty)) => {
                    return Err(wrong(
                        &format!("{}.type", path_of(name)),
                        &format!("a key cannot be of type {}", short(&ty.to_string())),
                        "keys are string, long, decimal(P,S), number-string or binary",
                    ));
                }
                _ => {
                    return Err(wrong(
                        "$.key",
                        &format!("{:?} is no attribute of the file", short(name)),
                        "list it, and do not exclude it",
                    ));
                }
            }
        }
        Ok(Self { key, items, attributes })
    }

    fn parse_plain(object: &Map<String, Value>) -> Result<Self> {
        let attributes = object.iter().map(|(name, value)| {
            let kind = value.as_str().and_then(Kind::from_name).ok_or_else(|| {
                let kinds = "S, N, B, BOOL, NULL, SS, NS, BS, L or M";
                wrong_value(value, &member("$", name), "expected a DynamoDB type", kinds)
            })?;
            // NULL is not a type of values.
            let named = (kind != Kind::Null).then_some(Named::Kind(kind));
            Ok(Attribute { name: name.clone(), seen: Vec::new(), column: None, target: Target::Observe(kind), named })
        });
        Ok(Self { key: Vec::new(), items: None, attributes: attributes.collect::<Result<_>>()? })
    }

    /// The file's text, ending in a newline.
    pub fn to_text(&self) -> String {
        let attributes: Map<String, Value> = self
            .attributes
            .iter()
            .map(|a| {
                let mut entry = Map::new();
                if !a.seen.is_empty() {
                    let seen = a.seen.iter().map(|(kind, n)| (kind.name().to_owned(), json!(n))).collect();
                    entry.insert("seen".into(), Value::Object(seen));
                }
                if let Some(column) = &a.column {
                    entry.insert("column".into(), json!(column));
                }
                match &a.target {
                    Target::Column(ty) => entry.insert("type".into(), type_to_json(ty)),
                    Target::Observe(kind) => entry.insert("type".into(), json!(kind.name())),
                    Target::Exclude => entry.insert("exclude".into(), json!(true)),
                };
                (a.name.clone(), Value::Object(entry))
            })
            .collect();
        let mut file = json!({"version": Self::VERSION, "key": self.key});
        if let (Value::Object(object), Some(items)) = (&mut file, self.items) {
            object.insert("items".into(), json!(items));
        }
        if let Value::Object(object) = &mut file {
            object.insert("attributes".into(), Value::Object(attributes));
        }
        format!("{file:#}\n")
    }

    /// The flat form: DynamoDB types only. An attribute with several types gets the most frequent one.
    pub fn to_plain_text(&self) -> String {
        let attributes: Map<String, Value> = self
            .attributes
            .iter()
            .map(|a| {
                let most = a.seen.iter().filter(|(kind, _)| *kind != Kind::Null).max_by_key(|(_, n)| *n);
                (a.name.clone(), json!(most.map_or(Kind::Null, |(kind, _)| *kind).name()))
            })
            .collect();
        format!("{:#}\n", Value::Object(attributes))
    }
}

fn parse_attribute(name: &str, value: &Value) -> Result<Attribute> {
    let path = path_of(name);
    let Value::Object(entry) = value else {
        let forms = "{\"type\":\"string\"} or {\"exclude\":true}";
        return Err(wrong_value(value, &path, "expected an object", forms));
    };
    only(entry, &path, &["seen", "column", "type", "exclude"])?;
    let seen = match entry.get("seen") {
        None => Vec::new(),
        Some(Value::Object(seen)) => seen
            .iter()
            .map(|(kind, n)| match (Kind::from_name(kind), n.as_u64()) {
                (Some(kind), Some(n)) => Ok((kind, n)),
                _ => Err(wrong_value(
                    n,
                    &member(&format!("{path}.seen"), kind),
                    "expected a DynamoDB type and a count",
                    "or leave `seen` out",
                )),
            })
            .collect::<Result<_>>()?,
        Some(other) => {
            return Err(wrong_value(other, &format!("{path}.seen"), "expected an object", "or leave it out"));
        }
    };
    let column = entry.get("column").map(|c| column_name(c, &format!("{path}.column"))).transpose()?;
    let ty = entry.get("type").map(|ty| parse_type(ty, &format!("{path}.type"), 0)).transpose()?;
    let target = match (entry.get("exclude"), ty) {
        (Some(Value::Bool(true)), _) => Target::Exclude,
        (None | Some(Value::Bool(false)), Some(ty)) => Target::Column(ty),
        (None | Some(Value::Bool(false)), None) => {
            return Err(wrong(&path, "neither `type` nor `exclude`", "{\"type\":\"string\"} or {\"exclude\":true}"));
        }
        (Some(other), _) => {
            return Err(wrong_value(other, &format!("{path}.exclude"), "expected true or false", ""));
        }
    };
    let named = matches!(&target, Target::Column(ty) if *ty != ColumnType::Undecided).then_some(Named::Type);
    Ok(Attribute { name: name.to_owned(), seen, column, target, named })
}

/// The name of a column of the table.
fn column_name(value: &Value, path: &str) -> Result<String> {
    let name = text_at(value, path)?;
    if name.is_empty() || fold(name) == RESCUED || is_reserved(name) {
        return Err(wrong(
            path,
            &format!("{name:?} is no name for a column"),
            "a name must not be empty, _ddb_rescued, or one of Iceberg's own such as _file and _pos",
        ));
    }
    Ok(name.to_owned())
}

fn path_of(attribute: &str) -> String {
    format!("$.attributes[{:?}]", short(attribute))
}

#[cfg(test)]
#[path = "schema_file_tests.rs"]
mod tests;
