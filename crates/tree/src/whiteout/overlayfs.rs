//! A layer in the form that overlayfs of the kernel reads: devices and attributes in place of whiteout names.
//!
//! | in the layer             | shown                                                                      |
//! |--------------------------|----------------------------------------------------------------------------|
//! | `.wh.NAME`               | `NAME`, a character device 0/0, unless the layer has a `NAME` of its own     |
//! | `.wh.NAME` and a `NAME/` | the directory, opaque: it replaces the one below                            |
//! | `.wh..wh..opq`           | the attribute `trusted.overlay.opaque` or `user.overlay.opaque`, `y`        |
//! | other names with `.wh.`  | nothing                                                                    |

use std::{
    borrow::Cow,
    fmt,
    ops::{ControlFlow, Range},
    os::fd::OwnedFd,
    sync::{Arc, PoisonError, RwLock},
};

use dunnage_digest::ReadRequest;
use hashbrown::HashSet;

use super::{Whiteout, parse_whiteout};
use crate::{
    Attr, DirEntry, DirVisitor, Error, Kind, NodeId, Owner, Tree, Usage, XattrVisitor,
    dir::listings::{Listed, Listings},
};

/// The attribute by which overlayfs knows a directory that hides those of lower layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: these are the attributes that overlayfs reads")]
pub enum OpaqueMark {
    /// `trusted.overlay.opaque`: overlayfs as root mounts it.
    #[default]
    Trusted,
    /// `user.overlay.opaque`: overlayfs with the option `userxattr`.
    User,
    /// Both.
    Both,
}

impl OpaqueMark {
    const fn names(self) -> &'static [&'static [u8]] {
        match self {
            Self::Trusted => &[b"trusted.overlay.opaque"],
            Self::User => &[b"user.overlay.opaque"],
            Self::Both => &[b"trusted.overlay.opaque", b"user.overlay.opaque"],
        }
    }
}

/// A layer, its whiteouts shown as overlayfs expects them.
///
/// Use it to mount one layer as a lower directory of overlayfs; [`Overlay`](crate::Overlay) stacks layers without it.
///
/// Nodes keep their numbers, which are below 2^63 in every tree. A whiteout has the number of its `.wh.` entry with the
/// highest bit set. Listing offsets of the layer, which are below 2^62 in every tree, are shifted by one bit; the free bit
/// marks offsets of listings that are made here. So one `OverlayfsLayer` cannot show another. A lister sees the whiteouts
/// that were there when it began.
pub struct OverlayfsLayer {
    tree: Arc<dyn Tree>,
    mark: OpaqueMark,
    /// Directories with whiteouts, as they are shown.
    listings: Listings,
    /// Directories met so far that have a whiteout of their own name beside them.
    replacing: RwLock<HashSet<NodeId>>,
}

impl OverlayfsLayer {
    /// Shows the whiteouts of `tree`, opaque directories by `mark`.
    pub fn new(tree: Arc<dyn Tree>, mark: OpaqueMark) -> Self {
        Self { tree, mark, listings: Listings::default(), replacing: RwLock::default() }
    }

    /// Whether a directory has entries that are not shown as they are.
    fn has_marks(&self, dir: NodeId) -> Result<bool, Error> {
        let mut has_marks = false;
        self.tree.read_dir(dir, 0, &mut |entry| {
            has_marks = entry.name.starts_with(PREFIX);
            // Names come in order, so none after the prefix begins with it.
            if has_marks || entry.name > PREFIX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(has_marks)
    }

    /// The names of a directory as they are shown, in bytewise order.
    fn list(&self, dir: NodeId) -> Result<Vec<Listed>, Error> {
        let (mut shown, mut gone) = (Vec::new(), Vec::new());
        self.tree.read_dir(dir, 0, &mut |entry| {
            match parse_whiteout(entry.name, entry.name) {
                Ok(None) => shown.push(Listed { name: entry.name.into(), node: entry.node, kind: entry.kind }),
                Ok(Some(Whiteout::Name(name))) => {
                    gone.push(Listed { name: name.into(), node: whiteout(entry.node), kind: Kind::CharDevice });
                }
                // A whiteout of an unsafe name removes nothing.
                Ok(Some(Whiteout::Opaque | Whiteout::Bookkeeping)) | Err(_) => {}
            }
            ControlFlow::Continue(())
        })?;
        // `shown` is in order, so a name of the layer's own is found by bisection.
        gone.retain(|gone: &Listed| match shown.binary_search_by(|own| own.name.cmp(&gone.name)) {
            Ok(at) => {
                if let Some(own) = shown.get(at).filter(|own| own.kind == Kind::Directory) {
                    self.replaces(own.node);
                }
                false
            }
            Err(_) => true,
        });
        shown.append(&mut gone);
        shown.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(shown)
    }

    fn replaces(&self, dir: NodeId) {
        self.replacing.write().unwrap_or_else(PoisonError::into_inner).insert(dir);
    }

    fn is_opaque(&self, node: NodeId) -> Result<bool, Error> {
        if self.tree.attr(node)?.kind != Kind::Directory {
            return Ok(false);
        }
        let replaces = self.replacing.read().unwrap_or_else(PoisonError::into_inner).contains(&node);
        Ok(replaces || self.tree.lookup(node, OPAQUE)?.is_some())
    }
}

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Set in the number of a whiteout. Numbers of all trees are below it.
const WHITEOUT: u64 = 1 << 63;

/// Set in offsets of listings made here; those without it are the tree's own.
///
/// So the offset alone decides where a lister goes on, even if the directory has changed since. Offsets of the tree are
/// below 2^62, so the shift loses no bit.
const MADE: u64 = 1;

const fn whiteout(node: NodeId) -> NodeId {
    NodeId::new(node.get() | WHITEOUT)
}

/// The `.wh.` entry that a whiteout was made of.
fn marker(node: NodeId) -> Option<NodeId> {
    (node.get() & WHITEOUT != 0).then(|| NodeId::new(node.get() & !WHITEOUT))
}

fn not_a(expected: Kind) -> Error {
    Error::WrongKind { expected, got: Kind::CharDevice }
}

impl Tree for OverlayfsLayer {
    fn root(&self) -> NodeId {
        self.tree.root()
    }

    fn attr(&self, node: NodeId) -> Result<Attr, Error> {
        let Some(marker) = marker(node) else { return self.tree.attr(node) };
        let mtime = self.tree.attr(marker)?.mtime;
        let (kind, device) = (Kind::CharDevice, (0, 0));
        Ok(Attr { kind, mode: 0, uid: 0, gid: 0, size: 0, mtime, links: 1, device, is_implied: false })
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error> {
        if marker(dir).is_some() {
            return Err(not_a(Kind::Directory));
        }
        if name.starts_with(PREFIX) {
            return Ok(None);
        }
        let own = self.tree.lookup(dir, name)?;
        // A caller looks a node up before it asks for its attributes.
        if let Some(own) = own
            && self.tree.attr(own)?.kind != Kind::Directory
        {
            return Ok(Some(own));
        }
        let gone = self.tree.lookup(dir, &[PREFIX, name].concat())?;
        if let (Some(own), Some(_)) = (own, gone) {
            self.replaces(own);
        }
        Ok(own.or(gone.map(whiteout)))
    }

    fn read_dir(&self, dir: NodeId, from: u64, visit: DirVisitor<'_>) -> Result<(), Error> {
        if marker(dir).is_some() {
            return Err(not_a(Kind::Directory));
        }
        let (from, is_made) = if from == 0 { (0, self.has_marks(dir)?) } else { (from >> 1, from & MADE != 0) };
        if is_made {
            return self.listings.read(dir, from, &|| self.list(dir), &mut |entry| {
                visit(DirEntry { next: (entry.next << 1) | MADE, ..entry })
            });
        }
        self.tree.read_dir(dir, from, &mut |entry| {
            // The whiteout is newer than this listing; the next listing shows it.
            if entry.name.starts_with(PREFIX) {
                return ControlFlow::Continue(());
            }
            visit(DirEntry { next: entry.next << 1, ..entry })
        })
    }

    fn read_link(&self, node: NodeId) -> Result<Cow<'_, [u8]>, Error> {
        if marker(node).is_some() { Err(not_a(Kind::Symlink)) } else { self.tree.read_link(node) }
    }

    fn xattrs(&self, node: NodeId, visit: XattrVisitor<'_>) -> Result<(), Error> {
        if marker(node).is_some() {
            return Ok(());
        }
        let mut marks = if self.is_opaque(node)? { self.mark.names() } else { &[] };
        let mut ended = false;
        self.tree.xattrs(node, &mut |name, value| {
            while let Some((mark, rest)) = marks.split_first().filter(|(mark, _)| **mark <= name) {
                marks = rest;
                if visit(mark, b"y").is_break() {
                    ended = true;
                    return ControlFlow::Break(());
                }
                if *mark == name {
                    return ControlFlow::Continue(());
                }
            }
            ended = visit(name, value).is_break();
            if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        for mark in marks.iter().filter(|_| !ended) {
            if visit(mark, b"y").is_break() {
                break;
            }
        }
        Ok(())
    }

    fn owner(&self, node: NodeId) -> Result<Owner<'_>, Error> {
        if marker(node).is_some() { Ok(Owner::default()) } else { self.tree.owner(node) }
    }

    fn read_at_for(&self, node: NodeId, at: u64, buf: &mut [u8], request: &ReadRequest<'_>) -> Result<usize, Error> {
        if marker(node).is_some() { Err(not_a(Kind::File)) } else { self.tree.read_at_for(node, at, buf, request) }
    }

    fn data_from(&self, node: NodeId, at: u64) -> Result<Option<Range<u64>>, Error> {
        if marker(node).is_some() { Err(not_a(Kind::File)) } else { self.tree.data_from(node, at) }
    }

    fn host_file(&self, node: NodeId) -> Result<Option<OwnedFd>, Error> {
        if marker(node).is_some() { Err(not_a(Kind::File)) } else { self.tree.host_file(node) }
    }

    fn piece_end(&self, node: NodeId, at: u64) -> Result<Option<u64>, Error> {
        if marker(node).is_some() { Err(not_a(Kind::File)) } else { self.tree.piece_end(node, at) }
    }

    fn prepare(&self, node: NodeId, at: u64, request: &ReadRequest<'_>) -> Result<(), Error> {
        if marker(node).is_some() { Err(not_a(Kind::File)) } else { self.tree.prepare(node, at, request) }
    }

    fn usage(&self) -> Option<Usage> {
        self.tree.usage()
    }
}

impl fmt::Debug for OverlayfsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlayfsLayer").field("tree", &self.tree).field("mark", &self.mark).finish_non_exhaustive()
    }
}
