//! Whose problem an error is: the one list that every crate of the workspace sorts its errors by.

use std::fmt;

/// What went wrong, coarse enough to act on. Every error enum of the workspace has a `kind()` that returns one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes contradict their format.
    Malformed,
    /// Well formed, but in a version or variant that is not read.
    Unsupported,
    /// Well formed, but beyond the limits the caller set.
    LimitExceeded,
    /// A digest, checksum or MAC does not match.
    Integrity,
    /// Two descriptions of the same data disagree.
    Inconsistent,
    /// The data is not covered by any digest or MAC where one was required.
    Unauthenticated,
    /// The thing asked for is not there.
    NotFound,
    /// The thing asked for is there already, or changed underneath.
    Conflict,
    /// The operating system failed.
    Io,
    /// A remote party failed or answered nonsense.
    Remote,
    /// A remote party refused who we are.
    Auth,
    /// A deadline passed.
    Timeout,
    /// The caller asked to stop.
    Cancelled,
    /// The call itself is wrong; no input is at fault.
    Misuse,
}

impl ErrorKind {
    /// All kinds, for tables and for tests that must miss none.
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
