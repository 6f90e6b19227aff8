//! Writes the metadata files of one snapshot.

use std::sync::{Mutex, PoisonError};

use iceberg::io::FileIO;
use iceberg::spec::{DataFile, ManifestContentType, ManifestWriter, ManifestWriterBuilder, PartitionSpec, SchemaRef};
use uuid::Uuid;

use crate::error::{Error, Result};

/// Names and records the files of one snapshot.
pub(crate) struct Output {
    pub(crate) file_io: FileIO,
    pub(crate) folder: String,
    pub(crate) operation: Uuid,
    pub(crate) snapshot_id: i64,
    pub(crate) written: Mutex<Vec<String>>,
}

impl Output {
    pub(crate) fn manifest(
        &self,
        content: ManifestContentType,
        schema: SchemaRef,
        spec: PartitionSpec,
    ) -> Result<ManifestWriter> {
        let location = {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            let location = format!("{}/{}-m{}.avro", self.folder, self.operation, written.len());
            written.push(location.clone());
            location
        };
        let builder =
            ManifestWriterBuilder::new(self.file_io.new_output(&location)?, Some(self.snapshot_id), schema, spec);
        Ok(match content {
            ManifestContentType::Data => builder.build_v2_data(),
            ManifestContentType::Deletes => builder.build_v2_deletes(),
        })
    }

    pub(crate) fn manifest_list(&self) -> String {
        let location = format!("{}/snap-{}-1-{}.avro", self.folder, self.snapshot_id, self.operation);
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push(location.clone());
        location
    }

    pub(crate) fn into_written(self) -> Vec<String> {
        self.written.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The crate's manifest writer assumes that partitions match the spec.
pub(crate) fn check_partition(spec: &PartitionSpec, file: &DataFile) -> Result<()> {
    let values = file.partition().fields();
    let primitive = values.iter().flatten().all(|value| value.as_primitive_literal().is_some());
    if values.len() == spec.fields().len() && primitive {
        Ok(())
    } else {
        Err(Error::failed(format!("a file's partition does not fit partition spec {}", spec.spec_id()))
            .in_file(file.file_path()))
    }
}
