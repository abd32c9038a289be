//! Files that get their name when they are whole, in directories below one that everything stays in.
//!
//! Paths are made of constants and of the hex digits of parsed digests, never of text out of a document.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use dunnage_tree::Root;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RenameFlags},
    io::{Errno, retry_on_intr},
};

/// The directory at `path` below `root`, made if it does not exist. Whether it was.
pub(crate) fn make_dir(root: &Root, path: &str) -> io::Result<(OwnedFd, bool)> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let dir = root.directory(parent.as_bytes())?;
    let made = match retry_on_intr(|| rustix::fs::mkdirat(&dir, name, Mode::from(0o777))) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(error.into()),
    };
    Ok((root.directory(path.as_bytes())?, made))
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

#[cfg(test)]
mod tests {
    use std::{io::Write, os::fd::AsFd};

    use super::*;

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
