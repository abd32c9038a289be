//! What a read-only file tree is, whatever it is kept in.
//!
//! The trait is small, object-safe and shaped for a file server: any number of threads read at once through a shared
//! reference, nodes are numbers, and no call allocates on behalf of the caller. Names are bytes.

use std::{borrow::Cow, fmt, ops::ControlFlow, os::fd::OwnedFd};

use crate::Error;

/// Number of a node, stable for the life of its tree and equal for hard links to one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// The node with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What sort of node it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: these are the kinds of POSIX")]
#[expect(missing_docs, reason = "the kinds of POSIX, by their names")]
pub enum Kind {
    File,
    Directory,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        })
    }
}

/// A moment: seconds since 1970 (negative before) and nanoseconds after that second, below 1 000 000 000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "closed: a moment has no further parts")]
#[expect(missing_docs, reason = "the names say it")]
pub struct Mtime {
    pub secs: i64,
    pub nanos: u32,
}

/// Attributes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "format crates fill it field by field")]
pub struct Attr {
    /// What sort of node it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky: the low twelve bits, `0o7777`.
    pub mode: u16,
    /// Owner. Archives can hold numbers that no kernel accepts, even negative ones.
    pub uid: i64,
    /// Group.
    pub gid: i64,
    /// Length of a file or of a link target, in bytes; 0 for everything else.
    pub size: u64,
    /// Last change; `None` where the source does not say.
    pub mtime: Option<Mtime>,
    /// Names that lead here: hard links of a file, 2 + child directories of a directory.
    pub links: u32,
    /// Major and minor number of a device; (0, 0) for everything else.
    pub device: (u32, u32),
}

/// Owner names, where the source keeps them. They are text: never resolved through an account database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "closed: a file has one user and one group")]
#[expect(missing_docs, reason = "the names say it")]
pub struct Owner<'a> {
    pub user: Cow<'a, [u8]>,
    pub group: Cow<'a, [u8]>,
}

/// One name in a directory.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "format crates fill it field by field")]
pub struct DirEntry<'a> {
    /// The name: non-empty, without `/` or NUL, not `.` or `..`.
    pub name: &'a [u8],
    /// The node it leads to.
    pub node: NodeId,
    /// The sort of that node.
    pub kind: Kind,
    /// Where listing goes on after this entry.
    pub next: u64,
}

/// Takes the entries of a directory one by one, until it breaks.
pub type DirVisitor<'v> = &'v mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>;

/// Takes extended attributes (name, value) one by one, until it breaks.
pub type XattrVisitor<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// A read-only file tree.
///
/// Every format of the workspace implements this once; walking, exporting, extracting, comparing, stacking and mounting
/// are written once against it.
pub trait Tree: fmt::Debug + Send + Sync {
    /// The root directory.
    fn root(&self) -> NodeId;

    /// Attributes of `node`.
    ///
    /// # Errors
    ///
    /// [`Error::NoNode`] for a number this tree never gave out.
    fn attr(&self, node: NodeId) -> Result<Attr, Error>;

    /// The node that `name` leads to inside the directory `dir`; `Ok(None)` if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] if `dir` is not a directory.
    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error>;

    /// Hands the entries of `dir` to `visit`, in bytewise order of names, without `.` and `..`.
    ///
    /// Listing starts at the entry that `from` stands for: 0, or [`DirEntry::next`] of the last one handled. It ends early
    /// when `visit` breaks.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] if `dir` is not a directory.
    fn read_dir(&self, dir: NodeId, from: u64, visit: DirVisitor<'_>) -> Result<(), Error>;

    /// Target of a symlink, as it was stored.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] if `node` is not a symlink.
    fn read_link(&self, node: NodeId) -> Result<Cow<'_, [u8]>, Error>;

    /// Hands the extended attributes of `node` to `visit` (name, value), in bytewise order of names, until it breaks.
    ///
    /// # Errors
    ///
    /// Those of the source.
    fn xattrs(&self, node: NodeId, visit: XattrVisitor<'_>) -> Result<(), Error>;

    /// Owner names of `node`, empty where the source keeps none.
    ///
    /// # Errors
    ///
    /// Those of the source.
    fn owner(&self, node: NodeId) -> Result<Owner<'_>, Error> {
        let _ = node;
        Ok(Owner::default())
    }

    /// Reads from the file `node` at `at` until `buf` is full or the file ends; the number of bytes read.
    ///
    /// Sources that carry digests hand on verified bytes only.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] if `node` is not a file; those of the source.
    fn read_at(&self, node: NodeId, at: u64, buf: &mut [u8]) -> Result<usize, Error>;

    /// A descriptor of a host file that holds the content of the file `node` and nothing else; `Ok(None)` where there is
    /// no such file, which is the default. Whoever has it reads without this tree.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] if `node` is not a file; those of the source.
    fn host_file(&self, node: NodeId) -> Result<Option<OwnedFd>, Error> {
        let _ = node;
        Ok(None)
    }

    /// Where the piece of the file `node` ends that is unpacked as a whole to read the byte at `at`; `Ok(None)` behind the end, and
    /// where bytes can be read singly, which is the default. Answers at once, from memory.
    ///
    /// A tree that says so keeps what it has unpacked for a while, so that reading one byte of a piece readies all of it.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] if `node` is not a file.
    fn piece_end(&self, node: NodeId, at: u64) -> Result<Option<u64>, Error> {
        let _ = (node, at);
        Ok(None)
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: Tree + ?Sized> Tree for $pointer {
            fn root(&self) -> NodeId {
                (**self).root()
            }

            fn attr(&self, node: NodeId) -> Result<Attr, Error> {
                (**self).attr(node)
            }

            fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error> {
                (**self).lookup(dir, name)
            }

            fn read_dir(
                &self,
                dir: NodeId,
                from: u64,
                visit: DirVisitor<'_>,
            ) -> Result<(), Error> {
                (**self).read_dir(dir, from, visit)
            }

            fn read_link(&self, node: NodeId) -> Result<Cow<'_, [u8]>, Error> {
                (**self).read_link(node)
            }

            fn xattrs(
                &self,
                node: NodeId,
                visit: XattrVisitor<'_>,
            ) -> Result<(), Error> {
                (**self).xattrs(node, visit)
            }

            fn owner(&self, node: NodeId) -> Result<Owner<'_>, Error> {
                (**self).owner(node)
            }

            fn read_at(&self, node: NodeId, at: u64, buf: &mut [u8]) -> Result<usize, Error> {
                (**self).read_at(node, at, buf)
            }

            fn host_file(&self, node: NodeId) -> Result<Option<OwnedFd>, Error> {
                (**self).host_file(node)
            }

            fn piece_end(&self, node: NodeId, at: u64) -> Result<Option<u64>, Error> {
                (**self).piece_end(node, at)
            }
        }
    )*};
}

forward!(&T, Box<T>, std::sync::Arc<T>);
