//! A layer, opened: lookups, chunks, and reads of verified bytes.

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
};

use dunnage_digest::{Algorithm, Digest, Mismatch, Offset, ReadAt, ReadRequest};
use dunnage_tree::pieces::{PieceBuffer, PieceLookup, PieceSource};

use super::{
    decoders::{Decoders, Maker},
    index::{DigestCell, Index, Location, Node, NodeKind, ROOT, Row},
    open::{Document, Found, Opened, document, find, load},
    options::{Landmarks, OpenOptions, Trust},
    pre_read::Shared,
    zeros::ZeroDigests,
};
use crate::{
    Error, Limits,
    codec::{Decoder, Decompressor},
    compose::{NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK},
    error::shown,
    footer::Footer,
    toc::{ChunkType, TocType, clean_name},
};

/// A layer whose TOC has been loaded.
///
/// Use it to read single files of a layer, or to mount it: it is a [`Tree`](dunnage_tree::Tree), readable from any number of
/// threads. To unpack the whole layer in order, [`unpack`](crate::unpack) needs no TOC. Content matches the digests of the
/// TOC; [`verify_toc`](Self::verify_toc) compares the TOC itself with the digest that a manifest names, and
/// [`TrustedReader`](crate::TrustedReader) makes that part of the type.
pub struct Reader<R> {
    source: R,
    pub(crate) index: Index,
    footer: Footer,
    decompressor: Arc<dyn Decompressor>,
    maker: Maker,
    toc_digest: Digest,
    toc_len: u64,
    limits: Limits,
    pub(crate) landmarks: Landmarks,
    trust: Trust,
    /// Chunks, each known by the row of its file and its place in the file: a TOC can name one place in the blob twice with
    /// different digests, and content that matches one of them has not matched the other.
    pieces: PieceSource,
    decoders: Decoders,
    zeros: ZeroDigests,
    tar_split_digest: Option<Digest>,
    /// Chunks of streams that hold several, made on first use.
    pub(super) shared: OnceLock<Vec<Shared>>,
}

impl<R: ReadAt + Sync> Reader<R> {
    /// Finds, loads and checks the TOC: two or three reads, memory for the index alone.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] if the source fails, [`Error::TooSmall`] and [`Error::NoFooter`] if it is no layer,
    /// [`Error::Malformed`], [`Error::Entry`], [`Error::Inconsistent`], [`Error::Digest`] and [`Error::Version`] for a TOC
    /// that cannot be one, [`Error::Limit`] beyond the limits. Never panics, whatever the bytes.
    pub fn open(source: R, options: &OpenOptions) -> Result<Self, Error> {
        let found = find(&source, options)?;
        Self::load(source, found, options)
    }

    /// Opens the source if it ends like a layer, and gives it back otherwise.
    ///
    /// Use it where a source can be something else than a layer. It reads the footer once; looking for a footer first and
    /// opening then reads it twice.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), but for [`Error::TooSmall`] and [`Error::NoFooter`].
    pub fn detect(source: R, options: &OpenOptions) -> Result<Result<Self, R>, Error> {
        match find(&source, options) {
            Ok(found) => Self::load(source, found, options).map(Ok),
            Err(Error::TooSmall { .. } | Error::NoFooter { .. }) => Ok(Err(source)),
            Err(error) => Err(error),
        }
    }

    fn load(source: R, found: Found, options: &OpenOptions) -> Result<Self, Error> {
        let Opened { index, footer, decompressor, maker, toc_digest, toc_len, tar_split_digest } =
            load(&source, found, options)?;
        Ok(Self {
            source,
            index,
            footer,
            decompressor,
            maker,
            toc_digest,
            toc_len,
            limits: options.limits.clone(),
            landmarks: options.landmarks,
            trust: options.trust,
            pieces: options.cache.source(),
            decoders: options.decoders.clone(),
            zeros: ZeroDigests::default(),
            tar_split_digest,
            shared: OnceLock::new(),
        })
    }

    /// A regular file, hard links followed.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::NotRegular`].
    pub fn open_file(&self, path: &str) -> Result<FileReader<'_, R>, Error> {
        let row = self.index.lookup(&clean_name(path.as_bytes()));
        let row = row.ok_or_else(|| Error::NotFound { name: path.to_owned() })?;
        match self.index.node(row) {
            Some(node) if node.kind == NodeKind::File => Ok(FileReader { reader: self, row, size: node.size }),
            _ => Err(Error::NotRegular { name: path.to_owned() }),
        }
    }

    /// Reads from a file at `at` until `buf` is full or the file ends.
    pub(crate) fn read_row(
        &self,
        row: Row,
        at: u64,
        buf: &mut [u8],
        request: &ReadRequest<'_>,
    ) -> Result<usize, Error> {
        let Some(node) = self.index.node(row) else { return Ok(0) };
        let mut filled = 0_usize;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = at.saturating_add(filled as u64);
            let Some(chunk) = self.index.location_at(node, at) else { break };
            let skip = usize::try_from(at.saturating_sub(chunk.at)).unwrap_or(usize::MAX);
            let len = usize::try_from(chunk.size).unwrap_or(usize::MAX).saturating_sub(skip).min(rest.len());
            if filled == 0 && len < rest.len() {
                self.announce(row, node, at, rest.len());
            }
            let Some(to) = rest.get_mut(..len).filter(|to| !to.is_empty()) else { break };
            self.read_chunk(row, &chunk, skip, to, request)?;
            filled = filled.saturating_add(len);
        }
        Ok(filled)
    }

    /// Announces to the source the streams of all chunks that a read has to fetch, if there are several.
    fn announce(&self, row: Row, node: &Node, at: u64, len: usize) {
        let end = at.saturating_add(len as u64);
        let (mut at, mut ranges) = (at, Vec::new());
        while let Some(chunk) = self.index.location_at(node, at).filter(|chunk| chunk.at < end && chunk.size > 0) {
            if !chunk.zeros && !self.pieces.has(row.into(), chunk.at) {
                let range = chunk.offset..self.index.stream_end(chunk.offset);
                if ranges.last() != Some(&range) {
                    ranges.push(range);
                }
            }
            at = chunk.at.saturating_add(chunk.size);
        }
        if ranges.len() > 1 {
            self.source.prefetch(&ranges);
        }
    }

    /// Copies part of a chunk, after all of it has been verified.
    fn read_chunk(
        &self,
        row: Row,
        chunk: &Location,
        skip: usize,
        to: &mut [u8],
        request: &ReadRequest<'_>,
    ) -> Result<(), Error> {
        if chunk.zeros {
            self.check_zeros(row, chunk)?;
            to.fill(0);
            return Ok(());
        }
        let is_copied = match self.enter(row, chunk, to.len(), request)? {
            PieceLookup::Kept(piece) => piece.copy_to(skip, to),
            PieceLookup::Make(turn) => self.make(row, chunk, request, |content| {
                let is_whole = to.len() as u64 >= chunk.size;
                let part = content.get(skip..).and_then(|rest| rest.get(..to.len()));
                let is_copied = part.map(|part| to.copy_from_slice(part)).is_some();
                if is_whole {
                    turn.pass(content)
                } else {
                    drop(turn.keep(content))
                }
                is_copied
            })?,
        };
        // Fails if the chunk is shorter than the index says.
        if is_copied { Ok(()) } else { Err(self.corrupt(row, chunk, "the stream is too short".to_owned())) }
    }

    /// Decodes the chunk that holds the byte at `at` and keeps it, for reads that follow.
    pub(super) fn prepare_row(&self, row: Row, at: u64, request: &ReadRequest<'_>) -> Result<(), Error> {
        let Some(chunk) = self.index.node(row).and_then(|node| self.index.location_at(node, at)) else { return Ok(()) };
        if chunk.zeros {
            return self.check_zeros(row, &chunk);
        }
        match self.enter(row, &chunk, 0, request)? {
            PieceLookup::Kept(_) => Ok(()),
            PieceLookup::Make(turn) => self.make(row, &chunk, request, |content| drop(turn.keep(content))),
        }
    }

    fn enter(
        &self,
        row: Row,
        chunk: &Location,
        read: usize,
        request: &ReadRequest<'_>,
    ) -> Result<PieceLookup<'_>, Error> {
        self.pieces.enter(row.into(), chunk.at, read, request).map_err(|source| chunk_failed(chunk, source))
    }

    /// Fetches, decodes and verifies a chunk, and hands it to `take`.
    fn make<T>(
        &self,
        row: Row,
        chunk: &Location,
        request: &ReadRequest<'_>,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Error> {
        self.check_size(chunk)?;
        let failed = |source| chunk_failed(chunk, source);
        let store = self.pieces.cache().store().zip(self.index.digest(chunk.digest));
        if let Some((store, digest)) = store {
            let mut content = self.pieces.buffer(chunk.size, request).map_err(failed)?;
            content.grow(usize::try_from(chunk.size).unwrap_or(usize::MAX));
            if store.load(&digest, &mut content, request) && self.check(row, chunk, &content).is_ok() {
                return Ok(take(&content));
            }
        }
        // Any number of threads fetch at once; those that have fetched take turns with the decoders.
        let input = self.fetch(chunk, request)?;
        let work = |decoder: &mut dyn Decoder| {
            let content = decode(decoder, &input, chunk).map_err(|reason| self.corrupt(row, chunk, reason))?;
            self.check(row, chunk, content)?;
            if let Some((store, digest)) = store {
                store.store(&digest, content);
            }
            Ok(take(content))
        };
        let decoder = || self.decompressor.decoder();
        self.decoders.with(&self.maker, chunk.want(), decoder, request, work).map_err(failed)?
    }

    /// Fetches the compressed stream that a chunk lies in.
    fn fetch(&self, chunk: &Location, request: &ReadRequest<'_>) -> Result<PieceBuffer, Error> {
        let len = self.index.stream_end(chunk.offset).saturating_sub(chunk.offset);
        let mut buffer = self.pieces.buffer(len, request).map_err(|source| chunk_failed(chunk, source))?;
        while (buffer.len() as u64) < len {
            let have = buffer.len();
            buffer.grow(have.saturating_add(step(len, have)));
            let at = Offset::new(chunk.offset.saturating_add(have as u64));
            let rest = buffer.get_mut(have..).unwrap_or_default();
            let result = self.source.read_exact_at_for(at, rest, request);
            result.map_err(|source| Error::Read { what: "a chunk", at, source })?;
        }
        Ok(buffer)
    }

    /// Chunks are held in memory while they are verified, but for holes.
    pub(crate) fn check_size(&self, chunk: &Location) -> Result<(), Error> {
        if !chunk.zeros && chunk.size > self.limits.chunk {
            return Err(Error::Limit { what: "chunk", limit: self.limits.chunk, asked: chunk.size });
        }
        Ok(())
    }

    /// Reads the compressed stream that a chunk lies in.
    pub(crate) fn read_stream(
        &self,
        chunk: &Location,
        input: &mut Vec<u8>,
        request: &ReadRequest<'_>,
    ) -> Result<(), Error> {
        let len = self.index.stream_end(chunk.offset).saturating_sub(chunk.offset);
        self.read_part("a chunk", Offset::new(chunk.offset), len, input, request)
    }

    /// Reads compressed bytes of the payload, growing the buffer as they arrive.
    pub(crate) fn read_raw(&self, at: Offset, len: u64, buf: &mut Vec<u8>) -> Result<(), Error> {
        self.read_part("a chunk", at, len, buf, &ReadRequest::default())
    }

    /// The same for any part of the blob.
    pub(crate) fn read_part(
        &self,
        what: &'static str,
        at: Offset,
        len: u64,
        buf: &mut Vec<u8>,
        request: &ReadRequest<'_>,
    ) -> Result<(), Error> {
        buf.clear();
        while (buf.len() as u64) < len {
            let have = buf.len();
            buf.resize(have.saturating_add(step(len, have)), 0);
            let at = at.saturating_add(have as u64);
            let rest = buf.get_mut(have..).unwrap_or_default();
            let result = self.source.read_exact_at_for(at, rest, request);
            result.map_err(|source| Error::Read { what, at, source })?;
        }
        Ok(())
    }

    /// The TOC document once more, as it is stored.
    pub(crate) fn document(&self) -> Result<Document<'_>, Error> {
        document(&self.source, &self.footer, self.decompressor.as_ref())
    }

    /// The source of the blob.
    pub fn source(&self) -> &R {
        &self.source
    }
}

impl<R> Reader<R> {
    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn decompressor(&self) -> &dyn Decompressor {
        self.decompressor.as_ref()
    }

    /// Where the last stream ends.
    pub(crate) const fn payload_len(&self) -> u64 {
        self.index.payload_len
    }

    /// Where the next stream with content after `offset` starts, or the payload ends.
    pub(crate) fn stream_end_after(&self, offset: u64) -> u64 {
        self.index.stream_end(offset)
    }

    /// Digest by which the TOC is known: of the document as it was read, or of its compressed bytes where the format says so.
    pub const fn toc_digest(&self) -> &Digest {
        &self.toc_digest
    }

    /// The part to fetch first, by the landmarks of the layer.
    ///
    /// Only a regular file with content in the root is a landmark, and the one against prefetching wins. The offset is the
    /// word of the layer's author: up to all of the payload, so callers need a ceiling of their own.
    pub fn prefetch(&self) -> Prefetch {
        let landmark = |name: &str| {
            let row = self.index.child(self.index.node(ROOT)?, name.as_bytes())?;
            let node = self.index.node(row).filter(|node| node.kind == NodeKind::File)?;
            self.index.locations(node).next().map(|chunk| Offset::new(chunk.offset))
        };
        if landmark(NO_PREFETCH_LANDMARK).is_some() {
            return Prefetch::Nothing;
        }
        landmark(PREFETCH_LANDMARK).map_or(Prefetch::Unsaid, Prefetch::Before)
    }

    /// Digest of the compressed tar headers, where the TOC names one.
    pub const fn tar_split_digest(&self) -> Option<&Digest> {
        self.tar_split_digest.as_ref()
    }

    /// Bytes of the TOC document.
    pub const fn toc_len(&self) -> u64 {
        self.toc_len
    }

    /// Where the parts of the blob lie.
    pub const fn footer(&self) -> &Footer {
        &self.footer
    }

    /// TOC entries, further chunks of files included.
    pub const fn entries(&self) -> u64 {
        self.index.entries
    }

    /// Chunks with content.
    pub const fn chunks(&self) -> u64 {
        self.index.data_chunks
    }

    /// Compressed streams that hold content.
    pub const fn streams(&self) -> usize {
        self.index.streams.len()
    }

    /// Bytes of memory the index takes.
    pub fn index_bytes(&self) -> usize {
        self.index.memory()
    }

    /// The node at a path, hard links followed; the root for an empty path.
    pub fn lookup(&self, path: &str) -> Option<Entry<'_>> {
        let row = self.index.lookup(&clean_name(path.as_bytes()))?;
        self.index.node(row).map(|node| Entry { index: &self.index, row, node })
    }

    /// The chunk of the regular file at `path` that holds the byte at `offset`; none after its end.
    pub fn chunk_for_offset(&self, path: &str, offset: u64) -> Option<Chunk> {
        let entry = self.lookup(path)?;
        self.index.location_at(entry.node, offset).map(|location| entry.chunk(&location))
    }

    /// Whether a name in the root is a landmark that is not to be seen.
    pub(crate) fn is_hidden(&self, dir: Row, row: Row) -> bool {
        let is_landmark =
            |name: &[u8]| [PREFETCH_LANDMARK, NO_PREFETCH_LANDMARK].iter().any(|mark| name == mark.as_bytes());
        self.landmarks == Landmarks::Hide
            && dir == ROOT
            && is_landmark(self.index.name(row))
            && self.index.node(row).is_some_and(|node| node.kind == NodeKind::File)
    }

    /// Compares content with the digest of its chunk.
    pub(crate) fn check(&self, row: Row, chunk: &Location, content: &[u8]) -> Result<(), Error> {
        self.check_digest(row, chunk, |algorithm| Digest::of(algorithm, content))
    }

    /// Compares the zeros that a chunk is said to be with its digest.
    pub(crate) fn check_zeros(&self, row: Row, chunk: &Location) -> Result<(), Error> {
        self.check_digest(row, chunk, |algorithm| self.zeros.of(algorithm, chunk.size))
    }

    fn check_digest(&self, row: Row, chunk: &Location, got: impl FnOnce(Algorithm) -> Digest) -> Result<(), Error> {
        let expected = match chunk.digest {
            // The comparison for nearly every chunk, without going through the general digest.
            DigestCell::Sha256(bytes) => Digest::sha256(bytes),
            cell => match self.index.digest(cell) {
                Some(digest) => digest,
                None if self.trust == Trust::Unverified => return Ok(()),
                None => return Err(Error::NoDigest { name: self.index.path(row), at: chunk.at }),
            },
        };
        let got = got(expected.algorithm());
        Mismatch::check(&expected, &got).map_err(|source| Error::Mismatch {
            what: format!(
                "chunk at {} of `{}`, stored at offset {:#x}",
                chunk.at,
                shown(&self.index.path(row)),
                chunk.offset
            ),
            source,
        })
    }

    pub(crate) fn corrupt(&self, row: Row, chunk: &Location, reason: String) -> Error {
        Error::CorruptChunk { name: self.index.path(row), at: Offset::new(chunk.offset), reason }
    }
}

/// The part of a layer to fetch before the container starts, as its author marked it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: the two landmarks, or none")]
pub enum Prefetch {
    /// The layer does not say.
    Unsaid,
    /// Nothing.
    Nothing,
    /// All streams before this offset.
    Before(Offset),
}

/// Bytes to read next of `len`, of which `have` were read: a buffer grows as bytes arrive, whatever the TOC says.
fn step(len: u64, have: usize) -> usize {
    const STEP: u64 = 16 << 20;
    usize::try_from(len.saturating_sub(have as u64).min(STEP)).unwrap_or(0)
}

/// An error on the way to a chunk that is not the fault of its bytes.
fn chunk_failed(chunk: &Location, source: io::Error) -> Error {
    Error::Read { what: "a chunk", at: Offset::new(chunk.offset), source }
}

/// Decodes a chunk out of the stream it lies in.
fn decode<'d>(decoder: &'d mut dyn Decoder, input: &[u8], chunk: &Location) -> Result<&'d [u8], String> {
    let place = |number: u64| usize::try_from(number).map_err(|_| "too large for this machine".to_owned());
    let (want, inner) = (place(chunk.want())?, place(chunk.inner)?);
    let stream = decoder.decode(input, want).map_err(|error| error.to_string())?;
    stream.get(inner..want).ok_or_else(|| "the stream is too short".to_owned())
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Reader");
        out.field("toc_digest", &self.toc_digest).field("entries", &self.index.entries).finish_non_exhaustive()
    }
}

/// A node of the layer. Use it to inspect a layer: chunks and digests are here, and not in the [`Tree`](dunnage_tree::Tree).
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    index: &'a Index,
    row: Row,
    node: &'a Node,
}

impl<'a> Entry<'a> {
    pub(crate) const fn new(index: &'a Index, row: Row, node: &'a Node) -> Self {
        Self { index, row, node }
    }

    /// Its path from the root, with U+FFFD for bytes that are not UTF-8.
    pub fn path(&self) -> String {
        self.index.path(self.row)
    }

    /// Its last name; empty for the root.
    pub fn name(&self) -> &'a [u8] {
        self.index.name(self.row)
    }

    /// Its kind. Hard links have been followed, and chunks belong to their file, so it is never one of these.
    pub const fn kind(&self) -> TocType {
        match self.node.kind {
            NodeKind::Directory => TocType::Dir,
            NodeKind::File => TocType::Reg,
            NodeKind::Symlink => TocType::Symlink,
            NodeKind::HardLink => TocType::Hardlink,
            NodeKind::Char => TocType::Char,
            NodeKind::Block => TocType::Block,
            NodeKind::Fifo => TocType::Fifo,
        }
    }

    /// Bytes of a regular file.
    pub const fn size(&self) -> u64 {
        self.node.size
    }

    /// Permission, set-id and sticky bits.
    pub const fn mode(&self) -> u32 {
        self.node.mode & 0o7777
    }

    /// Names that lead to a file; 2 + child directories of a directory.
    pub const fn links(&self) -> u32 {
        self.node.links
    }

    /// Seconds since 1970; `None` if the TOC does not say.
    pub fn mtime(&self) -> Option<i64> {
        self.node.mtime.get().map(|mtime| mtime.secs)
    }

    /// Digest of a regular file.
    pub fn digest(&self) -> Option<Digest> {
        self.index.digest(self.node.digest)
    }

    /// Target of a symlink.
    pub fn link_name(&self) -> Option<&'a [u8]> {
        let span = super::index::Span { start: self.node.first, len: self.node.count };
        (self.node.kind == NodeKind::Symlink).then(|| self.index.text(span))
    }

    /// Names in a directory with their nodes, hard links followed, in bytewise order; nothing for anything else.
    pub fn children(&self) -> impl Iterator<Item = (&'a [u8], Entry<'a>)> {
        let index = self.index;
        index.children(self.node).iter().filter_map(move |&row| {
            let target = index.target(row);
            index.node(target).map(|node| (index.name(row), Entry { index, row: target, node }))
        })
    }

    /// The node of a name in a directory, hard links followed; none in anything else.
    pub fn child(&self, name: &[u8]) -> Option<Entry<'a>> {
        let row = self.index.target(self.index.child(self.node, name)?);
        self.index.node(row).map(|node| Entry { index: self.index, row, node })
    }

    /// Chunks of a regular file, in order.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk> {
        let entry = *self;
        self.index.locations(self.node).map(move |location| entry.chunk(&location))
    }

    pub(crate) fn chunk(&self, location: &Location) -> Chunk {
        Chunk {
            offset: Offset::new(location.offset),
            inner_offset: location.inner,
            chunk_offset: location.at,
            size: location.size,
            stream_end: Offset::new(self.index.stream_end(location.offset)),
            digest: self.index.digest(location.digest),
            chunk_type: if location.zeros { ChunkType::Zeros } else { ChunkType::Data },
        }
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({}, {} bytes)", self.index.path(self.row), self.node.size)
    }
}

/// A piece of a file: the unit of verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chunk {
    /// Where in the blob its stream starts.
    pub offset: Offset,
    /// Bytes of the decompressed stream before it.
    pub inner_offset: u64,
    /// Where in the file it starts.
    pub chunk_offset: u64,
    /// Its bytes.
    pub size: u64,
    /// Where its stream ends at the latest: the range to fetch is `offset..stream_end`.
    pub stream_end: Offset,
    /// Its digest.
    pub digest: Option<Digest>,
    /// Data or zeros. Zeros need not be fetched.
    pub chunk_type: ChunkType,
}

/// A regular file of a layer, by position. Every byte read has been verified. Use it where a function takes a [`ReadAt`].
pub struct FileReader<'a, R> {
    pub(crate) reader: &'a Reader<R>,
    pub(crate) row: Row,
    size: u64,
}

impl<R: ReadAt + Sync> ReadAt for FileReader<'_, R> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        self.read_exact_at_for(at, buf, &ReadRequest::default())
    }

    fn read_exact_at_for(&self, at: Offset, buf: &mut [u8], request: &ReadRequest<'_>) -> io::Result<()> {
        let read = self.reader.read_row(self.row, at.get(), buf, request)?;
        if read < buf.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

impl<R> fmt::Debug for FileReader<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileReader({} bytes)", self.size)
    }
}
