//! Whether a body looks as if its end were there.
//!
//! The format has no mark for its end: a file cut between two chunks or frames verifies. But gVisor's writers fill every unit
//! but the last, so a last unit that is not full is the end that the writer made.

use crate::{Body, Macs};

/// What the last unit says about the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: it is the end, it may not be, or nothing tells")]
pub enum Tail {
    /// The last unit is not full: this is where a writer of gVisor ended. (Of equal small frames one more may be missing;
    /// gVisor writes none.)
    Complete,
    /// Every unit is full, or there is none. Either the payload is a multiple of the unit, or something is missing.
    PossiblyTruncated,
    /// A raw body, or frames of a dialect that fills them as it likes: nothing can be said.
    Unknown,
}

/// The rule, as units go by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TailRule {
    /// Bytes of a full unit, where there is such a thing.
    full: Option<u64>,
    last: Option<u64>,
}

impl TailRule {
    pub(crate) fn new(body: Body, chunk_size: Option<u32>) -> Self {
        let full = match body {
            Body::Chunks(_) => chunk_size.map(u64::from),
            Body::Frames(Macs::Chained) => Some(1 << 20),
            Body::Raw | Body::Frames(_) => None,
        };
        Self { full, last: None }
    }

    /// A unit went by with so many bytes of payload.
    pub(crate) const fn unit(&mut self, len: u64) {
        self.last = Some(len);
    }

    pub(crate) fn tail(&self) -> Tail {
        match (self.full, self.last) {
            (None, _) => Tail::Unknown,
            (Some(full), Some(last)) if last < full => Tail::Complete,
            (Some(_), _) => Tail::PossiblyTruncated,
        }
    }
}
