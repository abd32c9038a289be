//! Files that appear under their name whole or not at all.
//!
//! A new file has no name until it is complete (`O_TMPFILE`), so even a killed run leaves nothing. Then its bytes are
//! brought to disk, it gets its name, and the directory is flushed. Where the file system has no nameless files, a
//! temporary name that begins with `.dunnage-` stands in.

use std::{
    ffi::OsStr,
    fs::{File, Permissions},
    io::{self, Seek, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::Path,
    sync::mpsc,
    thread,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RenameFlags},
    io::Errno,
};

use crate::confine::retry;

/// A file that is being written and has no name yet. Dropping it removes the file.
///
/// Use it for every file that other processes may open while it is written, or that must survive a power failure after the
/// run reports success.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// Declared before `dir`: its path leads through that descriptor, so it has to be removed first.
    temporary: Option<tempfile::TempPath>,
    dir: OwnedFd,
    /// Permission bits to set before it gets its name.
    mode: Option<u32>,
    /// Bytes written since the last flush was requested.
    unflushed: usize,
    flusher: Option<Flusher>,
}

/// The fate of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: it is replaced or kept")]
pub enum SameName {
    /// The new file takes its place in one step.
    Replace,
    /// It stays, and naming the new file fails.
    Keep,
}

impl NewFile {
    /// A file that will get its name in the directory `dir`, with these permission bits but for those of the umask.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn create_in(dir: BorrowedFd<'_>, mode: u32) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let (file, temporary, mode) = match retry(|| rustix::fs::openat(dir, ".", flags, Mode::from(mode))) {
            Ok(file) => (File::from(file), None, None),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let (file, name) = named(dir)?;
                (file, Some(name), Some(mode & !umask()))
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { dir: dir.try_clone_to_owned()?, file, temporary, mode, unflushed: 0, flusher: None })
    }

    /// The same for the directory at a path.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn create_at(dir: &Path, mode: u32) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = retry(|| rustix::fs::open(dir, flags, Mode::empty()))?;
        Self::create_in(dir.as_fd(), mode)
    }

    /// The open file, for reading back the bytes written.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file exactly these permission bits, whatever the umask is, when it gets its name.
    pub const fn set_mode(&mut self, mode: u32) {
        self.mode = Some(mode);
    }

    /// Discards the bytes written.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()
    }

    /// Brings the bytes to disk and gives the file its name, then brings the name to disk.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`] with [`SameName::Keep`] if there is a file of that name; those of the system.
    pub fn commit(self, name: &OsStr, same_name: SameName) -> io::Result<()> {
        let dir = self.commit_unflushed(name, same_name)?;
        flush_dir(dir.as_fd())
    }

    /// As [`commit`](Self::commit), but leaves it to the caller to call [`flush_dir`] on the directory, once for several
    /// files.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub fn commit_unflushed(mut self, name: &OsStr, same_name: SameName) -> io::Result<OwnedFd> {
        self.flusher.take().map_or(Ok(()), Flusher::finish)?;
        if let Some(mode) = self.mode {
            self.file.set_permissions(Permissions::from_mode(mode))?;
        }
        self.file.sync_all()?;
        let Self { dir, file, temporary, .. } = self;
        give_name(dir.as_fd(), &file, temporary, name, same_name)?;
        Ok(dir)
    }
}

impl Write for NewFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = self.file.write(buf)?;
        self.unflushed = self.unflushed.saturating_add(len);
        if self.unflushed >= FLUSH {
            self.unflushed = 0;
            if self.flusher.is_none() {
                self.flusher = Flusher::start(&self.file);
            }
            if let Some(flusher) = &self.flusher {
                flusher.ask();
            }
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Brings the names in a directory to disk.
///
/// # Errors
///
/// Those of the system. A file system that does not flush directories is none.
pub fn flush_dir(dir: BorrowedFd<'_>) -> io::Result<()> {
    match retry(|| rustix::fs::fsync(dir)) {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A temporary file with a name, which is removed when it is dropped. Nobody else may read it before it has its own name.
fn named(dir: BorrowedFd<'_>) -> io::Result<(File, tempfile::TempPath)> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(PREFIX).permissions(Permissions::from_mode(0o600));
    Ok(builder.tempfile_in(proc_path(dir)).map_err(system_error)?.into_parts())
}

/// The bits that new files of this process do not get. Asking the system for them would change them for a moment.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o077)
}

fn give_name(
    dir: BorrowedFd<'_>,
    file: &File,
    temporary: Option<tempfile::TempPath>,
    name: &OsStr,
    same_name: SameName,
) -> io::Result<()> {
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |name: &OsStr| retry(|| rustix::fs::linkat(CWD, &*from, dir, name, AtFlags::SYMLINK_FOLLOW));
    let temporary = match temporary {
        Some(temporary) => temporary,
        None => match link(name) {
            Ok(()) => return Ok(()),
            // No file can be linked over another one, so it gets a temporary name and is renamed.
            Err(Errno::EXIST) if same_name == SameName::Replace => {
                let make = |path: &Path| link(path.file_name().unwrap_or_default()).map_err(io::Error::from);
                let made = tempfile::Builder::new().prefix(PREFIX).make_in(proc_path(dir), make);
                made.map_err(system_error)?.into_temp_path()
            }
            Err(error) => return Err(error.into()),
        },
    };
    let passing = temporary.file_name().unwrap_or_default().to_owned();
    match same_name {
        SameName::Replace => rustix::fs::renameat(dir, &passing, dir, name)?,
        SameName::Keep => match rustix::fs::renameat_with(dir, &passing, dir, name, RenameFlags::NOREPLACE) {
            // Not every file system can do that; there the file has two names for a moment.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(dir, &passing, dir, name, AtFlags::empty())?;
                return Ok(());
            }
            other => other?,
        },
    }
    // It was renamed, so there is nothing to remove.
    let _ = temporary.keep();
    Ok(())
}

fn proc_path(dir: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", dir.as_raw_fd())
}

/// The error of the system inside one of the `tempfile` crate, which names a path below `/proc` or in the folder for
/// temporary files.
pub(crate) fn system_error(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|error| error.source()).and_then(|error| error.downcast_ref::<io::Error>());
    inner.and_then(io::Error::raw_os_error).map_or(error, io::Error::from_raw_os_error)
}

/// Temporary names begin with this. Only a run that is killed leaves such a file.
const PREFIX: &str = ".dunnage-";

/// A flush is requested after this many bytes.
const FLUSH: usize = 8 << 20;

/// Brings a file to disk while it is still being written, so that little is left to do at the end.
#[derive(Debug)]
struct Flusher {
    asks: mpsc::SyncSender<()>,
    thread: thread::JoinHandle<io::Result<()>>,
}

impl Flusher {
    /// `None` if no thread can be started: then everything is flushed at the end.
    fn start(file: &File) -> Option<Self> {
        let file = file.try_clone().ok()?;
        let (asks, asked) = mpsc::sync_channel(1);
        // The kernel reports a failed flush once. If it were lost here, the last flush would seem to succeed.
        let work = move || asked.into_iter().try_for_each(|()| file.sync_data());
        let thread = thread::Builder::new().name("dunnage-flush".to_owned()).spawn(work).ok()?;
        Some(Self { asks, thread })
    }

    fn ask(&self) {
        // A flush that waits already covers these bytes. If the thread has failed, `finish` returns its error.
        let _ = self.asks.try_send(());
    }

    fn finish(self) -> io::Result<()> {
        drop(self.asks);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the flushing thread died")))
    }
}

/// The last name of a path, for [`NewFile::commit`].
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] for a path without one.
pub fn name_of(path: &Path) -> io::Result<&OsStr> {
    let name = path.file_name().filter(|name| !name.as_bytes().contains(&0));
    name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// A new file, with or without a temporary name.
    fn new_file(dir: &Path, is_named: bool) -> NewFile {
        let mut file = NewFile::create_at(dir, 0o666).unwrap();
        if is_named {
            let (named, temporary) = named(file.dir.as_fd()).unwrap();
            (file.file, file.temporary) = (named, Some(temporary));
        }
        file
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for is_named in [false, true] {
            let mut file = new_file(dir.path(), is_named);
            file.write_all(b"half").unwrap();
            assert!(!path.exists());
            drop(file);
            assert!(names(dir.path()).is_empty());
            for (same_name, fails) in [(SameName::Keep, false), (SameName::Replace, false), (SameName::Keep, true)] {
                let mut file = new_file(dir.path(), is_named);
                file.write_all(b"thrown away").unwrap();
                file.restart().unwrap();
                file.write_all(if fails { b"lost" } else { b"kept" }).unwrap();
                let result = file.commit(OsStr::new("file"), same_name);
                let kind = result.err().map(|error| error.kind());
                assert_eq!(kind, fails.then_some(io::ErrorKind::AlreadyExists), "{is_named}, {same_name:?}");
                assert_eq!(std::fs::read(&path).unwrap(), b"kept");
                assert_eq!(names(dir.path()), ["file"]);
            }
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_long_file_is_flushed_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = NewFile::create_at(dir.path(), 0o600).unwrap();
        for _ in 0..20 {
            file.write_all(&[7; 1 << 20]).unwrap();
        }
        assert!(file.flusher.is_some());
        file.commit(OsStr::new("long"), SameName::Keep).unwrap();
        let made = std::fs::metadata(dir.path().join("long")).unwrap();
        assert_eq!((made.len(), made.permissions().mode() & 0o777), (20 << 20, 0o600));
    }

    #[test]
    fn a_path_without_a_name_names_no_file() {
        assert_eq!(name_of(Path::new("a/b")).unwrap(), "b");
        for path in ["/", "..", "a/.."] {
            assert_eq!(name_of(Path::new(path)).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{path}");
        }
    }
}
