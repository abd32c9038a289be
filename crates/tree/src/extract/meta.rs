//! Owners, attributes, modes and times, set on a node that was just made.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::{
    fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags},
    io::Errno,
};

use super::{
    options::{ExtractOptions, ExtractOwners, ExtractSetId, ExtractXattrs},
    summary::{DroppedPart, Extracted},
};
use crate::{
    Error, Mtime,
    confine::{proc_path, retry},
    name::display,
};

/// Attributes of an entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Meta {
    pub(super) mode: u16,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) mtime: Option<Mtime>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The node that they are set on.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A symlink, by its name in an open directory; never followed.
    Symlink(BorrowedFd<'a>, &'a [u8]),
    /// A FIFO or device opened with `O_PATH`.
    Special(BorrowedFd<'a>),
}

impl Meta {
    /// Sets all that the options let through. The owner comes first, because a change of owner takes away set-id bits and
    /// capabilities, and the mode after the attributes, because a read-only file takes no more of those.
    pub(super) fn apply(
        &self,
        subject: Subject<'_>,
        path: &[u8],
        options: &ExtractOptions,
        summary: &mut Extracted,
    ) -> Result<(), Error> {
        let failed = |action, source: Errno| Error::Io { action, path: display(path), source: source.into() };
        match options.owners {
            ExtractOwners::Keep => {
                let (uid, gid) = (number(self.uid, "owner", path)?, number(self.gid, "group", path)?);
                chown(subject, Uid::from_raw(uid), Gid::from_raw(gid))
                    .map_err(|error| failed("change owner of", error))?;
            }
            ExtractOwners::Caller => {
                let caller = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
                if (self.uid, self.gid) != (i64::from(caller.0), i64::from(caller.1)) {
                    summary.owners_dropped = summary.owners_dropped.saturating_add(1);
                }
            }
        }
        for (name, value) in &self.xattrs {
            let privileged = name.starts_with(b"trusted.") || name.starts_with(b"security.");
            let mut left_out = |reason| summary.drop_part(path, DroppedPart::Xattr(name.clone()), reason);
            if privileged && options.privileged_xattrs == ExtractXattrs::Drop {
                left_out("privileged attributes were not asked for");
                continue;
            }
            match set_xattr(subject, name, value) {
                Ok(()) => {}
                Err(Errno::NOTSUP) if !privileged => left_out("the destination does not support it"),
                Err(Errno::PERM) if !privileged => left_out("the destination does not allow it"),
                Err(error) => return Err(failed("set extended attributes of", error)),
            }
        }
        let mut mode = self.mode & 0o7777;
        if mode & 0o6000 != 0 && options.set_id == ExtractSetId::Drop {
            if !matches!(subject, Subject::Symlink(..)) {
                summary.drop_part(path, DroppedPart::SetId, "set-id bits were not asked for");
            }
            mode &= 0o1777;
        }
        chmod(subject, Mode::from_raw_mode(mode.into())).map_err(|error| failed("change mode of", error))?;
        if let Some(mtime) = self.mtime {
            set_mtime(subject, mtime).map_err(|error| failed("set time of", error))?;
        }
        Ok(())
    }
}

/// An owner as kernels take it; the highest number stands for "no change" and is no owner.
fn number(id: i64, what: &str, path: &[u8]) -> Result<u32, Error> {
    let id = u32::try_from(id).ok().filter(|&id| id != u32::MAX).ok_or(id);
    id.map_err(|id| Error::Refused {
        path: display(path),
        reason: format!("{what} {id} is beyond what a file can have"),
    })
}

fn chown(subject: Subject<'_>, uid: Uid, gid: Gid) -> Result<(), Errno> {
    match subject {
        Subject::Open(fd) => rustix::fs::fchown(fd, Some(uid), Some(gid)),
        Subject::Symlink(dir, name) => rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW),
        Subject::Special(fd) => rustix::fs::chownat(fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH),
    }
}

fn set_xattr(subject: Subject<'_>, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    let flags = XattrFlags::empty();
    match subject {
        Subject::Open(fd) => retry(|| rustix::fs::fsetxattr(fd, name, value, flags)),
        Subject::Symlink(dir, link) => retry(|| rustix::fs::lsetxattr(proc_path(dir, link), name, value, flags)),
        // The path names the open file itself, so following it leads nowhere else.
        Subject::Special(fd) => retry(|| rustix::fs::setxattr(proc_path(fd, b""), name, value, flags)),
    }
}

fn chmod(subject: Subject<'_>, mode: Mode) -> Result<(), Errno> {
    match subject {
        Subject::Open(fd) => retry(|| rustix::fs::fchmod(fd, mode)),
        Subject::Symlink(..) => Ok(()),
        Subject::Special(fd) => retry(|| rustix::fs::chmod(proc_path(fd, b""), mode)),
    }
}

fn set_mtime(subject: Subject<'_>, mtime: Mtime) -> Result<(), Errno> {
    // Higher numbers of nanoseconds have meanings of their own.
    let nanos = i64::from(mtime.nanos.min(999_999_999));
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: nanos },
    };
    match subject {
        Subject::Open(fd) => retry(|| rustix::fs::futimens(fd, &times)),
        Subject::Symlink(dir, name) => retry(|| rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)),
        Subject::Special(fd) => {
            retry(|| rustix::fs::utimensat(rustix::fs::CWD, proc_path(fd, b""), &times, AtFlags::empty()))
        }
    }
}

impl<'a> Subject<'a> {
    pub(super) fn open(fd: &'a impl AsFd) -> Self {
        Self::Open(fd.as_fd())
    }
}
