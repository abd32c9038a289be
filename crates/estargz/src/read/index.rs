//! The file tree of a layer in memory: about 120 bytes an entry, and its name.
//!
//! Nodes are rows of one table, names lie end to end in one string of bytes, and the children of a directory are a sorted
//! run of row numbers. Nothing is a string or a map of its own.

use dunnage_digest::Digest;
use dunnage_tree::Mtime;

use crate::toc::TocEntry;

/// Row of a node.
pub(crate) type Row = u32;

/// The root is always the first row.
pub(crate) const ROOT: Row = 0;

/// A piece of [`Index::text`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NodeKind {
    #[default]
    Directory,
    File,
    Symlink,
    /// Another name of the node in [`Node::first`].
    HardLink,
    Char,
    Block,
    Fifo,
}

/// A digest in a table: nearly all are SHA-256, the others lie elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum DigestCell {
    #[default]
    None,
    Sha256([u8; 32]),
    Other(u32),
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Node {
    pub(crate) name: Span,
    pub(crate) parent: Row,
    pub(crate) owner: u32,
    /// The low 32 bits of the mode number.
    pub(crate) mode: u32,
    /// Names that lead here, or 2 + child directories.
    pub(crate) links: u32,
    /// Directory: its children in `children`. File: its chunks in `chunks`, if `count` is not 0. Symlink: its target in
    /// `text`. Hard link: the row it leads to. Device: its major number.
    pub(crate) first: u32,
    /// How many of those; for a device, its minor number.
    pub(crate) count: u32,
    /// Place in `xattrs`, plus one.
    pub(crate) xattrs: u32,
    pub(crate) kind: NodeKind,
    /// Whether an entry describes it, and not only entries below it.
    pub(crate) has_entry: bool,
    /// Whether the content has a digest of each chunk, and not merely of the file.
    pub(crate) has_chunk_digest: bool,
    pub(crate) mtime: Time,
    pub(crate) size: u64,
    /// Of a file in one chunk: where its stream starts.
    pub(crate) offset: u64,
    pub(crate) inner: u32,
    /// Of a file: its digest, which is that of its chunk as well unless `count` is not 0.
    pub(crate) digest: DigestCell,
}

/// A time, or none, in less space than an `Option` of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    secs: [u32; 2],
    /// No number of nanoseconds where there is no time.
    nanos: u32,
}

impl Default for Time {
    fn default() -> Self {
        Self { secs: [0; 2], nanos: u32::MAX }
    }
}

impl From<Option<Mtime>> for Time {
    fn from(time: Option<Mtime>) -> Self {
        let Some(Mtime { secs, nanos }) = time else { return Self::default() };
        let halves = secs.cast_unsigned();
        let half = |number: u64| u32::try_from(number & 0xffff_ffff).unwrap_or(0);
        Self { secs: [half(halves), half(halves >> 32)], nanos }
    }
}

impl Time {
    pub(crate) fn get(self) -> Option<Mtime> {
        let [low, high] = self.secs;
        let secs = (u64::from(high) << 32 | u64::from(low)).cast_signed();
        (self.nanos != u32::MAX).then_some(Mtime { secs, nanos: self.nanos })
    }
}

/// A chunk of a file that has several, or whose only chunk has a digest of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkRow {
    pub(crate) offset: u64,
    pub(crate) inner: u32,
    pub(crate) at: u64,
    pub(crate) size: u64,
    pub(crate) digest: DigestCell,
    /// Whether it is known to be zeros, without a look at its stream.
    pub(crate) zeros: bool,
}

/// Where the streams of a file with content start and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct OwnerRow {
    pub(crate) uid: i64,
    pub(crate) gid: i64,
    /// Numbers in `owner_names`.
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// One extended attribute: name and value.
pub(crate) type Xattr = (Box<[u8]>, Box<[u8]>);

#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) nodes: Vec<Node>,
    pub(crate) text: Vec<u8>,
    pub(crate) children: Vec<Row>,
    pub(crate) chunks: Vec<ChunkRow>,
    pub(crate) xattrs: Vec<Vec<Xattr>>,
    pub(crate) owners: Vec<OwnerRow>,
    pub(crate) owner_names: Vec<Box<[u8]>>,
    pub(crate) digests: Vec<Digest>,
    /// Where streams with content start, in ascending order, each once.
    pub(crate) streams: Vec<u64>,
    /// Where the streams of each file end, where the TOC says so, in ascending order.
    pub(crate) extents: Vec<Extent>,
    /// Where the last stream ends.
    pub(crate) payload_len: u64,
    /// TOC entries.
    pub(crate) entries: u64,
    /// Chunks with content.
    pub(crate) data_chunks: u64,
    /// Whether the TOC has entries of type `chunk`.
    pub(crate) has_chunk_entries: bool,
    /// The first file without a chunk digest.
    pub(crate) without_chunk_digest: Option<Row>,
}

/// One chunk, resolved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Location {
    pub(crate) offset: u64,
    pub(crate) inner: u64,
    pub(crate) at: u64,
    pub(crate) size: u64,
    pub(crate) digest: DigestCell,
    pub(crate) zeros: bool,
}

impl Location {
    /// Bytes of the stream up to the end of the chunk.
    pub(crate) fn want(&self) -> u64 {
        self.inner.saturating_add(self.size)
    }
}

impl Index {
    pub(crate) fn node(&self, row: Row) -> Option<&Node> {
        usize::try_from(row).ok().and_then(|row| self.nodes.get(row))
    }

    pub(crate) fn text(&self, span: Span) -> &[u8] {
        let start = usize::try_from(span.start).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(span.len).unwrap_or(usize::MAX));
        self.text.get(start..end).unwrap_or_default()
    }

    pub(crate) fn name(&self, row: Row) -> &[u8] {
        self.node(row).map_or(&[], |node| self.text(node.name))
    }

    /// The node a name leads to: itself, or the target of a hard link.
    pub(crate) fn target(&self, row: Row) -> Row {
        match self.node(row) {
            Some(node) if node.kind == NodeKind::HardLink => node.first,
            _ => row,
        }
    }

    pub(crate) fn children(&self, dir: &Node) -> &[Row] {
        let start = usize::try_from(dir.first).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(dir.count).unwrap_or(usize::MAX));
        self.children.get(start..end).filter(|_| dir.kind == NodeKind::Directory).unwrap_or_default()
    }

    /// The row of a name in a directory; a hard link is not followed.
    pub(crate) fn child(&self, dir: &Node, name: &[u8]) -> Option<Row> {
        let children = self.children(dir);
        let at = children.binary_search_by(|&row| self.name(row).cmp(name)).ok()?;
        children.get(at).copied()
    }

    /// The node at a clean path, hard links followed.
    pub(crate) fn lookup(&self, path: &[u8]) -> Option<Row> {
        let parts = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty());
        parts.map(Some).try_fold(ROOT, |row, part| Some(self.target(self.child(self.node(row)?, part?)?)))
    }

    /// Path of a row from the root, for messages.
    pub(crate) fn path(&self, row: Row) -> String {
        let mut parts = Vec::new();
        let mut row = row;
        while row != ROOT && parts.len() < 256 {
            parts.push(String::from_utf8_lossy(self.name(row)).into_owned());
            row = self.node(row).map_or(ROOT, |node| node.parent);
        }
        parts.reverse();
        parts.join("/")
    }

    fn chunk_rows(&self, file: &Node) -> &[ChunkRow] {
        let start = usize::try_from(file.first).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(file.count).unwrap_or(usize::MAX));
        self.chunks.get(start..end).filter(|_| file.kind == NodeKind::File).unwrap_or_default()
    }

    /// Chunks of a file; none if it is empty or no file.
    pub(crate) fn locations(&self, file: &Node) -> impl Iterator<Item = Location> {
        let single = (file.kind == NodeKind::File && file.count == 0 && file.size > 0).then_some(Location {
            offset: file.offset,
            inner: u64::from(file.inner),
            at: 0,
            size: file.size,
            digest: file.digest,
            zeros: false,
        });
        single.into_iter().chain(self.chunk_rows(file).iter().map(location))
    }

    /// The chunk that holds the byte at `at`.
    pub(crate) fn location_at(&self, file: &Node, at: u64) -> Option<Location> {
        if at >= file.size {
            return None;
        }
        let rows = self.chunk_rows(file);
        let after = rows.partition_point(|row| row.at <= at);
        match after.checked_sub(1).and_then(|at| rows.get(at)) {
            Some(row) => Some(location(row)),
            None => self.locations(file).next(),
        }
    }

    /// Where the stream that starts at `offset` ends at the latest: at the next stream with content, where the TOC says
    /// that those of its file end, or at the end of all.
    pub(crate) fn stream_end(&self, offset: u64) -> u64 {
        let after = self.streams.partition_point(|&start| start <= offset);
        let next = self.streams.get(after).copied().unwrap_or(self.payload_len);
        let extent = self.extents.partition_point(|extent| extent.start <= offset).checked_sub(1);
        let extent = extent.and_then(|at| self.extents.get(at)).filter(|extent| extent.end > offset);
        extent.map_or(next, |extent| next.min(extent.end))
    }

    pub(crate) fn digest(&self, cell: DigestCell) -> Option<Digest> {
        match cell {
            DigestCell::None => None,
            DigestCell::Sha256(bytes) => Some(Digest::sha256(bytes)),
            DigestCell::Other(at) => usize::try_from(at).ok().and_then(|at| self.digests.get(at)).copied(),
        }
    }

    pub(crate) fn xattrs(&self, node: &Node) -> &[Xattr] {
        let at = node.xattrs.checked_sub(1).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.xattrs.get(at)).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn owner(&self, node: &Node) -> OwnerRow {
        usize::try_from(node.owner).ok().and_then(|at| self.owners.get(at)).copied().unwrap_or_default()
    }

    pub(crate) fn owner_name(&self, number: u32) -> &[u8] {
        usize::try_from(number).ok().and_then(|at| self.owner_names.get(at)).map_or(&[], |name| name)
    }

    /// Bytes the tables take.
    pub(crate) fn memory(&self) -> usize {
        let tables = [
            self.nodes.capacity().saturating_mul(size_of::<Node>()),
            self.children.capacity().saturating_mul(size_of::<Row>()),
            self.chunks.capacity().saturating_mul(size_of::<ChunkRow>()),
            self.streams.capacity().saturating_mul(size_of::<u64>()),
            self.extents.capacity().saturating_mul(size_of::<Extent>()),
            self.text.capacity(),
        ];
        tables.into_iter().fold(0, usize::saturating_add)
    }
}

fn location(row: &ChunkRow) -> Location {
    let &ChunkRow { offset, inner, at, size, digest, zeros } = row;
    Location { offset, inner: u64::from(inner), at, size, digest, zeros }
}

// The layout is a promise of the crate: 150 bytes an entry, with its share of `children`, `streams` and `extents`.
const SHARE: usize = size_of::<Row>() + size_of::<u64>() + size_of::<Extent>();
const _: () = assert!(size_of::<Node>() + SHARE <= 150, "the index has grown");
const _: () = assert!(size_of::<TocEntry>() > 2 * size_of::<Node>(), "the index is no longer compact");
