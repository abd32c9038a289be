//! Reading a stream with a look ahead, and a position for messages.

use std::io::Read;

use dunnage_digest::read_some;

use crate::{Error, Part};

/// Bytes asked for at once when little is wanted.
const REFILL: usize = 16 << 10;

/// A stream, what was read of it and not taken yet, and where that starts.
#[derive(Debug)]
pub(crate) struct Source<R> {
    inner: R,
    buffer: Vec<u8>,
    /// Invariant: `start <= end <= buffer.len()`.
    start: usize,
    end: usize,
    /// Offset of the next byte that is taken.
    at: u64,
    ended: bool,
    ahead: bool,
}

impl<R: Read> Source<R> {
    pub(crate) const fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new(), start: 0, end: 0, at: 0, ended: false, ahead: true }
    }

    /// A stream that stands at this offset of the file.
    pub(crate) const fn at(inner: R, at: u64) -> Self {
        Self { inner, buffer: Vec::new(), start: 0, end: 0, at, ended: false, ahead: true }
    }

    /// One that takes no byte more from `inner` than it hands on.
    pub(crate) const fn exact(inner: R) -> Self {
        Self { inner, buffer: Vec::new(), start: 0, end: 0, at: 0, ended: false, ahead: false }
    }

    /// Offset of the next byte.
    pub(crate) const fn position(&self) -> u64 {
        self.at
    }

    pub(crate) fn into_inner(self) -> R {
        self.inner
    }

    /// The stream itself, for whoever has taken all of [`buffered`](Self::buffered).
    pub(crate) const fn inner_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// What was read and not taken.
    pub(crate) fn buffered(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Takes `len` bytes of what is buffered.
    pub(crate) fn consume(&mut self, len: usize) {
        let len = len.min(self.end.saturating_sub(self.start));
        self.start = self.start.saturating_add(len);
        self.at = self.at.saturating_add(len as u64);
    }

    /// The next `len` bytes and what else is buffered, without taking them; fewer only where the stream ends.
    pub(crate) fn peek(&mut self, len: usize, part: Part) -> Result<&[u8], Error> {
        while self.buffered().len() < len && !self.ended {
            self.refill(len, part)?;
        }
        Ok(self.buffered())
    }

    /// Fills `out`, as far as the stream goes.
    pub(crate) fn read_full(&mut self, out: &mut [u8], part: Part) -> Result<usize, Error> {
        let mut filled = 0;
        while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let got = self.read(rest, part)?;
            if got == 0 {
                break;
            }
            filled = filled.saturating_add(got);
        }
        Ok(filled)
    }

    /// Some bytes, at least one unless the stream has ended.
    pub(crate) fn read(&mut self, out: &mut [u8], part: Part) -> Result<usize, Error> {
        if self.buffered().is_empty() && !self.ended && !out.is_empty() {
            if !self.ahead || out.len() >= REFILL {
                let got = read_some(&mut self.inner, out).map_err(Error::read(part, self.at))?;
                self.ended = got == 0;
                self.at = self.at.saturating_add(got as u64);
                return Ok(got);
            }
            self.refill(1, part)?;
        }
        let buffered = self.buffered();
        let len = buffered.len().min(out.len());
        if let (Some(out), Some(buffered)) = (out.get_mut(..len), buffered.get(..len)) {
            out.copy_from_slice(buffered);
        }
        self.consume(len);
        Ok(len)
    }

    /// Adds `len` bytes to the first `used` of `buffer`, which grows no faster than bytes arrive; the number that there were.
    pub(crate) fn read_into(
        &mut self,
        buffer: &mut Vec<u8>,
        used: usize,
        len: usize,
        part: Part,
    ) -> Result<usize, Error> {
        let mut got = 0_usize;
        while got < len {
            let start = used.saturating_add(got);
            // What is there already costs nothing; beyond it, as much again as has arrived.
            let room = buffer.len().saturating_sub(start).max(got).max(64 << 10);
            let step = room.min(len.saturating_sub(got));
            let end = start.saturating_add(step);
            if buffer.len() < end {
                buffer.resize(end, 0);
            }
            let read = self.read_full(buffer.get_mut(start..end).unwrap_or_default(), part)?;
            got = got.saturating_add(read);
            if read < step {
                break;
            }
        }
        Ok(got)
    }

    /// One more read into the buffer, in which `len` bytes should find room at last.
    fn refill(&mut self, len: usize, part: Part) -> Result<(), Error> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
        }
        // Whoever asks for much gets it in steps: it may not be there.
        let room = len.max(REFILL).min(self.end.saturating_mul(2).max(REFILL));
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.end.saturating_add(REFILL), 0);
        }
        let at = self.at.saturating_add(self.end as u64);
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let got = read_some(&mut self.inner, room).map_err(Error::read(part, at))?;
        self.ended = got == 0;
        self.end = self.end.saturating_add(got);
        Ok(())
    }
}
