//! The tree of a host directory.
//!
//! Nothing above the directory is reachable and no symlink is followed: every node is found again from an open
//! descriptor, and one that was exchanged for another since it was listed is an error, never the other one's content.
//! A node that is open, because it was read from or looked into lately, needs no name: it may be removed or replaced.

pub(crate) mod listings;
mod xattr;

use std::{
    borrow::Cow,
    fmt,
    ops::Range,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use dunnage_digest::ReadRequest;
use hashbrown::HashMap;
use rustix::{
    fs::{FileType, Mode, OFlags, SeekFrom, Stat},
    io::Errno,
};

use self::listings::{Listed, Listings};
use crate::{
    Attr, DirVisitor, Error, Kind, Mtime, NodeId, SafeName, Tree, Usage, XattrVisitor,
    cache::Cache,
    confine::{self, Root, THROUGH, retry},
    name::display,
};

/// A host directory as a [`Tree`].
///
/// Use it to export, compare or mount files of the host.
///
/// Node numbers are given out in the order in which nodes are met, the root first; hard links share one. Attributes are
/// as of the call. A directory's listing is taken anew when it is read from its start, and a reader that goes on in the
/// middle does so in the one that it began with. At most 128 descriptors are kept open.
pub struct DirTree {
    root: Root,
    nodes: RwLock<Nodes>,
    dirs: Cache<OwnedFd>,
    files: Cache<OwnedFd>,
    listings: Listings,
    /// Whether `/proc` is there, through which attributes of nodes that cannot be opened are read.
    proc: bool,
}

#[derive(Default)]
struct Nodes {
    /// Node `n` is found at `places[n - 1]`.
    places: Vec<Place>,
    by_inode: HashMap<Inode, u64>,
}

type Inode = (u64, u64);

/// Where a node was last seen.
#[derive(Clone)]
struct Place {
    parent: u64,
    name: Box<[u8]>,
    inode: Inode,
    is_file: bool,
}

impl DirTree {
    /// Opens the directory at `path`; the path itself may lead through symlinks.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is no directory or it may not be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source: Errno| io("open", path.display().to_string(), source);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry(|| rustix::fs::open(path, flags, Mode::empty())).map_err(failed)?;
        Self::from_fd(fd)
    }

    /// The tree of an open directory.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the descriptor cannot be examined.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Error> {
        let stat = rustix::fs::fstat(&fd).map_err(|source| io("examine", ".".to_owned(), source))?;
        let kind = kind(&stat);
        if kind != Kind::Directory {
            return Err(Error::WrongKind { expected: Kind::Directory, got: kind });
        }
        let mut nodes = Nodes::default();
        nodes.intern(ROOT, b".", inode(&stat), Kind::Directory);
        Ok(Self {
            root: Root::new(fd),
            nodes: RwLock::new(nodes),
            dirs: Cache::new(64),
            files: Cache::new(32),
            listings: Listings::default(),
            proc: retry(|| rustix::fs::stat("/proc/self/fd")).is_ok(),
        })
    }

    fn place(&self, node: NodeId) -> Result<Place, Error> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.place(node.get()).cloned().ok_or(Error::NoNode(node.get()))
    }

    /// Path of `node` below the root; empty for the root.
    fn path(&self, node: u64) -> Vec<u8> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = node;
        // A directory moved below its own descendant between two listings would make a circle of stale places.
        while at != ROOT && names.len() < 4096 {
            let Some(place) = nodes.place(at) else { break };
            names.push(&place.name);
            at = place.parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    fn failed(&self, action: &'static str, node: NodeId, source: Errno) -> Error {
        io(action, display(&self.path(node.get())), source)
    }

    /// A descriptor of the directory `node`, good for finding names in.
    fn dir(&self, node: NodeId) -> Result<Arc<OwnedFd>, Error> {
        if let Some(fd) = self.dirs.get(node.get()) {
            return Ok(fd);
        }
        let place = self.place(node)?;
        let opened = match self.dirs.get(place.parent) {
            Some(parent) => retry(|| rustix::fs::openat(&*parent, &*place.name, THROUGH, Mode::empty())),
            None => self.root.open_dir(&self.path(node.get()), THROUGH),
        };
        let opened = opened.and_then(|fd| Ok((rustix::fs::fstat(&fd)?, fd)));
        match opened {
            Ok((stat, fd)) if inode(&stat) == place.inode => Ok(self.dirs.put(node.get(), fd)),
            Ok(_) => Err(self.failed("find again", node, Errno::STALE)),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let got = self.attr(node)?.kind;
                Err(Error::WrongKind { expected: Kind::Directory, got })
            }
            Err(error) => Err(self.failed("open", node, error)),
        }
    }

    /// The directory that `node` lies in, and its place there.
    fn parent(&self, node: NodeId) -> Result<(Arc<OwnedFd>, Place), Error> {
        let place = self.place(node)?;
        Ok((self.dir(NodeId::new(place.parent))?, place))
    }

    /// Attributes of `node`, found by its name.
    fn stat(&self, node: NodeId) -> Result<Stat, Error> {
        let (parent, place) = self.parent(node)?;
        let stat = confine::stat(&*parent, &place.name).map_err(|error| self.failed("examine", node, error))?;
        if inode(&stat) != place.inode {
            return Err(self.failed("find again", node, Errno::STALE));
        }
        Ok(stat)
    }

    /// The descriptor of `node` that is open, if there is one. That of a directory is good for finding names in only.
    fn opened(&self, node: NodeId) -> Option<Arc<OwnedFd>> {
        self.files.get(node.get()).or_else(|| self.dirs.get(node.get()))
    }

    /// A descriptor of `node` that can be read from.
    fn open_node(&self, node: NodeId, flags: OFlags) -> Result<(Stat, OwnedFd), Error> {
        let (parent, place) = self.parent(node)?;
        // A file that became a FIFO meanwhile must not block us.
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = retry(|| rustix::fs::openat(&*parent, &*place.name, flags, Mode::empty()));
        let fd = fd.map_err(|error| self.failed("open", node, error))?;
        let stat = rustix::fs::fstat(&fd).map_err(|error| self.failed("examine", node, error))?;
        if inode(&stat) != place.inode {
            return Err(self.failed("find again", node, Errno::STALE));
        }
        Ok((stat, fd))
    }

    fn file(&self, node: NodeId) -> Result<Arc<OwnedFd>, Error> {
        if let Some(fd) = self.files.get(node.get()) {
            return Ok(fd);
        }
        let got = self.attr(node)?.kind;
        if got != Kind::File {
            return Err(Error::WrongKind { expected: Kind::File, got });
        }
        let (_, fd) = self.open_node(node, OFlags::empty())?;
        Ok(self.files.put(node.get(), fd))
    }

    /// The file `node`, opened for reading; `None` for other nodes and for a file that may not be read. It stays open for a
    /// while, so that a read which follows opens and examines nothing.
    fn file_if_readable(&self, node: NodeId) -> Option<Arc<OwnedFd>> {
        if let Some(fd) = self.files.get(node.get()) {
            return Some(fd);
        }
        // Opening a device could do something, so only a node that was listed as a file is opened.
        if !self.place(node).ok()?.is_file {
            return None;
        }
        let (stat, fd) = self.open_node(node, OFlags::empty()).ok()?;
        (kind(&stat) == Kind::File).then(|| self.files.put(node.get(), fd))
    }

    /// The names of a directory, in bytewise order.
    fn list(&self, node: NodeId) -> Result<Vec<Listed>, Error> {
        let dir = self.dir(node)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let failed = |error| self.failed("list", node, error);
        let fd = retry(|| rustix::fs::openat(&*dir, ".", flags, Mode::empty())).map_err(failed)?;
        let mut found: Vec<(Box<[u8]>, Stat)> = Vec::new();
        for entry in rustix::fs::Dir::new(fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            match confine::stat(&*dir, name) {
                Ok(stat) => found.push((name.into(), stat)),
                // Removed since it was listed.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let listing = found.into_iter().map(|(name, stat)| {
            let node = NodeId::new(nodes.intern(node.get(), &name, inode(&stat), kind(&stat)));
            Listed { name, node, kind: kind(&stat) }
        });
        Ok(listing.collect())
    }
}

impl Tree for DirTree {
    fn root(&self) -> NodeId {
        NodeId::new(ROOT)
    }

    fn attr(&self, node: NodeId) -> Result<Attr, Error> {
        if node.get() == ROOT {
            let stat = rustix::fs::fstat(&self.root).map_err(|error| self.failed("examine", node, error))?;
            return Ok(attr(&stat));
        }
        let error = match self.stat(node) {
            Ok(stat) => return Ok(attr(&stat)),
            Err(error) => error,
        };
        let open = self.opened(node).ok_or(error)?;
        let stat = rustix::fs::fstat(&*open).map_err(|error| self.failed("examine", node, error))?;
        Ok(attr(&stat))
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error> {
        let parent = self.dir(dir)?;
        if SafeName::new(name).is_err() {
            return Ok(None);
        }
        match confine::stat(&*parent, name) {
            Ok(stat) => {
                let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
                Ok(Some(NodeId::new(nodes.intern(dir.get(), name, inode(&stat), kind(&stat)))))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("look into", dir, error)),
        }
    }

    fn read_dir(&self, dir: NodeId, from: u64, visit: DirVisitor<'_>) -> Result<(), Error> {
        self.listings.read(dir, from, &|| self.list(dir), visit)
    }

    fn read_link(&self, node: NodeId) -> Result<Cow<'_, [u8]>, Error> {
        let got = self.attr(node)?.kind;
        if got != Kind::Symlink {
            return Err(Error::WrongKind { expected: Kind::Symlink, got });
        }
        let (parent, place) = self.parent(node)?;
        let target = rustix::fs::readlinkat(&*parent, &*place.name, Vec::new());
        Ok(Cow::Owned(target.map_err(|error| self.failed("read link", node, error))?.into_bytes()))
    }

    fn xattrs(&self, node: NodeId, visit: XattrVisitor<'_>) -> Result<(), Error> {
        let failed = |error| self.failed("read extended attributes of", node, error);
        if let Some(file) = self.file_if_readable(node) {
            return xattr::of_fd(&*file, visit).map_err(failed);
        }
        if self.proc {
            // A name could lead to another node by the time it is asked by: the descriptor that was checked is asked.
            let fd = match self.dirs.get(node.get()) {
                Some(dir) => dir,
                None => Arc::new(self.open_node(node, OFlags::PATH)?.1),
            };
            return xattr::of_path(&confine::proc_path(&*fd, b""), visit).map_err(failed);
        }
        match self.attr(node)?.kind {
            Kind::File => xattr::of_fd(&self.open_node(node, OFlags::empty())?.1, visit).map_err(failed),
            Kind::Directory => xattr::of_fd(&self.open_node(node, OFlags::DIRECTORY)?.1, visit).map_err(failed),
            _ => Ok(()),
        }
    }

    fn read_at_for(&self, node: NodeId, at: u64, buf: &mut [u8], _: &ReadRequest<'_>) -> Result<usize, Error> {
        let fd = self.file(node)?;
        let mut filled: usize = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let Some(from) = at.checked_add(filled as u64).filter(|&from| i64::try_from(from).is_ok()) else { break };
            match retry(|| rustix::io::pread(&*fd, &mut *rest, from)) {
                Ok(0) => break,
                Ok(read) => filled = filled.saturating_add(read),
                Err(error) => return Err(self.failed("read", node, error)),
            }
        }
        Ok(filled)
    }

    fn data_from(&self, node: NodeId, at: u64) -> Result<Option<Range<u64>>, Error> {
        let fd = self.file(node)?;
        let failed = |error| self.failed("look for holes in", node, error);
        if i64::try_from(at).is_err() {
            return Ok(None);
        }
        // Reads give their own offset, so the position of this descriptor is free to move.
        let start = match rustix::fs::seek(&*fd, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // The file system does not know.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                let size = self.attr(node)?.size;
                return Ok((at < size).then_some(at..size));
            }
            Err(error) => return Err(failed(error)),
        };
        let end = match rustix::fs::seek(&*fd, SeekFrom::Hole(start)) {
            Ok(end) => end,
            // It shrank in between.
            Err(Errno::NXIO) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        Ok(Some(start..end))
    }

    fn host_file(&self, node: NodeId) -> Result<Option<OwnedFd>, Error> {
        let fd = self.file(node)?.try_clone();
        fd.map(Some).map_err(|source| Error::Io { action: "open", path: display(&self.path(node.get())), source })
    }

    /// That of the whole file system that the directory lies in.
    fn usage(&self) -> Option<Usage> {
        let found = rustix::fs::fstatvfs(&self.root).ok()?;
        Some(Usage {
            bytes: found.f_blocks.saturating_sub(found.f_bfree).saturating_mul(found.f_frsize),
            nodes: found.f_files.saturating_sub(found.f_ffree),
        })
    }
}

impl fmt::Debug for DirTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirTree").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Nodes {
    fn place(&self, node: u64) -> Option<&Place> {
        self.places.get(usize::try_from(node.checked_sub(1)?).ok()?)
    }

    /// The number of the node with this identity, which was seen as `name` in `parent`.
    fn intern(&mut self, parent: u64, name: &[u8], inode: Inode, kind: Kind) -> u64 {
        let new = (self.places.len() as u64).saturating_add(1);
        let number = *self.by_inode.entry(inode).or_insert(new);
        if number == new {
            self.places.push(Place { parent, name: name.into(), inode, is_file: kind == Kind::File });
        } else if number != ROOT {
            // The newest place is the likeliest to be still there.
            let index = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
            if let Some(place) = self.places.get_mut(index)
                && (place.parent != parent || *place.name != *name)
            {
                (place.parent, place.name) = (parent, name.into());
            }
        }
        number
    }
}

fn inode(stat: &Stat) -> Inode {
    (stat.st_dev, stat.st_ino)
}

fn kind(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        _ => Kind::File,
    }
}

fn attr(stat: &Stat) -> Attr {
    let kind = kind(stat);
    let device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    let sized = matches!(kind, Kind::File | Kind::Symlink);
    Attr {
        kind,
        mode: u16::try_from(stat.st_mode & 0o7777).unwrap_or_default(),
        uid: i64::from(stat.st_uid),
        gid: i64::from(stat.st_gid),
        size: if sized { u64::try_from(stat.st_size).unwrap_or_default() } else { 0 },
        mtime: Some(Mtime { secs: stat.st_mtime, nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or_default() }),
        links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        device: if device { (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) } else { (0, 0) },
        is_implied: false,
    }
}

fn io(action: &'static str, path: String, source: Errno) -> Error {
    Error::Io { action, path, source: source.into() }
}

/// Number of the root, which is met first.
const ROOT: u64 = 1;
