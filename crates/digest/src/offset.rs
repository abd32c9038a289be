//! Positions inside a blob.

use std::fmt;

/// Position of a byte, counted from the start of the blob. Displays as `0x4a4`.
///
/// A type of its own, so that a position is not taken for a length. It has no operators:
/// [`checked_add`](Self::checked_add) makes the overflow visible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// The first byte.
    pub const ZERO: Self = Self(0);

    /// The position `bytes` after the start.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes between the start of the blob and this position.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position `bytes` later; `None` beyond 2^64 - 1.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The position `bytes` later, at most 2^64 - 1. For messages only: a read there would return other bytes.
    #[must_use]
    pub const fn saturating_add(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }
}

impl From<u64> for Offset {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
