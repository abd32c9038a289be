//! For whom bytes are read, and how long the source may take.

use std::{io, time::Instant};

use crate::{Cancel, ErrorKind, SourceError};

/// What a read is for. A source that fetches over a network serves people before read-ahead, and read-ahead before work in
/// the background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// A caller waits for these bytes.
    #[default]
    Demand,
    /// A caller is likely to ask for these bytes soon.
    Ahead,
    /// Nobody waits: the bytes are fetched so that they are there later.
    Background,
}

/// Travels with a read down to the source: what it is for, when to give up, and a flag that ends it early.
///
/// The default is a read that a caller waits for, without a deadline. A source that can wait (for a network, say) calls
/// [`check`](Self::check) at least ten times a second while it does; a source that only reads memory or local files can
/// ignore the request.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct ReadRequest<'r> {
    /// What the read is for.
    pub purpose: Purpose,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// Raised when the caller has gone away.
    pub cancel: Option<&'r Cancel>,
}

impl<'r> ReadRequest<'r> {
    /// A read that a caller waits for and may cancel.
    #[must_use]
    pub const fn cancelled_by(cancel: &'r Cancel) -> Self {
        Self { purpose: Purpose::Demand, deadline: None, cancel: Some(cancel) }
    }

    /// Whether the read should go on.
    ///
    /// # Errors
    ///
    /// An error of kind [`ErrorKind::Cancelled`] once the flag was raised, of kind [`ErrorKind::Timeout`] after the
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
