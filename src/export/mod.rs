//! DynamoDB's exports: finds them, validates their manifests, and reads their files as verified lines.
//!
//! Only this room creates an [`Export`], by reading and validating a manifest ([`open()`], [`resolve`]) or, at the user's
//! request, from a folder of bare files ([`open_bare`]). A file's content is only available through [`LineReader`],
//! which verifies it against the manifest while it streams: it is complete once the reader has returned `None`.
//!
//! AWS describes the layout and the manifests in "DynamoDB table export output format" (Amazon DynamoDB Developer
//! Guide).

pub(crate) mod bare;
pub(crate) mod discover;
mod filter;
pub(crate) mod formats;
mod layout;
pub(crate) mod locate;
mod manifest;
mod open;
pub mod read;
mod source;

use serde::{Deserialize, Serialize};

use crate::storage::Location;
use crate::time::Time;

pub use bare::{open_bare, open_full};
pub use discover::{LookBack, Looked, Prefix, Resolved, resolve, resolve_back};
pub use open::open;
pub use read::ahead::{LineFile, LineFiles};
pub use read::lines::{Line, LineReader, MAX_LINE};
pub use source::Source;

/// The images of a changed item in an incremental export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The new image.
    NewImage,
    /// The new image, and the old one from the window's start.
    NewAndOldImages,
}

/// The content of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportKind {
    /// All items as of a point in time.
    Full {
        /// That time; `None` for bare files.
        time: Option<Time>,
    },
    /// The changes of a window.
    Incremental {
        /// The window's start, inclusive.
        from: Time,
        /// The window's end, exclusive; after `from`.
        to: Time,
        /// The images of a changed item.
        view: View,
    },
}

/// One data file of an export; a plain value, opened by [`LineReader::open`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFileRef {
    /// Its location.
    pub location: Location,
    /// Its name in messages: its `dataFileS3Key`, or the path below the folder of bare files.
    pub name: String,
    /// The number of items in it, if a manifest states it.
    pub item_count: Option<u64>,
    /// The MD5 of its (compressed) bytes, if a manifest states it.
    pub md5: Option<[u8; 16]>,
    /// Its index among the export's files, from 0, in the order of the manifest.
    pub position: u32,
}

/// One completed and validated export.
#[derive(Debug, Clone)]
pub struct Export {
    arn: Option<String>,
    table_arn: Option<String>,
    table_id: Option<String>,
    kind: ExportKind,
    item_count: Option<u64>,
    files: Vec<DataFileRef>,
    location: Location,
}

impl Export {
    /// The export's ARN; `None` for bare files, like the other identities.
    pub fn arn(&self) -> Option<&str> {
        self.arn.as_deref()
    }

    /// The ARN of the DynamoDB table.
    pub fn table_arn(&self) -> Option<&str> {
        self.table_arn.as_deref()
    }

    /// The id of the DynamoDB table: if it differs for the same ARN, the table was deleted and recreated.
    pub fn table_id(&self) -> Option<&str> {
        self.table_id.as_deref()
    }

    /// What it holds.
    pub fn kind(&self) -> ExportKind {
        self.kind
    }

    /// Start, end and view of an incremental export.
    pub fn window(&self) -> Option<(Time, Time, View)> {
        match self.kind {
            ExportKind::Full { .. } => None,
            ExportKind::Incremental { from, to, view } => Some((from, to, view)),
        }
    }

    /// The time of a full export, if it is known.
    pub fn time(&self) -> Option<Time> {
        match self.kind {
            ExportKind::Full { time } => time,
            ExportKind::Incremental { .. } => None,
        }
    }

    /// The number of items, if known; the files' counts add up to it.
    pub fn item_count(&self) -> Option<u64> {
        self.item_count
    }

    /// Its data files, in order. There may be none.
    pub fn files(&self) -> &[DataFileRef] {
        &self.files
    }

    /// The folder that contains its manifests (or bare files).
    pub fn location(&self) -> &Location {
        &self.location
    }
}
