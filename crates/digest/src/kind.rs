//! Kinds of errors: the one list by which every crate of the workspace sorts its errors.

use std::fmt;

/// The kind of an error: coarse, so that a caller can act on it.
///
/// Every error enum of the workspace has a `kind()`, and [`kind_of`](crate::kind_of) finds the kind inside an
/// [`io::Error`](std::io::Error). The command chooses its exit code by it, and a mount its errno. The message says
/// more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes contradict their format.
    Malformed,
    /// The bytes are well formed, in a version or variant that this crate does not read.
    Unsupported,
    /// The bytes are well formed, and exceed a limit of the caller.
    LimitExceeded,
    /// A digest, checksum or MAC does not match.
    Integrity,
    /// Two descriptions of the same data disagree.
    Inconsistent,
    /// A digest or MAC is required, and the data has none.
    Unauthenticated,
    /// The requested object does not exist.
    NotFound,
    /// The object to make exists already, or an object changed during the work.
    Conflict,
    /// The operating system failed.
    Io,
    /// A remote party failed, or its answer makes no sense.
    Remote,
    /// Credentials or a key are missing, or a remote party refused them.
    Auth,
    /// A deadline passed.
    Timeout,
    /// The caller asked to stop.
    Cancelled,
    /// The call is wrong, whatever the input.
    Misuse,
}

impl ErrorKind {
    /// All kinds, for tables and tests that cover every one.
    pub const ALL: &'static [Self] = &[
        Self::Malformed,
        Self::Unsupported,
        Self::LimitExceeded,
        Self::Integrity,
        Self::Inconsistent,
        Self::Unauthenticated,
        Self::NotFound,
        Self::Conflict,
        Self::Io,
        Self::Remote,
        Self::Auth,
        Self::Timeout,
        Self::Cancelled,
        Self::Misuse,
    ];
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::LimitExceeded => "limit-exceeded",
            Self::Integrity => "integrity",
            Self::Inconsistent => "inconsistent",
            Self::Unauthenticated => "unauthenticated",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::Io => "io",
            Self::Remote => "remote",
            Self::Auth => "auth",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Misuse => "misuse",
        })
    }
}
