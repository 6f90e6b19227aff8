//! Which columns a table should have, and what they should hold: the design's table of types, told over whole sets of
//! values rather than by observing and joining.

use std::collections::{BTreeMap, BTreeSet};

use iceberg::spec::{PrimitiveType, Type};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::values::{Item, Number, V, hex};

pub const RESCUED: &str = "_ddb_rescued";
/// A column of another program's, which no attribute goes into.
pub const FOREIGN: &str = "their own";

/// A row by column, nulls left out.
pub type Row = BTreeMap<String, Value>;

#[derive(Debug, Clone, PartialEq)]
pub enum Ty {
    /// Nothing was seen that has a type: no column, no field.
    Undecided,
    String,
    NumberString,
    Json,
    Long,
    Decimal(i64),
    Boolean,
    Binary,
    List(Box<Ty>),
    Set(Box<Ty>),
    Struct(Vec<Column>),
    Map(Box<Ty>),
    /// Another program's numbers, of one width or the other.
    Foreign,
}

/// How much of a value a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    Whole,
    /// All but empty lists and maps whose type nobody knows.
    Waiting,
    Part,
}

impl Fit {
    fn whole_if(whole: bool) -> Self {
        if whole { Self::Whole } else { Self::Part }
    }

    /// Of a value that has no place.
    fn without_place(value: &V) -> Self {
        fn typed(value: &V) -> bool {
            match value {
                V::Null => false,
                V::L(list) => list.iter().any(typed),
                V::M(fields) => fields.iter().any(|(_, value)| typed(value)),
                _ => true,
            }
        }
        match value {
            V::Null => Self::Whole,
            value if typed(value) => Self::Part,
            _ => Self::Waiting,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub attribute: String,
    pub name: String,
    pub ty: Ty,
}

impl Ty {
    /// The type of all these values together; a map of more than `limit` distinct fields is a map.
    pub fn of(values: &[&V], limit: usize) -> Self {
        let kinds: BTreeSet<_> = values.iter().map(|v| v.kind()).filter(|kind| *kind != "NULL").collect();
        match kinds.into_iter().collect::<Vec<_>>().as_slice() {
            [] => Self::Undecided,
            [kind] => Self::of_kind(values, kind, limit),
            several if several.iter().all(|kind| Self::of_kind(values, kind, limit) == Self::Undecided) => {
                Self::Undecided
            }
            _ => Self::Json,
        }
    }

    /// The type of those values that are of one kind.
    pub fn of_kind(values: &[&V], kind: &str, limit: usize) -> Self {
        let same = || values.iter().copied().filter(|v| v.kind() == kind);
        let texts = || {
            same().flat_map(|v| match v {
                V::N(text) => vec![text.as_str()],
                V::Ns(list) => list.iter().map(String::as_str).collect(),
                _ => Vec::new(),
            })
        };
        match kind {
            "S" => Self::String,
            // Listed as NULL: whatever else the items have.
            "NULL" => Self::of(values, limit),
            // Listed, and in no item.
            "N" | "NS" if same().next().is_none() => Self::Undecided,
            "N" => Self::of_numbers(texts()),
            "B" => Self::Binary,
            "BOOL" => Self::Boolean,
            "SS" => Self::Set(Box::new(Self::String)),
            "NS" => Self::Set(Box::new(Self::of_numbers(texts()))),
            "BS" => Self::Set(Box::new(Self::Binary)),
            "L" => Self::around(Self::List, Self::of(&elements(same()), limit)),
            "M" => {
                let fields = by_name(same());
                if fields.len() > limit {
                    Self::around(Self::Map, Self::of(&fields.into_values().flatten().collect::<Vec<_>>(), limit))
                } else {
                    let mut columns = Vec::new();
                    add_columns(&mut columns, &fields, limit, false, &Kinds::new());
                    if columns.is_empty() { Self::Undecided } else { Self::Struct(columns) }
                }
            }
            other => panic!("{other}"),
        }
    }

    fn around(around: fn(Box<Self>) -> Self, inside: Self) -> Self {
        if inside == Self::Undecided { inside } else { around(Box::new(inside)) }
    }

    fn of_numbers<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let numbers: Vec<_> = texts.map(Number::read).collect();
        if numbers.iter().all(|n| n.to_long().is_some()) {
            return Self::Long;
        }
        let whole = numbers.iter().map(Number::integer_digits).max().unwrap_or(0);
        let scale = numbers.iter().map(Number::scale).max().unwrap_or(0);
        if whole + scale > 38 { Self::NumberString } else { Self::Decimal(scale.max(9).min(38 - whole)) }
    }

    /// What a column of this type holds of a value, and how much of it that is.
    pub fn fit(&self, value: &V) -> (Option<Value>, Fit) {
        let whole = |value: Value| (Some(value), Fit::Whole);
        match (self, value) {
            (_, V::Null) => (None, Fit::Whole),
            (Self::Json, value) => whole(json!(value.plain_json())),
            (Self::String, V::S(text)) => whole(json!(text)),
            (Self::NumberString, V::N(text)) => whole(json!(Number::read(text).canonical())),
            (Self::Long, V::N(text)) => {
                let long = Number::read(text).to_long();
                (long.map(|n| json!(n)), Fit::whole_if(long.is_some()))
            }
            (Self::Decimal(scale), V::N(text)) => {
                let number = Number::read(text);
                let fits = number.fits_decimal(*scale);
                (fits.then(|| json!({"decimal": number.plain()})), Fit::whole_if(fits))
            }
            (Self::Boolean, V::Bool(value)) => whole(json!(value)),
            (Self::Binary, V::B(bytes)) => whole(json!({"hex": hex(bytes)})),
            (Self::List(element), V::L(list)) => fit_all(element, list.iter()),
            (Self::Set(element), V::Ss(list)) => fit_set(element, list.iter().map(|s| V::S(s.clone())).collect()),
            (Self::Set(element), V::Ns(list)) => fit_set(element, list.iter().map(|s| V::N(s.clone())).collect()),
            (Self::Set(element), V::Bs(list)) => fit_set(element, list.iter().map(|b| V::B(b.clone())).collect()),
            (Self::Map(ty), V::M(fields)) => {
                let mut object = Map::new();
                let mut all = Fit::Whole;
                for (name, value) in fields {
                    let (found, fits) = ty.fit(value);
                    object.insert(name.clone(), found.unwrap_or(Value::Null));
                    all = all.max(fits);
                }
                (Some(Value::Object(object)), all)
            }
            (Self::Struct(columns), V::M(fields)) => {
                let mut object = Map::new();
                let mut all = Fit::Whole;
                for (name, value) in fields {
                    let Some(column) = columns.iter().find(|c| c.attribute == *name) else {
                        all = all.max(Fit::without_place(value));
                        continue;
                    };
                    let (found, fits) = column.ty.fit(value);
                    if let Some(found) = found {
                        object.insert(column.name.clone(), found);
                    }
                    all = all.max(fits);
                }
                (Some(Value::Object(object)), all)
            }
            _ => (None, Fit::Part),
        }
    }

    /// Makes room for fields that these values have and the type has not; gives the full names of what was added.
    fn grow(&mut self, values: &[&V], path: &str, limit: usize) -> Vec<String> {
        match self {
            Self::List(element) => element.grow(&elements(values.iter().copied()), &format!("{path}.element"), limit),
            Self::Map(value) => {
                let inside: Vec<_> = by_name(values.iter().copied()).into_values().flatten().collect();
                value.grow(&inside, &format!("{path}.value"), limit)
            }
            Self::Struct(columns) => {
                grow_columns(columns, &by_name(values.iter().copied()), &format!("{path}."), limit, &Kinds::new())
            }
            _ => Vec::new(),
        }
    }

    /// Whether Iceberg's type is this one.
    pub fn is(&self, ty: &Type) -> bool {
        match (self, ty) {
            (Self::String | Self::NumberString | Self::Json, Type::Primitive(PrimitiveType::String))
            | (Self::Long, Type::Primitive(PrimitiveType::Long))
            | (Self::Foreign, Type::Primitive(PrimitiveType::Int | PrimitiveType::Long))
            | (Self::Boolean, Type::Primitive(PrimitiveType::Boolean))
            | (Self::Binary, Type::Primitive(PrimitiveType::Binary)) => true,
            (Self::Decimal(wanted), Type::Primitive(PrimitiveType::Decimal { precision: 38, scale })) => {
                *wanted == i64::from(*scale)
            }
            (Self::List(element) | Self::Set(element), Type::List(list)) => {
                element.is(&list.element_field.field_type) && !list.element_field.required
            }
            (Self::Map(value), Type::Map(map)) => value.is(&map.value_field.field_type),
            (Self::Struct(columns), Type::Struct(fields)) => {
                let fields = fields.fields();
                columns.len() == fields.len()
                    && columns
                        .iter()
                        .zip(fields)
                        .all(|(c, f)| c.name == f.name && c.ty.is(&f.field_type) && !f.required)
            }
            _ => false,
        }
    }
}

fn fit_set(element: &Ty, list: Vec<V>) -> (Option<Value>, Fit) {
    // A set of another kind is no set of this element at all.
    let same = |v: &V| {
        matches!(
            (element, v),
            (Ty::String, V::S(_)) | (Ty::Long | Ty::Decimal(_) | Ty::NumberString, V::N(_)) | (Ty::Binary, V::B(_))
        )
    };
    if !list.iter().all(same) {
        return (None, Fit::Part);
    }
    fit_all(element, list.iter())
}

fn fit_all<'a>(element: &Ty, list: impl Iterator<Item = &'a V>) -> (Option<Value>, Fit) {
    let fits: Vec<_> = list.map(|v| element.fit(v)).collect();
    let all = fits.iter().map(|(_, fit)| *fit).max().unwrap_or(Fit::Whole);
    (Some(fits.into_iter().map(|(value, _)| value.unwrap_or(Value::Null)).collect()), all)
}

fn elements<'a>(lists: impl Iterator<Item = &'a V>) -> Vec<&'a V> {
    lists
        .filter_map(|v| match v {
            V::L(list) => Some(list),
            _ => None,
        })
        .flatten()
        .collect()
}

fn by_name<'a>(maps: impl Iterator<Item = &'a V>) -> BTreeMap<&'a str, Vec<&'a V>> {
    let mut names: BTreeMap<&str, Vec<&V>> = BTreeMap::new();
    for map in maps {
        if let V::M(fields) = map {
            for (name, value) in fields {
                names.entry(name).or_default().push(value);
            }
        }
    }
    names
}

/// DynamoDB types by attribute, as a plain schema file names them.
type Kinds = BTreeMap<String, &'static str>;

fn grow_columns(
    columns: &mut Vec<Column>,
    values: &BTreeMap<&str, Vec<&V>>,
    path: &str,
    limit: usize,
    named: &Kinds,
) -> Vec<String> {
    let mut added = Vec::new();
    for column in columns.iter_mut() {
        if let Some(values) = values.get(column.attribute.as_str()) {
            added.extend(column.ty.grow(values, &format!("{path}{}", column.name), limit));
        }
    }
    let known: BTreeSet<_> = columns.iter().map(|c| c.attribute.clone()).collect();
    // What has no type yet keeps no name from others.
    let is_new = |(name, values): &(&&str, &Vec<&V>)| {
        !known.contains(**name) && type_of(name, values, limit, named) != Ty::Undecided
    };
    let new = values.iter().filter(is_new).map(|(n, v)| (*n, v.clone())).collect();
    let new = add_columns(columns, &new, limit, path.is_empty(), named);
    added.extend(new.into_iter().map(|name| format!("{path}{name}")));
    added
}

fn type_of(attribute: &str, values: &[&V], limit: usize, named: &Kinds) -> Ty {
    match named.get(attribute) {
        Some(kind) if values.iter().all(|value| value.kind() != *kind) => Ty::Undecided,
        Some(kind) => Ty::of_kind(values, kind, limit),
        None => Ty::of(values, limit),
    }
}

/// Adds columns by name, each with a name of its own, where a type is known; gives those names.
fn add_columns(
    columns: &mut Vec<Column>,
    new: &BTreeMap<&str, Vec<&V>>,
    limit: usize,
    top: bool,
    named: &Kinds,
) -> Vec<String> {
    for (attribute, values) in new {
        let ty = type_of(attribute, values, limit, named);
        let name = column_name(attribute, columns, top);
        columns.push(Column { attribute: (*attribute).to_owned(), name, ty });
    }
    columns.retain(|column| column.ty != Ty::Undecided);
    columns.iter().filter(|c| new.contains_key(c.attribute.as_str())).map(|c| c.name.clone()).collect()
}

/// The attribute's own name where it can be told from all others.
fn column_name(attribute: &str, columns: &[Column], top: bool) -> String {
    let lower = attribute.to_lowercase();
    let reserved = top && ["_file", "_pos", "_deleted", "_spec_id", "_partition", RESCUED].contains(&lower.as_str());
    let clash = columns.iter().any(|column| {
        let other = column.name.to_lowercase();
        other == lower || other.starts_with(&format!("{lower}.")) || lower.starts_with(&format!("{other}."))
    });
    if !reserved && !clash {
        return attribute.to_owned();
    }
    format!("{attribute}__{}", &hex(&Sha256::digest(attribute.as_bytes()))[..8])
}

/// The columns of the table.
#[derive(Debug, Clone)]
pub struct Table {
    pub key: Vec<String>,
    /// All but `_ddb_rescued`, which stands behind the first `created` of them.
    pub columns: Vec<Column>,
    pub created: usize,
    /// Of attributes that have no column yet, too.
    named: Kinds,
}

impl Table {
    /// The columns of a load: of all attributes, or of those that a plain schema file lists.
    pub fn create(items: &[Item], key: &[String], listed: Option<&Kinds>, limit: usize) -> Self {
        let mut seen: BTreeMap<&str, Vec<&V>> = BTreeMap::new();
        for (name, value) in items.iter().flatten() {
            seen.entry(name).or_default().push(value);
        }
        let mut columns = Vec::new();
        let rank = |attribute: &str| (key.iter().position(|k| k == attribute).unwrap_or(2), attribute.to_owned());
        let mut attributes: Vec<&str> = match listed {
            None => seen.keys().copied().collect(),
            Some(listed) => listed.keys().map(String::as_str).collect(),
        };
        // Names of the key come first, and stay.
        attributes.sort_by_key(|attribute| rank(attribute));
        for attribute in attributes {
            let name = column_name(attribute, &columns, true);
            let values = seen.get(attribute).cloned().unwrap_or_default();
            let ty = match listed.map(|listed| listed[attribute]) {
                None => Ty::of(&values, limit),
                Some("N") if values.is_empty() && key.iter().any(|k| k == attribute) => Ty::Long,
                Some(kind) => Ty::of_kind(&values, kind, limit),
            };
            columns.push(Column { attribute: attribute.to_owned(), name, ty });
        }
        columns.retain(|column| column.ty != Ty::Undecided);
        let named = listed.cloned().unwrap_or_default().into_iter().filter(|(_, kind)| *kind != "NULL").collect();
        Self { key: key.to_vec(), created: columns.len(), columns, named }
    }

    /// Columns and fields for what these items have and the table has not.
    pub fn grow(&mut self, items: &[&Item]) -> BTreeSet<String> {
        let mut values: BTreeMap<&str, Vec<&V>> = BTreeMap::new();
        for (name, value) in items.iter().copied().flatten() {
            values.entry(name).or_default().push(value);
        }
        grow_columns(&mut self.columns, &values, "", 256, &self.named).into_iter().collect()
    }

    /// Another program adds a column of its own.
    pub fn add_foreign(&mut self) {
        self.columns.push(Column { attribute: "\0".to_owned(), name: FOREIGN.to_owned(), ty: Ty::Foreign });
    }

    /// Another program drops a column.
    pub fn drop_column(&mut self, name: &str) {
        let at = self.columns.iter().position(|column| column.name == name).unwrap();
        self.columns.remove(at);
        self.created -= usize::from(at < self.created);
    }

    /// Whether these key parts fit the key columns.
    pub fn takes_key(&self, key: &[V]) -> bool {
        self.columns.iter().zip(key).all(|(column, part)| column.ty.fit(part).1 == Fit::Whole)
    }

    /// The row of an item, and the attributes that are rescued: whether something of them fits no column.
    pub fn row(&self, item: &Item) -> (Row, BTreeMap<String, bool>) {
        let mut row = Row::new();
        let mut rescued = Map::new();
        let mut names = BTreeMap::new();
        for (attribute, value) in item {
            let column = self.columns.iter().find(|c| c.attribute == *attribute);
            let (found, fit) = column.map_or_else(|| (None, Fit::without_place(value)), |c| c.ty.fit(value));
            if let (Some(column), Some(found)) = (column, found) {
                row.insert(column.name.clone(), found);
            }
            if fit != Fit::Whole {
                rescued.insert(attribute.clone(), value.dynamodb_json());
                names.insert(attribute.clone(), fit == Fit::Part);
            }
        }
        if !rescued.is_empty() {
            row.insert(RESCUED.to_owned(), Value::Object(rescued));
        }
        (row, names)
    }

    /// Names of the columns in order.
    pub fn names(&self) -> Vec<&str> {
        let (first, last) = self.columns.split_at(self.created);
        first.iter().map(|c| c.name.as_str()).chain([RESCUED]).chain(last.iter().map(|c| c.name.as_str())).collect()
    }

    /// The row's key as text.
    pub fn key_of(&self, row: &Row) -> String {
        self.columns[..self.key.len()].iter().map(|c| row[&c.name].to_string()).collect::<Vec<_>>().join(" ")
    }
}
