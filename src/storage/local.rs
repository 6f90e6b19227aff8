//! Local files.
//!
//! Written files are durable when `close` (or `write`) returns: the file is synced, then each folder that gained an
//! entry, so a catalog's pointer never moves to something that a power failure could remove. A file is never
//! overwritten in place. The calls block for the time of a disk access; there is no second thread pool, which heavy
//! tasks waiting for it could exhaust.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage};
use serde::{Deserialize, Serialize};

use super::backend::ObjectStore;
use super::failure::{into_iceberg, os};
use super::listing::{FileEntry, Listing};
use super::location::Location;
use crate::error::{Error, Result};
use crate::storage::read::chunks::{Lookahead, ReadAhead};
use crate::storage::read::limits::check_size;
use crate::storage::s3::strip_scheme;

/// Bytes buffered before a write to the disk; larger writes are passed on directly.
const WRITE_BUFFER: usize = 256 << 10;
/// Files up to this size are read when they are opened.
const SMALL: u64 = 128 << 10;

/// Local files; accepts `file:///…`, `file:/…` and absolute paths.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LocalStore;

impl LocalStore {
    fn path(location: &str) -> Result<PathBuf> {
        if strip_scheme(location).is_some() {
            return Err(Error::usage(format!("this store has local files only: {location}")));
        }
        let path = location.strip_prefix("file://").or_else(|| location.strip_prefix("file:")).unwrap_or(location);
        if !path.starts_with('/') || path.contains('\0') {
            return Err(Error::usage(format!("{location:?} is not an absolute local path")));
        }
        Ok(PathBuf::from(path))
    }

    fn path_of(location: &Location) -> Result<PathBuf> {
        Self::path(location.as_str())
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn list(&self, folder: &Location, start_after: Option<&str>) -> Result<Option<Listing>> {
        let path = Self::path_of(folder)?;
        let after = start_after.map(str::to_owned);
        tokio::task::spawn_blocking(move || list(&path, after.as_deref()))
            .await
            .map_err(|e| Error::failed("listing a folder was stopped").caused_by(e))?
    }

    /// A small file is read immediately: for thousands of them, passing each to another thread would cost more than
    /// reading.
    async fn open(&self, location: &Location) -> Result<Option<ReadAhead>> {
        let path = Self::path_of(location)?;
        let Some((file, size)) = open_if_there(&path)? else { return Ok(None) };
        let reader = Arc::new(LocalRead { file, path });
        if size > SMALL {
            return ReadAhead::new(reader, size).map(Some);
        }
        let bytes = reader.read(0..size).await?;
        ReadAhead::begun(reader, size, bytes, Lookahead::default()).map(Some)
    }

    /// Like a shell's `>`, except that a file is never visible in part: links are followed, devices and pipes are
    /// written to, and an existing file keeps its mode and, if permitted, its owner.
    async fn replace(&self, location: &Location, bytes: Bytes) -> Result<()> {
        let path = Self::path_of(location)?;
        // A pipe waits for its reader.
        tokio::task::spawn_blocking(move || replace(&path, &bytes))
            .await
            .map_err(|e| Error::failed("writing a file was stopped").caused_by(e))?
    }

    async fn resolve(&self, location: &Location) -> Result<Option<Location>> {
        let path = Self::path_of(location)?;
        match fs::canonicalize(&path) {
            Ok(real) => match real.to_str() {
                Some(real) => Location::parse(real).map(Some),
                None => Err(Error::input("its real path is not UTF-8").in_file(location.to_string())),
            },
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(os(&path, "resolve the path", e)),
        }
    }
}

#[async_trait]
#[typetag::serde(name = "DdbIcebergLocalStore")]
impl Storage for LocalStore {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        let path = Self::path(path).map_err(into_iceberg)?;
        match fs::metadata(&path) {
            Ok(_) => Ok(true),
            Err(e) if is_missing(&e) => Ok(false),
            Err(e) => Err(into_iceberg(os(&path, "look for the file", e))),
        }
    }

    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        let path = Self::path(path).map_err(into_iceberg)?;
        let (_, size) = open(&path).map_err(into_iceberg)?;
        Ok(FileMetadata { size })
    }

    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        let location = path;
        let path = Self::path(path).map_err(into_iceberg)?;
        let (file, size) = open(&path).map_err(into_iceberg)?;
        check_size(location, size).map_err(into_iceberg)?;
        LocalRead { file, path }.read(0..size).await
    }

    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        let path = Self::path(path).map_err(into_iceberg)?;
        let (file, _) = open(&path).map_err(into_iceberg)?;
        Ok(Box::new(LocalRead { file, path }))
    }

    /// Fails if the file exists; use [`ObjectStore::replace`] to replace it.
    async fn write(&self, path: &str, bs: Bytes) -> iceberg::Result<()> {
        let path = Self::path(path).map_err(into_iceberg)?;
        let mut writer = LocalWrite::create(path.clone()).map_err(into_iceberg)?;
        let done = writer.put(&bs).and_then(|()| writer.finish());
        if done.is_err() {
            let _ = fs::remove_file(&path);
        }
        done.map_err(into_iceberg)
    }

    /// Fails if the file exists. A writer that is dropped before `close` leaves its file behind.
    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        let path = Self::path(path).map_err(into_iceberg)?;
        Ok(Box::new(LocalWrite::create(path).map_err(into_iceberg)?))
    }

    /// A missing file is not an error.
    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        let path = Self::path(path).map_err(into_iceberg)?;
        match fs::remove_file(&path) {
            Err(e) if !is_missing(&e) => Err(into_iceberg(os(&path, "delete the file", e))),
            _ => Ok(()),
        }
    }

    /// Deletes a folder and its content; links are not followed. Does nothing for a file or a missing path.
    async fn delete_prefix(&self, path: &str) -> iceberg::Result<()> {
        let path = Self::path(path).map_err(into_iceberg)?;
        if path.file_name().is_none() {
            return Err(into_iceberg(Error::failed("the root folder is not deleted")));
        }
        if !fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir()) {
            return Ok(());
        }
        match fs::remove_dir_all(&path) {
            Err(e) if !is_missing(&e) => Err(into_iceberg(os(&path, "delete the folder", e))),
            _ => Ok(()),
        }
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> iceberg::Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> iceberg::Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

/// Maximum number of links followed, as in Linux.
const MAX_LINKS: usize = 40;

fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    // Before links are followed: those of /dev/stdout and /dev/fd may lead to something without a path.
    if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        let file = OpenOptions::new().write(true).open(path);
        return file.and_then(|mut file| file.write_all(bytes)).map_err(|e| os(path, "write to it", e));
    }
    let path = &follow(path)?;
    let old = match fs::metadata(path) {
        Ok(old) if old.is_dir() => return Err(Error::failed("this is a folder").in_file(path.display().to_string())),
        Ok(old) => Some(old),
        Err(e) if is_missing(&e) => None,
        Err(e) => return Err(os(path, "look for the file", e)),
    };
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", uuid::Uuid::new_v4().simple()));
    let done = write_like(&temporary, old.as_ref(), bytes).and_then(|()| {
        fs::rename(&temporary, path).map_err(|e| os(path, "write the file", e))?;
        sync_folder(path.parent())
    });
    if done.is_err() {
        // Best effort: the first error is reported.
        let _ = fs::remove_file(&temporary);
    }
    done
}

/// Resolves links, even to a path that does not exist yet.
fn follow(path: &Path) -> Result<PathBuf> {
    let mut at = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&at) {
            Ok(target) => at = at.parent().unwrap_or(Path::new("/")).join(target),
            Err(_) => return Ok(at),
        }
    }
    Err(Error::failed("too many links lead on from here").in_file(path.display().to_string()))
}

/// A new file with the mode and owner of the one that it replaces. Nobody else can read it meanwhile.
fn write_like(temporary: &Path, old: Option<&fs::Metadata>, bytes: &[u8]) -> Result<()> {
    let mode = old.map(|old| old.permissions().mode() & 0o7777);
    let mut writer = LocalWrite::create_with(temporary.to_path_buf(), mode.map_or(0o666, |mode| mode & 0o600))?;
    if let (Some(old), Some(mode), Some(file)) = (old, mode, &writer.file) {
        let file = file.get_ref();
        // Without permission to change its owner, the user keeps the file.
        let _ = std::os::unix::fs::fchown(file, Some(old.uid()), Some(old.gid()));
        file.set_permissions(fs::Permissions::from_mode(mode))
            .map_err(|e| os(temporary, "set the mode of the file", e))?;
    }
    writer.put(bytes).and_then(|()| writer.finish())
}

/// A path below a file does not exist either.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The file and its size in bytes. Only regular files: opening a pipe would block forever, and a device has no size.
fn open(path: &Path) -> Result<(File, u64)> {
    let metadata = fs::metadata(path).map_err(|e| os(path, "read the file", e))?;
    if !metadata.is_file() {
        return Err(Error::input("not a regular file").in_file(path.display().to_string()));
    }
    let file = File::open(path).map_err(|e| os(path, "read the file", e))?;
    Ok((file, metadata.len()))
}

/// Like [`open`]; `None` if nothing exists there.
fn open_if_there(path: &Path) -> Result<Option<(File, u64)>> {
    match fs::metadata(path) {
        Err(e) if is_missing(&e) => Ok(None),
        _ => open(path).map(Some),
    }
}

fn list(path: &Path, start_after: Option<&str>) -> Result<Option<Listing>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == ErrorKind::NotADirectory => {
            return Err(Error::input("this is a file, not a folder").in_file(path.display().to_string()));
        }
        Err(e) => return Err(os(path, "list the folder", e)),
    };
    let mut listing = Listing::default();
    for entry in entries {
        let entry = entry.map_err(|e| os(path, "list the folder", e))?;
        let name = entry.file_name().into_string().map_err(|name| {
            Error::input(format!("the file name {} is not UTF-8", name.display())).in_file(path.display().to_string())
        })?;
        if start_after.is_some_and(|after| name.as_str() <= after) {
            continue;
        }
        // Links are followed; a dangling one is listed, so that its reader reports it.
        match fs::metadata(entry.path()) {
            Ok(m) if m.is_dir() => listing.folders.push(name),
            Ok(m) => {
                let modified = m.modified().ok().map(Into::into);
                listing.files.push(FileEntry { name, size: m.len(), modified });
            }
            Err(_) => listing.files.push(FileEntry { name, size: 0, modified: None }),
        }
    }
    listing.folders.sort_unstable();
    listing.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(listing))
}

/// Positional reads of one open file; safe to use concurrently.
#[derive(Debug)]
struct LocalRead {
    file: File,
    path: PathBuf,
}

#[async_trait]
impl FileRead for LocalRead {
    async fn read(&self, range: Range<u64>) -> iceberg::Result<Bytes> {
        let length = range.end.checked_sub(range.start).and_then(|n| usize::try_from(n).ok());
        let Some(length) = length else {
            return Err(into_iceberg(Error::failed("the range to read is not one")));
        };
        let mut bytes = vec![0; length];
        match self.file.read_exact_at(&mut bytes, range.start) {
            Ok(()) => Ok(Bytes::from(bytes)),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Err(into_iceberg(
                Error::failed("the file ends before what should be read of it")
                    .in_file(self.path.display().to_string()),
            )),
            Err(e) => Err(into_iceberg(os(&self.path, "read the file", e))),
        }
    }
}

/// A new file that is being written.
struct LocalWrite {
    path: PathBuf,
    /// `None` after it is closed.
    file: Option<BufWriter<File>>,
    /// Folders that gained an entry, innermost first.
    changed: Vec<PathBuf>,
}

impl LocalWrite {
    fn create(path: PathBuf) -> Result<Self> {
        Self::create_with(path, 0o666)
    }

    /// `mode` before the umask is applied.
    fn create_with(path: PathBuf, mode: u32) -> Result<Self> {
        let mut changed = Vec::new();
        let mut new_folders = Vec::new();
        let mut folder = path.parent();
        while let Some(at) = folder {
            changed.push(at.to_path_buf());
            if at.is_dir() {
                break;
            }
            new_folders.push(at);
            folder = at.parent();
        }
        for folder in new_folders.into_iter().rev() {
            match fs::create_dir(folder) {
                Ok(()) => {}
                // Another writer created it meanwhile.
                Err(e) if e.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
                Err(e) => return Err(os(folder, "create the folder", e)),
            }
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let file = file.map_err(|e| os(&path, "create the file", e))?;
        Ok(Self { path, file: Some(BufWriter::with_capacity(WRITE_BUFFER, file)), changed })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(file) = &mut self.file else {
            return Err(self.closed());
        };
        file.write_all(bytes).map_err(|e| os(&self.path, "write the file", e))
    }

    fn finish(&mut self) -> Result<()> {
        let Some(file) = self.file.take() else {
            return Err(self.closed());
        };
        let file = file.into_inner().map_err(|e| os(&self.path, "write the file", e.into_error()))?;
        file.sync_all().map_err(|e| os(&self.path, "write the file", e))?;
        self.changed.iter().try_for_each(|folder| sync_folder(Some(folder)))
    }

    fn closed(&self) -> Error {
        Error::failed("the file is closed already").in_file(self.path.display().to_string())
    }
}

fn sync_folder(folder: Option<&Path>) -> Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    match File::open(folder).and_then(|f| f.sync_all()) {
        // Some file systems cannot sync a folder, and report that.
        Err(e) if !matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            Err(os(folder, "sync the folder", e))
        }
        _ => Ok(()),
    }
}

#[async_trait]
impl FileWrite for LocalWrite {
    async fn write(&mut self, bs: Bytes) -> iceberg::Result<()> {
        self.put(&bs).map_err(into_iceberg)
    }

    async fn close(&mut self) -> iceberg::Result<()> {
        self.finish().map_err(into_iceberg)
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
