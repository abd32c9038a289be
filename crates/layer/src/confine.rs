//! Files below one directory, and nowhere else.
//!
//! A path is resolved by `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS`; where the kernel
//! does not offer that, one name at a time is opened with `O_NOFOLLOW`, which allows the same. Paths are made of constants
//! and of the hex digits of parsed digests, never of text out of a document. What is opened as a file has to be one: a
//! FIFO of that name does not keep anybody waiting.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, ResolveFlags},
    io::{Errno, retry_on_intr},
};

/// A directory that everything stays in.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
    /// Set once the kernel said that it has no `openat2`.
    by_name: AtomicBool,
}

impl Root {
    /// The path itself is the caller's and may lead through symlinks.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
        Ok(Self { fd, by_name: AtomicBool::new(false) })
    }

    fn open_below(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if !self.by_name.load(Ordering::Relaxed) {
            match retry_on_intr(|| rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), RESOLVE)) {
                Err(Errno::NOSYS | Errno::PERM) => self.by_name.store(true, Ordering::Relaxed),
                opened => return Ok(opened?),
            }
        }
        let mut names = path.split('/').peekable();
        let mut opened: Option<OwnedFd> = None;
        while let Some(name) = names.next() {
            if matches!(name, "" | "." | "..") {
                return Err(Errno::XDEV.into());
            }
            let flags = if names.peek().is_some() { THROUGH } else { flags };
            let dir = opened.as_ref().unwrap_or(&self.fd);
            opened = Some(retry_on_intr(|| rustix::fs::openat(dir, name, flags, Mode::empty()))?);
        }
        Ok(opened.ok_or(Errno::NOENT)?)
    }

    /// The regular file at `path`, for reading.
    pub(crate) fn open_file(&self, path: &str) -> io::Result<File> {
        let file = File::from(self.open_below(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file)
    }

    /// The directory at `path`, made if it does not exist. Whether it was.
    pub(crate) fn make_dir(&self, path: &str) -> io::Result<(OwnedFd, bool)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = if parent.is_empty() { None } else { Some(self.open_dir(parent)?) };
        let dir = parent.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
        let made = match retry_on_intr(|| rustix::fs::mkdirat(dir, name, Mode::from(0o777))) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        Ok((self.open_dir(path)?, made))
    }

    pub(crate) fn open_dir(&self, path: &str) -> io::Result<OwnedFd> {
        self.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A file in `dir` that has no name yet; or where the file system has no such files, one that nobody knows.
pub(crate) fn nameless(dir: BorrowedFd<'_>) -> io::Result<(File, Option<tempfile::TempPath>)> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match retry_on_intr(|| rustix::fs::openat(dir, ".", flags, Mode::from(0o666))) {
        Ok(file) => Ok((File::from(file), None)),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            let (file, name) = named(dir)?;
            Ok((file, Some(name)))
        }
        Err(error) => Err(error.into()),
    }
}

fn named(dir: BorrowedFd<'_>) -> io::Result<(File, tempfile::TempPath)> {
    use std::os::unix::fs::PermissionsExt as _;
    let permissions = std::fs::Permissions::from_mode(0o666);
    let named = tempfile::Builder::new().prefix(PREFIX).permissions(permissions).tempfile_in(proc_path(dir))?;
    Ok(named.into_parts())
}

/// Gives a file of [`nameless`] the name `name` in `dir`.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] with [`Existing::Keep`] if there is one of that name.
pub(crate) fn name_it(
    dir: BorrowedFd<'_>,
    file: &File,
    temporary: Option<tempfile::TempPath>,
    name: &str,
    existing: Existing,
) -> io::Result<()> {
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |name: &str| retry_on_intr(|| rustix::fs::linkat(CWD, &*from, dir, name, AtFlags::SYMLINK_FOLLOW));
    let temporary = match temporary {
        Some(temporary) => temporary,
        None => match link(name) {
            Ok(()) => return Ok(()),
            // No file can be linked over another one: a name in passing, and a rename.
            Err(Errno::EXIST) if existing == Existing::Replace => {
                let make = |path: &Path| {
                    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                    link(name).map_err(io::Error::from)
                };
                tempfile::Builder::new().prefix(PREFIX).make_in(proc_path(dir), make)?.into_temp_path()
            }
            Err(error) => return Err(error.into()),
        },
    };
    let in_passing = temporary.file_name().unwrap_or_default().to_owned();
    match existing {
        Existing::Replace => rustix::fs::renameat(dir, &in_passing, dir, name)?,
        Existing::Keep => match rustix::fs::renameat_with(dir, &in_passing, dir, name, RenameFlags::NOREPLACE) {
            // The file system cannot do that: two names for a moment are the next best.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(dir, &in_passing, dir, name, AtFlags::empty())?;
                return Ok(());
            }
            other => other?,
        },
    }
    // It has another name now, so there is nothing to be removed.
    let _ = temporary.keep();
    Ok(())
}

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Replace,
    Keep,
}

/// Brings names in a directory to disk. Some file systems do not flush directories; then there is nothing to be done.
pub(crate) fn flush_dir(dir: BorrowedFd<'_>) -> io::Result<()> {
    match retry_on_intr(|| rustix::fs::fsync(dir)) {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn proc_path(dir: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", dir.as_raw_fd())
}

/// What a run that is killed leaves behind where files need names begins like this.
const PREFIX: &str = ".dunnage-";

/// Only to find names in.
const THROUGH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_SYMLINKS);

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn nothing_outside_is_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("blobs/sha256")).unwrap();
        std::fs::write(root.join("blobs/sha256/file"), "x").unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        symlink("../../../secret", root.join("blobs/sha256/link")).unwrap();
        symlink("file", root.join("blobs/sha256/inner")).unwrap();
        symlink("sha256", root.join("blobs/other")).unwrap();
        rustix::fs::mknodat(CWD, root.join("blobs/fifo"), rustix::fs::FileType::Fifo, Mode::from(0o600), 0).unwrap();
        for by_name in [false, true] {
            let root = Root::open(&root).unwrap();
            root.by_name.store(by_name, Ordering::Relaxed);
            root.open_file("blobs/sha256/file").unwrap();
            for bad in [
                "blobs/sha256/link",
                "blobs/sha256/inner",
                "blobs/other/file",
                "../secret",
                "blobs/fifo",
                "blobs",
                "no",
            ] {
                assert!(root.open_file(bad).is_err(), "{bad}");
            }
            assert!(root.open_dir("blobs/other").is_err());
        }
    }

    #[test]
    fn files_get_their_names_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        for with_name in [false, true] {
            for (existing, fails) in [(Existing::Keep, false), (Existing::Replace, false), (Existing::Keep, true)] {
                let (mut file, temporary) = if with_name {
                    let (file, temporary) = named(root.as_fd()).unwrap();
                    (file, Some(temporary))
                } else {
                    nameless(root.as_fd()).unwrap()
                };
                file.write_all(if fails { b"lost" } else { b"kept" }).unwrap();
                let result = name_it(root.as_fd(), &file, temporary, "file", existing);
                let kind = result.err().map(|error| error.kind());
                assert_eq!(kind, fails.then_some(io::ErrorKind::AlreadyExists), "{with_name}, {existing:?}");
                assert_eq!((names(), std::fs::read(dir.path().join("file")).unwrap()), (1, b"kept".to_vec()));
            }
            std::fs::remove_file(dir.path().join("file")).unwrap();
        }
    }
}
