//! The source of an archive, with a small buffer for headers.
//!
//! | part               | how it is read                                                         |
//! |--------------------|------------------------------------------------------------------------|
//! | header blocks      | through the buffer: 64 KiB over a stream, 4 KiB over random access     |
//! | small payloads     | through the buffer                                                     |
//! | large payloads     | straight into the caller's memory                                      |
//! | skipped payloads   | read and dropped over a stream, stepped over with random access        |

use std::{
    io::{self, Read},
    mem,
};

use dunnage_digest::{Cursor, Offset, ReadAt, read_some};

use super::block::{BLOCK, Block};
use crate::Error;

const STREAM_BUFFER: usize = 64 << 10;
/// One page: an extended header and the block after it usually fit, and reading more would be reading payload.
const RANDOM_BUFFER: usize = 4 << 10;

/// Moves a source forward without reading; returns how far it got, which is less only at the end.
type Skip<R> = fn(&mut R, u64) -> u64;

pub(super) struct Input<R> {
    source: R,
    skip: Option<Skip<R>>,
    buffer: Box<[u8]>,
    /// Invariant: `from <= to <= buffer.len()`; the bytes between are read and not consumed.
    from: usize,
    to: usize,
    /// Position in the source of the next byte to be consumed.
    at: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn stream(source: R) -> Self {
        Self { source, skip: None, buffer: vec![0; STREAM_BUFFER].into(), from: 0, to: 0, at: 0 }
    }

    pub(super) fn position(&self) -> Offset {
        Offset::new(self.at)
    }

    /// The next block; `None` if the source has ended.
    pub(super) fn block(&mut self, what: &'static str) -> Result<Option<Block>, Error> {
        loop {
            if let Some(block) = self.buffered().first_chunk::<BLOCK>() {
                let block = *block;
                self.consume(BLOCK);
                return Ok(Some(block));
            }
            if self.fill(what)? == 0 {
                let got = self.buffered().len();
                return if got == 0 { Ok(None) } else { Err(self.ended(what, got)) };
            }
        }
    }

    /// Reads at least one byte unless `buf` is empty or the source has ended.
    pub(super) fn read_some(&mut self, buf: &mut [u8], what: &'static str) -> Result<usize, Error> {
        if self.from == self.to {
            if buf.len() >= self.buffer.len() {
                let got = read_some(&mut self.source, buf).map_err(|source| self.failed(what, source))?;
                self.at = self.at.saturating_add(got as u64);
                return Ok(got);
            }
            if !buf.is_empty() {
                self.fill(what)?;
            }
        }
        let buffered = self.buffered();
        let len = buffered.len().min(buf.len());
        if let Some((from, to)) = buffered.get(..len).zip(buf.get_mut(..len)) {
            to.copy_from_slice(from);
        }
        self.consume(len);
        Ok(len)
    }

    /// Fills all of `buf`.
    pub(super) fn read_exact(&mut self, buf: &mut [u8], what: &'static str) -> Result<(), Error> {
        let mut rest = buf;
        while !rest.is_empty() {
            let got = self.read_some(rest, what)?;
            if got == 0 {
                return Err(self.ended(what, 0));
            }
            rest = mem::take(&mut rest).get_mut(got..).unwrap_or_default();
        }
        Ok(())
    }

    /// Passes over `len` bytes, all of which have to be there.
    pub(super) fn skip(&mut self, len: u64, what: &'static str) -> Result<(), Error> {
        let mut rest = len;
        while rest > 0 {
            if self.from == self.to {
                if let Some(skip) = self.skip {
                    let got = skip(&mut self.source, rest);
                    self.at = self.at.saturating_add(got);
                    return if got == rest { Ok(()) } else { Err(self.ended(what, 0)) };
                }
                if self.fill(what)? == 0 {
                    return Err(self.ended(what, 0));
                }
            }
            let buffered = self.to.saturating_sub(self.from);
            let step = usize::try_from(rest).map_or(buffered, |rest| rest.min(buffered));
            self.consume(step);
            rest = rest.saturating_sub(step as u64);
        }
        Ok(())
    }

    /// The error for a source that ended `after` bytes after the position.
    fn ended(&self, what: &'static str, after: usize) -> Error {
        let at = self.position().saturating_add(after as u64);
        Error::Read { what, at, source: io::ErrorKind::UnexpectedEof.into() }
    }

    fn failed(&self, what: &'static str, source: io::Error) -> Error {
        Error::Read { what, at: self.position().saturating_add(self.buffered().len() as u64), source }
    }

    fn buffered(&self) -> &[u8] {
        self.buffer.get(self.from..self.to).unwrap_or_default()
    }

    fn consume(&mut self, len: usize) {
        self.from = self.from.saturating_add(len).min(self.to);
        self.at = self.at.saturating_add(len as u64);
    }

    /// Reads once, to the end of the buffered bytes; 0 at the end of the source.
    fn fill(&mut self, what: &'static str) -> Result<usize, Error> {
        if self.from > 0 {
            // At most a part of a block is left when more is wanted.
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to.saturating_sub(self.from));
        }
        let free = self.buffer.get_mut(self.to..).unwrap_or_default();
        let got = read_some(&mut self.source, free).map_err(|source| self.failed(what, source))?;
        self.to = self.to.saturating_add(got);
        Ok(got)
    }
}

impl<R: ReadAt> Input<Cursor<R>> {
    pub(super) fn over(source: R) -> Result<Self, Error> {
        let source = Cursor::new(source);
        let source = source.map_err(|source| Error::Read { what: "size of the archive", at: Offset::ZERO, source })?;
        let skip: Skip<Cursor<R>> = |source, len| {
            let step = len.min(source.remaining());
            source.set_position(source.position().saturating_add(step));
            step
        };
        Ok(Self { source, skip: Some(skip), buffer: vec![0; RANDOM_BUFFER].into(), from: 0, to: 0, at: 0 })
    }
}
