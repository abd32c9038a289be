//! Errors of a source that keep their kind on the way up through [`io::Error`].
//!
//! [`ReadAt`](crate::ReadAt) and [`Read`](std::io::Read) can only return an [`io::Error`]. A source that knows more
//! than the operating system (a registry that timed out, a chunk whose digest does not match) wraps its error in a
//! [`SourceError`], and every crate above asks [`kind_of`] instead of guessing.

use std::{error::Error, fmt, io};

use crate::{Cancelled, ErrorKind, Mismatch};

/// An error of a source together with its kind.
///
/// Use it when you implement [`ReadAt`](crate::ReadAt) or [`Read`](std::io::Read) over something that is not a local
/// file, and whenever an error of a library crate has to pass through [`io::Error`]. It displays as the error inside,
/// and costs one allocation per error. It does not say where the error happened: the reader above adds the offset.
#[derive(Debug)]
pub struct SourceError {
    kind: ErrorKind,
    source: Box<dyn Error + Send + Sync>,
}

impl SourceError {
    /// Keeps `kind` beside `source`.
    pub fn new(kind: ErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: source.into() }
    }

    /// The kind of the error.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The error inside.
    #[must_use]
    pub fn inner(&self) -> &(dyn Error + 'static) {
        self.source.as_ref()
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Error for SourceError {
    /// The cause of the error inside. The error inside itself is left out, since this error displays the same text: a
    /// chain of causes would print it twice.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

impl From<SourceError> for io::Error {
    /// The result is never [`io::ErrorKind::Interrupted`], which readers retry, and never [`io::ErrorKind::NotFound`],
    /// which a caller could take for "there is no such file".
    fn from(error: SourceError) -> Self {
        let kind = match error.kind {
            ErrorKind::Malformed
            | ErrorKind::Integrity
            | ErrorKind::Inconsistent
            | ErrorKind::Unauthenticated
            | ErrorKind::LimitExceeded => io::ErrorKind::InvalidData,
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// The kind of an I/O error: the kind of the [`SourceError`], [`Mismatch`] or [`Cancelled`] inside.
///
/// Use it where an [`io::Error`] of a source decides how to go on: an exit code, an errno, a retry. It walks the chain
/// of causes and does not allocate. An error without a kind inside is [`ErrorKind::Malformed`] if the source ended too
/// early or a decoder found invalid data, and [`ErrorKind::Io`] otherwise.
#[must_use]
pub fn kind_of(error: &io::Error) -> ErrorKind {
    find(error, kind_inside).unwrap_or(match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => ErrorKind::Malformed,
        // Decoders return this for damaged data. The system returns it for a wrong call, and then there is an errno.
        io::ErrorKind::InvalidInput if error.raw_os_error().is_none() => ErrorKind::Malformed,
        _ => ErrorKind::Io,
    })
}

/// The first error of type `E` inside an I/O error, however often it was wrapped on its way.
///
/// Use it to get a crate's own error back after it passed through [`Read`](std::io::Read), with its fields.
#[must_use]
pub fn error_inside<E: Error + 'static>(error: &io::Error) -> Option<&E> {
    find(error, |inner| inner.downcast_ref())
}

/// The first result of `pick` over the errors inside an I/O error, outermost first.
fn find<'e, T>(error: &'e io::Error, pick: impl Fn(&'e (dyn Error + 'static)) -> Option<T>) -> Option<T> {
    let carried = |error: &'e io::Error| error.get_ref().map(|inner| inner as &'e (dyn Error + 'static));
    let mut next = carried(error);
    while let Some(inner) = next {
        if let Some(found) = pick(inner) {
            return Some(found);
        }
        let wrapped = inner.downcast_ref::<SourceError>().map(SourceError::inner);
        next = match inner.downcast_ref::<io::Error>() {
            Some(error) => carried(error),
            None => wrapped.or_else(|| inner.source()),
        };
    }
    None
}

fn kind_inside(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    if let Some(error) = error.downcast_ref::<SourceError>() {
        return Some(error.kind);
    }
    if error.is::<Mismatch>() {
        return Some(ErrorKind::Integrity);
    }
    error.is::<Cancelled>().then_some(ErrorKind::Cancelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_an_io_error_and_no_reader_retries_it() {
        for &kind in ErrorKind::ALL {
            let error = io::Error::from(SourceError::new(kind, "the source says no"));
            assert_eq!(kind_of(&error), kind);
            assert_eq!(error.to_string(), "the source says no");
            assert!(!matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::NotFound), "{kind}");
            // Wrapped again, as a reader in between does.
            let error = io::Error::other(error);
            assert_eq!(kind_of(&error), kind);
            assert_eq!(error_inside::<SourceError>(&error).unwrap().kind(), kind);
            assert!(error_inside::<Mismatch>(&error).is_none());
        }
    }

    #[test]
    fn errors_without_a_kind_are_damage_or_io() {
        let mismatch = Mismatch::Size { expected: 1, got: 2 };
        for (error, kind) in [
            (io::Error::from(io::ErrorKind::UnexpectedEof), ErrorKind::Malformed),
            (io::Error::new(io::ErrorKind::InvalidData, "bad block"), ErrorKind::Malformed),
            (io::Error::new(io::ErrorKind::InvalidInput, "corrupt deflate stream"), ErrorKind::Malformed),
            (io::Error::from_raw_os_error(22), ErrorKind::Io),
            (io::Error::from_raw_os_error(2), ErrorKind::Io),
            (io::ErrorKind::TimedOut.into(), ErrorKind::Io),
            (mismatch.into(), ErrorKind::Integrity),
            (io::Error::other(Cancelled), ErrorKind::Cancelled),
        ] {
            assert_eq!(kind_of(&error), kind, "{error}");
        }
    }
}
