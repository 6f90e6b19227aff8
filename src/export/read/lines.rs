//! Reads the lines of one data file, and verifies it while it streams.
//!
//! Chunks from storage are hashed, inflated, and split into lines in one buffer, without an allocation per line. A
//! small file is inflated whole. The file is known to be complete (gzip CRCs, MD5, item count) when
//! [`LineReader::next_line`] has returned `None`; nothing read from it may be committed before.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;
use md5::{Digest, Md5};
use tokio::sync::OwnedSemaphorePermit;

use super::whole;
use crate::error::{Error, Result};
use crate::export::DataFileRef;
use crate::export::manifest::from_io;
use crate::runtime::progress::Progress;
use crate::storage::{Buffer, InflateBudget, ReadAhead, Store};

/// Maximum length of a line, in bytes. An item has at most 400 KB. JSON needs nine bytes for what counts as one (an
/// empty string in a list), so two images have less than 8 MB. Longer lines would take more memory than each thread may
/// use.
pub const MAX_LINE: usize = 16 << 20;

/// Initial size of the line buffer; a longer line makes it grow. Each file gets a new one, even small files.
const BUFFER: usize = 64 << 10;
/// Number of items after which progress is reported.
const BATCH: u64 = 1024;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One line of a data file.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Its bytes, without the line terminator.
    pub bytes: &'a [u8],
    /// Its number in the file, from 1.
    pub number: u64,
}

/// Reads one data file. Its methods block: they are for blocking threads in a tokio runtime.
pub struct LineReader {
    file: DataFileRef,
    source: Source,
    state: State,
    buffer: Buffer,
    /// `buffer[start..end]` has not been returned yet; it has no line feed before `scanned`.
    start: usize,
    scanned: usize,
    end: usize,
    lines: u64,
    items: u64,
    unreported: u64,
    progress: Arc<Progress>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// Whether the source is exhausted.
    Drained,
    Done,
    Failed,
}

impl LineReader {
    /// Opens a file; an error of kind `Input` if it is missing.
    pub fn open(store: &Store, file: &DataFileRef, progress: Arc<Progress>) -> Result<Self> {
        let handle = tokio::runtime::Handle::try_current()
            .map_err(|e| Error::failed("files can only be read inside of a tokio runtime").caused_by(e))?;
        let opened = handle.block_on(store.try_open(&file.location)).map_err(|e| e.in_file(file.name.clone()))?;
        Self::of_opened(store, file, opened, progress)
    }

    /// Like [`open`](Self::open), for a file that is already open, or missing.
    pub(crate) fn of_opened(
        store: &Store,
        file: &DataFileRef,
        opened: Option<ReadAhead>,
        progress: Arc<Progress>,
    ) -> Result<Self> {
        let opened = opened.ok_or_else(|| {
            let what = if file.md5.is_some() || file.item_count.is_some() {
                "the file is listed in the manifest but missing"
            } else {
                "the file is missing"
            };
            Error::input(what).advice(format!("It should be at {}; copy the export again", file.location))
        });
        opened.and_then(|reader| Self::new(store, file, reader, progress)).map_err(|e| e.in_file(file.name.clone()))
    }

    fn new(store: &Store, file: &DataFileRef, reader: ReadAhead, progress: Arc<Progress>) -> Result<Self> {
        let mut compressed =
            Compressed { reader, chunk: Bytes::new(), share: None, md5: Md5::new(), progress: Arc::clone(&progress) };
        let head = compressed.fill_buf().map_err(from_io)?;
        let mut inflated = None;
        // The magic number decides; a file with a gzip name may also contain plain text.
        let source = if head.starts_with(&[0x1F, 0x8B]) {
            if let Some(room) = store.room() {
                inflated = compressed.inflate_whole(room).map_err(from_io)?;
            }
            match inflated {
                Some(_) => Source::Plain(Box::new(compressed)),
                None => Source::Gzip(Box::new(MultiGzDecoder::new(compressed))),
            }
        } else {
            let text = head.strip_prefix(BOM).unwrap_or(head).trim_ascii_start();
            if file.name.as_bytes().ends_with(b".gz") && !text.is_empty() && text.first() != Some(&b'{') {
                return Err(Error::input("the file is damaged: it is not gzip, as its name says"));
            }
            Source::Plain(Box::new(compressed))
        };
        let (state, buffer, end) = match inflated {
            Some((text, size)) => (State::Drained, text, size),
            None => (State::Reading, Buffer::from(vec![0; BUFFER]), 0),
        };
        Ok(Self {
            file: file.clone(),
            source,
            state,
            buffer,
            start: 0,
            scanned: 0,
            end,
            lines: 0,
            items: 0,
            unreported: 0,
            progress,
        })
    }

    /// The file's name in messages.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// The file's index in its export.
    pub fn position(&self) -> u32 {
        self.file.position
    }

    /// The next line that is not blank; `None` when the file has ended and was verified completely.
    ///
    /// Errors of kind `Input`: damaged or truncated gzip, bytes after it, an MD5 or item count that differs from the
    /// manifest's, a line that is too long.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>> {
        match self.advance() {
            Ok(None) => Ok(None),
            Ok(Some((from, to))) => {
                Ok(Some(Line { bytes: self.buffer.bytes.get(from..to).unwrap_or_default(), number: self.lines }))
            }
            Err(error) => {
                self.state = State::Failed;
                Err(error.in_file(self.file.name.clone()))
            }
        }
    }

    /// The next line's range in the buffer.
    fn advance(&mut self) -> Result<Option<(usize, usize)>> {
        loop {
            let unscanned = self.buffer.bytes.get(self.scanned..self.end).unwrap_or_default();
            let line = match memchr::memchr(b'\n', unscanned) {
                Some(at) => {
                    let line = (self.start, self.scanned + at);
                    self.start = line.1 + 1;
                    self.scanned = self.start;
                    line
                }
                None => match self.state {
                    State::Reading => {
                        self.scanned = self.end;
                        self.refill()?;
                        continue;
                    }
                    State::Drained if self.start < self.end => {
                        let line = (self.start, self.end);
                        self.start = self.end;
                        self.scanned = self.end;
                        line
                    }
                    State::Drained => {
                        self.verify()?;
                        self.state = State::Done;
                        return Ok(None);
                    }
                    State::Done => return Ok(None),
                    State::Failed => return Err(Error::input("reading the file has failed before")),
                },
            };
            if line.1 - line.0 > MAX_LINE {
                return Err(self.too_long());
            }
            self.lines += 1;
            if let Some(line) = self.trim(line) {
                self.items += 1;
                self.unreported += 1;
                if self.unreported == BATCH {
                    self.report();
                }
                return Ok(Some(line));
            }
        }
    }

    /// Strips byte order mark and carriage return; `None` if the line is blank.
    fn trim(&self, (mut from, mut to): (usize, usize)) -> Option<(usize, usize)> {
        let mut bytes = self.buffer.bytes.get(from..to)?;
        if self.lines == 1
            && let Some(rest) = bytes.strip_prefix(BOM)
        {
            bytes = rest;
            from += BOM.len();
        }
        if bytes.last() == Some(&b'\r') {
            to -= 1;
        }
        (!bytes.trim_ascii().is_empty()).then_some((from, to))
    }

    /// Reads more bytes after the remaining ones.
    fn refill(&mut self) -> Result<()> {
        if self.start > 0 {
            self.buffer.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.scanned -= self.start;
            self.start = 0;
        }
        if self.end > MAX_LINE {
            return Err(self.too_long());
        }
        if self.end == self.buffer.bytes.len() {
            // One byte more than the limit, so that a line of exactly that length passes.
            let length = self.buffer.bytes.len().saturating_mul(2).min(MAX_LINE + 1);
            self.buffer.bytes.resize(length, 0);
        }
        let free = self.buffer.bytes.get_mut(self.end..).unwrap_or_default();
        match self.source.read(free) {
            Ok(0) => self.state = State::Drained,
            Ok(read) => self.end += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(self.damaged(e)),
        }
        Ok(())
    }

    fn too_long(&self) -> Error {
        Error::input(format!("the line is longer than {} MiB", MAX_LINE >> 20)).on_line(self.lines + 1)
    }

    fn damaged(&self, error: io::Error) -> Error {
        if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Error>) {
            return from_io(error);
        }
        let whole = match self.lines {
            0 => "before its first line has ended".to_owned(),
            lines => format!("after line {lines}"),
        };
        let what = if error.kind() == io::ErrorKind::UnexpectedEof {
            Error::input(format!("the gzip data is truncated {whole}"))
        } else {
            Error::input(format!("the gzip data is damaged {whole}")).caused_by(error)
        };
        what.advice("Copy the export again")
    }

    fn verify(&mut self) -> Result<()> {
        self.report();
        let compressed = match &mut self.source {
            Source::Plain(compressed) => compressed,
            Source::Gzip(decoder) => decoder.get_mut(),
        };
        let md5: [u8; 16] = std::mem::take(&mut compressed.md5).finalize().into();
        if self.file.md5.is_some_and(|expected| expected != md5) {
            return Err(Error::input("the file is not the one that DynamoDB wrote: its MD5 is not the manifest's")
                .advice("Copy the export again"));
        }
        match self.file.item_count {
            Some(expected) if expected != self.items => {
                Err(Error::input(format!("the file has {} items, but its manifest says {expected}", self.items))
                    .advice("Copy the export again"))
            }
            _ => Ok(()),
        }
    }

    fn report(&mut self) {
        self.progress.add_items(std::mem::take(&mut self.unreported));
    }
}

impl Drop for LineReader {
    fn drop(&mut self) {
        self.report();
    }
}

impl std::fmt::Debug for LineReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineReader").field("file", &self.file).field("lines", &self.lines).finish_non_exhaustive()
    }
}

/// The source of the text.
enum Source {
    Plain(Box<Compressed>),
    Gzip(Box<MultiGzDecoder<Compressed>>),
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(compressed) => compressed.read(into),
            Self::Gzip(decoder) => decoder.read(into),
        }
    }
}

/// The file's raw bytes, hashed and counted in chunks.
struct Compressed {
    reader: ReadAhead,
    chunk: Bytes,
    /// Permits for the memory of the chunk, if it is the whole file.
    share: Option<OwnedSemaphorePermit>,
    md5: Md5,
    progress: Arc<Progress>,
}

impl Compressed {
    /// The text of the whole file and its size; `None` if the budget is exhausted, or if streaming is better. Nothing
    /// must have been consumed yet.
    fn inflate_whole(&mut self, room: &Arc<InflateBudget>) -> io::Result<Option<(Buffer, usize)>> {
        let Ok(size) = usize::try_from(self.reader.size()) else { return Ok(None) };
        if !self.reader.is_near() && self.chunk.len() < size {
            return Ok(None);
        }
        self.share = room.share(size);
        if self.share.is_none() {
            return Ok(None);
        }
        if self.chunk.len() < size {
            let mut file = Vec::with_capacity(size);
            while let Some(length) = Some(self.fill_buf()?.len()).filter(|length| *length > 0) {
                file.extend_from_slice(&self.chunk);
                self.consume(length);
            }
            self.chunk = file.into();
        }
        let Some(mut text) = whole::text_size(&self.chunk).and_then(|size| room.buffer(size)) else { return Ok(None) };
        let inflated = whole::inflate(&self.chunk, &mut text.bytes);
        if inflated.is_some() {
            self.chunk = Bytes::new();
            self.share = None;
        }
        Ok(inflated.map(|size| (text, size)))
    }
}

impl BufRead for Compressed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty()
            && let Some(chunk) = self.reader.next_chunk().map_err(io::Error::other)?
        {
            self.md5.update(&chunk);
            self.progress.add_bytes_read(chunk.len() as u64);
            self.chunk = chunk;
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        self.chunk.advance(amount.min(self.chunk.len()));
    }
}

impl Read for Compressed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}
