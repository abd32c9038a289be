//! The purpose of a read, and how long its source may take.

use std::{io, time::Instant};

use crate::{Cancel, ErrorKind, SourceError};

/// Why bytes are read.
///
/// A source that fetches over a network serves reads in this order: `Demand`, `Ahead`, `Background`. A local source
/// ignores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// A caller waits for these bytes.
    #[default]
    Demand,
    /// A caller is likely to ask for these bytes soon.
    Ahead,
    /// No caller waits: the bytes fill a cache.
    Background,
}

/// Travels with a read down to the source: its purpose, when to give up, and a flag that ends it early.
///
/// The default is a read that a caller waits for, without a deadline. A source that waits, for a network for example,
/// calls [`check`](Self::check) at least ten times a second meanwhile. A source that reads memory or local files can
/// ignore the request. The request is a small `Copy` value; passing it on costs nothing.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct ReadRequest<'r> {
    /// The purpose of the read.
    pub purpose: Purpose,
    /// The time at which the caller stops waiting.
    pub deadline: Option<Instant>,
    /// A flag that is raised when the caller stops waiting early.
    pub cancel: Option<&'r Cancel>,
}

impl<'r> ReadRequest<'r> {
    /// A read that a caller waits for and may cancel.
    #[must_use]
    pub const fn cancelled_by(cancel: &'r Cancel) -> Self {
        Self { purpose: Purpose::Demand, deadline: None, cancel: Some(cancel) }
    }

    /// Returns an error if the read should stop. For sources to call.
    ///
    /// # Errors
    ///
    /// An error of kind [`ErrorKind::Cancelled`] once the flag is raised, of kind [`ErrorKind::Timeout`] after the
    /// deadline; see [`kind_of`](crate::kind_of).
    pub fn check(&self) -> io::Result<()> {
        if let Some(cancel) = self.cancel {
            cancel.check().map_err(|cancelled| SourceError::new(ErrorKind::Cancelled, cancelled))?;
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => {
                Err(SourceError::new(ErrorKind::Timeout, "the deadline of this read has passed").into())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind_of;

    #[test]
    fn a_request_ends_by_its_flag_or_its_deadline() {
        let cancel = Cancel::new();
        let request = ReadRequest::cancelled_by(&cancel);
        request.check().unwrap();
        ReadRequest::default().check().unwrap();
        let late = ReadRequest { deadline: Some(Instant::now()), ..request };
        assert_eq!(kind_of(&late.check().unwrap_err()), ErrorKind::Timeout);
        cancel.cancel();
        assert_eq!(kind_of(&request.check().unwrap_err()), ErrorKind::Cancelled);
        assert_eq!(kind_of(&late.check().unwrap_err()), ErrorKind::Cancelled);
    }
}
