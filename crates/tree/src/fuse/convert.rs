//! Numbers, attributes and errors in the form of the kernel.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dunnage_digest::ErrorKind;
use fuser::{Errno, FileAttr, FileType, INodeNo};

use crate::{Attr, Error, Kind, NodeId};

/// Node numbers of a tree as inode numbers, and back.
///
/// The kernel knows the root as 1 and takes 0 for nothing, so the numbers of the tree that are in the way change places. No
/// tree counts up to the largest number there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    root: u64,
}

impl Numbers {
    pub(super) const fn new(root: NodeId) -> Self {
        Self { root: root.get() }
    }

    pub(super) const fn inode(self, node: NodeId) -> INodeNo {
        INodeNo(exchange(exchange(node.get(), self.root, 1), 0, u64::MAX))
    }

    pub(super) const fn node(self, inode: INodeNo) -> NodeId {
        NodeId::new(exchange(exchange(inode.0, 0, u64::MAX), self.root, 1))
    }
}

/// `number`, where `a` and `b` have changed places.
const fn exchange(number: u64, a: u64, b: u64) -> u64 {
    if number == a {
        b
    } else if number == b {
        a
    } else {
        number
    }
}

pub(super) const fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
    }
}

pub(super) fn attributes(ino: INodeNo, attr: &Attr) -> FileAttr {
    let time = attr.mtime.map_or(UNIX_EPOCH, |mtime| moment(mtime.secs, mtime.nanos));
    FileAttr {
        ino,
        size: attr.size.min(i64::MAX.unsigned_abs()),
        blocks: attr.size.div_ceil(u64::from(BLOCK)).saturating_mul(8),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(attr.kind),
        perm: attr.mode & 0o7777,
        nlink: attr.links.max(1),
        uid: id(attr.uid),
        gid: id(attr.gid),
        rdev: device(attr.device),
        blksize: BLOCK,
        flags: 0,
    }
}

/// The attributes of a node of which only the kind is known.
pub(super) const fn nameless(ino: INodeNo, kind: Kind) -> FileAttr {
    FileAttr {
        ino,
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: file_type(kind),
        perm: 0,
        nlink: 1,
        uid: NOBODY,
        gid: NOBODY,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

fn moment(secs: i64, nanos: u32) -> SystemTime {
    let whole = Duration::from_secs(secs.unsigned_abs());
    let second = if secs < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    second.and_then(|at| at.checked_add(Duration::from_nanos(u64::from(nanos)))).unwrap_or(UNIX_EPOCH)
}

/// Archives can hold numbers that no kernel accepts; those files belong to the user `nobody`.
fn id(id: i64) -> u32 {
    u32::try_from(id).ok().filter(|&id| id != u32::MAX).unwrap_or(NOBODY)
}

/// As the protocol packs device numbers: 12 bits of the major in the middle, the minor around it.
const fn device((major, minor): (u32, u32)) -> u32 {
    (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xf_ff00) << 12)
}

/// The errno that a program gets through a mount for content that could not be read, by the kind of the error.
///
/// A passed deadline is `ETIMEDOUT` and an interrupted read `EINTR`; everything else is `EIO`. It is never `ENOENT` or
/// `EACCES`: a program would take these for a file that does not exist, or that it may not read. Use it where another
/// server than [`Mount`](super::Mount) answers programs from a tree, so that both give the same answers.
#[must_use]
pub const fn errno_of(kind: ErrorKind) -> i32 {
    let errno = match kind {
        ErrorKind::Timeout => rustix::io::Errno::TIMEDOUT,
        ErrorKind::Cancelled => rustix::io::Errno::INTR,
        _ => rustix::io::Errno::IO,
    };
    errno.raw_os_error()
}

/// The errno for a failed read of content.
pub(super) fn content_errno(error: &Error) -> Errno {
    match error {
        Error::NoNode(_) | Error::WrongKind { .. } => errno(error),
        error => Errno::from_i32(errno_of(error.kind())),
    }
}

/// The errno for any other failed call of the tree. A tree on the disk of this machine passes the errno of the system on.
pub(super) fn errno(error: &Error) -> Errno {
    match error {
        Error::Io { source, .. } => source.raw_os_error().map_or(Errno::EIO, Errno::from_i32),
        Error::NotFound { .. } => Errno::ENOENT,
        Error::NoNode(_) => Errno::ESTALE,
        Error::WrongKind { expected: Kind::Directory, .. } => Errno::ENOTDIR,
        Error::WrongKind { got: Kind::Directory, .. } => Errno::EISDIR,
        Error::WrongKind { .. } => Errno::EINVAL,
        error => content_errno(error),
    }
}

const BLOCK: u32 = 4096;

/// The user `nobody`.
const NOBODY: u32 = 65534;

#[cfg(test)]
mod tests {
    use dunnage_digest::{Offset, SourceError};

    use super::*;

    #[test]
    fn content_that_cannot_be_read_is_an_io_error_unless_waiting_ended() {
        for &kind in ErrorKind::ALL {
            let expected = match kind {
                ErrorKind::Timeout => Errno::ETIMEDOUT,
                ErrorKind::Cancelled => Errno::EINTR,
                _ => Errno::EIO,
            };
            let source = || SourceError::new(kind, "no");
            let read = Error::Read { what: "content of a file", at: Offset::ZERO, source: source().into() };
            for error in [read, Error::Source { kind, source: Box::new(source()) }] {
                assert_eq!(content_errno(&error).code(), expected.code(), "{kind}");
                assert_eq!(errno(&error).code(), expected.code(), "{kind}");
            }
        }
        for number in [2, 13, 28] {
            let source = std::io::Error::from_raw_os_error(number);
            let error = Error::Io { action: "read", path: "x".to_owned(), source };
            assert_eq!((content_errno(&error).code(), errno(&error).code()), (Errno::EIO.code(), number));
        }
        assert_eq!(content_errno(&Error::NoNode(5)).code(), Errno::ESTALE.code());
    }

    #[test]
    fn the_root_is_inode_one_and_nothing_is_inode_zero() {
        for root in [0, 1, 2, 77, u64::MAX - 1] {
            let numbers = Numbers::new(NodeId::new(root));
            assert_eq!(numbers.inode(NodeId::new(root)), INodeNo::ROOT, "root {root}");
            assert_eq!(numbers.node(INodeNo::ROOT), NodeId::new(root));
            for node in [0, 1, 2, 3, 77, 1000, u64::MAX - 1] {
                let inode = numbers.inode(NodeId::new(node));
                assert_ne!(inode.0, 0, "node {node} below root {root}");
                assert_eq!(numbers.node(inode), NodeId::new(node), "node {node} below root {root}");
            }
        }
    }

    #[test]
    fn odd_values_are_brought_into_range() {
        assert_eq!((id(0), id(-1), id(1 << 40), id(u32::MAX.into())), (0, NOBODY, NOBODY, NOBODY));
        assert_eq!(device((8, 1)), 0x801);
        assert_eq!(device((0xfff, 0xf_ffff)), 0xffff_ffff);
        assert_eq!(moment(i64::MAX, 5), moment(i64::MAX, 5));
        assert_eq!(moment(-1, 500_000_000), UNIX_EPOCH - Duration::from_millis(500));
    }
}
