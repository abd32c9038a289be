//! The directory that an extraction is confined to.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::options::Existing;
use crate::{Error, confine::retry};

/// The directory to extract to.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "closed: a name or a descriptor")]
pub enum Destination {
    /// A directory of the host, created together with its parents if it does not exist. The path itself is the caller's
    /// and may lead through symlinks.
    Path(PathBuf),
    /// An open directory.
    Fd(OwnedFd),
}

impl From<&Path> for Destination {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<PathBuf> for Destination {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&PathBuf> for Destination {
    fn from(path: &PathBuf) -> Self {
        Self::Path(path.clone())
    }
}

impl From<OwnedFd> for Destination {
    fn from(fd: OwnedFd) -> Self {
        Self::Fd(fd)
    }
}

impl Destination {
    /// An open directory, empty unless it may hold something.
    pub(super) fn open(self, existing: Existing) -> Result<OwnedFd, Error> {
        let (fd, name) = match self {
            Self::Fd(fd) => (fd, ".".to_owned()),
            Self::Path(path) => {
                let name = path.display().to_string();
                let failed = |action, source: io::Error| Error::Io { action, path: name.clone(), source };
                std::fs::create_dir_all(&path).map_err(|source| failed("create", source))?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let fd = retry(|| rustix::fs::open(&path, flags, Mode::empty()));
                (fd.map_err(|source| failed("open", source.into()))?, name)
            }
        };
        if existing == Existing::Refuse {
            let failed = |source: Errno| Error::Io { action: "list", path: name.clone(), source: source.into() };
            for entry in rustix::fs::Dir::read_from(&fd).map_err(failed)? {
                if !matches!(entry.map_err(failed)?.file_name().to_bytes(), b"." | b"..") {
                    return Err(Error::Refused { path: name, reason: "the destination is not empty".to_owned() });
                }
            }
        }
        Ok(fd)
    }
}
