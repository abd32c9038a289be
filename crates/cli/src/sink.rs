//! Where a conversion goes: standard output, or a file that appears whole or not at all.
//!
//! The file has no name until it is complete (`O_TMPFILE`), so that even a killed run leaves nothing. Then it is flushed
//! to disk, named, and its directory is flushed. Where the file system cannot do that, a temporary name stands in.

use std::{
    fs::{File, Permissions},
    io::{self, IsTerminal, Seek, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::{FileTypeExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use anyhow::{Context as _, Result};
use dunnage_digest::ErrorKind;
use dunnage_estargz::Restart;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags},
    io::Errno,
};

use crate::{context::usage, exit::Failure, print::stdout_file};

/// Where a conversion goes.
#[derive(Debug)]
pub(crate) struct Sink {
    name: String,
    /// Directory and name of a file that does not exist yet; nothing if the sink is written to as it is.
    place: Option<Place>,
    file: File,
    temporary: Option<tempfile::TempPath>,
    /// Bytes written since the last flush was asked for.
    unflushed: usize,
    flusher: Option<Flusher>,
}

#[derive(Debug)]
struct Place {
    dir: PathBuf,
    path: PathBuf,
    clobber: Clobber,
}

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clobber {
    Replace,
    Refuse,
}

impl Sink {
    /// Standard output for `-`. A device or a FIFO is written to as it is; a symlink to a file is followed.
    pub(crate) fn create(dest: &Path, clobber: Clobber) -> Result<Self> {
        if is_stdout(dest) {
            if io::stdout().is_terminal() {
                return Err(usage("standard output is a terminal", "redirect it, or name a file"));
            }
            let file = stdout_file()?;
            return Ok(Self::new("standard output".to_owned(), None, file, None));
        }
        let name = format!("`{}`", dest.display());
        let failed = || format!("cannot create {name}");
        let path = match std::fs::metadata(dest) {
            Ok(found) if found.is_dir() => {
                return Err(usage(format!("{name} is a directory"), "name the file to write"));
            }
            Ok(_) if clobber == Clobber::Refuse => return Err(exists(&name)),
            Ok(found) if found.file_type().is_char_device() || found.file_type().is_fifo() => {
                let file = File::options().write(true).open(dest).with_context(failed)?;
                return Ok(Self::new(name, None, file, None));
            }
            Ok(_) => std::fs::canonicalize(dest).with_context(failed)?,
            Err(_) => dest.to_owned(),
        };
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        let nameless = rustix::fs::open(&dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::from(0o666));
        let (file, temporary) = match nameless {
            Ok(file) => (File::from(file), None),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let named = named(&dir).with_context(failed)?;
                let (file, temporary) = named.into_parts();
                (file, Some(temporary))
            }
            Err(error) => return Err(io::Error::from(error)).with_context(failed),
        };
        Ok(Self::new(name, Some(Place { dir, path, clobber }), file, temporary))
    }

    const fn new(name: String, place: Option<Place>, file: File, temporary: Option<tempfile::TempPath>) -> Self {
        Self { name, place, file, temporary, unflushed: 0, flusher: None }
    }

    /// How the sink is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Makes the file appear under its name, durably.
    pub(crate) fn commit(self) -> Result<()> {
        let Self { name, place, file, temporary, flusher, .. } = self;
        let Some(place) = place else { return Ok(()) };
        let failed = || format!("cannot write {name}");
        flusher.map_or(Ok(()), Flusher::finish).with_context(failed)?;
        file.sync_all().with_context(failed)?;
        let named = match temporary {
            Some(named) => Some(named),
            None => {
                let from = format!("/proc/self/fd/{}", file.as_raw_fd());
                match rustix::fs::linkat(CWD, &*from, CWD, &place.path, AtFlags::SYMLINK_FOLLOW) {
                    Ok(()) => None,
                    Err(Errno::EXIST) if place.clobber == Clobber::Refuse => return Err(exists(&name)),
                    // No file can be linked over another one: a name in passing, and a rename.
                    Err(Errno::EXIST) => Some(link(&place.dir, &from).with_context(failed)?),
                    Err(error) => return Err(io::Error::from(error)).with_context(failed),
                }
            }
        };
        if let Some(named) = named {
            match place.clobber {
                Clobber::Replace => named.persist(&place.path).map_err(|error| error.error).with_context(failed)?,
                Clobber::Refuse => match named.persist_noclobber(&place.path) {
                    Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(&name)),
                    other => other.map_err(|error| error.error).with_context(failed)?,
                },
            }
        }
        let dir = File::open(&place.dir).with_context(failed)?;
        // Some file systems do not flush directories; then there is nothing more to be done.
        match rustix::fs::fsync(dir.as_fd()) {
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(error) => Err(io::Error::from(error)).with_context(failed),
        }
    }
}

impl Restart for Sink {
    fn can_restart(&self) -> bool {
        self.place.is_some()
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()
    }
}

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = self.file.write(buf)?;
        self.unflushed = self.unflushed.saturating_add(len);
        if self.unflushed >= FLUSH && self.place.is_some() {
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

/// A flush is asked for once so many bytes were written.
const FLUSH: usize = 8 << 20;

/// Brings a file to disk while it is still being written, so that little is left to wait for at the end.
#[derive(Debug)]
struct Flusher {
    asks: mpsc::SyncSender<()>,
    thread: thread::JoinHandle<io::Result<()>>,
}

impl Flusher {
    /// Nothing if there is no thread to be had: then all is flushed at the end.
    fn start(file: &File) -> Option<Self> {
        let file = file.try_clone().ok()?;
        let (asks, asked) = mpsc::sync_channel(1);
        // The kernel tells a failed flush once. It must not be lost here, or the last flush would seem to succeed.
        let work = move || asked.into_iter().try_for_each(|()| file.sync_data());
        let thread = thread::Builder::new().name("dunnage-flush".to_owned()).spawn(work).ok()?;
        Some(Self { asks, thread })
    }

    fn ask(&self) {
        // If one is waiting already, it will flush these bytes too. If the thread failed, the end will tell.
        let _ = self.asks.try_send(());
    }

    fn finish(self) -> io::Result<()> {
        drop(self.asks);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the flushing thread died")))
    }
}

pub(crate) fn is_stdout(dest: &Path) -> bool {
    dest.as_os_str() == "-"
}

fn exists(name: &str) -> anyhow::Error {
    Failure::new(ErrorKind::Conflict, format!("{name} exists")).hint("leave --no-clobber out to replace it").into()
}

/// A temporary file with a name, removed when dropped.
fn named(dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    let permissions = Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(PREFIX).permissions(permissions).tempfile_in(dir).map_err(without_path)
}

/// The error of the operating system inside one of the `tempfile` crate, which names a path that nobody knows.
pub(crate) fn without_path(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|error| error.source()).and_then(|error| error.downcast_ref::<io::Error>());
    inner.and_then(io::Error::raw_os_error).map_or(error, io::Error::from_raw_os_error)
}

/// Gives the open file `from` a name in passing.
fn link(dir: &Path, from: &str) -> io::Result<tempfile::TempPath> {
    let make = |path: &Path| Ok(rustix::fs::linkat(CWD, from, CWD, path, AtFlags::SYMLINK_FOLLOW)?);
    Ok(tempfile::Builder::new().prefix(PREFIX).make_in(dir, make)?.into_temp_path())
}

const PREFIX: &str = ".dunnage-";

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("dest");
        let mut sink = Sink::create(&dest, Clobber::Replace).unwrap();
        sink.write_all(b"half").unwrap();
        assert!(!dest.exists());
        drop(sink);
        assert!(entries(dir.path()).is_empty());
        for content in ["first", "second"] {
            let mut sink = Sink::create(&dest, Clobber::Replace).unwrap();
            sink.write_all(b"begun").unwrap();
            sink.restart().unwrap();
            sink.write_all(content.as_bytes()).unwrap();
            sink.commit().unwrap();
            assert_eq!(std::fs::read_to_string(&dest).unwrap(), content);
            assert_eq!(entries(dir.path()), ["dest"]);
        }
        assert!(Sink::create(&dest, Clobber::Refuse).is_err());
    }

    #[test]
    fn a_file_that_turned_up_meanwhile_is_kept_if_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("dest");
        let sink = Sink::create(&dest, Clobber::Refuse).unwrap();
        std::fs::write(&dest, "other").unwrap();
        assert_eq!(sink.commit().unwrap_err().to_string(), format!("`{}` exists", dest.display()));
        assert_eq!(std::fs::read_to_string(&dest).unwrap(), "other");
        assert_eq!(entries(dir.path()), ["dest"]);
    }

    #[test]
    fn a_symlink_is_written_through_and_a_temporary_name_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        let mut sink = Sink::create(&link, Clobber::Replace).unwrap();
        let (file, temporary) = named(dir.path()).unwrap().into_parts();
        (sink.file, sink.temporary) = (file, Some(temporary));
        sink.write_all(b"new").unwrap();
        sink.commit().unwrap();
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "new");
        assert!(link.is_symlink());
        assert_eq!(entries(dir.path()), ["link", "real"]);
    }
}
