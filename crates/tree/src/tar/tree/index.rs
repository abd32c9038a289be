//! A packed index of all entries.
//!
//! Names and link targets lie in one arena. While entries come in, a hash table finds a name in its directory; afterwards
//! the names of each directory lie sorted beside each other, and the table is gone.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::{Error, Kind, Limits, NodeId, SafePath, name::display, tar::Header};

#[derive(Default)]
pub(super) struct Index {
    /// The root first.
    pub(super) nodes: Vec<Node>,
    arena: Vec<u8>,
    children: Vec<Child>,
    /// Finds a child by directory and name, until the end.
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The directory that the last entry went to.
    last_parent: Option<(Vec<u8>, u32)>,
    xattrs: HashMap<u32, Xattrs>,
    sparse: HashMap<u32, Regions>,
    owners: Vec<OwnerNames>,
    limits: Limits,
}

/// Name and value.
type Xattrs = Box<[(Box<[u8]>, Box<[u8]>)]>;
/// User and group.
type OwnerNames = (Box<[u8]>, Box<[u8]>);
/// Start, end, and where in the source it starts.
type Regions = Box<[(u64, u64, u64)]>;

#[derive(Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) mode: u16,
    pub(super) links: u32,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) mtime_secs: i64,
    /// The highest number if there is no time.
    pub(super) mtime_nanos: u32,
    /// Whether the directory has no entry of its own.
    pub(super) is_implied: bool,
    owner: u32,
    /// Of a file or link target; of a directory, how many children it has.
    pub(super) size: u64,
    /// Where a file, a link target or the children of a directory start; both numbers of a device.
    pub(super) data: u64,
}

pub(super) struct Child {
    parent: u32,
    pub(super) node: u32,
    pub(super) name_len: u32,
    pub(super) name_at: u64,
}

/// Where the content of an entry is.
pub(super) enum Data<'h> {
    None,
    At(u64),
    Sparse(Regions),
    Target(&'h [u8]),
    Device((u32, u32)),
}

impl Index {
    pub(super) fn new(limits: Limits) -> Self {
        let root = Node::implicit();
        let owners = vec![Default::default()];
        Self { nodes: vec![root], owners, limits, ..Self::default() }
    }

    /// Adds the entry at `path`, or replaces the one that is there.
    pub(super) fn add(&mut self, path: &SafePath, kind: Kind, header: &Header, data: Data<'_>) -> Result<(), Error> {
        let mut node = Node {
            kind,
            mode: u16::try_from(header.mode & 0o7777).unwrap_or_default(),
            links: 1,
            uid: header.uid,
            gid: header.gid,
            mtime_secs: header.mtime.map_or(0, |mtime| mtime.secs),
            mtime_nanos: header.mtime.map_or(u32::MAX, |mtime| mtime.nanos),
            is_implied: false,
            owner: self.intern_owner(header),
            size: header.size,
            data: 0,
        };
        let mut regions = None;
        match data {
            Data::None => node.size = 0,
            Data::At(at) => node.data = at,
            Data::Sparse(found) => regions = Some(found),
            Data::Target(target) => {
                let (limit, asked) = (self.limits.symlink_target, target.len() as u64);
                if asked > limit {
                    return Err(Error::Limit { what: "symlink target", limit, asked });
                }
                node.size = target.len() as u64;
                node.data = self.arena.len() as u64;
                self.arena.extend_from_slice(target);
            }
            Data::Device((major, minor)) => {
                node.size = 0;
                node.data = u64::from(major) << 32 | u64::from(minor);
            }
        }
        let number = self.place(path, node)?;
        self.xattrs.remove(&number);
        if header.xattrs().next().is_some() {
            let xattrs = header.xattrs().map(|(name, value)| (name.into(), value.into()));
            self.xattrs.insert(number, xattrs.collect());
        }
        if let Some(regions) = regions {
            self.sparse.insert(number, regions);
        }
        Ok(())
    }

    /// The number of `node` once it is at `path`.
    fn place(&mut self, path: &SafePath, node: Node) -> Result<u32, Error> {
        let Some((parent, name)) = path.split_last() else {
            if node.kind != Kind::Directory {
                let reason = "the root can only be a directory".to_owned();
                return Err(Error::Refused { path: display(b"/"), reason });
            }
            self.describe(0, node);
            return Ok(0);
        };
        self.check(path)?;
        let parent = self.parent(parent)?;
        if node.kind == Kind::Directory
            && let Some(old) = self.find(parent, name.as_bytes())
            && let Some(number) = self.child(old).map(|child| child.node)
            && self.kind(number) == Kind::Directory
        {
            self.describe(number, node);
            return Ok(number);
        }
        let number = self.push(node)?;
        self.link(path, parent, name.as_bytes(), number)?;
        Ok(number)
    }

    /// Makes `path` another name of the node at `target`.
    pub(super) fn hard_link(&mut self, path: &SafePath, target: &SafePath) -> Result<(), Error> {
        self.check(path)?;
        let wrong = |got: &str| Error::Inconsistent {
            path: display(path.as_bytes()),
            expected: "a hard link to an earlier entry".to_owned(),
            got: format!("one to `{}`, which is {got}", display(target.as_bytes())),
        };
        let mut node = 0;
        for name in target.components() {
            let child = self.find(node, name.as_bytes()).and_then(|child| self.child(child));
            node = child.ok_or_else(|| wrong("not there"))?.node;
        }
        if self.kind(node) == Kind::Directory {
            return Err(wrong("a directory"));
        }
        if path == target {
            return Err(wrong("the entry itself"));
        }
        let Some((parent, name)) = path.split_last() else {
            let reason = "the root can only be a directory".to_owned();
            return Err(Error::Refused { path: display(b"/"), reason });
        };
        let parent = self.parent(parent)?;
        self.link(path, parent, name.as_bytes(), node)?;
        if let Some(node) = self.node_mut(node) {
            node.links = node.links.saturating_add(1);
        }
        Ok(())
    }

    /// Sorts the names of each directory.
    pub(super) fn finish(&mut self) {
        self.table = HashTable::new();
        self.last_parent = None;
        let arena = &self.arena;
        let name = |child: &Child| slice(arena, child.name_at, child.name_len);
        self.children.sort_unstable_by(|a, b| a.parent.cmp(&b.parent).then_with(|| name(a).cmp(name(b))));
        self.children.shrink_to_fit();
        self.nodes.shrink_to_fit();
        self.arena.shrink_to_fit();
        // Those without children come up in no group.
        for directory in self.nodes.iter_mut().filter(|node| node.is_directory()) {
            directory.links = 2;
        }
        let mut at: usize = 0;
        for group in self.children.chunk_by(|a, b| a.parent == b.parent) {
            let below =
                group.iter().filter(|child| self.nodes.get(child.node as usize).is_some_and(Node::is_directory));
            let below = u32::try_from(below.count()).unwrap_or(u32::MAX);
            let parent = group.first().map_or(0, |child| child.parent);
            if let Some(node) = self.nodes.get_mut(parent as usize) {
                node.links = below.saturating_add(2);
                (node.data, node.size) = (at as u64, group.len() as u64);
            }
            at = at.saturating_add(group.len());
        }
    }

    pub(super) fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(node.get().checked_sub(1)?).ok()?)
    }

    pub(super) fn children(&self, directory: &Node) -> &[Child] {
        let start = usize::try_from(directory.data).unwrap_or(usize::MAX);
        let len = usize::try_from(directory.size).unwrap_or_default();
        self.children.get(start..start.saturating_add(len)).unwrap_or_default()
    }

    pub(super) fn bytes(&self, at: u64, len: u32) -> &[u8] {
        slice(&self.arena, at, len)
    }

    pub(super) fn xattrs(&self, node: NodeId) -> impl Iterator<Item = (&[u8], &[u8])> {
        let xattrs = number(node).and_then(|node| self.xattrs.get(&node));
        xattrs.into_iter().flatten().map(|(name, value)| (&**name, &**value))
    }

    pub(super) fn sparse(&self, node: NodeId) -> Option<&[(u64, u64, u64)]> {
        self.sparse.get(&number(node)?).map(|regions| &**regions)
    }

    pub(super) fn owner(&self, node: &Node) -> (&[u8], &[u8]) {
        self.owners.get(node.owner as usize).map_or((&[], &[]), |(user, group)| (&**user, &**group))
    }

    /// Points the name in the directory to the node, whatever it pointed to before.
    fn link(&mut self, path: &SafePath, parent: u32, name: &[u8], node: u32) -> Result<(), Error> {
        let Some(at) = self.find(parent, name) else {
            self.push_child(parent, name, node);
            return Ok(());
        };
        let old = self.child(at).map_or(0, |child| child.node);
        if let Some(old) = self.node_mut(old) {
            if old.kind == Kind::Directory && old.size > 0 {
                let reason = "it would replace a directory that is not empty".to_owned();
                return Err(Error::Refused { path: display(path.as_bytes()), reason });
            }
            old.links = old.links.saturating_sub(1);
        }
        if let Some(child) = self.children.get_mut(at as usize) {
            child.node = node;
        }
        self.last_parent = None;
        Ok(())
    }

    /// The directory at `path`, made together with those above it if it is not there.
    fn parent(&mut self, path: &[u8]) -> Result<u32, Error> {
        if let Some((last, node)) = &self.last_parent
            && last == path
        {
            return Ok(*node);
        }
        let mut here = 0;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            here = match self.find(here, name).and_then(|child| self.child(child)) {
                Some(child) => child.node,
                None => {
                    let node = self.push(Node::implicit())?;
                    self.push_child(here, name, node);
                    node
                }
            };
            let got = self.kind(here);
            if got != Kind::Directory {
                let (expected, got) = ("a directory, because an entry lies in it".to_owned(), format!("a {got}"));
                return Err(Error::Inconsistent { path: display(path), expected, got });
            }
        }
        self.last_parent = Some((path.to_vec(), here));
        Ok(here)
    }

    fn check(&self, path: &SafePath) -> Result<(), Error> {
        let (limits, len, depth) = (&self.limits, path.as_bytes().len() as u64, path.components().count() as u64);
        if len > limits.path {
            return Err(Error::Limit { what: "path length", limit: limits.path, asked: len });
        }
        if depth > limits.depth {
            return Err(Error::Limit { what: "directory depth", limit: limits.depth, asked: depth });
        }
        Ok(())
    }

    fn push(&mut self, node: Node) -> Result<u32, Error> {
        let asked = self.nodes.len() as u64;
        let limit = self.limits.entries.min(u64::from(u32::MAX));
        let number = u32::try_from(asked).ok().filter(|_| asked <= limit);
        let number = number.ok_or(Error::Limit { what: "entries", limit, asked })?;
        self.nodes.push(node);
        Ok(number)
    }

    fn push_child(&mut self, parent: u32, name: &[u8], node: u32) {
        let name_at = self.arena.len() as u64;
        self.arena.extend_from_slice(name);
        // A name has at most 255 bytes, and there are never more names than entries.
        let name_len = u32::try_from(name.len()).unwrap_or_default();
        let number = u32::try_from(self.children.len()).unwrap_or(u32::MAX);
        self.children.push(Child { parent, node, name_len, name_at });
        if let Some(directory) = self.node_mut(parent) {
            directory.size = directory.size.saturating_add(1);
        }
        let (children, arena, hasher) = (&self.children, &self.arena, &self.hasher);
        let rehash = |&child: &u32| {
            let key =
                children.get(child as usize).map(|child| (child.parent, slice(arena, child.name_at, child.name_len)));
            hasher.hash_one(key.unwrap_or_default())
        };
        self.table.insert_unique(hasher.hash_one((parent, name)), number, rehash);
    }

    fn find(&self, parent: u32, name: &[u8]) -> Option<u32> {
        let same = |&child: &u32| {
            self.child(child).is_some_and(|child| {
                child.parent == parent && slice(&self.arena, child.name_at, child.name_len) == name
            })
        };
        self.table.find(self.hasher.hash_one((parent, name)), same).copied()
    }

    /// Gives a directory the attributes of a later entry; its children stay.
    fn describe(&mut self, number: u32, node: Node) {
        if let Some(old) = self.node_mut(number) {
            *old = Node { size: old.size, data: old.data, links: old.links, ..node };
        }
    }

    fn intern_owner(&mut self, header: &Header) -> u32 {
        let same = |owner: &OwnerNames| *owner.0 == *header.user && *owner.1 == *header.group;
        // Archives have few owners, and neighbours mostly share theirs.
        let known = self.owners.iter().rev().take(64).position(same);
        let number = match known {
            Some(back) => self.owners.len().saturating_sub(1).saturating_sub(back),
            None => {
                self.owners.push((header.user.as_slice().into(), header.group.as_slice().into()));
                self.owners.len().saturating_sub(1)
            }
        };
        u32::try_from(number).unwrap_or_default()
    }

    fn child(&self, child: u32) -> Option<&Child> {
        self.children.get(child as usize)
    }

    fn node_mut(&mut self, node: u32) -> Option<&mut Node> {
        self.nodes.get_mut(node as usize)
    }

    fn kind(&self, node: u32) -> Kind {
        self.nodes.get(node as usize).map_or(Kind::Directory, |node| node.kind)
    }
}

impl Node {
    /// A directory without an entry of its own.
    const fn implicit() -> Self {
        Self {
            kind: Kind::Directory,
            mode: 0o755,
            links: 2,
            uid: 0,
            gid: 0,
            mtime_secs: 0,
            mtime_nanos: u32::MAX,
            is_implied: true,
            owner: 0,
            size: 0,
            data: 0,
        }
    }

    fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    pub(super) fn device(&self) -> (u32, u32) {
        if !matches!(self.kind, Kind::CharDevice | Kind::BlockDevice) {
            return (0, 0);
        }
        let half = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
        (half(self.data >> 32), half(self.data))
    }
}

fn slice(arena: &[u8], at: u64, len: u32) -> &[u8] {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    arena.get(at..at.saturating_add(len as usize)).unwrap_or_default()
}

pub(super) fn id(number: u32) -> NodeId {
    NodeId::new(u64::from(number).saturating_add(1))
}

fn number(node: NodeId) -> Option<u32> {
    u32::try_from(node.get().checked_sub(1)?).ok()
}
