//! Errors of trees and of calls on them.

use std::io;

use dunnage_digest::{ErrorKind, Offset, SourceError, kind_of};

use crate::{Kind, UnsafeName};

/// An error of a format crate, on its way through a [`Tree`](crate::Tree).
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why something could not be done with a tree.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Error {
    /// Reading the source of an archive failed.
    #[error("cannot read {what} at offset {at}")]
    Read { what: &'static str, at: Offset, source: io::Error },
    /// A file system call failed.
    #[error("cannot {action} `{path}`")]
    Io { action: &'static str, path: String, source: io::Error },
    /// The bytes of an archive contradict its format.
    #[error("malformed {part} at offset {at}: expected {expected}, got {got}")]
    Malformed { part: &'static str, at: Offset, expected: String, got: String },
    /// Well formed, but of a sort that is not read.
    #[error("unsupported {what} at offset {at}: {got}")]
    Unsupported { what: &'static str, at: Offset, got: String },
    /// Well formed, but beyond [`Limits`](crate::Limits).
    #[error("{what}: {asked} is over the limit of {limit}")]
    Limit { what: &'static str, limit: u64, asked: u64 },
    /// A name that cannot be used as one.
    #[error("unsafe name: {0}")]
    Name(#[from] UnsafeName),
    /// Entries of one archive contradict each other.
    #[error("entry `{path}`: expected {expected}, got {got}")]
    Inconsistent { path: String, expected: String, got: String },
    /// An entry that would act outside the destination, or on a file that the run did not make.
    #[error("refused `{path}`: {reason}")]
    Refused { path: String, reason: String },
    /// A number that this tree never gave out.
    #[error("no node with number {0}")]
    NoNode(u64),
    /// A path that leads nowhere.
    #[error("no such file: `{path}`")]
    NotFound { path: String },
    /// The node is of another sort than the call needs.
    #[error("expected a {expected}, got a {got}")]
    WrongKind { expected: Kind, got: Kind },
    /// A header that its format has no place for.
    #[error("cannot write `{path}` as {format}: {reason}")]
    Header { path: String, format: &'static str, reason: String },
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] dunnage_digest::Cancelled),
    /// The format underneath failed.
    #[error("{source}")]
    Source { kind: ErrorKind, source: BoxError },
}

impl Error {
    /// Whose problem it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } => kind_of(source),
            Self::Io { .. } => ErrorKind::Io,
            Self::Malformed { .. } | Self::Name(_) | Self::Refused { .. } => ErrorKind::Malformed,
            Self::Unsupported { .. } | Self::Header { .. } => ErrorKind::Unsupported,
            Self::Limit { .. } => ErrorKind::LimitExceeded,
            Self::Inconsistent { .. } => ErrorKind::Inconsistent,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::NoNode(_) | Self::WrongKind { .. } => ErrorKind::Misuse,
            Self::Cancelled(_) => ErrorKind::Cancelled,
            Self::Source { kind, .. } => *kind,
        }
    }
}

/// Wraps the error in a [`SourceError`], so that [`kind_of`] finds its kind. A source that ended too early stays an
/// [`io::ErrorKind::UnexpectedEof`].
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let is_eof = matches!(&error, Error::Read { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof);
        let error = SourceError::new(error.kind(), error);
        if is_eof { Self::new(io::ErrorKind::UnexpectedEof, error) } else { error.into() }
    }
}

/// The error with all its causes, in one line.
#[cfg(feature = "fuse")]
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}
