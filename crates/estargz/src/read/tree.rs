//! A layer as a file tree, like every other format.

use std::{
    borrow::Cow,
    ops::{ControlFlow, Range},
};

use dunnage_digest::{ReadAt, ReadRequest};
use dunnage_tree::{Attr, DirEntry, DirVisitor, Error, Kind, NodeId, Owner, Tree, Usage, XattrVisitor};

use super::{
    Reader,
    index::{Node, NodeKind, ROOT, Row, Span},
};

const fn kind(kind: NodeKind) -> Kind {
    match kind {
        NodeKind::Directory => Kind::Directory,
        NodeKind::File | NodeKind::HardLink => Kind::File,
        NodeKind::Symlink => Kind::Symlink,
        NodeKind::Char => Kind::CharDevice,
        NodeKind::Block => Kind::BlockDevice,
        NodeKind::Fifo => Kind::Fifo,
    }
}

/// Nodes are rows, counted from 1.
fn id(row: Row) -> NodeId {
    NodeId::new(u64::from(row).saturating_add(1))
}

impl<R> Reader<R> {
    /// Where the data ends that goes on at `at`.
    fn data_end(&self, file: &Node, at: u64) -> u64 {
        let mut at = at;
        while let Some(chunk) = self.index.location_at(file, at).filter(|chunk| !chunk.zeros) {
            at = chunk.at.saturating_add(chunk.size);
        }
        at
    }

    fn by_id(&self, node: NodeId) -> Result<(Row, &Node), Error> {
        let row = node.get().checked_sub(1).and_then(|row| Row::try_from(row).ok());
        let found = row.and_then(|row| self.index.node(row).map(|node| (row, node)));
        found.ok_or(Error::NoNode(node.get()))
    }

    fn by_id_as(&self, node: NodeId, wanted: NodeKind) -> Result<(Row, &Node), Error> {
        let (row, found) = self.by_id(node)?;
        if found.kind == wanted {
            return Ok((row, found));
        }
        Err(Error::WrongKind { expected: kind(wanted), got: kind(found.kind) })
    }
}

impl<R: ReadAt + Send + Sync> Tree for Reader<R> {
    fn root(&self) -> NodeId {
        id(ROOT)
    }

    fn attr(&self, node: NodeId) -> Result<Attr, Error> {
        let (_, node) = self.by_id(node)?;
        let owner = self.index.owner(node);
        Ok(Attr {
            kind: kind(node.kind),
            mode: u16::try_from(node.mode & 0o7777).unwrap_or(0),
            uid: owner.uid,
            gid: owner.gid,
            size: if node.kind == NodeKind::Symlink { u64::from(node.count) } else { node.size },
            mtime: node.mtime.get(),
            links: node.links,
            device: match node.kind {
                NodeKind::Char | NodeKind::Block => (node.first, node.count),
                _ => (0, 0),
            },
            is_implied: !node.has_entry,
        })
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error> {
        let (row, dir) = self.by_id_as(dir, NodeKind::Directory)?;
        let found = self.index.child(dir, name).filter(|&child| !self.is_hidden(row, child));
        Ok(found.map(|child| id(self.index.target(child))))
    }

    fn read_dir(&self, dir: NodeId, from: u64, visit: DirVisitor<'_>) -> Result<(), Error> {
        let (row, dir) = self.by_id_as(dir, NodeKind::Directory)?;
        let start = usize::try_from(from).unwrap_or(usize::MAX);
        let children = self.index.children(dir).get(start..).unwrap_or_default();
        for (&child, next) in children.iter().zip(from.saturating_add(1)..) {
            let target = self.index.target(child);
            let Some(node) = self.index.node(target).filter(|_| !self.is_hidden(row, child)) else { continue };
            let entry = DirEntry { name: self.index.name(child), node: id(target), kind: kind(node.kind), next };
            if visit(entry) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self, node: NodeId) -> Result<Cow<'_, [u8]>, Error> {
        let (_, node) = self.by_id_as(node, NodeKind::Symlink)?;
        Ok(Cow::Borrowed(self.index.text(Span { start: node.first, len: node.count })))
    }

    fn xattrs(&self, node: NodeId, visit: XattrVisitor<'_>) -> Result<(), Error> {
        let (_, node) = self.by_id(node)?;
        for (name, value) in self.index.xattrs(node) {
            if visit(name, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn owner(&self, node: NodeId) -> Result<Owner<'_>, Error> {
        let (_, node) = self.by_id(node)?;
        let owner = self.index.owner(node);
        let name = |number| Cow::Borrowed(self.index.owner_name(number));
        Ok(Owner { user: name(owner.user), group: name(owner.group) })
    }

    fn read_at_for(&self, node: NodeId, at: u64, buf: &mut [u8], request: &ReadRequest<'_>) -> Result<usize, Error> {
        let (row, _) = self.by_id_as(node, NodeKind::File)?;
        self.read_row(row, at, buf, request).map_err(Error::from)
    }

    fn data_from(&self, node: NodeId, at: u64) -> Result<Option<Range<u64>>, Error> {
        let (row, file) = self.by_id_as(node, NodeKind::File)?;
        let mut at = at;
        while let Some(chunk) = self.index.location_at(file, at) {
            let end = chunk.at.saturating_add(chunk.size);
            if !chunk.zeros {
                return Ok(Some(at..self.data_end(file, end)));
            }
            // The caller will not read these zeros, so this is where their digest is compared.
            self.check_zeros(row, &chunk)?;
            at = end;
        }
        Ok(None)
    }

    fn prepare(&self, node: NodeId, at: u64, request: &ReadRequest<'_>) -> Result<(), Error> {
        let (row, _) = self.by_id_as(node, NodeKind::File)?;
        self.prepare_row(row, at, request).map_err(Error::from)
    }

    fn usage(&self) -> Option<Usage> {
        let files = self.index.nodes.iter().filter(|node| node.kind == NodeKind::File);
        let bytes = files.fold(0, |sum: u64, node| sum.saturating_add(node.size));
        let nodes = self.index.nodes.iter().filter(|node| node.kind != NodeKind::HardLink).count();
        Some(Usage { bytes, nodes: nodes as u64 })
    }

    fn piece_end(&self, node: NodeId, at: u64) -> Result<Option<u64>, Error> {
        let (_, file) = self.by_id_as(node, NodeKind::File)?;
        Ok(self.index.location_at(file, at).map(|chunk| chunk.at.saturating_add(chunk.size)))
    }
}
