//! The tree of an uncompressed tar archive.
//!
//! One pass over the headers builds an index; content stays in the source and is read from there. Entries mean what they
//! mean when an archive is unpacked: a later one replaces an earlier one of its name, parents without entries of their own
//! are directories, a hard link is another name of the entry it points back to.

mod index;

use std::{borrow::Cow, fmt, ops::Range};

use dunnage_digest::{Offset, ReadAt, ReadRequest};

use self::index::{Data, Index, Node};
use super::{EntryType, Header, Reader};
use crate::{
    Attr, DirEntry, DirVisitor, Error, Kind, Limits, Mtime, NodeId, Owner, SafePath, Tree, Usage, XattrVisitor,
    name::display,
};

/// A tar archive as a [`Tree`].
///
/// Use it for an uncompressed archive that can be read at any offset; [`Reader`] reads one from front to back.
/// The index takes about a hundred bytes for each entry, and its name.
pub struct TarTree<R> {
    source: R,
    index: Index,
}

impl<R: ReadAt> TarTree<R> {
    /// Reads all headers of the archive in `source`. Payloads are stepped over.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::next_header`]; [`Error::Name`] for names with `..` and the like; [`Error::Inconsistent`] for an
    /// entry below something else than a directory, and for a hard link that leads to no earlier entry or to a directory;
    /// [`Error::Refused`] for an entry that would replace a directory which is not empty, or the root by something else
    /// than a directory; [`Error::Unsupported`] for an unknown type of entry; [`Error::Limit`] beyond `limits`.
    pub fn open(source: R, limits: &Limits) -> Result<Self, Error> {
        let mut index = Index::new(limits.clone());
        let mut reader = Reader::over(&source, limits.clone())?;
        let mut header = Header::default();
        while reader.next_header(&mut header)? {
            let path = match header.entry {
                EntryType::GlobalExtension => continue,
                EntryType::Other(flag) => {
                    let (at, got) = (reader.payload_offset(), format!("`{}`", flag.escape_ascii()));
                    return Err(Error::Unsupported { what: "tar entry type", at, got });
                }
                _ => SafePath::new(&header.name)?,
            };
            let Some(kind) = header.entry.kind() else {
                index.hard_link(&path, &SafePath::new(&header.link)?)?;
                continue;
            };
            let data = match kind {
                Kind::File if header.sparse => Data::Sparse(stored_regions(&reader)),
                Kind::File => Data::At(reader.payload_offset().get()),
                Kind::Symlink => Data::Target(&header.link),
                Kind::CharDevice | Kind::BlockDevice => Data::Device(device(&header)?),
                Kind::Directory | Kind::Fifo | Kind::Socket => Data::None,
            };
            index.add(&path, kind, &header, data)?;
        }
        drop(reader);
        index.finish();
        Ok(Self { source, index })
    }

    /// The source.
    pub const fn source(&self) -> &R {
        &self.source
    }

    /// Nodes: names that share one count once, parents without entries of their own count too.
    pub fn len(&self) -> usize {
        self.index.nodes.len()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.len() <= 1
    }

    fn node(&self, node: NodeId) -> Result<&Node, Error> {
        self.index.node(node).ok_or(Error::NoNode(node.get()))
    }

    fn of_kind(&self, node: NodeId, expected: Kind) -> Result<&Node, Error> {
        let found = self.node(node)?;
        if found.kind == expected { Ok(found) } else { Err(Error::WrongKind { expected, got: found.kind }) }
    }

    fn read(&self, at: u64, buf: &mut [u8], request: &ReadRequest<'_>) -> Result<(), Error> {
        let at = Offset::new(at);
        let read = self.source.read_exact_at_for(at, buf, request);
        read.map_err(|source| Error::Read { what: "content of a file", at, source })
    }
}

/// Start and end of each stored region of a sparse file, and where in the source it starts.
fn stored_regions<R: std::io::Read>(reader: &Reader<R>) -> Box<[(u64, u64, u64)]> {
    let mut at = reader.payload_offset().get();
    let regions = reader.map().regions().map(|(start, end)| {
        let stored_at = at;
        at = at.saturating_add(end.saturating_sub(start));
        (start, end, stored_at)
    });
    regions.collect()
}

/// Device numbers as kernels take them.
pub(crate) fn device(header: &Header) -> Result<(u32, u32), Error> {
    let (major, minor) = header.device;
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok((major, minor)),
        _ => Err(Error::Inconsistent {
            path: display(&header.name),
            expected: "device numbers of 32 bits".to_owned(),
            got: format!("{major}:{minor}"),
        }),
    }
}

impl<R: ReadAt + Send + Sync> Tree for TarTree<R> {
    fn root(&self) -> NodeId {
        NodeId::new(1)
    }

    fn attr(&self, node: NodeId) -> Result<Attr, Error> {
        let node = self.node(node)?;
        let sized = matches!(node.kind, Kind::File | Kind::Symlink);
        let mtime = (node.mtime_nanos != u32::MAX).then_some(Mtime { secs: node.mtime_secs, nanos: node.mtime_nanos });
        Ok(Attr {
            kind: node.kind,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            size: if sized { node.size } else { 0 },
            mtime,
            links: node.links,
            device: node.device(),
            is_implied: node.is_implied,
        })
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error> {
        let children = self.index.children(self.of_kind(dir, Kind::Directory)?);
        let found = children.binary_search_by(|child| self.index.bytes(child.name_at, child.name_len).cmp(name));
        Ok(found.ok().and_then(|at| children.get(at)).map(|child| index::id(child.node)))
    }

    fn read_dir(&self, dir: NodeId, from: u64, visit: DirVisitor<'_>) -> Result<(), Error> {
        let children = self.index.children(self.of_kind(dir, Kind::Directory)?);
        let start = usize::try_from(from).unwrap_or(usize::MAX);
        for (at, child) in children.iter().enumerate().skip(start) {
            let name = self.index.bytes(child.name_at, child.name_len);
            let node = index::id(child.node);
            let entry = DirEntry { name, node, kind: self.node(node)?.kind, next: (at as u64).saturating_add(1) };
            if visit(entry).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self, node: NodeId) -> Result<Cow<'_, [u8]>, Error> {
        let node = self.of_kind(node, Kind::Symlink)?;
        Ok(Cow::Borrowed(self.index.bytes(node.data, u32::try_from(node.size).unwrap_or_default())))
    }

    fn xattrs(&self, node: NodeId, visit: XattrVisitor<'_>) -> Result<(), Error> {
        self.node(node)?;
        for (name, value) in self.index.xattrs(node) {
            if visit(name, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn owner(&self, node: NodeId) -> Result<Owner<'_>, Error> {
        let (user, group) = self.index.owner(self.node(node)?);
        Ok(Owner { user: Cow::Borrowed(user), group: Cow::Borrowed(group) })
    }

    fn read_at_for(&self, id: NodeId, at: u64, buf: &mut [u8], request: &ReadRequest<'_>) -> Result<usize, Error> {
        let node = self.of_kind(id, Kind::File)?;
        let len = usize::try_from(node.size.saturating_sub(at)).unwrap_or(usize::MAX).min(buf.len());
        let Some(buf) = buf.get_mut(..len).filter(|buf| !buf.is_empty()) else { return Ok(0) };
        let Some(regions) = self.index.sparse(id) else {
            self.read(node.data.saturating_add(at), buf, request)?;
            return Ok(len);
        };
        buf.fill(0);
        let end = at.saturating_add(len as u64);
        let first = regions.partition_point(|region| region.1 <= at);
        for &(start, stop, stored_at) in regions.iter().skip(first).take_while(|region| region.0 < end) {
            let (from, to) = (start.max(at), stop.min(end));
            let into = |position: u64| usize::try_from(position.saturating_sub(at)).unwrap_or(usize::MAX);
            if let Some(part) = buf.get_mut(into(from)..into(to)) {
                self.read(stored_at.saturating_add(from.saturating_sub(start)), part, request)?;
            }
        }
        Ok(len)
    }

    fn data_from(&self, id: NodeId, at: u64) -> Result<Option<Range<u64>>, Error> {
        let node = self.of_kind(id, Kind::File)?;
        let Some(regions) = self.index.sparse(id) else { return Ok((at < node.size).then_some(at..node.size)) };
        let first = regions.partition_point(|region| region.1 <= at);
        // Regions of no bytes hold nothing.
        let region = regions.iter().skip(first).find(|(start, end, _)| end > start);
        Ok(region.map(|&(start, end, _)| start.max(at)..end))
    }

    fn usage(&self) -> Option<Usage> {
        let files = self.index.nodes.iter().filter(|node| node.kind == Kind::File);
        let bytes = files.fold(0, |sum: u64, node| sum.saturating_add(node.size));
        Some(Usage { bytes, nodes: self.index.nodes.len() as u64 })
    }
}

impl<R> fmt::Debug for TarTree<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TarTree").field("nodes", &self.index.nodes.len()).finish_non_exhaustive()
    }
}
