//! Descriptors below one directory, and nowhere else.
//!
//! Paths are resolved by `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS`. Where the kernel
//! or a system call filter does not offer it, one component at a time is opened with `O_NOFOLLOW`, which allows the same
//! and no more. No path of the host is ever put together.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

/// A directory that no path leads out of or through a symlink, whatever files it holds.
///
/// Use it to open files by names that come from a document or an archive.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    /// Set once the kernel said that it has no `openat2`.
    by_component: AtomicBool,
}

impl Root {
    pub(crate) const fn new(fd: OwnedFd) -> Self {
        Self { fd, by_component: AtomicBool::new(false) }
    }

    /// The directory at `path`, which is the caller's and may lead through symlinks.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::new(retry(|| rustix::fs::open(path, flags, Mode::empty()))?))
    }

    /// As on a kernel without `openat2`.
    #[cfg(test)]
    pub(crate) const fn without_openat2(fd: OwnedFd) -> Self {
        Self { fd, by_component: AtomicBool::new(true) }
    }

    /// The directory at `path` below this one, for reading.
    ///
    /// # Errors
    ///
    /// Those of the system: a symlink anywhere in `path` is one, and so is `..`.
    pub fn directory(&self, path: &[u8]) -> io::Result<OwnedFd> {
        Ok(self.open_dir(path, OFlags::RDONLY)?)
    }

    /// The regular file at `path` below this directory, for reading. A FIFO of that name does not block the caller.
    ///
    /// # Errors
    ///
    /// As [`directory`](Self::directory); [`io::ErrorKind::InvalidInput`] for anything but a regular file.
    pub fn file(&self, path: &[u8]) -> io::Result<File> {
        let file = File::from(self.open_below(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file)
    }

    /// Opens the directory at `path`, which has no `..`; the root itself for an empty one.
    ///
    /// A symlink anywhere in it is `ELOOP` or `ENOTDIR`.
    pub(crate) fn open_dir(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        self.open_below(path, flags | OFlags::DIRECTORY)
    }

    fn open_below(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let whole = if path.is_empty() { b".".as_slice() } else { path };
        if !self.by_component.load(Ordering::Relaxed) {
            match retry(|| rustix::fs::openat2(&self.fd, whole, flags, Mode::empty(), RESOLVE)) {
                Err(Errno::NOSYS | Errno::PERM) => self.by_component.store(true, Ordering::Relaxed),
                opened => return opened,
            }
        }
        let mut names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).peekable();
        if names.peek().is_none() {
            return retry(|| rustix::fs::openat(&self.fd, ".", flags, Mode::empty()));
        }
        let mut opened: Option<OwnedFd> = None;
        while let Some(name) = names.next() {
            if matches!(name, b"." | b"..") {
                return Err(Errno::XDEV);
            }
            let flags = if names.peek().is_some() { THROUGH } else { flags };
            let dir = opened.as_ref().unwrap_or(&self.fd);
            opened = Some(retry(|| rustix::fs::openat(dir, name, flags, Mode::empty()))?);
        }
        opened.ok_or(Errno::NOENT)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Only to find names in.
pub(crate) const THROUGH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_SYMLINKS);

/// Attributes of `name` in `dir`, without following it.
pub(crate) fn stat(dir: impl AsFd, name: &[u8]) -> Result<Stat, Errno> {
    retry(|| rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW))
}

/// Path of `name` in the open directory `dir`, for the calls that take nothing but paths and do not follow the last name.
pub(crate) fn proc_path(dir: impl AsFd, name: &[u8]) -> Vec<u8> {
    use std::os::fd::AsRawFd;
    let mut path = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd()).into_bytes();
    if !name.is_empty() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}

/// Again after a signal.
pub(crate) fn retry<V>(call: impl FnMut() -> Result<V, Errno>) -> Result<V, Errno> {
    rustix::io::retry_on_intr(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_allow_the_same() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("in/a/b")).unwrap();
        std::fs::create_dir(dir.path().join("out")).unwrap();
        std::fs::write(dir.path().join("in/file"), b"").unwrap();
        std::fs::write(dir.path().join("out/secret"), b"").unwrap();
        let fifo = dir.path().join("in/fifo");
        rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, Mode::from(0o600), 0).unwrap();
        for (target, link) in [
            ("file", "in/alias"),
            ("a", "in/inner"),
            ("../out", "in/outer"),
            ("/", "in/a/slash"),
            ("/proc/self/cwd", "in/magic"),
        ] {
            std::os::unix::fs::symlink(target, dir.path().join(link)).unwrap();
        }
        let open = || rustix::fs::open(dir.path().join("in"), OFlags::DIRECTORY, Mode::empty()).unwrap();
        for root in [Root::new(open()), Root::without_openat2(open())] {
            for good in ["", "a", "a/b"] {
                root.open_dir(good.as_bytes(), OFlags::RDONLY).unwrap();
                root.open_dir(good.as_bytes(), OFlags::PATH).unwrap();
            }
            for bad in [
                "inner",
                "outer",
                "a/slash",
                "magic",
                "inner/b",
                "outer/x",
                "a/slash/etc",
                "..",
                "a/../..",
                "file",
                "none",
            ] {
                let error = root.open_dir(bad.as_bytes(), OFlags::RDONLY).unwrap_err();
                let expected = [Errno::LOOP, Errno::NOTDIR, Errno::XDEV, Errno::NOENT];
                assert!(expected.contains(&error), "{bad}: {error}");
            }
            root.file(b"file").unwrap();
            for bad in ["", "a", "alias", "fifo", "../out/secret", "outer/secret", "none"] {
                assert!(root.file(bad.as_bytes()).is_err(), "{bad}");
            }
        }
    }
}
