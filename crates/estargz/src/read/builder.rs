//! Builds the index while the TOC arrives, and refuses entries that cannot form a file tree.
//!
//! Specification: eStargz, section "Index construction" and hostile inputs H8 to H19.

use std::{collections::HashMap, hash::BuildHasher};

use dunnage_digest::{Algorithm, Digest};
use dunnage_tree::Mtime;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::{
    index::{ChunkRow, DigestCell, Extent, Index, Location, Node, NodeKind, OwnerRow, ROOT, Row, Span},
    options::{OpenOptions, RepeatedNames},
};
use crate::{
    Error, Limits,
    footer::{Footer, Format},
    toc::{ChunkType, EntryRef, TocType, clean_name, parse_time},
};

pub(super) struct Builder {
    index: Index,
    limits: Limits,
    repeated: RepeatedNames,
    hasher: DefaultHashBuilder,
    /// Rows by parent and name, each with its hash: growing the table then touches nothing else.
    names: HashTable<(u32, Row)>,
    /// The directory the last entry was in: nearly always that of the next one.
    last_dir: (Vec<u8>, Row),
    /// The entry that `chunk` entries may follow.
    open: Option<Open>,
    /// Hard links whose targets are still paths in `text`.
    hard_links: Vec<Row>,
    /// Names last given to an id, as numbers in `owner_names`.
    users: HashMap<i64, u32>,
    groups: HashMap<i64, u32>,
    owner_names: HashMap<Box<[u8]>, u32>,
    owners: HashMap<OwnerRow, u32>,
    last_owner: Option<(OwnerRow, u32)>,
    streams_sorted: bool,
    /// Bytes of memory that the index has been charged with.
    charged: u64,
    /// Whether the TOC is one of containers/storage, which has holes and says where content ends. Elsewhere, what looks
    /// like that is no part of the format and passed over.
    is_storage: bool,
    /// Bytes of all holes.
    holes: u64,
}

/// Bytes of a node: its row, its place under its parent, and its slot in the table of names.
const NODE_COST: u64 = (size_of::<Node>() + 2 * size_of::<(Row, Row)>() + 20) as u64;
/// Bytes of a chunk, its stream included.
const CHUNK_COST: u64 = (size_of::<ChunkRow>() + size_of::<u64>()) as u64;
/// Bytes of overhead of a small allocation.
const BOX_COST: u64 = 48;
/// Bytes of an owner, or of the name of one, in the tables that find it.
const OWNER_COST: u64 = 256;

/// The entry being described; complete once its chunks cover it.
struct Open {
    row: Row,
    name: Vec<u8>,
    is_file: bool,
    /// Where the next chunk has to start.
    covered: u64,
    /// The first chunk, in the node until a second one comes.
    first: Option<ChunkRow>,
}

impl Builder {
    pub(super) fn new(options: &OpenOptions, footer: &Footer) -> Self {
        let payload_len = footer.payload_len;
        let root = Node { mode: 0o755, ..Node::default() };
        let index = Index { nodes: vec![root], payload_len, owner_names: vec![Box::default()], ..Index::default() };
        let mut builder = Self {
            index,
            limits: options.limits.clone(),
            repeated: options.repeated,
            hasher: DefaultHashBuilder::default(),
            names: HashTable::new(),
            last_dir: (Vec::new(), ROOT),
            open: None,
            hard_links: Vec::new(),
            users: HashMap::new(),
            groups: HashMap::new(),
            owner_names: HashMap::new(),
            owners: HashMap::new(),
            last_owner: None,
            streams_sorted: true,
            charged: 0,
            is_storage: footer.format == Format::StorageChunked,
            holes: 0,
        };
        builder.index.owners.push(OwnerRow::default());
        builder.owners.insert(OwnerRow::default(), 0);
        builder
    }

    /// Adds the next entry.
    pub(super) fn add(&mut self, entry: &EntryRef<'_>) -> Result<(), Error> {
        self.index.entries = self.index.entries.saturating_add(1);
        if entry.kind == TocType::Chunk {
            return self.chunk(entry);
        }
        self.close()?;
        let path = clean_name(entry.name.as_bytes());
        if path.contains(&0) {
            return Err(self.refuse(entry, "a name without NUL", "one with NUL"));
        }
        let row = self.place(&path, entry)?;
        let refused = self.repeated == RepeatedNames::Refuse || self.is_storage;
        if refused && self.index.node(row).is_some_and(|node| node.has_entry) {
            return Err(self.refuse(entry, "each name once", "another entry of this name"));
        }
        let node = self.describe(entry, row)?;
        let is_file = node.kind == NodeKind::File;
        let first = match is_file && entry.size > 0 {
            true => {
                self.extent(entry)?;
                Some(self.first_chunk(entry)?)
            }
            false => None,
        };
        let covered = first.map_or(0, |chunk| chunk.size);
        if let Some(slot) = usize::try_from(row).ok().and_then(|row| self.index.nodes.get_mut(row)) {
            *slot = node;
        }
        self.open = Some(Open { row, name: path.into_owned(), is_file, covered, first });
        Ok(())
    }

    /// Ends the TOC.
    pub(super) fn finish(mut self) -> Result<Index, Error> {
        self.close()?;
        self.resolve_hard_links()?;
        self.arrange_children()?;
        if !self.streams_sorted {
            self.index.streams.sort_unstable();
        }
        self.index.streams.dedup();
        self.check_extents()?;
        self.check_holes()?;
        let index = &mut self.index;
        index.nodes.shrink_to_fit();
        index.text.shrink_to_fit();
        index.streams.shrink_to_fit();
        index.extents.shrink_to_fit();
        index.chunks.shrink_to_fit();
        Ok(self.index)
    }

    /// The row for a path: that of an earlier entry of the same name, or a new one under its directory.
    fn place(&mut self, path: &[u8], entry: &EntryRef<'_>) -> Result<Row, Error> {
        if path.is_empty() {
            return match entry.kind {
                TocType::Dir => Ok(ROOT),
                other => Err(self.refuse(entry, "a directory as the root", other.as_str())),
            };
        }
        let (dir, name) = match memchr::memrchr(b'/', path) {
            Some(at) => (path.get(..at).unwrap_or_default(), path.get(at.saturating_add(1)..).unwrap_or_default()),
            None => (&[][..], path),
        };
        let parent = if self.last_dir.0 == dir { self.last_dir.1 } else { self.directory(dir)? };
        self.child(parent, name)
    }

    /// The row of a directory, made with its parents if it is not there.
    fn directory(&mut self, path: &[u8]) -> Result<Row, Error> {
        let mut row = ROOT;
        let mut depth = 0_u64;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            depth = depth.saturating_add(1);
            if depth > self.limits.depth {
                let limit = self.limits.depth;
                return Err(Error::Limit { what: "TOC: directories inside each other", limit, asked: depth });
            }
            row = self.child(row, name)?;
        }
        path.clone_into(&mut self.last_dir.0);
        self.last_dir.1 = row;
        Ok(row)
    }

    /// The row of a name in a directory, made as an implied directory if it is not there.
    fn child(&mut self, parent: Row, name: &[u8]) -> Result<Row, Error> {
        let hash = self.hash(parent, name);
        if let Some(row) = self.existing(hash, parent, name) {
            return Ok(row);
        }
        self.charge(NODE_COST)?;
        let row = Row::try_from(self.index.nodes.len()).unwrap_or(Row::MAX);
        let name = self.text(name)?;
        make_room(&mut self.index.nodes, 1);
        self.index.nodes.push(Node { name, parent, mode: 0o755, ..Node::default() });
        self.names.insert_unique(spread(hash), (hash, row), |&(hash, _)| spread(hash));
        Ok(row)
    }

    fn hash(&self, parent: Row, name: &[u8]) -> u32 {
        let hash = self.hasher.hash_one((parent, name));
        u32::try_from(hash >> 32).unwrap_or(0)
    }

    fn existing(&self, hash: u32, parent: Row, name: &[u8]) -> Option<Row> {
        let index = &self.index;
        let same = |&(known, row): &(u32, Row)| {
            known == hash && index.node(row).is_some_and(|node| node.parent == parent) && index.name(row) == name
        };
        self.names.find(spread(hash), same).map(|&(_, row)| row)
    }

    fn text(&mut self, bytes: &[u8]) -> Result<Span, Error> {
        let start = self.index.text.len();
        let end = start.saturating_add(bytes.len());
        let limit = u64::from(u32::MAX);
        let over = Error::Limit { what: "TOC: bytes of all names", limit, asked: end as u64 };
        if u32::try_from(end).is_err() {
            return Err(over);
        }
        self.charge(bytes.len() as u64)?;
        make_room(&mut self.index.text, bytes.len());
        self.index.text.extend_from_slice(bytes);
        Ok(Span { start: u32::try_from(start).unwrap_or(0), len: u32::try_from(bytes.len()).unwrap_or(0) })
    }

    /// Counts memory for the index against its limit. Nothing is given back: an entry that a later one replaces stays in the tables.
    fn charge(&mut self, bytes: u64) -> Result<(), Error> {
        self.charged = self.charged.saturating_add(bytes);
        let (limit, asked) = (self.limits.index, self.charged);
        if asked > limit { Err(Error::Limit { what: "TOC: memory for the index", limit, asked }) } else { Ok(()) }
    }

    fn describe(&mut self, entry: &EntryRef<'_>, row: Row) -> Result<Node, Error> {
        let old = self.index.node(row).copied().unwrap_or_default();
        let owner = self.owner_of(entry)?;
        let mut node = Node {
            name: old.name,
            parent: old.parent,
            owner,
            mode: u32::try_from(entry.mode & 0xffff_ffff).unwrap_or(0),
            // Writers leave the time out of files that were last changed in second 0, as reproducible builds date them.
            mtime: if entry.modtime.is_empty() { Some(Mtime::default()) } else { parse_time(&entry.modtime) }.into(),
            has_entry: true,
            ..Node::default()
        };
        if !entry.xattrs.is_empty() {
            let bytes = entry.xattrs.iter().map(|(name, value)| (name.len() as u64).saturating_add(value.len() as u64));
            let boxes = (entry.xattrs.len() as u64).saturating_add(1).saturating_mul(2 * BOX_COST);
            self.charge(bytes.fold(boxes, u64::saturating_add))?;
            let xattrs = entry.xattrs.iter().map(|(name, value)| (name.as_bytes().into(), value.as_ref().into()));
            self.index.xattrs.push(xattrs.collect());
            node.xattrs = u32::try_from(self.index.xattrs.len()).unwrap_or(0);
        }
        node.kind = match entry.kind {
            TocType::Dir => NodeKind::Directory,
            TocType::Reg => NodeKind::File,
            TocType::Symlink => NodeKind::Symlink,
            TocType::Hardlink => NodeKind::HardLink,
            TocType::Char => NodeKind::Char,
            TocType::Block => NodeKind::Block,
            TocType::Fifo | TocType::Chunk => NodeKind::Fifo,
        };
        match node.kind {
            NodeKind::File => {
                node.size = entry.size;
                node.digest = self.digest_cell(entry.digest)?;
            }
            NodeKind::Symlink => {
                let target = self.text(entry.link_name.as_bytes())?;
                (node.first, node.count) = (target.start, target.len);
            }
            NodeKind::HardLink => {
                let target = self.text(&clean_name(entry.link_name.as_bytes()))?;
                (node.first, node.count) = (target.start, target.len);
                self.hard_links.push(row);
            }
            NodeKind::Char | NodeKind::Block => {
                let number = |number: i64| u32::try_from(number).ok();
                let device = number(entry.dev_major).zip(number(entry.dev_minor));
                let got = || format!("{}:{}", entry.dev_major, entry.dev_minor);
                (node.first, node.count) =
                    device.ok_or_else(|| self.refuse(entry, "device numbers of 32 bits", &got()))?;
            }
            NodeKind::Directory | NodeKind::Fifo => {}
        }
        Ok(node)
    }

    fn owner_of(&mut self, entry: &EntryRef<'_>) -> Result<u32, Error> {
        if !entry.user_name.is_empty() {
            let number = self.name_number(entry.user_name.as_bytes())?;
            self.users.insert(entry.uid, number);
        }
        if !entry.group_name.is_empty() {
            let number = self.name_number(entry.group_name.as_bytes())?;
            self.groups.insert(entry.gid, number);
        }
        let number = |names: &HashMap<i64, u32>, id| names.get(&id).copied().unwrap_or(0);
        let owner = OwnerRow {
            uid: entry.uid,
            gid: entry.gid,
            user: number(&self.users, entry.uid),
            group: number(&self.groups, entry.gid),
        };
        self.owner(owner)
    }

    /// The number of an owner's name.
    fn name_number(&mut self, name: &[u8]) -> Result<u32, Error> {
        if let Some(number) = self.owner_names.get(name) {
            return Ok(*number);
        }
        self.charge((name.len() as u64).saturating_mul(2).saturating_add(OWNER_COST))?;
        let number = u32::try_from(self.index.owner_names.len()).unwrap_or(0);
        self.index.owner_names.push(name.into());
        self.owner_names.insert(name.into(), number);
        Ok(number)
    }

    fn owner(&mut self, owner: OwnerRow) -> Result<u32, Error> {
        if let Some((last, number)) = self.last_owner
            && last == owner
        {
            return Ok(number);
        }
        let number = match self.owners.get(&owner) {
            Some(number) => *number,
            None => {
                // Its id may have a place among the users and one among the groups too.
                self.charge(OWNER_COST)?;
                let number = u32::try_from(self.index.owners.len()).unwrap_or(0);
                self.index.owners.push(owner);
                self.owners.insert(owner, number);
                number
            }
        };
        self.last_owner = Some((owner, number));
        Ok(number)
    }

    fn digest_cell(&mut self, digest: Option<Digest>) -> Result<DigestCell, Error> {
        let Some(digest) = digest else { return Ok(DigestCell::None) };
        if let (Algorithm::Sha256, Some(bytes)) = (digest.algorithm(), digest.as_sha256()) {
            return Ok(DigestCell::Sha256(*bytes));
        }
        self.charge(size_of::<Digest>() as u64)?;
        make_room(&mut self.index.digests, 1);
        self.index.digests.push(digest);
        Ok(DigestCell::Other(u32::try_from(self.index.digests.len().saturating_sub(1)).unwrap_or(u32::MAX)))
    }

    fn first_chunk(&mut self, entry: &EntryRef<'_>) -> Result<ChunkRow, Error> {
        if entry.chunk_offset != 0 {
            return Err(self.refuse(entry, "a first chunk at 0", &format!("one at {}", entry.chunk_offset)));
        }
        let size = if entry.chunk_size == 0 { entry.size } else { entry.chunk_size };
        self.chunk_row(entry, 0, size, entry.size)
    }

    /// A second or later chunk.
    fn chunk(&mut self, entry: &EntryRef<'_>) -> Result<(), Error> {
        let Some(open) = &self.open else {
            return Err(self.refuse(entry, "a chunk after its file", "a chunk before any file"));
        };
        if !open.is_file {
            return Err(self.refuse(entry, "a chunk after its file", "a chunk after an entry that is no file"));
        }
        if !entry.name.is_empty() && *clean_name(entry.name.as_bytes()) != *open.name {
            let expected = format!("a chunk of `{}`", dunnage_tree::display_name(&open.name));
            return Err(self.refuse(entry, &expected, "one of another file"));
        }
        let (covered, row) = (open.covered, open.row);
        let size = self.index.node(row).map_or(0, |node| node.size);
        if entry.chunk_offset != covered || covered >= size {
            let expected = if covered < size { format!("a chunk at {covered}") } else { "no further chunk".to_owned() };
            return Err(self.refuse(entry, &expected, &format!("one at {}", entry.chunk_offset)));
        }
        let len = if entry.chunk_size == 0 { size.saturating_sub(covered) } else { entry.chunk_size };
        let chunk = self.chunk_row(entry, covered, len, size)?;
        self.index.has_chunk_entries = true;
        let start = u32::try_from(self.index.chunks.len()).unwrap_or(u32::MAX);
        let Some(open) = &mut self.open else { return Ok(()) };
        open.covered = covered.saturating_add(len);
        let first = open.first.take();
        make_room(&mut self.index.chunks, 2);
        self.index.chunks.extend(first);
        self.index.chunks.push(chunk);
        if let Some(node) = usize::try_from(row).ok().and_then(|row| self.index.nodes.get_mut(row)) {
            if first.is_some() {
                node.first = start;
            }
            node.count = node.count.saturating_add(1).saturating_add(u32::from(first.is_some()));
        }
        Ok(())
    }

    fn chunk_row(&mut self, entry: &EntryRef<'_>, at: u64, len: u64, size: u64) -> Result<ChunkRow, Error> {
        if at.checked_add(len).is_none_or(|end| end > size) {
            let expected = format!("chunks that end at {size}");
            return Err(self.refuse(entry, &expected, &format!("one of {len} bytes at {at}")));
        }
        if entry.offset >= self.index.payload_len {
            let expected = format!("an offset below {:#x}", self.index.payload_len);
            return Err(self.refuse(entry, &expected, &format!("{:#x}", entry.offset)));
        }
        if self.is_hole(entry) {
            return self.hole(entry, at, len);
        }
        let stream = entry.inner_offset.saturating_add(len);
        let inner = u32::try_from(entry.inner_offset).ok().filter(|_| stream <= self.limits.stream);
        let limit = self.limits.stream;
        let inner = inner.ok_or(Error::Limit { what: "TOC: bytes of a stream", limit, asked: stream })?;
        self.add_stream(entry.offset)?;
        let digest = self.digest_cell(entry.chunk_digest)?;
        Ok(ChunkRow { offset: entry.offset, inner, at, size: len, digest, zeros: false })
    }

    fn add_stream(&mut self, offset: u64) -> Result<(), Error> {
        if self.index.streams.last() != Some(&offset) {
            self.streams_sorted &= self.index.streams.last().is_none_or(|&last| last < offset);
            make_room(&mut self.index.streams, 1);
            self.index.streams.push(offset);
        }
        self.charge(CHUNK_COST)?;
        self.index.data_chunks = self.index.data_chunks.saturating_add(1);
        Ok(())
    }

    fn is_hole(&self, entry: &EntryRef<'_>) -> bool {
        self.is_storage && entry.chunk_type == ChunkType::Zeros
    }

    /// A chunk of zeros. It has a stream like any other, which readers skip.
    fn hole(&mut self, entry: &EntryRef<'_>, at: u64, len: u64) -> Result<ChunkRow, Error> {
        self.holes = self.holes.saturating_add(len);
        if self.holes > self.limits.holes {
            return Err(Error::Limit { what: "TOC: bytes of holes", limit: self.limits.holes, asked: self.holes });
        }
        self.add_stream(entry.offset)?;
        let digest = self.digest_cell(entry.chunk_digest)?;
        Ok(ChunkRow { offset: entry.offset, inner: 0, at, size: len, digest, zeros: true })
    }

    /// Notes where the content of a file ends, if the TOC says so.
    fn extent(&mut self, entry: &EntryRef<'_>) -> Result<(), Error> {
        if !self.is_storage || entry.end_offset == 0 {
            return Ok(());
        }
        let (start, end) = (entry.offset, entry.end_offset);
        if end <= start || end > self.index.payload_len {
            let expected = format!("an end offset above {start:#x}, up to {:#x}", self.index.payload_len);
            return Err(self.refuse(entry, &expected, &format!("{end:#x}")));
        }
        self.charge(size_of::<Extent>() as u64)?;
        make_room(&mut self.index.extents, 1);
        self.index.extents.push(Extent { start, end });
        Ok(())
    }

    /// No file's content may reach into that of another.
    fn check_extents(&mut self) -> Result<(), Error> {
        if !self.index.extents.is_sorted() {
            self.index.extents.sort_unstable();
        }
        for pair in self.index.extents.windows(2) {
            let &[first, second] = pair else { continue };
            if first.end > second.start {
                let reason = format!(
                    "its content at offset {:#x} begins inside that of another file, which ends at {:#x}",
                    second.start, first.end
                );
                let owns = |chunk: &Location| chunk.at == 0 && chunk.offset == second.start;
                return Err(Error::Inconsistent { name: self.owner_of_chunk(owns), reason });
            }
        }
        Ok(())
    }

    /// The path of the last file that has such a chunk, for messages.
    fn owner_of_chunk(&self, owns: impl Fn(&Location) -> bool) -> String {
        let files = self.index.nodes.iter().zip(0..).filter(|(node, _)| node.kind == NodeKind::File);
        let owner = files.filter(|(node, _)| self.index.locations(node).any(|chunk| owns(&chunk))).last();
        self.index.path(owner.map_or(ROOT, |(_, row)| row))
    }

    /// Holes are in the blob as well, for readers that do not know of holes: a hole cannot be longer than its frames can hold.
    fn check_holes(&self) -> Result<(), Error> {
        for chunk in self.index.chunks.iter().filter(|chunk| chunk.zeros) {
            let stored = self.index.stream_end(chunk.offset).saturating_sub(chunk.offset);
            let most = stored.saturating_mul(DENSEST);
            if chunk.size > most {
                let name = self.owner_of_chunk(|own| own.zeros && own.offset == chunk.offset);
                let reason =
                    format!("a hole of {} bytes in {stored} stored bytes, which hold at most {most}", chunk.size);
                return Err(Error::Inconsistent { name, reason });
            }
        }
        Ok(())
    }

    /// Ends the entry being described: its chunks have to cover it.
    fn close(&mut self) -> Result<(), Error> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let Some(node) = usize::try_from(open.row).ok().and_then(|row| self.index.nodes.get_mut(row)) else {
            return Ok(());
        };
        if !open.is_file || node.size == 0 {
            return Ok(());
        }
        if open.covered != node.size {
            let entry = self.index.entries.saturating_sub(1);
            let name = String::from_utf8_lossy(&open.name).into_owned();
            let expected = format!("chunks of {} bytes in all", node.size);
            return Err(Error::Entry { entry, name, expected, got: format!("{}", open.covered) });
        }
        let rows = usize::try_from(node.first).unwrap_or(usize::MAX);
        if let Some(chunk) = open.first {
            (node.offset, node.inner) = (chunk.offset, chunk.inner);
            // Where a file of one chunk has nothing but its own digest by rule, that is the digest of the chunk.
            let by_rule = self.is_storage && node.digest != DigestCell::None;
            node.has_chunk_digest = by_rule || chunk.digest != DigestCell::None;
            // One digest stands for both where they are the same, or where there is no other.
            if (chunk.digest != node.digest && chunk.digest != DigestCell::None) || chunk.zeros {
                let digest = if chunk.digest == DigestCell::None { node.digest } else { chunk.digest };
                let chunk = ChunkRow { digest, ..chunk };
                node.first = u32::try_from(self.index.chunks.len()).unwrap_or(u32::MAX);
                node.count = 1;
                make_room(&mut self.index.chunks, 1);
                self.index.chunks.push(chunk);
            }
        } else {
            let chunks = self.index.chunks.get(rows..).unwrap_or_default();
            node.has_chunk_digest = chunks.iter().all(|chunk| chunk.digest != DigestCell::None);
        }
        if !node.has_chunk_digest && self.index.without_chunk_digest.is_none() {
            self.index.without_chunk_digest = Some(open.row);
        }
        Ok(())
    }

    /// Makes every hard link lead to a node that is none, through any number of others.
    fn resolve_hard_links(&mut self) -> Result<(), Error> {
        const RESOLVED: u32 = u32::MAX;
        const VISITING: u32 = u32::MAX - 1;
        for link in std::mem::take(&mut self.hard_links) {
            // A later entry of the same name may have been something else.
            if self.index.node(link).is_none_or(|node| node.kind != NodeKind::HardLink) {
                continue;
            }
            let mut chain = Vec::new();
            let mut row = link;
            let target = loop {
                let node = self.index.node(row).copied().unwrap_or_default();
                if node.kind != NodeKind::HardLink {
                    break row;
                }
                if node.count == RESOLVED {
                    break node.first;
                }
                if node.count == VISITING {
                    return Err(self.inconsistent(link, "hard links lead in a circle"));
                }
                let path = self.index.text(Span { start: node.first, len: node.count }).to_vec();
                if let Some(node) = self.slot(row) {
                    node.count = VISITING;
                }
                chain.push(row);
                row = match self.find(&path) {
                    Some(row) => row,
                    None => {
                        let reason =
                            format!("hard link to `{}`, which is not there", dunnage_tree::display_name(&path));
                        return Err(self.inconsistent(row, &reason));
                    }
                };
            };
            if self.index.node(target).is_none_or(|node| node.kind == NodeKind::Directory) {
                return Err(self.inconsistent(link, "hard link to a directory"));
            }
            let names = u32::try_from(chain.len()).unwrap_or(u32::MAX);
            for row in chain {
                if let Some(node) = self.slot(row) {
                    (node.first, node.count) = (target, RESOLVED);
                }
            }
            if let Some(node) = self.slot(target) {
                node.links = node.links.saturating_add(names);
            }
        }
        Ok(())
    }

    /// The row at a clean path; directories on the way must be directories.
    fn find(&self, path: &[u8]) -> Option<Row> {
        let mut row = ROOT;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            row = self.existing(self.hash(row, name), row, name)?;
        }
        Some(row)
    }

    /// Sorts the rows under their directories and counts links.
    fn arrange_children(&mut self) -> Result<(), Error> {
        let index = &mut self.index;
        let parents: Vec<(Row, Row)> =
            index.nodes.iter().zip(0..).skip(1).map(|(node, row)| (node.parent, row)).collect();
        for &(parent, row) in &parents {
            let is_dir = index.node(row).is_some_and(|node| node.kind == NodeKind::Directory);
            let parent_node = usize::try_from(parent).ok().and_then(|parent| index.nodes.get_mut(parent));
            let Some(parent_node) = parent_node else { continue };
            if parent_node.kind != NodeKind::Directory {
                let name = index.path(row);
                let reason = "it lies in something that is no directory".to_owned();
                return Err(Error::Inconsistent { name, reason });
            }
            parent_node.count = parent_node.count.saturating_add(1);
            parent_node.links = parent_node.links.saturating_add(u32::from(is_dir));
        }
        let mut start = 0_u32;
        for node in &mut index.nodes {
            match node.kind {
                NodeKind::Directory => {
                    node.first = start;
                    start = start.saturating_add(std::mem::take(&mut node.count));
                    node.links = node.links.saturating_add(2);
                }
                _ => node.links = node.links.saturating_add(1),
            }
        }
        index.children = vec![ROOT; parents.len()];
        for (parent, row) in parents {
            let Some(parent) = usize::try_from(parent).ok().and_then(|parent| index.nodes.get_mut(parent)) else {
                continue;
            };
            let at = parent.first.saturating_add(parent.count);
            parent.count = parent.count.saturating_add(1);
            if let Some(slot) = usize::try_from(at).ok().and_then(|at| index.children.get_mut(at)) {
                *slot = row;
            }
        }
        let mut children = std::mem::take(&mut index.children);
        for node in index.nodes.iter().filter(|node| node.kind == NodeKind::Directory) {
            let start = usize::try_from(node.first).unwrap_or(usize::MAX);
            let end = start.saturating_add(usize::try_from(node.count).unwrap_or(usize::MAX));
            let run = children.get_mut(start..end).unwrap_or_default();
            run.sort_by(|&a, &b| index.name(a).cmp(index.name(b)));
        }
        index.children = children;
        Ok(())
    }

    fn slot(&mut self, row: Row) -> Option<&mut Node> {
        usize::try_from(row).ok().and_then(|row| self.index.nodes.get_mut(row))
    }

    fn refuse(&self, entry: &EntryRef<'_>, expected: &str, got: &str) -> Error {
        Error::Entry {
            entry: self.index.entries.saturating_sub(1),
            name: entry.name.clone().into_owned(),
            expected: expected.to_owned(),
            got: got.to_owned(),
        }
    }

    fn inconsistent(&self, row: Row, reason: &str) -> Error {
        Error::Inconsistent { name: self.index.path(row), reason: reason.to_owned() }
    }
}

/// The most bytes that one stored byte can stand for: a block of a frame takes four, and holds 128 KiB at most.
const DENSEST: u64 = 32 << 10;

/// A hash of 32 bits as one of 64: tables look at both ends of it.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Makes room for `more` items, growing by half: the memory of a table is then never far from the memory it was charged with.
fn make_room<T>(table: &mut Vec<T>, more: usize) {
    let room = table.capacity().saturating_sub(table.len());
    if room < more {
        table.reserve_exact(more.max(table.capacity() / 2).max(256));
    }
}
