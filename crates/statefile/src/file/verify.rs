//! Checking all of a file.

use dunnage_digest::{Progress, ReadAt};

use super::File;
use crate::{Body, Encoding, Error, Tail, tail::TailRule};

/// What was found in a file that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// What the file is; [`Encoding::cautions`] says what its MACs do not tell.
    pub encoding: Encoding,
    /// Chunks or frames; 0 for a raw body.
    pub units: u64,
    /// Bytes of payload.
    pub payload_len: u64,
    /// Bytes of the file.
    pub file_len: u64,
    /// Whether the end looks like one. The format has no mark for it.
    pub tail: Tail,
    /// Whether the payload has the length that the caller or the metadata asked for; then the tail is no question.
    pub length_is_known: bool,
}

impl<S: ReadAt + Sync> File<S> {
    /// Compares every MAC, inflates every chunk and checks every length, with all threads and in constant memory.
    ///
    /// Reports the bytes of the file checked so far. Of a raw body there is nothing to be
    /// checked but its length.
    ///
    /// # Errors
    ///
    /// The first error by its place in the file; [`Error::Cancelled`] if `progress` is cancelled.
    pub fn verify(&self, progress: Progress<'_>) -> Result<Verified, Error> {
        let index = self.index(progress)?;
        let mut tail = TailRule::new(self.encoding.body, self.chunk_size());
        let mut payload_len = 0_u64;
        if self.encoding.body == Body::Raw || (self.rules.mac.is_none() && self.rules.chunk_size.is_none()) {
            index.end.clone()?;
            payload_len = if self.encoding.body == Body::Raw { self.body_len() } else { index.stored };
        } else {
            self.in_order(&index, false, progress, &mut |group, done| {
                let (len, last) = match done {
                    Some(done) => (done.payload().len() as u64, done.last_len),
                    None => (group.stored, group.stored),
                };
                payload_len = payload_len.saturating_add(len);
                tail.unit(last);
                progress.at(group.end);
                Ok(())
            })?;
        }
        let expected = self.expected()?;
        match expected {
            Some((expected, by)) if expected != payload_len => {
                return Err(Error::Length { expected, got: payload_len, by });
            }
            _ => {}
        }
        progress.at(self.size);
        Ok(Verified {
            encoding: self.encoding.clone(),
            units: index.units,
            payload_len,
            file_len: self.size,
            tail: tail.tail(),
            length_is_known: expected.is_some(),
        })
    }
}
