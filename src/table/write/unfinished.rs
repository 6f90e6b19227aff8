//! A data file that is deleted unless it is finished.

use iceberg::io::FileIO;
use tokio::runtime::Handle;

/// A file that nothing refers to yet: deleted when dropped while armed.
pub(crate) struct Unfinished {
    pub(crate) file_io: FileIO,
    pub(crate) handle: Handle,
    pub(crate) location: String,
    pub(crate) armed: bool,
}

impl Unfinished {
    /// Deletes the file immediately, as far as possible: the runtime may never run a deletion that a drop leaves to it
    /// if the program exits.
    pub(crate) async fn remove(&mut self) {
        if std::mem::take(&mut self.armed)
            && let Err(error) = self.file_io.delete(&self.location).await
        {
            tracing::debug!(location = self.location, %error, "an unfinished file was left behind");
        }
    }

    pub(crate) fn remove_blocking(&mut self) {
        let handle = self.handle.clone();
        handle.block_on(self.remove());
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.armed {
            let (file_io, location) = (self.file_io.clone(), std::mem::take(&mut self.location));
            self.handle.spawn(async move {
                if let Err(error) = file_io.delete(&location).await {
                    tracing::debug!(%location, %error, "an unfinished file was left behind");
                }
            });
        }
    }
}
