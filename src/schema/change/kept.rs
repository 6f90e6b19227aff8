//! Decides what a table keeps of its columns when its rows are replaced: everything that its users decided, and of the
//! rest whatever fits the new items.
//!
//! Omitted attributes stay omitted, names are kept, and so are types that a schema file named. An observed type is kept
//! if every value fits it; otherwise it is derived again, also inside lists and maps. New attributes become columns.

use std::collections::{BTreeMap, BTreeSet};

use super::new_fields::NewFields;
use crate::attribute::{Kind, MAX_DIGITS};
use crate::schema::file::schema_file::{Attribute, SchemaFile, Target};
use crate::schema::mapping::TableSchema;
use crate::schema::named::Named;
use crate::schema::naming::Taken;
use crate::schema::observed::{Fields, Limits, NumberRange, Observed};
use crate::schema::types::{ColumnType, Field, TimestampForm};

impl SchemaFile {
    /// The columns of a table, extended for the items that replace its rows.
    pub fn kept(table: &TableSchema, seen: &Fields, limits: &Limits) -> Self {
        let mut attributes = Vec::new();
        for field in table.schema.as_struct().fields() {
            // A column to which another program gave a type that no value can have is replaced.
            let Ok(Some((Some(name), old))) = table.source(field) else { continue };
            let named = table.mapping.named.get(name).copied();
            let ty = seen.get(name).map_or_else(|| old.clone(), |seen| Keeper { named, limits }.keep(&old, seen, 0));
            attributes.push(Attribute {
                name: name.to_owned(),
                seen: Vec::new(),
                column: Some(field.name.clone()),
                target: Target::Column(ty),
                named,
            });
        }
        // Names chosen for future columns take precedence over those of other attributes, observed or not.
        let none = BTreeMap::new();
        let chosen = table.mapping.undecided.get(&NewFields::ITEM).unwrap_or(&none);
        let mut names = Taken::of(attributes.iter().filter_map(|attribute| attribute.column.as_ref()));
        let chosen: BTreeMap<&str, String> =
            chosen.iter().map(|(name, column)| (name.as_str(), names.take(column, name, true))).collect();
        let known: BTreeSet<&str> = attributes.iter().map(|attribute| attribute.name.as_str()).collect();
        let is_open = |name: &str| !known.contains(name) && !table.mapping.excluded.contains(name);
        let nothing = Observed::default();
        let mut new = seen.sorted();
        // An attribute that was named but never observed stays named.
        let named = table.mapping.named.keys().map(String::as_str).filter(|name| seen.get(name).is_none());
        new.extend(named.map(|name| (name, &nothing)));
        new.retain(|(name, _)| is_open(name));
        let new: Vec<Attribute> = new
            .into_iter()
            .map(|(name, observed)| {
                let named = table.mapping.named.get(name).copied();
                let ty = Named::type_of(named, observed);
                let own = (ty != ColumnType::Undecided).then(|| names.take(name, name, true));
                Attribute {
                    name: name.to_owned(),
                    seen: Vec::new(),
                    column: chosen.get(name).cloned().or(own),
                    target: Target::Column(ty),
                    named,
                }
            })
            .collect();
        attributes.extend(new);
        attributes.extend(table.mapping.excluded.iter().map(|name| Attribute {
            name: name.clone(),
            seen: Vec::new(),
            column: None,
            target: Target::Exclude,
            named: None,
        }));
        Self { key: table.mapping.key.clone(), items: None, attributes }
    }
}

impl TableSchema {
    /// The maximum number of fields of any struct in it, at any depth.
    pub fn widest_struct(&self) -> usize {
        let fields = self.schema.as_struct().fields().iter();
        let types = fields.filter_map(|field| self.source(field).ok().flatten());
        types.map(|(_, ty)| ty.widest_struct()).max().unwrap_or(0)
    }
}

impl ColumnType {
    /// The maximum number of fields of any struct in it.
    pub(crate) fn widest_struct(&self) -> usize {
        match self {
            Self::List(inner) | Self::Set(inner) | Self::Map(inner) => inner.widest_struct(),
            Self::Struct(fields) => {
                fields.iter().map(|field| field.ty.widest_struct()).max().unwrap_or(0).max(fields.len())
            }
            _ => 0,
        }
    }
}

/// Decides on the type of one attribute.
struct Keeper<'a> {
    named: Option<Named>,
    limits: &'a Limits,
}

impl Keeper<'_> {
    fn keep(&self, old: &ColumnType, seen: &Observed, level: u32) -> ColumnType {
        let by_hand = self.named == Some(Named::Type) || !is_observable(old);
        // If a schema file named the DynamoDB type, values of any other type are rescued.
        let kind_named = level == 0 && matches!(self.named, Some(Named::Kind(_)));
        let mut kinds = seen.kinds().filter(|kind| *kind != Kind::Null);
        let kind = match (kinds.next(), kinds.next()) {
            (None, _) => return old.clone(),
            _ if by_hand || kind_named => match kind_of(old).filter(|kind| seen.count(*kind) > 0) {
                Some(kind) => kind,
                None => return old.clone(),
            },
            (Some(kind), None) => kind,
            _ => return decided(ColumnType::of_level(seen, level), old),
        };
        let inner = |old: &ColumnType, seen: Option<&Observed>| {
            Box::new(seen.map_or_else(|| old.clone(), |seen| self.keep(old, seen, level + 1)))
        };
        match (old, kind) {
            (ColumnType::Json, _) => ColumnType::Json,
            (ColumnType::List(element), Kind::L) => ColumnType::List(inner(element, seen.element())),
            (ColumnType::Map(value), Kind::M) => ColumnType::Map(inner(value, Some(&self.values(seen)))),
            (ColumnType::Struct(fields), Kind::M) if seen.values().is_none() => {
                ColumnType::Struct(self.fields(fields, seen.fields(), level))
            }
            _ if by_hand || fits(old, kind, seen) => old.clone(),
            _ => decided(ColumnType::of_kind_at(seen, kind, level), old),
        }
    }

    /// The fields of a struct, and the new ones.
    fn fields(&self, old: &[Field], seen: &Fields, level: u32) -> Vec<Field> {
        let kept = old.iter().map(|field| {
            let ty = seen.get(&field.name).map(|seen| self.keep(&field.ty, seen, level + 1));
            Field { ty: ty.unwrap_or_else(|| field.ty.clone()), ..field.clone() }
        });
        let known: BTreeSet<&str> = old.iter().map(|field| field.name.as_str()).collect();
        let new: Vec<_> = seen.sorted().into_iter().filter(|(name, _)| !known.contains(name)).collect();
        let mut taken = Taken::of(old.iter().map(|field| &field.column));
        let new = new.into_iter().map(|(name, seen)| {
            Field::seen(name, taken.take(name, name, false), ColumnType::of_level(seen, level + 1))
        });
        kept.chain(new).collect()
    }

    /// The observations of all values of a map.
    fn values(&self, seen: &Observed) -> Observed {
        let mut all = seen.values().cloned().unwrap_or_default();
        for (_, field) in seen.fields().sorted() {
            all.join(field.clone(), self.limits);
        }
        all
    }
}

/// The observations, unless they determine no type: then a column keeps its type.
fn decided(seen: ColumnType, old: &ColumnType) -> ColumnType {
    if seen == ColumnType::Undecided { old.clone() } else { seen }
}

/// Whether observations can produce this type; otherwise it was named.
fn is_observable(ty: &ColumnType) -> bool {
    match ty {
        ColumnType::Double | ColumnType::Timestamp(_) => false,
        ColumnType::Decimal { precision, .. } => *precision == MAX_DIGITS,
        ColumnType::Set(element) => is_observable(element),
        _ => true,
    }
}

/// The DynamoDB type whose values a type accepts; `None`: any.
fn kind_of(ty: &ColumnType) -> Option<Kind> {
    Some(match ty {
        ColumnType::Json | ColumnType::Undecided => return None,
        ColumnType::String | ColumnType::Timestamp(TimestampForm::Iso8601) => Kind::S,
        ColumnType::NumberString
        | ColumnType::Long
        | ColumnType::Decimal { .. }
        | ColumnType::Double
        | ColumnType::Timestamp(_) => Kind::N,
        ColumnType::Boolean => Kind::Bool,
        ColumnType::Binary => Kind::B,
        ColumnType::List(_) => Kind::L,
        ColumnType::Set(element) => match kind_of(element) {
            Some(Kind::N) => Kind::Ns,
            Some(Kind::B) => Kind::Bs,
            _ => Kind::Ss,
        },
        ColumnType::Struct(_) | ColumnType::Map(_) => Kind::M,
    })
}

/// Whether a type accepts every observed value of one DynamoDB type.
fn fits(ty: &ColumnType, kind: Kind, seen: &Observed) -> bool {
    let inner = match ty {
        ColumnType::Set(element) => element,
        other => other,
    };
    kind_of(ty) == Some(kind)
        && match kind {
            Kind::N => takes(inner, seen.numbers()),
            Kind::Ns => takes(inner, seen.set_numbers()),
            // A struct is not a map, and a map with too many fields is not a struct.
            Kind::M => false,
            _ => true,
        }
}

fn takes(ty: &ColumnType, numbers: NumberRange) -> bool {
    match ty {
        ColumnType::Long => !numbers.beyond_long,
        ColumnType::Decimal { precision, scale } => {
            numbers.scale <= *scale && numbers.integer_digits <= precision.saturating_sub(*scale)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::parser::Parser;

    /// The types in a table of these attributes after its rows are replaced by these items.
    fn kept(attributes: &str, items: &[&str]) -> String {
        let text = if attributes.starts_with('{') {
            attributes.to_owned()
        } else {
            format!(r#"{{"version":1,"key":["pk"],"attributes":{{"pk":{{"type":"string"}},{attributes}}}}}"#)
        };
        let file = SchemaFile::parse(&text).unwrap().with_observations(&Fields::default());
        replaced(&file, items)
    }

    /// The same if the types were observed, not named.
    fn observed(attributes: &str, items: &[&str]) -> String {
        let text = format!(r#"{{"version":1,"key":["pk"],"attributes":{{"pk":{{"type":"string"}},{attributes}}}}}"#);
        let mut file = SchemaFile::parse(&text).unwrap();
        file.attributes.iter_mut().for_each(|attribute| attribute.named = None);
        replaced(&file, items)
    }

    fn replaced(file: &SchemaFile, items: &[&str]) -> String {
        let table = TableSchema::create(file, &["pk".to_owned()]).unwrap();
        let mut seen = Fields::default();
        for item in items {
            let mut parser = Parser::new(item.as_bytes()).unwrap();
            seen.observe_item(&mut parser, &Limits::default(), &mut String::new()).unwrap();
        }
        let kept = SchemaFile::kept(&table, &seen, &Limits::default());
        let kept = TableSchema::create(&kept, &kept.key).unwrap();
        let columns = kept.schema.as_struct().fields().iter().filter_map(|field| {
            let (_, ty) = kept.source(field).unwrap()?;
            (field.name != "pk").then(|| format!("{} {ty}", field.name))
        });
        columns.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn observed_types_stay_where_they_fit() {
        for (old, item, expected) in [
            (r#""long""#, r#"{"N":"7"}"#, "long"),
            (r#""long""#, r#"{"N":"1.5"}"#, "decimal(38,9)"),
            (r#""long""#, r#"{"NULL":true}"#, "long"),
            (r#""long""#, r#"{"S":"x"}"#, "string"),
            (r#""decimal(38,9)""#, r#"{"N":"1"}"#, "decimal(38,9)"),
            (r#""decimal(38,9)""#, r#"{"N":"0.00000000001"}"#, "decimal(38,11)"),
            (r#""number-string""#, r#"{"N":"1"}"#, "number-string"),
            (r#""string""#, r#"{"N":"1"}"#, "long"),
            (r#""json""#, r#"{"N":"1"}"#, "json"),
            (r#"{"list":"string"}"#, r#"{"L":[]}"#, "list<string>"),
            (r#"{"list":"string"}"#, r#"{"L":[{"N":"1"}]}"#, "list<long>"),
            (r#"{"list":"long"}"#, r#"{"SS":["a"]}"#, "set<string>"),
            (r#"{"set":"long"}"#, r#"{"NS":["1.5"]}"#, "set<decimal(38,9)>"),
            (r#"{"set":"decimal(38,9)"}"#, r#"{"NS":["1"]}"#, "set<decimal(38,9)>"),
            (r#"{"set":"binary"}"#, r#"{"BS":["YQ=="]}"#, "set<binary>"),
            (r#"{"map":"long"}"#, r#"{"M":{"a":{"N":"1"},"b":{"N":"1.5"}}}"#, "map<string, decimal(38,9)>"),
            (r#"{"map":"long"}"#, r#"{"M":{"a":{"N":"1"},"b":{"S":"x"}}}"#, "map<string, json>"),
            (
                r#"{"struct":{"a":{"type":"long"},"b":{"type":"string"}}}"#,
                r#"{"M":{"a":{"N":"1.5"},"c":{"S":""}}}"#,
                "struct<a: decimal(38,9), b: string, c: string>",
            ),
        ] {
            let item = format!(r#"{{"x":{item}}}"#);
            assert_eq!(
                observed(&format!(r#""x":{{"type":{old}}}"#), &[&item]),
                format!("x {expected}"),
                "{old} {item}"
            );
        }
    }

    #[test]
    fn what_could_not_be_observed_was_named() {
        for ty in ["timestamp(seconds)", "timestamp(iso-8601)", "double", "decimal(10,2)"] {
            for item in [r#"{"x":{"N":"0.0001"}}"#, r#"{"x":{"S":"text"}}"#] {
                assert_eq!(observed(&format!(r#""x":{{"type":"{ty}"}}"#), &[item]), format!("x {ty}"));
            }
        }
        for ty in ["double", "decimal(10,2)"] {
            let set = format!(r#""x":{{"type":{{"set":"{ty}"}}}}"#);
            assert_eq!(observed(&set, &[r#"{"x":{"NS":["0.0001"]}}"#]), format!("x set<{ty}>"));
        }
        let inside = r#""x":{"type":{"list":{"struct":{"at":{"type":"timestamp(seconds)","column":"when"}}}}}"#;
        let item = r#"{"x":{"L":[{"M":{"at":{"S":"text"},"new":{"N":"1"}}}]}}"#;
        assert_eq!(observed(inside, &[item]), "x list<struct<when: timestamp(seconds), new: long>>");
    }

    /// What is new inside of a column lies as deep as if the column were new too.
    #[test]
    fn nesting_ends_where_it_ends_for_new_tables() {
        let deep = |levels: usize| format!("{}{{\"S\":\"\"}}{}", r#"{"L":["#.repeat(levels), "]}".repeat(levels));
        for levels in 29..36 {
            let deep = deep(levels);
            for (old, value) in [
                (r#"{"list":"string"}"#, format!(r#"{{"L":[{deep}]}}"#)),
                (r#"{"struct":{"a":{"type":"string"}}}"#, format!(r#"{{"M":{{"a":{deep}}}}}"#)),
                (r#"{"struct":{"a":{"type":"long"}}}"#, format!(r#"{{"M":{{"a":{{"N":"1"}},"b":{deep}}}}}"#)),
            ] {
                let item = format!(r#"{{"x":{value}}}"#);
                let new = observed(r#""x":{"type":"string"}"#, &[&item]);
                assert_eq!(observed(&format!(r#""x":{{"type":{old}}}"#), &[&item]), new, "{levels} in {old}");
                assert_eq!(new.contains("json"), levels > 31, "{levels}: {new}");
            }
        }
    }

    /// Names that are data: a struct that has too many of them becomes a map.
    #[test]
    fn a_struct_of_too_many_fields_becomes_a_map() {
        let most = Limits::default().struct_fields;
        let item = |fields: usize| {
            let fields: Vec<String> = (0..fields).map(|n| format!(r#""f{n}":{{"N":"1"}}"#)).collect();
            format!(r#"{{"x":{{"M":{{{}}}}}}}"#, fields.join(","))
        };
        let old = r#""x":{"type":{"struct":{"f0":{"type":"long"}}}}"#;
        assert!(observed(old, &[&item(most)]).starts_with("x struct<f0: long, "));
        assert_eq!(observed(old, &[&item(most + 1)]), "x map<string, long>");
    }

    #[test]
    fn named_types_stay() {
        for (ty, shown) in [
            (r#""long""#, "long"),
            (r#""string""#, "string"),
            (r#""boolean""#, "boolean"),
            (r#"{"map":"long"}"#, "map<string, long>"),
            (r#"{"list":"long"}"#, "list<long>"),
            (r#"{"set":"string"}"#, "set<string>"),
        ] {
            for value in [r#"{"N":"1.5"}"#, r#"{"M":{"a":{"S":""}}}"#, r#"{"L":[{"S":""}]}"#, r#"{"NS":["1"]}"#] {
                let item = format!(r#"{{"x":{value}}}"#);
                assert_eq!(kept(&format!(r#""x":{{"type":{ty}}}"#), &[&item]), format!("x {shown}"), "{ty} {value}");
            }
        }
        let fields = r#""x":{"type":{"struct":{"a":{"type":"long","column":"b"}}}}"#;
        let item = r#"{"x":{"M":{"a":{"N":"1.5"},"b":{"N":"1.5"}}}}"#;
        let shown = kept(fields, &[item]);
        assert!(shown.starts_with("x struct<b: long, b__") && shown.ends_with(": decimal(38,9)>"), "{shown}");
    }

    #[test]
    fn a_named_kind_stays_and_its_type_is_observed() {
        let plain = r#"{"pk":"S","x":"N"}"#;
        assert_eq!(kept(plain, &[r#"{"x":{"N":"1.5"}}"#, r#"{"x":{"S":"text"}}"#]), "x decimal(38,9)");
        // Values of another type decide nothing: they are rescued until there is one of the named type.
        assert_eq!(kept(plain, &[r#"{"x":{"S":"text"}}"#]), "");
        assert_eq!(kept(r#"{"pk":"S","x":"S"}"#, &[r#"{"x":{"N":"1"}}"#]), "x string");
    }

    #[test]
    fn the_widest_struct_is_found_wherever_it_is() {
        let fields = |count: usize| {
            let fields: Vec<String> = (0..count).map(|n| format!(r#""f{n}":{{"type":"long"}}"#)).collect();
            format!(r#"{{"struct":{{{}}}}}"#, fields.join(","))
        };
        let inside = |inner: &str| format!(r#"{{"struct":{{"a":{{"type":{inner}}},"b":{{"type":"long"}}}}}}"#);
        for (ty, widest) in [
            (r#""long""#.to_owned(), 0),
            (fields(3), 3),
            (format!(r#"{{"list":{}}}"#, fields(4)), 4),
            (format!(r#"{{"map":{}}}"#, fields(5)), 5),
            (inside(&fields(1)), 2),
            (inside(&fields(6)), 6),
        ] {
            let text = format!(
                r#"{{"version":1,"key":["pk"],"attributes":{{"pk":{{"type":"string"}},"x":{{"type":{ty}}}}}}}"#
            );
            let file = SchemaFile::parse(&text).unwrap();
            assert_eq!(TableSchema::create(&file, &file.key).unwrap().widest_struct(), widest, "{ty}");
        }
    }

    #[test]
    fn names_stay_and_new_ones_keep_out_of_their_way() {
        let shown = kept(
            r#""a":{"column":"b","type":"long"},"gone":{"type":"long"},"secret":{"exclude":true}"#,
            &[r#"{"a":{"N":"1"},"b":{"N":"2"},"secret":{"S":"s"},"Gone":{"BOOL":true}}"#],
        );
        let columns: Vec<&str> = shown.split(", ").collect();
        assert!(columns.contains(&"b long") && columns.contains(&"gone long") && columns.len() == 4, "{shown}");
        assert!(shown.contains("b__") && shown.contains("Gone__") && !shown.contains("secret"), "{shown}");
    }
}
