//! The trait of read-only file trees.
//!
//! The trait is small, object-safe and shaped for a file server: any number of threads read at once through a shared
//! reference, nodes are numbers, and no call allocates on behalf of the caller. Names are bytes.

use std::{
    borrow::Cow,
    fmt,
    ops::{ControlFlow, Range},
    os::fd::OwnedFd,
};

use dunnage_digest::ReadRequest;

use crate::Error;

/// Number of a node, stable for the life of its tree and equal for hard links to one file. Always below 2^63: views such as
/// [`OverlayfsLayer`](crate::OverlayfsLayer) use the highest bit for nodes of their own.
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

/// The sort of a node.
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

impl Mtime {
    /// The nearest whole second, half a second rounded up: what a format shows that holds no more.
    #[must_use]
    pub const fn rounded(self) -> i64 {
        if self.nanos >= 500_000_000 { self.secs.saturating_add(1) } else { self.secs }
    }
}

/// Attributes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "format crates fill it field by field")]
pub struct Attr {
    /// The sort of node.
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
    /// Of a file, how many names lead to it. Of a directory, 2 + its child directories where the tree knows that number
    /// without listing the directory, and 1 elsewhere, which programs such as `find` take for "unknown". No tree counts for
    /// this field alone.
    pub links: u32,
    /// Major and minor number of a device; (0, 0) for everything else.
    pub device: (u32, u32),
    /// Whether the source has no entry for this directory: only entries below it imply that it is there. Mode, owner and
    /// time are then defaults that state nothing about it.
    pub is_implied: bool,
}

/// How much a tree holds, as `statfs` reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "format crates fill it field by field")]
pub struct Usage {
    /// Bytes of all files.
    pub bytes: u64,
    /// Nodes of all kinds.
    pub nodes: u64,
}

/// A run of bytes in the content of a file, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: bytes or a hole")]
pub enum Span {
    /// Bytes to be read, which may be zeros too.
    Data(u64),
    /// Zeros that are not stored.
    Hole(u64),
}

impl Span {
    /// Bytes of the run.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no call of this crate returns an empty span")]
    pub const fn len(self) -> u64 {
        match self {
            Self::Data(len) | Self::Hole(len) => len,
        }
    }
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
    /// Where listing goes on after this entry. Never 0, and always below 2^62.
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
    /// Sources that carry digests hand on verified bytes only. The request goes down to the source, so that a read over a
    /// network can be cancelled.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] if `node` is not a file; those of the source and of the request.
    fn read_at_for(&self, node: NodeId, at: u64, buf: &mut [u8], request: &ReadRequest<'_>) -> Result<usize, Error>;

    /// Reads for a caller that waits as long as it takes; see [`read_at_for`](Self::read_at_for).
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] if `node` is not a file; those of the source.
    fn read_at(&self, node: NodeId, at: u64, buf: &mut [u8]) -> Result<usize, Error> {
        self.read_at_for(node, at, buf, &ReadRequest::default())
    }

    /// The whole content of the file `node`, of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] for a longer file; as [`read_at_for`](Self::read_at_for).
    fn read_file(&self, node: NodeId, limit: u64) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        loop {
            let have = content.len();
            if have as u64 > limit {
                return Err(Error::Limit { what: "bytes of a file", limit, asked: have as u64 });
            }
            content.resize(have.saturating_add(READ_FILE_STEP), 0);
            let read = self.read_at(node, have as u64, content.get_mut(have..).unwrap_or_default())?;
            content.truncate(have.saturating_add(read));
            if read < READ_FILE_STEP && content.len() as u64 <= limit {
                return Ok(content);
            }
        }
    }

    /// The next range of the file `node` that may hold something else than zeros, at or after `at`; `Ok(None)` if the rest
    /// of the file is a hole. Bytes outside of all ranges are zeros, and need not be read. The default takes all of the
    /// file for data.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] if `node` is not a file; those of the source.
    fn data_from(&self, node: NodeId, at: u64) -> Result<Option<Range<u64>>, Error> {
        let attr = self.attr(node)?;
        if attr.kind != Kind::File {
            return Err(Error::WrongKind { expected: Kind::File, got: attr.kind });
        }
        Ok((at < attr.size).then_some(at..attr.size))
    }

    /// A descriptor of a host file that holds the content of the file `node` and nothing else; `Ok(None)` where there is
    /// no such file, which is the default. A holder of the descriptor reads without this tree.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] if `node` is not a file; those of the source.
    fn host_file(&self, node: NodeId) -> Result<Option<OwnedFd>, Error> {
        let _ = node;
        Ok(None)
    }

    /// Where the piece ends that the tree has to unpack as a whole to read the byte at `at` of the file `node`; `Ok(None)`
    /// after the end of the file, and where bytes can be read singly, which is the default. Answers at once, from memory.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] if `node` is not a file.
    fn piece_end(&self, node: NodeId, at: u64) -> Result<Option<u64>, Error> {
        let _ = (node, at);
        Ok(None)
    }

    /// Unpacks the piece that holds the byte at `at` of the file `node` and keeps it for a while, so that reads from it find
    /// it ready. Does nothing where there are no pieces, which is the default.
    ///
    /// # Errors
    ///
    /// As [`read_at_for`](Self::read_at_for).
    fn prepare(&self, node: NodeId, at: u64, request: &ReadRequest<'_>) -> Result<(), Error> {
        let _ = (node, at, request);
        Ok(())
    }

    /// How much the tree holds; `None` where it would have to be walked to find out, which is the default.
    fn usage(&self) -> Option<Usage> {
        None
    }
}

/// Bytes that [`Tree::read_file`] asks for at once.
const READ_FILE_STEP: usize = 256 << 10;

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

            fn read_at_for(
                &self,
                node: NodeId,
                at: u64,
                buf: &mut [u8],
                request: &ReadRequest<'_>,
            ) -> Result<usize, Error> {
                (**self).read_at_for(node, at, buf, request)
            }

            fn data_from(&self, node: NodeId, at: u64) -> Result<Option<Range<u64>>, Error> {
                (**self).data_from(node, at)
            }

            fn host_file(&self, node: NodeId) -> Result<Option<OwnedFd>, Error> {
                (**self).host_file(node)
            }

            fn piece_end(&self, node: NodeId, at: u64) -> Result<Option<u64>, Error> {
                (**self).piece_end(node, at)
            }

            fn prepare(&self, node: NodeId, at: u64, request: &ReadRequest<'_>) -> Result<(), Error> {
                (**self).prepare(node, at, request)
            }

            fn usage(&self) -> Option<Usage> {
                (**self).usage()
            }
        }
    )*};
}

forward!(&T, Box<T>, std::sync::Arc<T>);
