//! Layers stacked into one tree, whiteouts applied.
//!
//! A directory shows the names of its topmost layer and, below that, of every lower layer until one says that nothing
//! further down counts. Attributes and content are those of the topmost layer that has the name.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    ops::{ControlFlow, Range},
    os::fd::OwnedFd,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use dunnage_digest::ReadRequest;
use hashbrown::{HashMap, HashSet};

use crate::{
    Attr, DirEntry, DirVisitor, Error, Kind, NodeId, Owner, Tree, Usage, XattrVisitor,
    whiteout::{Whiteout, parse_whiteout},
};

/// The tree that layers make together.
///
/// Use it to list, export, extract, compare or mount an image of several layers.
///
/// Directories are merged when they are first listed. Node numbers are given out in the order in which nodes are met, the
/// root first; names that share a number in a layer share one here.
pub struct Overlay {
    /// Lowest first.
    layers: Vec<Arc<dyn Tree>>,
    nodes: RwLock<Nodes>,
}

#[derive(Default)]
struct Nodes {
    /// Node `n` is `all[n - 1]`.
    all: Vec<Node>,
    by_origin: HashMap<Origin, u64>,
}

/// A node of a layer, the layer counted from the lowest.
type Origin = (usize, NodeId);

#[derive(Clone)]
enum Node {
    Single(Origin),
    Directory(Arc<Merged>),
}

struct Merged {
    /// The directories that are merged, topmost first; none only for the root of no layers.
    parts: Vec<Origin>,
    listing: OnceLock<Vec<Listed>>,
}

struct Listed {
    name: Box<[u8]>,
    node: NodeId,
    kind: Kind,
}

impl Overlay {
    /// Stacks `layers`, lowest first. None at all make an empty directory.
    #[must_use]
    pub fn new(layers: Vec<Arc<dyn Tree>>) -> Self {
        let parts: Vec<Origin> = layers.iter().enumerate().rev().map(|(layer, tree)| (layer, tree.root())).collect();
        let mut nodes = Nodes::default();
        nodes.intern(parts, Kind::Directory);
        Self { layers, nodes: RwLock::new(nodes) }
    }

    fn node(&self, node: NodeId) -> Result<Node, Error> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        let index = node.get().checked_sub(1).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| nodes.all.get(index)).cloned().ok_or(Error::NoNode(node.get()))
    }

    /// The node of a layer that `node` takes its attributes from.
    fn origin(&self, node: NodeId) -> Result<Option<(&dyn Tree, NodeId)>, Error> {
        let origin = match self.node(node)? {
            Node::Single(origin) => Some(origin),
            Node::Directory(merged) => merged.parts.first().copied(),
        };
        Ok(origin.and_then(|(layer, node)| Some((&**self.layers.get(layer)?, node))))
    }

    /// The same for a node that has content, if it is a file.
    fn file(&self, node: NodeId) -> Result<(&dyn Tree, NodeId), Error> {
        self.origin(node)?.ok_or(Error::WrongKind { expected: Kind::File, got: Kind::Directory })
    }

    fn directory(&self, node: NodeId) -> Result<Arc<Merged>, Error> {
        match self.node(node)? {
            Node::Directory(merged) => Ok(merged),
            Node::Single((layer, origin)) => {
                let tree = self.layers.get(layer).ok_or(Error::NoNode(node.get()))?;
                Err(Error::WrongKind { expected: Kind::Directory, got: tree.attr(origin)?.kind })
            }
        }
    }

    fn listing<'m>(&self, merged: &'m Merged) -> Result<&'m [Listed], Error> {
        if let Some(listing) = merged.listing.get() {
            return Ok(listing);
        }
        let listing = self.merge(&merged.parts)?;
        // Two threads that merge at once come to the same listing, node numbers included.
        Ok(merged.listing.get_or_init(|| listing))
    }

    fn merge(&self, parts: &[Origin]) -> Result<Vec<Listed>, Error> {
        let mut names: BTreeMap<Box<[u8]>, Name> = BTreeMap::new();
        // Names that layers above took away.
        let mut gone: HashSet<Box<[u8]>> = HashSet::new();
        for &(layer, dir) in parts {
            let Some(tree) = self.layers.get(layer) else { continue };
            let mut taken: Vec<Box<[u8]>> = Vec::new();
            let (mut opaque, mut failed) = (false, None);
            tree.read_dir(dir, 0, &mut |entry| {
                match parse_whiteout(entry.name, entry.name) {
                    Err(error) => {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                    Ok(Some(Whiteout::Name(name))) => taken.push(name.into()),
                    Ok(Some(Whiteout::Opaque)) => opaque = true,
                    Ok(Some(Whiteout::Bookkeeping)) => {}
                    Ok(None) if gone.contains(entry.name) => {}
                    Ok(None) => match names.get_mut(entry.name) {
                        Some(name) => name.below((layer, entry.node), entry.kind),
                        None => drop(names.insert(entry.name.into(), Name::new((layer, entry.node), entry.kind))),
                    },
                }
                ControlFlow::Continue(())
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            if opaque {
                break;
            }
            gone.extend(taken);
        }
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let listed = names.into_iter().map(|(name, found)| {
            let node = NodeId::new(nodes.intern(found.parts, found.kind));
            Listed { name, node, kind: found.kind }
        });
        Ok(listed.collect())
    }
}

/// A name met while directories are merged.
struct Name {
    kind: Kind,
    parts: Vec<Origin>,
    /// Whether directories further down still count.
    open: bool,
}

impl Name {
    fn new(origin: Origin, kind: Kind) -> Self {
        Self { kind, parts: vec![origin], open: kind == Kind::Directory }
    }

    /// The same name in a lower layer.
    fn below(&mut self, origin: Origin, kind: Kind) {
        self.open &= kind == Kind::Directory;
        if self.open {
            self.parts.push(origin);
        }
    }
}

impl Nodes {
    fn intern(&mut self, parts: Vec<Origin>, kind: Kind) -> u64 {
        let new = (self.all.len() as u64).saturating_add(1);
        // A directory has one parent, so its topmost part is enough to tell merged directories apart.
        let number = parts.first().map_or(new, |&origin| *self.by_origin.entry(origin).or_insert(new));
        if number == new {
            self.all.push(match (kind, parts.first()) {
                (Kind::Directory, _) | (_, None) => {
                    Node::Directory(Arc::new(Merged { parts, listing: OnceLock::new() }))
                }
                (_, Some(&origin)) => Node::Single(origin),
            });
        }
        number
    }
}

impl Tree for Overlay {
    fn root(&self) -> NodeId {
        NodeId::new(1)
    }

    fn attr(&self, node: NodeId) -> Result<Attr, Error> {
        let Some((tree, origin)) = self.origin(node)? else { return Ok(EMPTY) };
        let mut attr = tree.attr(origin)?;
        if let Node::Directory(merged) = self.node(node)? {
            // A count takes a merged listing. If no caller has listed the directory, the count is unknown.
            attr.links = merged.listing.get().map_or(1, |listing| links(listing));
        }
        Ok(attr)
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error> {
        let merged = self.directory(dir)?;
        let listing = self.listing(&merged)?;
        let found = listing.binary_search_by(|entry| (*entry.name).cmp(name)).ok();
        Ok(found.and_then(|index| listing.get(index)).map(|entry| entry.node))
    }

    fn read_dir(&self, dir: NodeId, from: u64, visit: DirVisitor<'_>) -> Result<(), Error> {
        let merged = self.directory(dir)?;
        let start = usize::try_from(from).unwrap_or(usize::MAX);
        for (index, entry) in self.listing(&merged)?.iter().enumerate().skip(start) {
            let next = (index as u64).saturating_add(1);
            let entry = DirEntry { name: &entry.name, node: entry.node, kind: entry.kind, next };
            if visit(entry).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self, node: NodeId) -> Result<Cow<'_, [u8]>, Error> {
        match self.origin(node)? {
            Some((tree, origin)) => tree.read_link(origin),
            None => Err(Error::WrongKind { expected: Kind::Symlink, got: Kind::Directory }),
        }
    }

    fn xattrs(&self, node: NodeId, visit: XattrVisitor<'_>) -> Result<(), Error> {
        match self.origin(node)? {
            Some((tree, origin)) => tree.xattrs(origin, visit),
            None => Ok(()),
        }
    }

    fn owner(&self, node: NodeId) -> Result<Owner<'_>, Error> {
        match self.origin(node)? {
            Some((tree, origin)) => tree.owner(origin),
            None => Ok(Owner::default()),
        }
    }

    fn read_at_for(&self, node: NodeId, at: u64, buf: &mut [u8], request: &ReadRequest<'_>) -> Result<usize, Error> {
        let (tree, origin) = self.file(node)?;
        tree.read_at_for(origin, at, buf, request)
    }

    fn data_from(&self, node: NodeId, at: u64) -> Result<Option<Range<u64>>, Error> {
        let (tree, origin) = self.file(node)?;
        tree.data_from(origin, at)
    }

    fn host_file(&self, node: NodeId) -> Result<Option<OwnedFd>, Error> {
        let (tree, origin) = self.file(node)?;
        tree.host_file(origin)
    }

    fn piece_end(&self, node: NodeId, at: u64) -> Result<Option<u64>, Error> {
        let (tree, origin) = self.file(node)?;
        tree.piece_end(origin, at)
    }

    fn prepare(&self, node: NodeId, at: u64, request: &ReadRequest<'_>) -> Result<(), Error> {
        let (tree, origin) = self.file(node)?;
        tree.prepare(origin, at, request)
    }

    /// The sum over all layers: an upper bound, since upper layers hide files of lower ones.
    fn usage(&self) -> Option<Usage> {
        self.layers.iter().try_fold(Usage::default(), |sum, layer| {
            let layer = layer.usage()?;
            Some(Usage { bytes: sum.bytes.saturating_add(layer.bytes), nodes: sum.nodes.saturating_add(layer.nodes) })
        })
    }
}

/// Links of a directory with these names.
fn links(listing: &[Listed]) -> u32 {
    let below = listing.iter().filter(|entry| entry.kind == Kind::Directory).count();
    u32::try_from(below).unwrap_or(u32::MAX).saturating_add(2)
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay").field("layers", &self.layers).finish_non_exhaustive()
    }
}

/// The root of no layers.
const EMPTY: Attr = Attr {
    kind: Kind::Directory,
    mode: 0o755,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: None,
    links: 2,
    device: (0, 0),
    is_implied: true,
};
