//! Reading a file and, on the way, whatever else has to be decompressed for it.
//!
//! Where several chunks share a stream, the decoder has to pass the chunks before the wanted one. A caller with a cache takes
//! these neighbours along. Specification: eStargz, section 6.3, `open_file_with_pre_reader`.

use std::fmt;

use dunnage_digest::{ReadAt, ReadRequest};

use super::{
    Chunk, Entry, FileReader, Reader,
    index::{Location, Row},
};
use crate::{Error, codec::Decoder};

/// A chunk of a stream that holds several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shared {
    offset: u64,
    inner: u64,
    row: Row,
    at: u64,
}

/// A chunk that came along with the one that was read.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct PreRead<'a> {
    /// The file it belongs to.
    pub entry: Entry<'a>,
    /// Which piece of it.
    pub chunk: Chunk,
    /// Its bytes, verified.
    pub content: &'a [u8],
}

impl fmt::Debug for PreRead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreRead").field("entry", &self.entry).field("chunk", &self.chunk).finish_non_exhaustive()
    }
}

/// A regular file whose reads also show the other chunks of the streams they touch.
pub struct PreReader<'a, R, F> {
    file: FileReader<'a, R>,
    visit: F,
    /// A decoder and a buffer of its own: the visitor may read from the layer meanwhile.
    own: (Box<dyn Decoder>, Vec<u8>),
}

impl<R: ReadAt + Sync> Reader<R> {
    /// A regular file, hard links followed. Each read calls `visit` for the chunks that share a stream with those being
    /// read, in the order of the stream; never for the chunks being read, and never in layers where each has its own.
    ///
    /// # Errors
    ///
    /// As [`open_file`](Self::open_file).
    pub fn open_file_with_pre_reader<F>(&self, path: &str, visit: F) -> Result<PreReader<'_, R, F>, Error>
    where
        F: FnMut(&PreRead<'_>) -> Result<(), Error>,
    {
        let own = (self.decompressor().decoder(), Vec::new());
        Ok(PreReader { file: self.open_file(path)?, visit, own })
    }

    /// The chunks of the stream at `offset`, if there are several.
    fn neighbours(&self, offset: u64) -> &[Shared] {
        let shared = self.shared.get_or_init(|| self.shared_chunks());
        let start = shared.partition_point(|chunk| chunk.offset < offset);
        let rest = shared.get(start..).unwrap_or_default();
        let len = rest.partition_point(|chunk| chunk.offset == offset);
        rest.get(..len).unwrap_or_default()
    }

    fn shared_chunks(&self) -> Vec<Shared> {
        // As many streams as chunks: each has its own.
        if self.index.streams.len() as u64 == self.index.data_chunks {
            return Vec::new();
        }
        let mut all = Vec::new();
        for (node, row) in self.index.nodes.iter().zip(0..) {
            let chunks = self.index.locations(node);
            all.extend(chunks.map(|chunk| Shared { offset: chunk.offset, inner: chunk.inner, row, at: chunk.at }));
        }
        all.sort_unstable();
        all
    }

    fn read_with_neighbours(
        &self,
        row: Row,
        chunk: &Location,
        skip: usize,
        to: &mut [u8],
        visit: &mut dyn FnMut(&PreRead<'_>) -> Result<(), Error>,
        (decoder, input): &mut (Box<dyn Decoder>, Vec<u8>),
    ) -> Result<(), Error> {
        self.read_stream(chunk, input, &ReadRequest::default())?;
        let neighbours = self.neighbours(chunk.offset);
        let located = |shared: &Shared| {
            let node = self.index.node(shared.row)?;
            let location = self.index.location_at(node, shared.at)?;
            Some((Entry::new(&self.index, shared.row, node), shared.row, location))
        };
        let want = neighbours.iter().filter_map(located).map(|(_, _, chunk)| chunk.want()).max();
        let want = want.unwrap_or(0).max(chunk.want());
        let corrupt = |reason: String| self.corrupt(row, chunk, reason);
        let size = usize::try_from(want).map_err(|_| corrupt("too large for this machine".to_owned()))?;
        let stream = decoder.decode(input, size).map_err(|error| corrupt(error.to_string()))?;
        let content_of = |chunk: &Location| {
            let range = usize::try_from(chunk.inner).ok().zip(usize::try_from(chunk.want()).ok());
            range.and_then(|(from, to)| stream.get(from..to)).unwrap_or_default()
        };
        for (entry, sibling, location) in neighbours.iter().filter_map(located) {
            if (sibling, location.at) == (row, chunk.at) {
                continue;
            }
            let content = content_of(&location);
            self.check_size(&location)?;
            self.check(sibling, &location, content)?;
            visit(&PreRead { entry, chunk: entry.chunk(&location), content })?;
        }
        let content = content_of(chunk);
        self.check(row, chunk, content)?;
        if let Some(content) = content.get(skip..).and_then(|rest| rest.get(..to.len())) {
            to.copy_from_slice(content);
        }
        Ok(())
    }
}

impl<R: ReadAt + Sync, F> PreReader<'_, R, F>
where
    F: FnMut(&PreRead<'_>) -> Result<(), Error>,
{
    /// Bytes of the file.
    ///
    /// # Errors
    ///
    /// None in practice; those of [`ReadAt::size`].
    pub fn size(&self) -> std::io::Result<u64> {
        self.file.size()
    }

    /// Reads from `at` until `buf` is full or the file ends, and says how much it was.
    ///
    /// # Errors
    ///
    /// Damage as [`Reader::verify`] reports it, of the neighbours as well; those of the visitor.
    pub fn read_at(&mut self, at: u64, buf: &mut [u8]) -> Result<usize, Error> {
        let (reader, row) = (self.file.reader, self.file.row);
        let Some(node) = reader.index.node(row) else { return Ok(0) };
        let mut filled = 0_usize;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = at.saturating_add(filled as u64);
            let Some(chunk) = reader.index.location_at(node, at) else { break };
            reader.check_size(&chunk)?;
            let skip = usize::try_from(at.saturating_sub(chunk.at)).unwrap_or(usize::MAX);
            let len = usize::try_from(chunk.size).unwrap_or(usize::MAX).saturating_sub(skip).min(rest.len());
            let Some(to) = rest.get_mut(..len).filter(|to| !to.is_empty()) else { break };
            if reader.neighbours(chunk.offset).len() > 1 {
                reader.read_with_neighbours(row, &chunk, skip, to, &mut self.visit, &mut self.own)?;
            } else {
                reader.read_row(row, at, to, &ReadRequest::default())?;
            }
            filled = filled.saturating_add(len);
        }
        Ok(filled)
    }
}

impl<R, F> fmt::Debug for PreReader<'_, R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PreReader").field(&self.file).finish()
    }
}
