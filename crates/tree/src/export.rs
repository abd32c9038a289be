//! A tree as a tar stream: the bytes of its entries.

use std::{
    io::{self, Read},
    ops::Range,
    vec,
};

use crate::{
    Entries, Error, ExportOptions, ExportSparse, Tree,
    content::prefix,
    tar::{self, EntryType, Header},
};

/// The tar stream of a tree, to be read.
///
/// Use it to hand a tree to another program or to a reader of tars; a writer of this workspace takes [`Entries`] instead.
/// Large buffers are filled by the tree directly. Reading fails with an [`io::Error`] that holds a
/// [`SourceError`](dunnage_digest::SourceError) around an [`Error`]; it stays failed.
#[derive(Debug)]
pub struct TarExport<'t, T: Tree + ?Sized> {
    entries: Entries<'t, T>,
    /// Header or padding that is being handed out, and how much of it is.
    block: Vec<u8>,
    block_at: usize,
    header: Header,
    /// Bytes of content in the archive, a map included.
    stored: u64,
    /// The data of the current file, if it is written as a sparse one.
    data: Option<Data>,
    state: State,
}

/// The data of a sparse file on its way.
#[derive(Debug)]
struct Data {
    ranges: vec::IntoIter<Range<u64>>,
    /// Position in the content, and the end of the range that it is in.
    at: u64,
    end: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Entries,
    /// Content of the entry in `header`.
    Content,
    /// The two zero blocks are in `block`.
    End,
    Failed,
}

impl<'t, T: Tree + ?Sized> TarExport<'t, T> {
    /// The stream of `tree`.
    #[must_use]
    pub fn new(tree: &'t T, options: ExportOptions) -> Self {
        Self {
            entries: Entries::new(tree, options),
            block: Vec::with_capacity(4 * BLOCK),
            block_at: 0,
            header: Header::default(),
            stored: 0,
            data: None,
            state: State::Entries,
        }
    }

    /// Paths of the sockets met so far, which tar cannot hold.
    #[must_use]
    pub fn skipped(&self) -> &[Vec<u8>] {
        self.entries.skipped()
    }

    /// Reads into `buf` until it is full or the stream ends; the number of bytes read.
    ///
    /// # Errors
    ///
    /// [`Error::Inconsistent`] if a file is not as long as its attributes said, [`Error::Header`] if the chosen
    /// format has no place for a header, those of the tree. After an error, the stream stays at its end.
    pub fn fill(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let mut filled: usize = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.some(rest) {
                Ok(0) => break,
                Ok(read) => filled = filled.saturating_add(read),
                Err(error) => {
                    self.state = State::Failed;
                    return Err(error);
                }
            }
        }
        Ok(filled)
    }

    /// At least one byte, unless the stream ends.
    fn some(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        loop {
            if self.state == State::Failed {
                return Ok(0);
            }
            if let Some(block) = self.block.get(self.block_at..).filter(|block| !block.is_empty()) {
                let len = block.len().min(buf.len());
                if let (Some(from), Some(to)) = (block.get(..len), buf.get_mut(..len)) {
                    to.copy_from_slice(from);
                }
                self.block_at = self.block_at.saturating_add(len);
                return Ok(len);
            }
            self.block.clear();
            self.block_at = 0;
            match self.state {
                State::Entries if self.entries.next_header(&mut self.header)? => {
                    self.describe()?;
                    self.state = State::Content;
                }
                State::Entries => {
                    self.block.resize(2 * BLOCK, 0);
                    self.state = State::End;
                }
                State::Content => {
                    let read = self.content(buf)?;
                    if read > 0 {
                        return Ok(read);
                    }
                    self.block.resize(usize::try_from(tar::padding(self.stored)).unwrap_or_default(), 0);
                    self.state = State::Entries;
                }
                State::End | State::Failed => return Ok(0),
            }
        }
    }
}

impl<T: Tree + ?Sized> TarExport<'_, T> {
    /// Puts the header of the current entry into `block`, after it the map of a sparse file.
    fn describe(&mut self) -> Result<(), Error> {
        (self.stored, self.data) = (self.header.size, None);
        let options = self.entries.options();
        if options.sparse == ExportSparse::Pax && self.header.entry == EntryType::File {
            let (regions, map_len) = (options.limits.sparse_regions, options.limits.tar_extension);
            // One region stands for the end of the file.
            if let Some(ranges) = self.entries.data(SMALLEST_HOLE, regions.saturating_sub(1))?
                && let Some(map) = tar::SparseMap::new(self.header.size, &ranges, map_len)
            {
                self.stored = map.encode(&self.header, &mut self.block)?;
                self.data = Some(Data { ranges: ranges.into_iter(), at: 0, end: 0 });
                return Ok(());
            }
        }
        tar::encode_header(&self.header, &mut self.block).map(drop)
    }

    /// Reads content of the current entry, of a sparse file its data alone.
    fn content(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let Some(data) = &mut self.data else { return self.entries.read_payload(buf) };
        while data.at == data.end {
            let next = data.ranges.next();
            let (start, end) = next.map_or((self.header.size, u64::MAX), |range| (range.start, range.end));
            self.entries.pass(start.saturating_sub(data.at));
            (data.at, data.end) = (start, end);
        }
        let read = self.entries.read_payload(prefix(buf, data.end.saturating_sub(data.at)))?;
        data.at = data.at.saturating_add(read as u64);
        Ok(read)
    }
}

impl<T: Tree + ?Sized> Read for TarExport<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.state == State::Failed {
            return Err(io::Error::other("the export failed before"));
        }
        self.fill(buf).map_err(io::Error::from)
    }
}

/// Bytes of a tar block.
const BLOCK: usize = 512;

/// A smaller hole costs more in the map than it saves.
const SMALLEST_HOLE: u64 = 4 << 10;
