//! A stream with a look-ahead, and with a position for messages.

use std::io::Read;

use dunnage_digest::read_some;

use crate::{Error, Part};

/// The least number of bytes that one read requests.
const REFILL: usize = 16 << 10;

/// A stream, and the bytes that were read from it and not taken yet.
#[derive(Debug)]
pub(crate) struct Source<R> {
    inner: R,
    buffer: Vec<u8>,
    /// Invariant: `start <= end <= buffer.len()`.
    start: usize,
    end: usize,
    /// Offset of the next byte to take.
    at: u64,
    ended: bool,
    /// Whether reads may request more bytes than the caller needs.
    ahead: bool,
}

impl<R: Read> Source<R> {
    pub(crate) const fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new(), start: 0, end: 0, at: 0, ended: false, ahead: true }
    }

    /// A stream whose next byte has this offset in the file.
    pub(crate) const fn at(inner: R, at: u64) -> Self {
        Self { inner, buffer: Vec::new(), start: 0, end: 0, at, ended: false, ahead: true }
    }

    /// A stream that reads no byte from `inner` that the caller does not take.
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

    /// The stream itself. The caller must have taken all of [`buffered`](Self::buffered).
    pub(crate) const fn inner_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// The bytes that were read and not taken.
    pub(crate) fn buffered(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Takes `len` of the buffered bytes.
    pub(crate) fn consume(&mut self, len: usize) {
        let len = len.min(self.end.saturating_sub(self.start));
        self.start = self.start.saturating_add(len);
        self.at = self.at.saturating_add(len as u64);
    }

    /// The next `len` bytes and all others in the buffer, without taking them. Fewer only if the stream ends.
    pub(crate) fn peek(&mut self, len: usize, part: Part) -> Result<&[u8], Error> {
        while self.buffered().len() < len && !self.ended {
            self.refill(len, part)?;
        }
        Ok(self.buffered())
    }

    /// Fills `out` and returns the number of bytes, which is less than `out.len()` only if the stream ends.
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

    /// Reads at least one byte, unless the stream has ended.
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

    /// Reads `len` bytes into `buffer` from index `used`, and returns their number, which is less than `len` only if
    /// the stream ends. The buffer grows as bytes arrive, not by the declared `len`.
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
            // Use the memory that the buffer has. Beyond that, grow by as many bytes as have arrived.
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

    /// Reads once into the buffer. Repeated calls make room for `len` bytes.
    fn refill(&mut self, len: usize, part: Part) -> Result<(), Error> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
        }
        // Grow in steps: the stream may not have `len` bytes.
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
