//! Verifies a whole file.

use dunnage_digest::{Progress, ReadAt};

use super::File;
use crate::{Body, Encoding, Error, Tail, tail::TailRule};

/// The result of [`File::verify`] for an undamaged file.
///
/// A file without a key can be undamaged and still be forged: look at [`Encoding::is_authenticated`]. A file can be
/// undamaged and still be cut off: look at [`tail`](Self::tail).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The encoding of the file. Its [`cautions`](Encoding::cautions) say what the MACs do not protect.
    pub encoding: Encoding,
    /// Chunks or frames; 0 for a raw body.
    pub units: u64,
    /// Bytes of payload.
    pub payload_len: u64,
    /// Bytes of the file.
    pub file_len: u64,
    /// Whether the end looks like the end that the writer made. The format does not mark it.
    pub tail: Tail,
    /// Whether the caller or the metadata gave the length of the payload. It matched, so the file was not cut off,
    /// whatever `tail` is.
    pub length_is_known: bool,
}

impl<S: ReadAt + Sync> File<S> {
    /// Compares every MAC, inflates every chunk and checks every length, on all threads.
    ///
    /// Use it before a file is restored or archived. It reads the file once and keeps two groups of about 1 MiB per
    /// thread in memory. In a body without MACs and chunks, only lengths are checked. It reports the bytes of the file
    /// checked so far.
    ///
    /// # Errors
    ///
    /// The first fault by its position in the file, whatever the number of threads; [`Error::Cancelled`] if `progress`
    /// is cancelled.
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
