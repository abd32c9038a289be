//! Walking a tree, and finding a node by its path.
//!
//! The walk is depth first, parents before their children, names of one directory in bytewise order. It keeps a batch of
//! entries for each directory between the start and the current node, so its memory does not grow with the tree.

use std::ops::ControlFlow;

use crate::{Attr, Error, Kind, Limits, NodeId, Tree, name::display};

/// One node met by a [`Walk`], borrowed from it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Visit<'w> {
    /// Path from the start of the walk, without leading slash; empty for the start itself.
    pub path: &'w [u8],
    /// The node.
    pub node: NodeId,
    /// Its attributes.
    pub attr: Attr,
    /// Directories between the start and this node, the start included: 0 for the start itself.
    pub depth: u64,
}

impl Visit<'_> {
    /// Last name of the path; empty for the start of the walk.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }
}

/// One node met by a [`Walk`] that is used as an iterator.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Visited {
    /// Path from the start of the walk, without leading slash; empty for the start itself.
    pub path: Vec<u8>,
    /// The node.
    pub node: NodeId,
    /// Its attributes.
    pub attr: Attr,
}

/// A depth-first walk: [`advance`](Self::advance) lends each entry, the [`Iterator`] hands out owned ones.
///
/// Use it for paths and attributes; [`Entries`](crate::Entries) adds headers and content.
///
/// It ends after the first error.
#[derive(Debug)]
pub struct Walk<'t, T: Tree + ?Sized> {
    tree: &'t T,
    limits: Limits,
    /// Open directories, outermost first.
    frames: Vec<Frame>,
    /// Path of the current entry.
    path: Vec<u8>,
    /// The work of the next call.
    next: Next,
    seen: u64,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    /// Hand out the start of the walk.
    Start(NodeId),
    /// Go into the directory handed out last.
    Enter(NodeId),
    /// Go on with the directory that is open.
    Continue,
    Finished,
}

/// A directory that is being listed.
#[derive(Debug)]
struct Frame {
    dir: NodeId,
    /// Length of its path.
    path_len: usize,
    /// Names of the batch, one after the other.
    names: Vec<u8>,
    /// Nodes of the batch, each with the end of its name.
    batch: Vec<(NodeId, usize)>,
    /// Next of the batch.
    at: usize,
    /// Where its name starts.
    name_at: usize,
    /// Where listing goes on; `None` once the last batch was taken.
    from: Option<u64>,
}

impl<'t, T: Tree + ?Sized> Walk<'t, T> {
    /// A walk over all of `tree`, which hands out its root first.
    #[must_use]
    pub fn new(tree: &'t T) -> Self {
        Self::from(tree, tree.root())
    }

    /// A walk over `start`, which it hands out first, and the nodes below it. Paths are relative to `start`.
    #[must_use]
    pub fn from(tree: &'t T, start: NodeId) -> Self {
        let (limits, frames, path) = (Limits::default(), Vec::new(), Vec::new());
        Self { tree, limits, frames, path, next: Next::Start(start), seen: 0 }
    }

    /// With other ceilings: `entries`, `depth` and `path` are used.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Leaves out the nodes below the entry handed out last.
    pub const fn skip_children(&mut self) {
        if matches!(self.next, Next::Enter(_)) {
            self.next = Next::Continue;
        }
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] for too many entries, too deep a directory or too long a path; those of the tree.
    pub fn advance(&mut self) -> Result<Option<Visit<'_>>, Error> {
        match self.step() {
            Ok(Some((node, attr))) => {
                let depth = self.frames.len() as u64;
                Ok(Some(Visit { path: &self.path, node, attr, depth }))
            }
            other => {
                self.next = Next::Finished;
                self.frames.clear();
                other.map(|_| None)
            }
        }
    }

    fn step(&mut self) -> Result<Option<(NodeId, Attr)>, Error> {
        match std::mem::replace(&mut self.next, Next::Continue) {
            Next::Start(node) => return self.hand_out(node).map(Some),
            Next::Enter(dir) => {
                let depth = self.frames.len() as u64;
                if depth >= self.limits.depth {
                    let (limit, asked) = (self.limits.depth, depth.saturating_add(1));
                    return Err(Error::Limit { what: "directory depth", limit, asked });
                }
                self.frames.push(Frame::new(dir, self.path.len()));
            }
            Next::Continue => {}
            Next::Finished => return Ok(None),
        }
        while let Some(frame) = self.frames.last_mut() {
            self.path.truncate(frame.path_len);
            if let Some((name, node)) = frame.next(self.tree)? {
                if !self.path.is_empty() {
                    self.path.push(b'/');
                }
                self.path.extend_from_slice(name);
                let (limit, asked) = (self.limits.path, self.path.len() as u64);
                if asked > limit {
                    return Err(Error::Limit { what: "path length", limit, asked });
                }
                return self.hand_out(node).map(Some);
            }
            self.frames.pop();
        }
        Ok(None)
    }

    fn hand_out(&mut self, node: NodeId) -> Result<(NodeId, Attr), Error> {
        self.seen = self.seen.saturating_add(1);
        if self.seen > self.limits.entries {
            return Err(Error::Limit { what: "entries", limit: self.limits.entries, asked: self.seen });
        }
        let attr = self.tree.attr(node)?;
        if attr.kind == Kind::Directory {
            self.next = Next::Enter(node);
        }
        Ok((node, attr))
    }
}

impl<T: Tree + ?Sized> Iterator for Walk<'_, T> {
    type Item = Result<Visited, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let visit = self.advance().transpose()?;
        Some(visit.map(|visit| Visited { path: visit.path.to_vec(), node: visit.node, attr: visit.attr }))
    }
}

impl Frame {
    fn new(dir: NodeId, path_len: usize) -> Self {
        Self { dir, path_len, names: Vec::new(), batch: Vec::new(), at: 0, name_at: 0, from: Some(0) }
    }

    fn next<T: Tree + ?Sized>(&mut self, tree: &T) -> Result<Option<(&[u8], NodeId)>, Error> {
        if self.at >= self.batch.len() {
            self.fill(tree)?;
        }
        let Some(&(node, end)) = self.batch.get(self.at) else { return Ok(None) };
        let name = self.names.get(self.name_at..end).unwrap_or_default();
        self.at = self.at.saturating_add(1);
        self.name_at = end;
        Ok(Some((name, node)))
    }

    fn fill<T: Tree + ?Sized>(&mut self, tree: &T) -> Result<(), Error> {
        (self.at, self.name_at) = (0, 0);
        self.names.clear();
        self.batch.clear();
        let Some(from) = self.from.take() else { return Ok(()) };
        let (names, batch, resume) = (&mut self.names, &mut self.batch, &mut self.from);
        tree.read_dir(self.dir, from, &mut |entry| {
            names.extend_from_slice(entry.name);
            batch.push((entry.node, names.len()));
            if batch.len() >= BATCH {
                *resume = Some(entry.next);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
    }
}

/// Entries taken from a directory at once.
const BATCH: usize = 2048;

/// The symlinks that [`resolve`] follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: the three ways there are")]
pub enum Follow {
    /// None is followed: one in the middle of the path is an error, one at its end is the result.
    #[default]
    Never,
    /// Those in the middle are followed, one at the end is the result.
    Parents,
    /// All are followed.
    Always,
}

/// The node that `path` leads to.
///
/// Leading, doubled and trailing slashes and `.` are ignored; `..` goes up, never above the root. Symlinks that are
/// followed start from the root of the tree if they are absolute, never from that of the host.
///
/// # Errors
///
/// [`Error::NotFound`] if a name does not exist or its parent is not a directory; [`Error::Limit`] after 40 symlinks; those of the tree.
pub fn resolve<T: Tree + ?Sized>(tree: &T, path: &[u8], follow: Follow) -> Result<NodeId, Error> {
    let not_found = || Error::NotFound { path: display(path) };
    // Directories from below the root down to the current node, then the node itself.
    let mut stack: Vec<NodeId> = Vec::new();
    // Names still to go, innermost first.
    let mut ahead: Vec<Vec<u8>> = Vec::new();
    push_names(&mut ahead, path);
    let mut links: u64 = 0;
    while let Some(name) = ahead.pop() {
        let here = stack.last().copied().unwrap_or_else(|| tree.root());
        if name == b".." {
            stack.pop();
            continue;
        }
        if tree.attr(here)?.kind != Kind::Directory {
            return Err(not_found());
        }
        let node = tree.lookup(here, &name)?.ok_or_else(not_found)?;
        let follows = match follow {
            Follow::Never => false,
            Follow::Parents => !ahead.is_empty(),
            Follow::Always => true,
        };
        if !follows || tree.attr(node)?.kind != Kind::Symlink {
            stack.push(node);
            continue;
        }
        links = links.saturating_add(1);
        if links > SYMLINK_FOLLOW {
            return Err(Error::Limit { what: "symlinks in one path", limit: SYMLINK_FOLLOW, asked: links });
        }
        let target = tree.read_link(node)?;
        if target.first() == Some(&b'/') {
            stack.clear();
        }
        push_names(&mut ahead, &target);
    }
    Ok(stack.last().copied().unwrap_or_else(|| tree.root()))
}

fn push_names(ahead: &mut Vec<Vec<u8>>, path: &[u8]) {
    let names = path.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    ahead.extend(names.rev().map(<[u8]>::to_vec));
}

/// As the kernel has it.
const SYMLINK_FOLLOW: u64 = 40;
