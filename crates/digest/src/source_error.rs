//! Errors of a source that keep their kind on the way up through [`io::Error`].
//!
//! [`ReadAt`](crate::ReadAt) and [`Read`](std::io::Read) can only return an [`io::Error`]. A source that knows more than
//! the operating system (a registry that timed out, a chunk whose digest does not match) wraps its error in a
//! [`SourceError`], and every crate above asks [`kind_of`] instead of guessing.

use std::{error::Error, fmt, io};

use crate::{Cancelled, ErrorKind, Mismatch};

/// An error of a source together with its kind.
///
/// Use it when you implement [`ReadAt`](crate::ReadAt) or [`Read`](std::io::Read) over something that is not a local file,
/// and whenever an error of a library crate has to pass through [`io::Error`]. It displays as the error inside.
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
    /// The cause of the error inside, since this displays what that displays: a chain of causes says nothing twice.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

impl From<SourceError> for io::Error {
    /// Never [`io::ErrorKind::Interrupted`], which readers retry, and never [`io::ErrorKind::NotFound`], which callers of
    /// file systems take for "there is no such file".
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

/// The kind of an I/O error: that of the [`SourceError`], [`Mismatch`] or [`Cancelled`] inside.
///
/// For any other error, [`ErrorKind::Malformed`] if the source ended too early or a decoder met invalid data, and
/// [`ErrorKind::Io`] otherwise.
#[must_use]
pub fn kind_of(error: &io::Error) -> ErrorKind {
    find(error, kind_inside).unwrap_or(match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => ErrorKind::Malformed,
        // Some decoders say so of damaged data; the system says so of a wrong call.
        io::ErrorKind::InvalidInput if error.raw_os_error().is_none() => ErrorKind::Malformed,
        _ => ErrorKind::Io,
    })
}

/// The error of type `E` that an I/O error carries, however often it was wrapped on its way.
#[must_use]
pub fn error_inside<E: Error + 'static>(error: &io::Error) -> Option<&E> {
    find(error, |inner| inner.downcast_ref())
}

/// What `pick` finds first among the errors that an I/O error carries, outermost first.
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
            // Wrapped again, as readers in between do.
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
