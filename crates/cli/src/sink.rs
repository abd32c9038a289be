//! Where a conversion goes: standard output, or a file that appears whole or not at all.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use dunnage_digest::ErrorKind;
use dunnage_estargz::compose::Restart;
use dunnage_tree::{NewFile, SameName};

use crate::{
    failure::{Failure, usage},
    print::Product,
};

/// Where a conversion goes.
#[derive(Debug)]
pub(crate) struct Sink {
    name: String,
    to: To,
}

#[derive(Debug)]
enum To {
    Stdout(Product),
    /// A device or a FIFO, written to directly.
    Device(File),
    /// A file without a name so far, and the path that it will get.
    New {
        file: NewFile,
        path: PathBuf,
        clobber: Clobber,
    },
}

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clobber {
    Replace,
    Refuse,
}

impl Sink {
    /// Standard output for `-`. A device or a FIFO is written to directly; a symlink to a file is followed.
    pub(crate) fn create(dest: &Path, clobber: Clobber) -> Result<Self> {
        Self::of(dest, clobber, None)
    }

    fn of(dest: &Path, clobber: Clobber, bits: Option<u32>) -> Result<Self> {
        if is_stdout(dest) {
            if io::stdout().is_terminal() {
                return Err(usage("standard output is a terminal", "redirect it, or name a file"));
            }
            return Ok(Self { name: "standard output".to_owned(), to: To::Stdout(Product::stdout()?) });
        }
        let name = format!("`{}`", dest.display());
        let failed = || format!("cannot create {name}");
        let mut replaced = None;
        let path = match std::fs::metadata(dest) {
            Ok(found) if found.is_dir() => {
                return Err(usage(format!("{name} is a directory"), "name the file to write"));
            }
            Ok(_) if clobber == Clobber::Refuse => return Err(exists(&name)),
            Ok(found) if found.file_type().is_char_device() || found.file_type().is_fifo() => {
                let file = File::options().write(true).open(dest).with_context(failed)?;
                return Ok(Self { name, to: To::Device(file) });
            }
            Ok(found) => {
                replaced = Some(found.permissions().mode() & 0o7777);
                std::fs::canonicalize(dest).with_context(failed)?
            }
            Err(_) if dest.as_os_str().as_bytes().ends_with(b"/") => {
                return Err(usage(format!("{name} ends with a slash, so it is no file"), "name the file to write"));
            }
            Err(_) => dest.to_owned(),
        };
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let mut file = NewFile::create_at(dir, 0o666).with_context(failed)?;
        if let Some(mode) = replaced.or(bits) {
            file.set_mode(mode);
        }
        Ok(Self { name, to: To::New { file, path, clobber } })
    }

    /// The same for a new file that not everybody should read. One that replaces another has the bits of that one.
    pub(crate) fn create_with(dest: &Path, clobber: Clobber, bits: u32) -> Result<Self> {
        Self::of(dest, clobber, Some(bits))
    }

    /// How the sink is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Makes the file appear under its name, durably.
    pub(crate) fn commit(self) -> Result<()> {
        let Self { name, to } = self;
        let To::New { file, path, clobber } = to else { return Ok(()) };
        let failed = || format!("cannot write {name}");
        let last = dunnage_tree::name_of(&path).with_context(failed)?;
        let same_name = match clobber {
            Clobber::Replace => SameName::Replace,
            Clobber::Refuse => SameName::Keep,
        };
        match file.commit(last, same_name) {
            Err(error) if clobber == Clobber::Refuse && error.kind() == io::ErrorKind::AlreadyExists => {
                Err(exists(&name))
            }
            other => other.with_context(failed),
        }
    }
}

impl Restart for Sink {
    fn can_restart(&self) -> bool {
        matches!(self.to, To::New { .. })
    }

    fn restart(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::New { file, .. } => file.restart(),
            To::Stdout(_) | To::Device(_) => Err(io::ErrorKind::NotSeekable.into()),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.to {
            To::Stdout(out) => out.write(buf),
            To::Device(file) => file.write(buf),
            To::New { file, .. } => file.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Stdout(out) => out.flush(),
            To::Device(file) => file.flush(),
            To::New { file, .. } => file.flush(),
        }
    }
}

pub(crate) fn is_stdout(dest: &Path) -> bool {
    dest.as_os_str() == "-"
}

fn exists(name: &str) -> anyhow::Error {
    Failure::new(ErrorKind::Conflict, format!("{name} exists")).hint("leave --no-clobber out to replace it").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_turned_up_meanwhile_is_kept_if_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("dest");
        let sink = Sink::create(&dest, Clobber::Refuse).unwrap();
        std::fs::write(&dest, "other").unwrap();
        assert_eq!(sink.commit().unwrap_err().to_string(), format!("`{}` exists", dest.display()));
        assert_eq!(std::fs::read_to_string(&dest).unwrap(), "other");
    }

    #[test]
    fn a_symlink_is_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        let mut sink = Sink::create(&link, Clobber::Replace).unwrap();
        sink.write_all(b"new").unwrap();
        sink.commit().unwrap();
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "new");
        assert!(link.is_symlink());
    }
}
