//! The payload of a layer, decompressed from one stream of the TOC to the next, so that it is known where each begins.
//!
//! The streams of the TOC cut the payload into ranges. Each range has to decompress by itself, to its last byte, which
//! proves that a stream starts where the TOC says. A range may hold several streams, as that of headers in front.

use std::{
    cell::RefCell,
    io::{self, Read},
    rc::Rc,
};

use dunnage_digest::{Cursor, Digest, Hasher, Offset, ReadAt, Section};

use crate::{Error, Reader};

/// Where ranges start, in the blob and in the tar, as far as the tar was read; and the hash of what was read.
#[derive(Clone)]
pub(super) struct Marks(Rc<RefCell<State>>);

struct State {
    /// In ascending order of both.
    starts: Vec<(u64, u64)>,
    hasher: Hasher,
    len: u64,
}

impl Marks {
    /// Where in the tar the stream at `offset` in the blob starts.
    pub(super) fn at(&self, offset: u64) -> Option<u64> {
        let state = self.0.borrow();
        let found = state.starts.binary_search_by_key(&offset, |&(start, _)| start).ok()?;
        state.starts.get(found).map(|&(_, at)| at)
    }

    /// Digest and length of what was read, and the hash to go on with.
    pub(super) fn finish(&self) -> (Digest, u64, Hasher) {
        let state = self.0.borrow();
        (state.hasher.clone().finish(), state.len, state.hasher.clone())
    }
}

/// The tar stream of a layer.
pub(super) struct Payload<'r, R> {
    reader: &'r Reader<R>,
    marks: Marks,
    /// The range that is being read.
    range: Option<Box<dyn Read + Send + 'r>>,
    /// Where the next one starts.
    next: u64,
}

impl<'r, R: ReadAt + Sync> Payload<'r, R> {
    pub(super) fn new(reader: &'r Reader<R>) -> Self {
        let state = State { starts: Vec::new(), hasher: Hasher::sha256(), len: 0 };
        Self { reader, marks: Marks(Rc::new(RefCell::new(state))), range: None, next: 0 }
    }

    pub(super) fn marks(&self) -> Marks {
        self.marks.clone()
    }

    /// Begins the next range; `false` if there is none.
    fn advance(&mut self) -> io::Result<bool> {
        let (start, end) = (self.next, self.reader.payload_len());
        if start >= end {
            return Ok(false);
        }
        self.next = self.reader.stream_end_after(start);
        self.range = Some(open(self.reader, start, self.next)?);
        let mut state = self.marks.0.borrow_mut();
        let at = state.len;
        state.starts.push((start, at));
        Ok(true)
    }
}

fn open<R: ReadAt + Sync>(reader: &Reader<R>, start: u64, end: u64) -> io::Result<Box<dyn Read + Send + '_>> {
    let section = Section::new(reader.source(), Offset::new(start), end.saturating_sub(start));
    Ok(reader.decompressor().streams(Box::new(Cursor::new(section)?)))
}

impl<R: ReadAt + Sync> Read for Payload<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let len = match &mut self.range {
                Some(range) => range.read(buf)?,
                None => 0,
            };
            if len > 0 {
                let mut state = self.marks.0.borrow_mut();
                state.hasher.update(buf.get(..len).unwrap_or_default());
                state.len = state.len.saturating_add(len as u64);
                return Ok(len);
            }
            if !self.advance()? {
                return Ok(0);
            }
        }
    }
}

/// Decompresses the frames after the payload into `hasher`, as an unaware runtime would, and says how much it was.
pub(super) fn behind_payload<R: ReadAt + Sync>(reader: &Reader<R>, hasher: &mut Hasher) -> Result<u64, Error> {
    let at = reader.payload_len();
    let failed = |source| Error::Read { what: "the bytes after the payload", at: Offset::new(at), source };
    let end = reader.source().size().map_err(failed)?;
    let mut rest = open(reader, at, end).map_err(failed)?;
    let mut block = vec![0; 64 << 10];
    let mut total = 0_u64;
    loop {
        let len = rest.read(&mut block).map_err(failed)?;
        if len == 0 {
            return Ok(total);
        }
        hasher.update(block.get(..len).unwrap_or_default());
        total = total.saturating_add(len as u64);
        if total > reader.limits().toc.saturating_add(1 << 20) {
            let (limit, asked) = (reader.limits().toc, total);
            return Err(Error::Limit { what: "bytes after the payload", limit, asked });
        }
    }
}
