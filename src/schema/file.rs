//! The schema file, version 1: what was seen, and what each attribute becomes. Made for editing by hand.

use serde_json::{Map, Value, json};

use super::{ColumnType, Field, Fields};
use crate::attribute::Kind;
use crate::error::{Error, Result};

/// What `detect-schema` writes and `full-load` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFile {
    /// Partition key, then sort key; empty if nobody named it.
    pub key: Vec<String>,
    /// Items that were looked at.
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
    /// The column's name, if the user or a clash made it differ.
    pub column: Option<String>,
    /// What it becomes.
    pub target: Target,
}

/// What an attribute becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A column of this type.
    Column(ColumnType),
    /// A column of whatever type the values of this DynamoDB type need: the plain form.
    Observe(Kind),
    /// Nothing: it is left out.
    Exclude,
}

impl SchemaFile {
    /// The version this program writes and reads.
    pub const VERSION: u64 = 1;

    /// What the observations suggest.
    pub fn suggest(key: &[String], items: u64, fields: &Fields) -> Self {
        let sorted = fields.sorted();
        let columns = super::column_names(sorted.iter().map(|(name, _)| *name), true);
        let attributes = sorted.into_iter().zip(columns).map(|((name, observed), column)| Attribute {
            name: name.to_owned(),
            seen: observed.kinds().map(|kind| (kind, observed.count(kind))).collect(),
            column: (column != name).then_some(column),
            target: Target::Column(ColumnType::of(observed)),
        });
        Self { key: key.to_vec(), items: Some(items), attributes: attributes.collect() }
    }

    /// Whether the file leaves types to be observed.
    pub fn needs_observation(&self) -> bool {
        self.attributes.iter().any(|a| matches!(a.target, Target::Observe(_)))
    }

    /// Fills in the types that the file left to observation.
    #[must_use]
    pub fn with_observations(mut self, fields: &Fields) -> Self {
        for attribute in &mut self.attributes {
            if let Target::Observe(kind) = attribute.target {
                let ty = fields.get(&attribute.name).map_or_else(
                    || ColumnType::of_kind(&super::Observed::default(), kind),
                    |observed| ColumnType::of_kind(observed, kind),
                );
                attribute.target = Target::Column(ty);
            }
        }
        self
    }

    /// Reads a schema file of either form. Errors name the JSON path.
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).map_err(|e| {
            Error::usage("the schema file is not JSON").on_line(u64::try_from(e.line()).unwrap_or(0)).caused_by(e)
        })?;
        let Value::Object(object) = value else {
            return Err(wrong(
                "$",
                "expected an object",
                "a schema file looks like {\"version\":1,\"key\":[…],\"attributes\":{…}}",
            ));
        };
        if !object.is_empty() && object.values().all(Value::is_string) {
            return Self::parse_plain(&object);
        }
        only(&object, "$", &["version", "key", "items", "attributes"])?;
        if object.get("version").and_then(Value::as_u64) != Some(Self::VERSION) {
            return Err(wrong("$.version", "expected 1", "this program reads version 1"));
        }
        let key = match object.get("key") {
            None => Vec::new(),
            Some(Value::Array(names)) => names
                .iter()
                .enumerate()
                .map(|(n, name)| text_at(name, &format!("$.key[{n}]")).map(str::to_owned))
                .collect::<Result<_>>()?,
            Some(_) => {
                return Err(wrong("$.key", "expected a list of attribute names", "partition key, then sort key"));
            }
        };
        if key.len() > 2 {
            return Err(wrong("$.key", "a key has one or two attributes", "partition key, then sort key"));
        }
        let items = match object.get("items") {
            None | Some(Value::Null) => None,
            Some(value) => Some(value.as_u64().ok_or_else(|| wrong("$.items", "expected a count", "or leave it out"))?),
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
                        &path_of(name),
                        &format!("a key cannot be of type {ty}"),
                        "keys are string, long, decimal, number-string or binary",
                    ));
                }
                _ => {
                    return Err(wrong(
                        "$.key",
                        &format!("{name:?} is no attribute of the file"),
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
                wrong(&format!("$.{name}"), "expected a DynamoDB type", "S, N, B, BOOL, NULL, SS, NS, BS, L or M")
            })?;
            Ok(Attribute { name: name.clone(), seen: Vec::new(), column: None, target: Target::Observe(kind) })
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

    /// The plain form: DynamoDB types only. An attribute of several types is written as the one seen most.
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
        return Err(wrong(&path, "expected an object", "{\"type\":\"string\"} or {\"exclude\":true}"));
    };
    only(entry, &path, &["seen", "column", "type", "exclude"])?;
    let seen = match entry.get("seen") {
        None => Vec::new(),
        Some(Value::Object(seen)) => seen
            .iter()
            .map(|(kind, n)| match (Kind::from_name(kind), n.as_u64()) {
                (Some(kind), Some(n)) => Ok((kind, n)),
                _ => Err(wrong(
                    &format!("{path}.seen.{kind}"),
                    "expected a DynamoDB type and a count",
                    "or leave `seen` out",
                )),
            })
            .collect::<Result<_>>()?,
        Some(_) => return Err(wrong(&format!("{path}.seen"), "expected an object", "or leave it out")),
    };
    let column = entry.get("column").map(|c| column_name(c, &format!("{path}.column"))).transpose()?;
    let target = match (entry.get("exclude"), entry.get("type")) {
        (Some(Value::Bool(true)), _) => Target::Exclude,
        (None | Some(Value::Bool(false)), Some(ty)) => Target::Column(parse_type(ty, &format!("{path}.type"), 0)?),
        (None | Some(Value::Bool(false)), None) => {
            return Err(wrong(&path, "neither `type` nor `exclude`", "{\"type\":\"string\"} or {\"exclude\":true}"));
        }
        (Some(_), _) => return Err(wrong(&format!("{path}.exclude"), "expected true or false", "")),
    };
    Ok(Attribute { name: name.to_owned(), seen, column, target })
}

const SCALARS: &str = "string, long, decimal(P,S), double, boolean, binary, json, number-string, \
    {\"list\":…}, {\"set\":…}, {\"map\":…} or {\"struct\":{…}}";

fn parse_type(value: &Value, path: &str, depth: u32) -> Result<ColumnType> {
    if depth > crate::attribute::MAX_DEPTH {
        return Err(wrong(path, "types are nested too deeply", ""));
    }
    match value {
        Value::String(name) => Ok(match name.as_str() {
            "string" => ColumnType::String,
            "number-string" => ColumnType::NumberString,
            "json" => ColumnType::Json,
            "long" => ColumnType::Long,
            "double" => ColumnType::Double,
            "boolean" => ColumnType::Boolean,
            "binary" => ColumnType::Binary,
            other => parse_decimal(other)
                .ok_or_else(|| wrong(path, &format!("unknown type {other:?}"), &format!("allowed are {SCALARS}")))?,
        }),
        Value::Object(object) if object.len() == 1 => {
            let Some((head, inner)) = object.iter().next() else { return Err(wrong(path, "an empty type", SCALARS)) };
            let below = format!("{path}.{head}");
            match head.as_str() {
                "list" => Ok(ColumnType::List(Box::new(parse_type(inner, &below, depth + 1)?))),
                "map" => Ok(ColumnType::Map(Box::new(parse_type(inner, &below, depth + 1)?))),
                "set" => match parse_type(inner, &below, depth + 1)? {
                    element @ (ColumnType::String
                    | ColumnType::NumberString
                    | ColumnType::Long
                    | ColumnType::Double
                    | ColumnType::Decimal { .. }
                    | ColumnType::Binary) => Ok(ColumnType::Set(Box::new(element))),
                    other => {
                        Err(wrong(&below, &format!("a set cannot hold {other}"), "string, a number type, or binary"))
                    }
                },
                "struct" => parse_struct(inner, &below, depth),
                other => Err(wrong(path, &format!("unknown type {other:?}"), &format!("allowed are {SCALARS}"))),
            }
        }
        _ => Err(wrong(path, "expected a type", &format!("allowed are {SCALARS}"))),
    }
}

fn parse_struct(value: &Value, path: &str, depth: u32) -> Result<ColumnType> {
    let Value::Object(object) = value else {
        return Err(wrong(path, "expected an object by field name", "{\"street\":{\"type\":\"string\"}}"));
    };
    if object.is_empty() {
        return Err(wrong(path, "a struct without fields", "use {\"map\":\"string\"}"));
    }
    let mut fields = Vec::with_capacity(object.len());
    for (name, entry) in object {
        let path = format!("{path}.{name}");
        let Value::Object(entry) = entry else {
            return Err(wrong(&path, "expected an object", "{\"type\":\"string\"}"));
        };
        only(entry, &path, &["column", "type"])?;
        let ty = entry.get("type").ok_or_else(|| wrong(&path, "no `type`", &format!("allowed are {SCALARS}")))?;
        let column = entry.get("column").map(|c| column_name(c, &format!("{path}.column"))).transpose()?;
        fields.push(Field {
            name: name.clone(),
            column: column.unwrap_or_else(|| name.clone()),
            ty: parse_type(ty, &format!("{path}.type"), depth + 1)?,
        });
    }
    let mut lower: Vec<_> = fields.iter().map(|f| f.column.to_lowercase()).collect();
    lower.sort_unstable();
    if lower.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(wrong(path, "two fields have names that differ by case only", "give one a `column`"));
    }
    Ok(ColumnType::Struct(fields))
}

fn parse_decimal(text: &str) -> Option<ColumnType> {
    let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    ((1..=38).contains(&precision) && scale <= precision).then_some(ColumnType::Decimal { precision, scale })
}

fn type_to_json(ty: &ColumnType) -> Value {
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

fn path_of(attribute: &str) -> String {
    format!("$.attributes[{attribute:?}]")
}

fn text_at<'a>(value: &'a Value, path: &str) -> Result<&'a str> {
    value.as_str().ok_or_else(|| wrong(path, "expected a string", ""))
}

fn column_name(value: &Value, path: &str) -> Result<String> {
    let name = text_at(value, path)?;
    if name.is_empty() || name.eq_ignore_ascii_case(super::RESCUED) {
        return Err(wrong(path, "not a column name", &format!("it must not be empty or {}", super::RESCUED)));
    }
    Ok(name.to_owned())
}

fn only(object: &Map<String, Value>, path: &str, allowed: &[&str]) -> Result<()> {
    match object.keys().find(|key| !allowed.contains(&key.as_str())) {
        Some(key) => {
            Err(wrong(&format!("{path}.{key}"), "unknown key", &format!("allowed are {}", allowed.join(", "))))
        }
        None => Ok(()),
    }
}

fn wrong(path: &str, what: &str, allowed: &str) -> Error {
    let error = Error::usage(format!("schema file, {path}: {what}"));
    if allowed.is_empty() { error } else { error.advice(allowed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"version":1,"key":["pk"],"items":3,"attributes":{
        "pk":{"seen":{"S":3},"type":"string"},
        "Pk":{"column":"Pk__x","type":"decimal(10, 2)"},
        "tags":{"type":{"set":"long"}},
        "rows":{"type":{"list":{"struct":{"a b":{"column":"ab","type":"json"},"n":{"type":{"map":"binary"}}}}}},
        "secret":{"exclude":true}}}"#;

    #[test]
    fn what_is_written_is_read() {
        let file = SchemaFile::parse(FILE).unwrap();
        assert_eq!(file.attributes.len(), 5);
        assert_eq!(file.attributes[1].target, Target::Column(ColumnType::Decimal { precision: 10, scale: 2 }));
        assert_eq!(file.attributes[4].target, Target::Exclude);
        assert_eq!(SchemaFile::parse(&file.to_text()).unwrap(), file);
    }

    #[test]
    fn the_plain_form_is_read() {
        let file = SchemaFile::parse(r#"{"product_id":"S","quantity":"N"}"#).unwrap();
        assert!(file.needs_observation());
        assert_eq!(file.attributes[1].target, Target::Observe(Kind::N));
    }

    #[test]
    fn errors_name_the_path_and_what_is_allowed() {
        for (text, expected) in [
            ("[]", "$: expected an object"),
            ("{\n\"version\":1,\n", "not JSON"),
            (r#"{"version":2,"attributes":{}}"#, "$.version: expected 1"),
            (r#"{"version":1,"attributes":{},"more":1}"#, "$.more: unknown key"),
            (r#"{"version":1}"#, "$.attributes: expected an object"),
            (r#"{"version":1,"key":["a"],"attributes":{}}"#, "$.key: \"a\" is no attribute"),
            (r#"{"version":1,"key":["a"],"attributes":{"a":{"type":"boolean"}}}"#, "a key cannot be of type boolean"),
            (r#"{"version":1,"attributes":{"a":{"type":"text"}}}"#, "$.attributes[\"a\"].type: unknown type \"text\""),
            (r#"{"version":1,"attributes":{"a":{"type":"decimal(39,1)"}}}"#, "unknown type \"decimal(39,1)\""),
            (
                r#"{"version":1,"attributes":{"a":{"type":{"set":"boolean"}}}}"#,
                "$.attributes[\"a\"].type.set: a set cannot hold boolean",
            ),
            (r#"{"version":1,"attributes":{"a":{"type":{"struct":{}}}}}"#, "a struct without fields"),
            (
                r#"{"version":1,"attributes":{"a":{"type":{"struct":{"x":{"type":"long"},"X":{"type":"long"}}}}}}"#,
                "differ by case only",
            ),
            (r#"{"version":1,"attributes":{"a":{}}}"#, "neither `type` nor `exclude`"),
            (r#"{"a":"S","b":"X"}"#, "$.b: expected a DynamoDB type"),
        ] {
            let error = SchemaFile::parse(text).expect_err(text);
            assert_eq!(error.kind(), crate::error::Kind::Usage);
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }
}
