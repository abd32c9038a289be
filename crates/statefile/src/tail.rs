//! Whether the end of a file looks like the end that its writer made (docs/formats/statefile.md, "The end").
//!
//! The format does not mark its end, so a file that was cut between two chunks or frames verifies. gVisor's writers
//! fill every unit but the last, so a last unit that is not full shows that nothing is missing.

use crate::{Body, Macs};

/// Whether a file may have been cut off, as far as its last chunk or frame shows.
///
/// [`Reader::tail`](crate::Reader::tail) and [`File::verify`](crate::File::verify) return it; neither takes it for an
/// error. For certainty, give the length in [`ReadOptions::payload_len`](crate::ReadOptions::payload_len).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: there are no other answers")]
pub enum Tail {
    /// The last unit is not full, so a writer of gVisor has ended here. (A writer that makes only small frames, as
    /// gVisor does not, can have written more of them.)
    Complete,
    /// Every unit is full, or there is none. Either the payload is a multiple of the unit, or units are missing.
    PossiblyTruncated,
    /// The body is raw, or its dialect has frames of any size. The end shows nothing.
    Unknown,
}

/// Computes a [`Tail`] from the units of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TailRule {
    /// Payload bytes of a full unit; `None` if the dialect does not fill units.
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

    /// Adds a unit with `len` bytes of payload.
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
