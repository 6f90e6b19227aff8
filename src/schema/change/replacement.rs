//! The schema of a table whose rows are replaced: columns that fit keep their field ids, so that readers that bind to
//! ids (and grants by column) see the same columns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use iceberg::spec::{ListType, MapType, NestedField, NestedFieldRef, Schema, StructType, Type};

use super::new_fields::NewFields;
use crate::error::Result;
use crate::schema::mapping::{FieldIds, Mapping, TableSchema};
use crate::schema::naming::Taken;

/// The columns of `new`, with the field ids and names of those columns of `old` that hold the same attribute with the
/// same type. Columns of other programs are kept as optional. `last_field_id` is the highest id that the table ever
/// assigned. No new column gets one of the `taken` names: those of partition fields.
pub fn replace(
    old: &TableSchema,
    new: &TableSchema,
    last_field_id: i32,
    taken: &BTreeSet<String>,
) -> Result<TableSchema> {
    let mut work = Work {
        old,
        new,
        ids: FieldIds(last_field_id),
        mapping: Mapping { fields: BTreeMap::new(), undecided: BTreeMap::new(), ..new.mapping.clone() },
    };
    let old_fields = old.schema.as_struct().fields();
    let rescued = old.rescued_field().map(|f| f.id);
    let foreign: Vec<NestedFieldRef> = old_fields
        .iter()
        .filter(|f| !old.mapping.fields.contains_key(&f.id) && Some(f.id) != rescued)
        .map(|f| Arc::new(NestedField { required: false, ..(**f).clone() }))
        .collect();
    let taken: BTreeSet<String> = foreign.iter().map(|f| f.name.clone()).chain(taken.iter().cloned()).collect();
    let mut fields = work.fields(new.schema.as_struct().fields(), old_fields, Some(NewFields::ITEM), &taken);
    work.keep_undecided(new.schema.as_struct().fields(), NewFields::ITEM, Some(NewFields::ITEM), NewFields::ITEM);
    fields.extend(foreign);
    let keys: Vec<i32> = fields
        .iter()
        .filter(|f| {
            work.mapping.fields.get(&f.id).and_then(|m| m.name.as_ref()).is_some_and(|n| new.mapping.key.contains(n))
        })
        .map(|f| f.id)
        .collect();
    let schema = Schema::builder().with_fields(fields).with_identifier_field_ids(keys).build()?;
    Ok(TableSchema { schema: Arc::new(schema), mapping: work.mapping })
}

struct Work<'a> {
    old: &'a TableSchema,
    new: &'a TableSchema,
    ids: FieldIds,
    mapping: Mapping,
}

impl Work<'_> {
    /// The attribute's name of a field; the column of rescued values has none.
    fn name<'f>(table: &'f TableSchema, field: &NestedField) -> Option<&'f str> {
        table.mapping.fields.get(&field.id).and_then(|m| m.name.as_deref())
    }

    fn fields(
        &mut self,
        new: &[NestedFieldRef],
        old: &[NestedFieldRef],
        old_parent: Option<i32>,
        taken: &BTreeSet<String>,
    ) -> Vec<NestedFieldRef> {
        let partner = |work: &Self, field: &NestedField| {
            let same = |o: &&NestedFieldRef| match Self::name(work.new, field) {
                Some(name) => Self::name(work.old, o) == Some(name),
                // Both are the column of rescued values, which comes from no attribute.
                None => !work.old.mapping.fields.contains_key(&o.id) && o.name == field.name,
            };
            old.iter().find(same).filter(|o| work.fits(field, o)).cloned()
        };
        let partners: Vec<Option<NestedFieldRef>> = new.iter().map(|field| partner(self, field)).collect();
        let mut taken = Taken::of(taken.iter().chain(partners.iter().flatten().map(|o| &o.name)));
        let table = self.old;
        let chosen = old_parent.and_then(|parent| table.mapping.undecided.get(&parent));
        new.iter()
            .zip(partners)
            .map(|(field, partner)| {
                if let Some(old) = partner {
                    return self.field(field, Some(&old), &old.name);
                }
                // A name that was chosen before the column existed is kept like that of a column.
                let attribute = Self::name(self.new, field).filter(|attribute| *attribute == field.name);
                let chosen = attribute.and_then(|attribute| chosen?.get(attribute));
                let name = taken.take(chosen.unwrap_or(&field.name), &field.name, false);
                self.field(field, None, &name)
            })
            .collect()
    }

    /// Keeps the names that the new or old schema has chosen for attributes that are not among these fields yet.
    fn keep_undecided(&mut self, made: &[NestedFieldRef], new_parent: i32, old_parent: Option<i32>, id: i32) {
        let of = |table: &TableSchema, id: i32| table.mapping.undecided.get(&id).cloned().unwrap_or_default();
        let mut names = old_parent.map(|old| of(self.old, old)).unwrap_or_default();
        names.extend(of(self.new, new_parent));
        names.retain(|name, _| !made.iter().any(|field| Self::name(self.new, field) == Some(name)));
        if !names.is_empty() {
            self.mapping.undecided.insert(id, names);
        }
    }

    /// Whether the old field can hold the new values with its id.
    fn fits(&self, new: &NestedField, old: &NestedField) -> bool {
        let conversion = |table: &TableSchema, id: i32| table.mapping.fields.get(&id).map(|m| m.conversion.clone());
        if conversion(self.new, new.id) != conversion(self.old, old.id) {
            return false;
        }
        match (&*new.field_type, &*old.field_type) {
            (Type::Primitive(a), Type::Primitive(b)) => a == b,
            (Type::Struct(_), Type::Struct(_)) => true,
            (Type::List(a), Type::List(b)) => self.fits(&a.element_field, &b.element_field),
            (Type::Map(a), Type::Map(b)) => self.fits(&a.value_field, &b.value_field),
            _ => false,
        }
    }

    /// The new field with the old one's ids, or fresh ones.
    fn field(&mut self, new: &NestedFieldRef, old: Option<&NestedFieldRef>, name: &str) -> NestedFieldRef {
        let id = old.map_or_else(|| self.ids.next(), |old| old.id);
        let inner = match &*new.field_type {
            Type::Primitive(_) => (*new.field_type).clone(),
            Type::Struct(fields) => {
                let old_fields = old.and_then(|old| match &*old.field_type {
                    Type::Struct(fields) => Some(fields.fields().to_vec()),
                    _ => None,
                });
                let old_fields = old_fields.unwrap_or_default();
                let old_id = old.map(|old| old.id);
                self.keep_undecided(fields.fields(), new.id, old_id, id);
                let inner = self.fields(fields.fields(), &old_fields, old_id, &BTreeSet::new());
                Type::Struct(StructType::new(inner))
            }
            Type::List(list) => {
                let old = old.and_then(|old| match &*old.field_type {
                    Type::List(list) => Some(list.element_field.clone()),
                    _ => None,
                });
                Type::List(ListType::new(self.field(&list.element_field, old.as_ref(), &list.element_field.name)))
            }
            Type::Map(map) => {
                let old = old.and_then(|old| match &*old.field_type {
                    Type::Map(map) => Some(map.clone()),
                    _ => None,
                });
                let key_id = old.as_ref().map_or_else(|| self.ids.next(), |old| old.key_field.id);
                let key = Arc::new(NestedField { id: key_id, ..(*map.key_field).clone() });
                let value = old.map(|old| old.value_field);
                Type::Map(MapType::new(key, self.field(&map.value_field, value.as_ref(), &map.value_field.name)))
            }
        };
        if let Some(mapped) = self.new.mapping.fields.get(&new.id) {
            self.mapping.fields.insert(id, mapped.clone());
        }
        let doc = old.and_then(|old| old.doc.clone());
        Arc::new(NestedField { id, name: name.to_owned(), field_type: Box::new(inner), doc, ..(**new).clone() })
    }
}

#[cfg(test)]
mod tests {
    use iceberg::spec::PrimitiveType;

    use super::*;
    use crate::schema::file::schema_file::SchemaFile;

    fn table(attributes: &str) -> TableSchema {
        let file =
            SchemaFile::parse(&format!(r#"{{"version":1,"key":["pk"],"attributes":{{{attributes}}}}}"#)).unwrap();
        TableSchema::create(&file, &file.key).unwrap()
    }

    fn ids(table: &TableSchema) -> Vec<(String, i32)> {
        table.schema.as_struct().fields().iter().map(|f| (f.name.clone(), f.id)).collect()
    }

    #[test]
    fn fitting_columns_keep_their_ids_and_names() {
        // pk 1, a 2, b 3, m 4, _ddb_rescued 5, m.x 6, m.y 7
        let old = table(
            r#""pk":{"type":"string"},"a":{"column":"renamed","type":"long"},"b":{"type":"long"},
            "m":{"type":{"struct":{"x":{"type":"long"},"y":{"type":"string"}}}}"#,
        );
        let new = table(
            r#""pk":{"type":"string"},"a":{"type":"long"},"b":{"type":"string"},"c":{"type":{"list":"long"}},
            "m":{"type":{"struct":{"x":{"type":"long"},"z":{"type":"string"}}}}"#,
        );
        let replaced = replace(&old, &new, 7, &BTreeSet::new()).unwrap();
        let ids = ids(&replaced);
        assert_eq!(ids[0], ("pk".to_owned(), 1));
        assert_eq!(ids[1], ("renamed".to_owned(), 2));
        assert!(ids[2].0 == "b" && ids[2].1 > 7, "another type is another column: {ids:?}");
        assert!(ids[3].0 == "c" && ids[3].1 > 7);
        assert_eq!(ids[4], ("m".to_owned(), 4));
        assert_eq!(ids[5], ("_ddb_rescued".to_owned(), 5));
        let Type::Struct(m) = &*replaced.schema.as_struct().fields()[4].field_type else { panic!("a struct") };
        let inner: Vec<_> = m.fields().iter().map(|f| (f.name.as_str(), f.id)).collect();
        assert!(inner[0] == ("x", 6) && inner[1].0 == "z" && inner[1].1 > 7, "{inner:?}");
        assert_eq!(replaced.schema.identifier_field_ids().collect::<Vec<_>>(), [1]);
        assert_eq!(replaced.key_fields().unwrap()[0].id, 1);
        assert_eq!(replaced.mapping.fields[&2].name.as_deref(), Some("a"));
        // Nothing is said of ids that the new table had and this one has not.
        assert!(replaced.mapping.fields.keys().all(|id| replaced.schema.field_by_id(*id).is_some()));
    }

    #[test]
    fn names_that_were_chosen_for_what_has_no_column_yet_hold() {
        let old = table(
            r#""pk":{"type":"string"},"a":{"column":"alpha","type":"undecided"},"b":{"column":"beta","type":"undecided"},
            "m":{"type":{"struct":{"x":{"type":"long"},"y":{"column":"ypsilon","type":"undecided"}}}}"#,
        );
        let new = table(
            r#""pk":{"type":"string"},"a":{"type":"long"},
            "m":{"type":{"struct":{"x":{"type":"long"},"y":{"type":"string"},"z":{"column":"zed","type":"undecided"}}}}"#,
        );
        let replaced = replace(&old, &new, 9, &BTreeSet::new()).unwrap();
        let fields = replaced.schema.as_struct().fields();
        assert_eq!(fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["pk", "alpha", "m", "_ddb_rescued"]);
        let Type::Struct(m) = &*fields[2].field_type else { panic!("a struct") };
        assert_eq!(m.fields().iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["x", "ypsilon"]);
        let undecided = &replaced.mapping.undecided;
        assert_eq!(undecided[&NewFields::ITEM], BTreeMap::from([("b".into(), "beta".into())]));
        assert_eq!(undecided[&fields[2].id]["z"], "zed");
        assert_eq!(undecided.len(), 2, "{undecided:?}");
    }

    /// Columns of other programs stand behind; ids, and what they wrote beside a column, stay.
    #[test]
    fn columns_of_others_stay_as_they_are() {
        let mut old = table(r#""pk":{"type":"string"},"m":{"type":{"map":"long"}}"#);
        let foreign = NestedField::required(99, "theirs", Type::Primitive(PrimitiveType::Int)).with_doc("their word");
        let ours = old.schema.as_struct().fields().iter().map(|field| {
            Arc::new(if field.name == "m" { (**field).clone().with_doc("our word") } else { (**field).clone() })
        });
        let fields: Vec<NestedFieldRef> = std::iter::once(Arc::new(foreign)).chain(ours).collect();
        old.schema = Arc::new(Schema::builder().with_fields(fields).with_identifier_field_ids([1]).build().unwrap());
        let new = table(r#""pk":{"type":"string"},"a":{"type":"long"},"m":{"type":{"map":"long"}}"#);
        let replaced = replace(&old, &new, 99, &BTreeSet::new()).unwrap();
        let names: Vec<String> = ids(&replaced).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["pk", "a", "m", "_ddb_rescued", "theirs"]);
        for name in ["pk", "m", "m.key", "m.value", "_ddb_rescued", "theirs"] {
            assert_eq!(replaced.schema.field_id_by_name(name), old.schema.field_id_by_name(name), "{name}");
        }
        let field = |name: &str| replaced.schema.field_by_name(name).unwrap();
        assert_eq!(field("m").doc.as_deref(), Some("our word"));
        assert_eq!((field("theirs").doc.as_deref(), field("theirs").required), (Some("their word"), false));
    }

    #[test]
    fn the_same_schema_stays_the_same() {
        let old = table(r#""pk":{"type":"string"},"m":{"type":{"map":{"list":"json"}}}"#);
        let again = replace(&old, &old.clone(), 99, &BTreeSet::new()).unwrap();
        assert_eq!(again.schema.as_struct(), old.schema.as_struct());
        assert_eq!(again.mapping, old.mapping);
    }
}
