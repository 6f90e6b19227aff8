//! Checks manifests and manifest lists before the `iceberg` crate decodes them. Its reader inflates any amount of data,
//! and allocates space for as many values as a file declares, so a tiny file could exhaust memory or crash the program.
//!
//! So each Avro file is inflated here, within the memory limit, and walked once by its own schema.

use std::collections::HashMap;

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{Manifest, ManifestFile};
use serde_json::Value;

use super::avro::{Codec, Header, Input, SYNC, Shape, inflate, put_number, put_sized};
use crate::error::{Error, Result};
use crate::storage::{most_inflated, too_large};

/// Maximum number of types in a schema; referenced types count each time. A manifest's schema has a hundred, and a few
/// for each partition field.
const MOST_TYPES: usize = 10_000;

/// Returns the Avro file uncompressed, if it conforms to its schema and is not too large.
pub(crate) fn checked(avro: Bytes) -> Result<Bytes> {
    let most = most_inflated();
    let mut left = most;
    let is_null = |codec| codec == Codec::Null;
    match walk(&avro, &mut left) {
        Some((codec, _)) if is_null(codec) => Ok(avro),
        Some((_, inflated)) => Ok(inflated.into()),
        None if left == 0 => Err(too_large("the file inflates to more", most)),
        None => Err(Error::failed("the file is damaged, or no Avro file as Iceberg has them")
            .advice("Restore it, or roll the table back to an older snapshot")),
    }
}

/// Its codec, and its uncompressed bytes.
fn walk(avro: &[u8], left: &mut u64) -> Option<(Codec, Vec<u8>)> {
    let mut input = Input { rest: avro };
    let header = Header::read(&mut input)?;
    let mut budget = MOST_TYPES;
    let entry = Shape::of(&inlined(&header.schema, &mut HashMap::new(), &mut budget)?)?;
    if !entry.is_sane() {
        return None;
    }
    let mut written = header.written;
    while !input.rest.is_empty() {
        let count = input.number()?;
        let stored = input.sized()?;
        if input.take(SYNC)? != header.sync {
            return None;
        }
        let inflated;
        let block = if header.codec == Codec::Null {
            stored
        } else {
            inflated = inflate(header.codec, stored, left)?;
            &inflated
        };
        let mut values = Input { rest: block };
        for _ in 0..u64::try_from(count).ok()? {
            values.skip(&entry)?;
        }
        if !values.rest.is_empty() {
            return None;
        }
        if header.codec != Codec::Null {
            put_number(&mut written, count);
            put_sized(&mut written, block)?;
            written.extend_from_slice(header.sync);
        }
    }
    Some((header.codec, written))
}

/// The schema with named types expanded. `None` if a type is recursive, or if there are too many.
fn inlined(schema: &Value, known: &mut HashMap<String, Value>, budget: &mut usize) -> Option<Value> {
    *budget = budget.checked_sub(1)?;
    match schema {
        Value::String(name) => match known.get(name) {
            Some(known) => {
                *budget = budget.checked_sub(types(known))?;
                Some(known.clone())
            }
            None => Some(schema.clone()),
        },
        Value::Array(branches) => {
            branches.iter().map(|branch| inlined(branch, known, budget)).collect::<Option<_>>().map(Value::Array)
        }
        Value::Object(object) => {
            let mut object = object.clone();
            if let Some(nested @ (Value::Object(_) | Value::Array(_))) = object.get("type") {
                return inlined(&nested.clone(), known, budget);
            }
            for part in ["items", "values"] {
                if let Some(inner) = object.get_mut(part) {
                    *inner = inlined(inner, known, budget)?;
                }
            }
            if let Some(Value::Array(fields)) = object.get_mut("fields") {
                for field in fields {
                    let ty = field.get_mut("type")?;
                    *ty = inlined(ty, known, budget)?;
                }
            }
            let name = object.get("name").and_then(Value::as_str).map(str::to_owned);
            let space = object.get("namespace").and_then(Value::as_str).map(str::to_owned);
            let object = Value::Object(object);
            if let Some(name) = name {
                if let Some(space) = space {
                    known.insert(format!("{space}.{name}"), object.clone());
                }
                known.insert(name, object.clone());
            }
            Some(object)
        }
        _ => None,
    }
}

/// Number of values in a schema's JSON.
fn types(schema: &Value) -> usize {
    1 + match schema {
        Value::Array(all) => all.iter().map(types).sum::<usize>(),
        Value::Object(all) => all.values().map(types).sum(),
        _ => 0,
    }
}

impl Shape {
    /// Whether each value takes some bytes per unit of work: a small file could contain many values of zero bytes.
    pub(crate) fn is_sane(&self) -> bool {
        !self.may_be_empty()
            && self.parts() <= 64 + 8 * self.least()
            && match self {
                Self::Array(item) => item.is_sane(),
                Self::Map(value) => value.parts() <= 64 + 8 * value.least() && value.inner_are_sane(),
                _ => self.inner_are_sane(),
            }
    }

    fn inner_are_sane(&self) -> bool {
        match self {
            Self::Array(_) | Self::Map(_) => self.is_sane(),
            Self::Record(parts) | Self::Union(parts) | Self::LeftOut(parts, _) | Self::Bounds(parts) => {
                parts.iter().all(Self::inner_are_sane)
            }
            Self::Null | Self::Fixed(_) | Self::Number | Self::Sized => true,
        }
    }

    /// Number of values in a value, counting one branch of each union.
    fn parts(&self) -> usize {
        1 + match self {
            Self::Record(fields) => fields.iter().map(Self::parts).sum::<usize>(),
            Self::Union(branches) | Self::LeftOut(branches, _) | Self::Bounds(branches) => {
                branches.iter().map(Self::parts).max().unwrap_or_default()
            }
            _ => 0,
        }
    }

    /// Minimum number of bytes of a value.
    fn least(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Fixed(size) => *size,
            Self::Record(fields) => fields.iter().map(Self::least).fold(0, usize::saturating_add),
            _ => 1,
        }
    }
}

/// Like [`ManifestFile::load_manifest`], for a [`checked`] file.
pub(crate) async fn load_manifest(file_io: &FileIO, manifest: &ManifestFile) -> Result<Manifest> {
    let location = &manifest.manifest_path;
    let read = async {
        if manifest.key_metadata.is_some() {
            return Err(Error::failed("the manifest is encrypted, which is not supported"));
        }
        let bytes = checked(file_io.new_input(location)?.read().await?)?;
        // The crate does not expose what entries inherit from the list, so it loads the file once more, from memory.
        let memory = FileIO::new_with_memory();
        memory.new_output(location)?.write(bytes).await?;
        Ok(manifest.load_manifest(&memory).await?)
    };
    read.await.map_err(|error| error.in_file(location))
}

#[cfg(test)]
#[path = "avro_check_tests.rs"]
mod tests;
