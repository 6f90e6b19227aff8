//! A task that looks at items and says what it saw.

use std::sync::Arc;

use super::{begin_item, end_item};
use crate::attribute::Parser;
use crate::error::Result;
use crate::export::{DataFileRef, LineFiles};
use crate::pool::Stop;
use crate::progress::Progress;
use crate::schema::{Fields, Limits};
use crate::storage::Store;

/// "Observe these files."
#[derive(Debug, Clone)]
pub struct ObserveTask {
    /// The files, in order.
    pub files: Vec<DataFileRef>,
}

/// What one task saw.
#[derive(Debug, Default)]
pub struct Observations {
    /// Items.
    pub items: u64,
    /// Their attributes.
    pub fields: Fields,
}

impl Observations {
    /// Takes in what another task saw.
    pub fn join(&mut self, other: Self, limits: &Limits) {
        self.items += other.items;
        self.fields.join(other.fields, limits);
    }
}

impl ObserveTask {
    /// Runs on a blocking thread.
    pub fn run(self, store: &Store, limits: &Limits, progress: &Arc<Progress>, stop: &Stop) -> Result<Observations> {
        let mut seen = Observations::default();
        let mut scratch = String::new();
        let mut files = LineFiles::new(store, &self.files, progress.clone())?;
        while let Some(file) = files.take() {
            stop.check()?;
            let name = file.file().name.clone();
            let mut lines = file.open()?;
            while let Some(line) = lines.next_line()? {
                let number = line.number;
                observe(line.bytes, &mut seen.fields, limits, &mut scratch)
                    .map_err(|e| e.in_file(name.as_str()).on_line(number))?;
                seen.items += 1;
            }
            progress.file_done();
        }
        Ok(seen)
    }
}

fn observe(line: &[u8], fields: &mut Fields, limits: &Limits, scratch: &mut String) -> Result<()> {
    let mut parser = Parser::new(line)?;
    begin_item(&mut parser)?;
    fields.observe_item(&mut parser, limits, scratch)?;
    end_item(&mut parser)
}
