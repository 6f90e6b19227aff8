//! Rows of both sides in one form, and their digests.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use iceberg::spec::Schema;
use sha2::{Digest, Sha256};

use super::canonical::Form;
use super::framing::{place, sized};
use super::json;
use crate::attribute::Parser;
use crate::columns::ItemBuilder;
use crate::columns::key_text::key_text;
use crate::error::{Error, Result};
use crate::schema::{Limits, TableSchema};

/// The first half of a SHA-256.
pub(super) type Hash = u128;

/// How the rows of one table are compared.
#[derive(Debug)]
pub(super) struct RowForm {
    /// Columns that come from an attribute, except the key: index, attribute, form.
    columns: Vec<(usize, String, Form)>,
    keys: Vec<(usize, Form)>,
    rescued: Option<usize>,
    /// The table without its key, by which the values in `_ddb_rescued` are converted again.
    keyless: TableSchema,
    /// The index of a column of the table in `keyless`.
    keyless_slots: HashMap<usize, usize>,
    limits: Limits,
}

impl RowForm {
    pub fn new(table: &TableSchema, limits: Limits) -> Result<Self> {
        let fields = table.schema.as_struct().fields();
        let rescued_id = table.rescued_field().map(|field| field.id);
        let place = |id: i32| fields.iter().position(|field| field.id == id);
        let mut keys = Vec::new();
        for key in table.key_fields()? {
            let slot = place(key.id).ok_or_else(|| Error::failed("a key column is missing"))?;
            keys.push((slot, Form::of(&key, table)?));
        }
        let (mut columns, mut kept, mut keyless_slots) = (Vec::new(), Vec::new(), HashMap::new());
        for (slot, field) in fields.iter().enumerate() {
            if keys.iter().any(|(key, _)| *key == slot) {
                continue;
            }
            keyless_slots.insert(slot, kept.len());
            kept.push(Arc::clone(field));
            if let Some((Some(name), _)) = table.source(field)? {
                columns.push((slot, name.to_owned(), Form::of(field, table)?));
            }
        }
        let mut keyless = table.mapping.clone();
        keyless.key.clear();
        let schema = Schema::builder().with_fields(kept).build()?;
        Ok(Self {
            columns,
            keys,
            rescued: rescued_id.and_then(place),
            keyless: TableSchema { schema: Arc::new(schema), mapping: keyless },
            keyless_slots,
            limits,
        })
    }

    fn rescued_text<'a>(&self, batch: &'a RecordBatch, row: usize) -> Option<&'a str> {
        let texts = batch.columns().get(self.rescued?)?.as_string_opt::<i32>()?;
        texts.is_valid(row).then(|| texts.value(row))
    }
}

/// The rows of one batch.
pub(super) struct Rows<'a> {
    form: &'a RowForm,
    batch: &'a RecordBatch,
    present: Present,
    /// Rows whose rescued attributes were converted again: attributes, and index of the row in `reborn`.
    again: HashMap<usize, (BTreeMap<String, Vec<u8>>, usize)>,
    reborn: Option<RecordBatch>,
}

impl<'a> Rows<'a> {
    /// The rows of the export's items.
    pub fn of_items(form: &'a RowForm, batch: &'a RecordBatch) -> Self {
        Self { form, batch, present: Present::of(form, batch), again: HashMap::new(), reborn: None }
    }

    /// Rows of the table. Rescued values may fit a column that the table has now, so they are converted again.
    pub fn of_table(form: &'a RowForm, batch: &'a RecordBatch) -> Result<Self> {
        let mut rows = Self::of_items(form, batch);
        let mut builder: Option<ItemBuilder> = None;
        for row in 0..batch.num_rows() {
            let Some(text) = form.rescued_text(batch, row) else { continue };
            // Another program's text stays unchanged, so it differs.
            let Some(names) = json::rescued(text) else { continue };
            let builder = match &mut builder {
                Some(builder) => builder,
                none => none.insert(ItemBuilder::new(&form.keyless, form.limits)?),
            };
            builder.append(&mut Parser::new(text.as_bytes())?)?;
            builder.take_new();
            rows.again.insert(row, (names, builder.rows() - 1));
        }
        rows.reborn = builder.map(|mut builder| builder.finish()).transpose()?;
        Ok(rows)
    }

    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// The key's hash.
    pub fn key(&self, row: usize, scratch: &mut Vec<u8>) -> Result<Hash> {
        scratch.clear();
        for (slot, form) in &self.form.keys {
            form.write(column(self.batch, *slot)?, row, scratch)?;
        }
        Ok(hash(scratch))
    }

    /// The key as text.
    pub fn key_text(&self, row: usize) -> Result<String> {
        let slots: Vec<usize> = self.form.keys.iter().map(|(slot, _)| *slot).collect();
        Ok(key_text(&self.batch.project(&slots)?, row))
    }

    /// The digest of all columns but the key.
    pub fn digest(&self, row: usize, scratch: &mut Vec<u8>) -> Result<Hash> {
        scratch.clear();
        let mut write = |n: usize| match self.form.columns.get(n) {
            Some((slot, name, form)) => {
                let begin = scratch.len();
                place(Some(n), scratch);
                let value = scratch.len();
                self.write_column(*slot, name, form, row, scratch)?;
                if scratch.get(value..) == Some(&[0]) {
                    scratch.truncate(begin);
                }
                Ok(())
            }
            None => Err(Error::failed("a column is missing")),
        };
        if self.again.contains_key(&row) {
            (0..self.form.columns.len()).try_for_each(&mut write)?;
        } else {
            self.present.of_row(row).iter().try_for_each(|n| write(*n as usize))?;
        }
        place(None, scratch);
        for (name, value) in self.rescued(row) {
            sized(name.as_bytes(), scratch);
            sized(&value, scratch);
        }
        Ok(hash(scratch))
    }

    /// Digests by attribute, for attributes with a value.
    pub fn attributes(&self, row: usize) -> Result<BTreeMap<String, Hash>> {
        let mut found = BTreeMap::new();
        let mut rescued = self.rescued(row);
        let mut bytes = Vec::new();
        for (slot, name, form) in &self.form.columns {
            bytes.clear();
            self.write_column(*slot, name, form, row, &mut bytes)?;
            let kept = rescued.remove(name.as_str());
            if bytes == [0] && kept.is_none() {
                continue;
            }
            bytes.extend(kept.unwrap_or_default());
            found.insert(name.clone(), hash(&bytes));
        }
        found.extend(rescued.into_iter().map(|(name, value)| (name, hash(&value))));
        Ok(found)
    }

    fn write_column(&self, slot: usize, name: &str, form: &Form, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if let (Some((names, again)), Some(reborn)) = (self.again.get(&row), &self.reborn)
            && names.contains_key(name)
        {
            let slot = self.form.keyless_slots.get(&slot).copied().unwrap_or(usize::MAX);
            return form.write(column(reborn, slot)?, *again, out);
        }
        form.write(column(self.batch, slot)?, row, out)
    }

    /// Values that fit no column, by attribute.
    fn rescued(&self, row: usize) -> BTreeMap<String, Vec<u8>> {
        let text = match (self.again.get(&row), &self.reborn, self.form.rescued) {
            (Some((_, again)), Some(reborn), Some(slot)) => {
                let slot = self.form.keyless_slots.get(&slot).copied().unwrap_or(usize::MAX);
                let texts = reborn.columns().get(slot).and_then(|texts| texts.as_string_opt::<i32>());
                texts.filter(|texts| texts.is_valid(*again)).map(|texts| texts.value(*again))
            }
            _ => self.form.rescued_text(self.batch, row),
        };
        let Some(text) = text else { return BTreeMap::new() };
        json::rescued(text)
            .unwrap_or_else(|| BTreeMap::from([(crate::schema::RESCUED.to_owned(), text.as_bytes().to_vec())]))
    }
}

/// The columns of [`RowForm::columns`] that have a value, row after row: most of very many have none.
struct Present {
    columns: Vec<u32>,
    /// The end of each row's part.
    ends: Vec<usize>,
}

impl Present {
    fn of(form: &RowForm, batch: &RecordBatch) -> Self {
        let mut ends = vec![0; batch.num_rows()];
        let each = |found: &mut dyn FnMut(u32, usize)| {
            for (n, (slot, ..)) in (0_u32..).zip(&form.columns) {
                match batch.columns().get(*slot).map(|column| (column.nulls(), column.len())) {
                    Some((Some(nulls), _)) => nulls.valid_indices().for_each(|row| found(n, row)),
                    Some((None, rows)) => (0..rows).for_each(|row| found(n, row)),
                    None => {}
                }
            }
        };
        each(&mut |_, row| ends[row] += 1);
        let mut all = 0;
        for end in &mut ends {
            // Its begin, until its columns are there.
            (*end, all) = (all, all + *end);
        }
        let mut columns = vec![0; all];
        each(&mut |n, row| {
            columns[ends[row]] = n;
            ends[row] += 1;
        });
        Self { columns, ends }
    }

    fn of_row(&self, row: usize) -> &[u32] {
        let begin = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(row).and_then(|end| self.columns.get(begin..*end)).unwrap_or_default()
    }
}

fn column(batch: &RecordBatch, slot: usize) -> Result<&dyn Array> {
    batch.columns().get(slot).map(AsRef::as_ref).ok_or_else(|| Error::failed("a column is missing"))
}

fn hash(bytes: &[u8]) -> Hash {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    digest.iter().take(16).fold(0, |hash, byte| hash << 8 | Hash::from(*byte))
}
