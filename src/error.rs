//! Errors: what failed, where, and what to do next.
//!
//! [`Kind`] is named by what a caller can do, and determines the exit code. The rest of an [`Error`] is for people: the
//! message, the place in the input (file, line, attribute, key) and the advice.

use std::fmt::{self, Write as _};

use crate::secrets;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error; one exit code each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The work failed: network, access, table missing or already exists.
    Failed,
    /// The command line, the configuration or the schema file is wrong, or something named there (except an export) is
    /// missing.
    Usage,
    /// An export is missing, damaged, incomplete, of the wrong kind, or of another table.
    Input,
    /// A gap, an overlap, or a table that was rolled back.
    Window,
    /// Other writers won every retry.
    Contended,
    /// The commit was sent, but its outcome could not be determined.
    Unknown,
    /// The user stopped the command.
    Interrupted,
}

impl Kind {
    /// The process exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::Window => 4,
            Self::Contended => 5,
            Self::Unknown => 6,
            Self::Interrupted => 130,
        }
    }
}

/// An error with its place and advice.
#[derive(Debug)]
pub struct Error(Box<Details>);

#[derive(Debug)]
struct Details {
    kind: Kind,
    message: String,
    file: Option<String>,
    line: Option<u64>,
    attribute: Option<String>,
    key: Option<String>,
    advice: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of the given kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            message: message.into(),
            file: None,
            line: None,
            attribute: None,
            key: None,
            advice: None,
            source: None,
        }))
    }

    /// [`Kind::Failed`].
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// [`Kind::Usage`].
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// [`Kind::Input`].
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Kind::Input, message)
    }

    /// [`Kind::Window`].
    pub fn window(message: impl Into<String>) -> Self {
        Self::new(Kind::Window, message)
    }

    /// Sets the file with the error; a name set earlier, closer to the cause, is kept.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.0.file.get_or_insert_with(|| file.into());
        self
    }

    /// Sets the line, counted from 1.
    #[must_use]
    pub fn on_line(mut self, line: u64) -> Self {
        self.0.line.get_or_insert(line);
        self
    }

    /// Sets the attribute.
    #[must_use]
    pub fn of_attribute(mut self, attribute: impl Into<String>) -> Self {
        self.0.attribute.get_or_insert_with(|| attribute.into());
        self
    }

    /// Sets the item, by its key.
    #[must_use]
    pub fn of_key(mut self, key: impl Into<String>) -> Self {
        self.0.key.get_or_insert_with(|| key.into());
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.0.advice.get_or_insert_with(|| advice.into());
        self
    }

    /// Replaces the advice.
    #[must_use]
    pub(crate) fn other_advice(mut self, advice: impl Into<String>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// Sets the error that caused it; its text is part of the message.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The message without its place.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The file with the error.
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// The line, counted from 1.
    pub fn line(&self) -> Option<u64> {
        self.0.line
    }

    /// The attribute.
    pub fn attribute(&self) -> Option<&str> {
        self.0.attribute.as_deref()
    }
}

impl fmt::Display for Error {
    /// One line: `<file>:<line>: <message> (attribute "a", key …): <cause>. <advice>`.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let f = &mut String::new();
        let Details { message, file, line, attribute, key, advice, source, .. } = &*self.0;
        match (file, line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            _ => {}
        }
        f.write_str(message)?;
        match (attribute, key) {
            (Some(attribute), Some(key)) => write!(f, " (attribute {attribute:?}, key {key})")?,
            (Some(attribute), None) => write!(f, " (attribute {attribute:?})")?,
            (None, Some(key)) => write!(f, " (key {key})")?,
            (None, None) => {}
        }
        if let Some(source) = source {
            write!(f, ": {source}")?;
        }
        if let Some(advice) = advice {
            write!(f, ". {advice}")?;
        }
        // A name in it may come from a server.
        to.write_str(&secrets::strike_long(f))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|e| &**e as &(dyn std::error::Error + 'static))
    }
}

impl From<iceberg::Error> for Error {
    /// Unwraps one of our own errors that passed through the iceberg crate.
    fn from(error: iceberg::Error) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(e) = cause {
            if let Some(ours) = e.downcast_ref::<Self>() {
                return ours.duplicate();
            }
            cause = e.source();
        }
        Self::failed("the table could not be read or written").caused_by(error)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::failed("a batch of rows could not be processed").caused_by(error)
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::failed("a Parquet file could not be read or written").caused_by(error)
    }
}

impl Error {
    /// A copy of the error, with its cause as text.
    fn duplicate(&self) -> Self {
        let d = &*self.0;
        Self(Box::new(Details {
            kind: d.kind,
            message: d.message.clone(),
            file: d.file.clone(),
            line: d.line,
            attribute: d.attribute.clone(),
            key: d.key.clone(),
            advice: d.advice.clone(),
            source: d.source.as_ref().map(|s| s.to_string().into()),
        }))
    }
}
