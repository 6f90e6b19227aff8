//! Adds columns for new attributes and fields for new struct fields: only additions, and ids are never reused.

use std::collections::BTreeSet;
use std::sync::Arc;

use iceberg::spec::{ListType, MapType, NestedField, NestedFieldRef, Schema, StructType, Type};

use super::new_fields::{NewFields, limit};
use crate::error::Result;
use crate::schema::mapping::{FieldIds, Mapping, TableSchema, build_type};
use crate::schema::named::Named;
use crate::schema::naming::Taken;
use crate::schema::observed::{Fields, Limits};
use crate::schema::types::ColumnType;

/// A schema extended by new attributes and fields.
#[derive(Debug)]
pub struct Evolved {
    /// The new schema, with the old one's id; the table assigns its own.
    pub table: TableSchema,
    /// Full names of the added columns and fields.
    pub added: Vec<String>,
    /// Full names of structs that already have too many fields.
    pub closed: Vec<String>,
}

/// Adds new attributes and fields. `last_field_id` is the highest id that the table ever assigned. No new column or
/// field gets one of the `taken` full names: those of partition fields.
pub fn evolve(
    table: &TableSchema,
    new: &NewFields,
    last_field_id: i32,
    limits: &Limits,
    taken: &BTreeSet<String>,
) -> Result<Evolved> {
    let mut work = Work {
        new,
        limits,
        taken,
        ids: FieldIds(last_field_id),
        mapping: table.mapping.clone(),
        added: Vec::new(),
        closed: Vec::new(),
    };
    let fields = work.fields(table.schema.as_struct().fields(), NewFields::ITEM, "");
    let Work { mapping, added, closed, .. } = work;
    let schema = Schema::builder()
        .with_schema_id(table.schema.schema_id())
        .with_fields(fields)
        .with_identifier_field_ids(table.schema.identifier_field_ids())
        .build()?;
    Ok(Evolved { table: TableSchema { schema: Arc::new(schema), mapping }, added, closed })
}

struct Work<'a> {
    new: &'a NewFields,
    limits: &'a Limits,
    taken: &'a BTreeSet<String>,
    ids: FieldIds,
    mapping: Mapping,
    added: Vec<String>,
    closed: Vec<String>,
}

impl Work<'_> {
    /// The fields of a struct, with nested types extended, followed by the new ones.
    fn fields(&mut self, old: &[NestedFieldRef], parent: i32, path: &str) -> Vec<NestedFieldRef> {
        let mut fields: Vec<NestedFieldRef> =
            old.iter().map(|field| self.field(field, &format!("{path}{}", field.name))).collect();
        let top = parent == NewFields::ITEM;
        let seen = self.new.seen.get(&parent).map(Fields::sorted).unwrap_or_default();
        let named = |name: &str| self.mapping.named.get(name).copied().filter(|_| top);
        let types = seen.into_iter().map(|(name, observed)| (name, Named::type_of(named(name), observed)));
        let new: Vec<(&str, ColumnType)> = types.filter(|(_, ty)| ty.is_made()).collect();
        let full = !new.is_empty() && fields.len() + new.len() > limit(parent, self.limits);
        if full || self.new.too_many(parent) {
            self.closed.push(if top { "the table".to_owned() } else { path.trim_end_matches('.').to_owned() });
            return fields;
        }
        let names: Vec<&str> = new.iter().map(|(name, _)| *name).collect();
        let columns = self.names(&names, old, parent, path);
        for ((name, ty), column) in new.into_iter().zip(columns) {
            let id = self.ids.next();
            let built = build_type(id, Some(name), &ty, &mut self.ids, &mut self.mapping);
            self.added.push(format!("{path}{column}"));
            fields.push(Arc::new(NestedField::optional(id, column, built)));
        }
        fields
    }

    /// The names of new columns or fields: those that were chosen before the column existed, otherwise the attributes'
    /// own.
    fn names(&mut self, new: &[&str], old: &[NestedFieldRef], parent: i32, path: &str) -> Vec<String> {
        let mut chosen = self.mapping.undecided.remove(&parent).unwrap_or_default();
        let wanted: Vec<Option<String>> = new.iter().map(|name| chosen.remove(*name)).collect();
        let partitions: Vec<String> =
            self.taken.iter().filter_map(|name| name.strip_prefix(path)).map(str::to_owned).collect();
        let mut taken = Taken::of(old.iter().map(|field| &field.name).chain(&partitions).chain(chosen.values()));
        let mut take = |wanted: &str, name: &str| taken.take(wanted, name, parent == NewFields::ITEM);
        let chosen_first: Vec<Option<String>> =
            new.iter().zip(&wanted).map(|(name, wanted)| wanted.as_ref().map(|wanted| take(wanted, name))).collect();
        let names =
            new.iter().zip(chosen_first).map(|(name, chosen)| chosen.unwrap_or_else(|| take(name, name))).collect();
        if !chosen.is_empty() {
            self.mapping.undecided.insert(parent, chosen);
        }
        names
    }

    fn field(&mut self, field: &NestedFieldRef, path: &str) -> NestedFieldRef {
        let ty = match &*field.field_type {
            Type::Primitive(_) => return field.clone(),
            Type::Struct(inner) => {
                Type::Struct(StructType::new(self.fields(inner.fields(), field.id, &format!("{path}."))))
            }
            Type::List(list) => Type::List(ListType::new(self.field(&list.element_field, &format!("{path}.element")))),
            Type::Map(map) => {
                Type::Map(MapType::new(map.key_field.clone(), self.field(&map.value_field, &format!("{path}.value"))))
            }
        };
        let mut evolved = (**field).clone();
        evolved.field_type = Box::new(ty);
        Arc::new(evolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::parser::Parser;
    use crate::schema::file::schema_file::SchemaFile;

    fn see(new: &mut NewFields, parent: i32, name: &str, value: &str) {
        let mut parser = Parser::new(value.as_bytes()).unwrap();
        new.observe(parent, name, &mut parser, &Limits::default(), &mut String::new()).unwrap();
    }

    #[test]
    fn additions_go_last_with_fresh_ids() {
        let file = SchemaFile::parse(
            r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"},
            "rows":{"type":{"list":{"struct":{"n":{"type":"long"}}}}}}}"#,
        )
        .unwrap();
        let table = TableSchema::create(&file, &file.key).unwrap();
        // pk 1, rows 2, _ddb_rescued 3, element 4, n 5
        let mut new = NewFields::default();
        see(&mut new, NewFields::ITEM, "Rows", r#"{"M":{"x":{"N":"1"}}}"#);
        see(&mut new, NewFields::ITEM, "b", r#"{"S":"x"}"#);
        see(&mut new, 4, "t", r#"{"SS":["x"]}"#);
        let evolved = evolve(&table, &new, 5, &Limits::default(), &BTreeSet::new()).unwrap();
        let fields = evolved.table.schema.as_struct().fields();
        let names: Vec<_> = fields.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names[..3], ["pk", "rows", "_ddb_rescued"]);
        assert!(names[3].starts_with("Rows__"));
        assert_eq!(names[4], "b");
        assert_eq!(evolved.added.len(), 3);
        assert_eq!(evolved.added[0], "rows.element.t");
        let (_, rows) = evolved.table.source(&fields[1]).unwrap().unwrap();
        assert_eq!(rows.to_string(), "list<struct<n: long, t: set<string>>>");
        assert!(evolved.table.schema.field_by_id(10).is_some() && fields.iter().all(|f| f.id <= 10));
        assert_eq!(table.schema.identifier_field_ids().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn names_of_partition_fields_are_taken() {
        let file = SchemaFile::parse(
            r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"},"m":{"type":{"struct":{"a":{"type":"long"}}}}}}"#,
        )
        .unwrap();
        let table = TableSchema::create(&file, &file.key).unwrap();
        let mut new = NewFields::default();
        see(&mut new, NewFields::ITEM, "pk_bucket", r#"{"S":"x"}"#);
        see(&mut new, NewFields::ITEM, "a_day", r#"{"S":"x"}"#);
        see(&mut new, 2, "a_day", r#"{"S":"x"}"#);
        let taken = ["PK_bucket", "m.a_day"].map(str::to_owned).into();
        let evolved = evolve(&table, &new, 4, &Limits::default(), &taken).unwrap();
        let [field, top, bucket] = evolved.added.as_slice() else { panic!("{:?}", evolved.added) };
        assert!(field.starts_with("m.a_day__"), "{field}");
        assert!(top == "a_day" && bucket.starts_with("pk_bucket__"), "{top} {bucket}");
    }

    #[test]
    fn too_many_new_fields_are_not_remembered() {
        let file = SchemaFile::parse(
            r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"},"m":{"type":{"struct":{"a":{"type":"long"}}}}}}"#,
        )
        .unwrap();
        let table = TableSchema::create(&file, &file.key).unwrap();
        let limits = Limits { struct_fields: 10, ..Limits::default() };
        let mut all = NewFields::default();
        for part in 0..3 {
            let mut new = NewFields::default();
            for n in 0..6 {
                see(&mut new, 2, &format!("f{part}{n}"), r#"{"N":"1"}"#);
            }
            all.join(new, &limits);
        }
        assert!(all.too_many(2) && !all.is_empty() && all.seen.is_empty());
        let mut parser = Parser::new(br#"{"N":"1"}"#).unwrap();
        all.observe(2, "g", &mut parser, &limits, &mut String::new()).unwrap();
        parser.end().unwrap();
        see(&mut all, NewFields::ITEM, "b", r#"{"S":"x"}"#);
        let evolved = evolve(&table, &all, 4, &limits, &BTreeSet::new()).unwrap();
        assert_eq!((evolved.added, evolved.closed), (vec!["b".to_owned()], vec!["m".to_owned()]));
    }

    #[test]
    fn a_full_struct_is_closed() {
        let file = SchemaFile::parse(
            r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"},"m":{"type":{"struct":{"a":{"type":"long"}}}}}}"#,
        )
        .unwrap();
        let table = TableSchema::create(&file, &file.key).unwrap();
        let mut new = NewFields::default();
        see(&mut new, 2, "b", r#"{"N":"1"}"#);
        let limits = Limits { struct_fields: 1, ..Limits::default() };
        let evolved = evolve(&table, &new, 4, &limits, &BTreeSet::new()).unwrap();
        assert!(evolved.added.is_empty());
        assert_eq!(evolved.closed, ["m"]);
    }

    #[test]
    fn a_struct_may_be_full_to_the_last_field() {
        let file = SchemaFile::parse(
            r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"},"m":{"type":{"struct":{"a":{"type":"long"}}}}}}"#,
        )
        .unwrap();
        let table = TableSchema::create(&file, &file.key).unwrap();
        let mut new = NewFields::default();
        assert!(new.is_empty());
        see(&mut new, 2, "b", r#"{"N":"1"}"#);
        assert!(!new.is_empty());
        let limits = Limits { struct_fields: 2, ..Limits::default() };
        let evolved = evolve(&table, &new, 4, &limits, &BTreeSet::new()).unwrap();
        assert_eq!((evolved.added, evolved.closed), (vec!["m.b".to_owned()], Vec::<String>::new()));
        // As many new ones as there may be are remembered; one more, and none is.
        let limits = Limits { struct_fields: 10, ..Limits::default() };
        let mut all = NewFields::default();
        for n in 0..11 {
            let mut new = NewFields::default();
            see(&mut new, 2, &format!("f{n}"), r#"{"N":"1"}"#);
            all.join(new, &limits);
            assert_eq!(all.too_many(2), n == 10, "{n}");
        }
    }

    /// Names of Iceberg's own columns are taken at the top, not inside of a struct.
    #[test]
    fn reserved_names_are_not_free_for_columns() {
        let file = SchemaFile::parse(
            r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"},"m":{"type":{"struct":{"a":{"type":"long"}}}}}}"#,
        )
        .unwrap();
        let table = TableSchema::create(&file, &file.key).unwrap();
        let mut new = NewFields::default();
        see(&mut new, NewFields::ITEM, "_file", r#"{"S":"x"}"#);
        see(&mut new, 2, "_file", r#"{"S":"x"}"#);
        let evolved = evolve(&table, &new, 4, &Limits::default(), &BTreeSet::new()).unwrap();
        let [field, top] = evolved.added.as_slice() else { panic!("{:?}", evolved.added) };
        assert!(field == "m._file" && top.starts_with("_file__"), "{field} {top}");
    }
}
