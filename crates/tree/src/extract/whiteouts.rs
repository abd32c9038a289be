//! Whiteouts applied to files that were in the destination before.

use rustix::{
    fs::{AtFlags, FileType, OFlags},
    io::Errno,
};

use super::unpack::{Unpacker, beneath};
use crate::{
    Error,
    confine::{self, THROUGH, retry},
    name::display,
    whiteout::Whiteout,
};

/// Work left to do on a path.
enum Step {
    Enter(Vec<u8>),
    Leave(Vec<u8>),
}

impl Unpacker<'_> {
    /// Applies a whiteout that stands in the directory `parent`.
    pub(super) fn white_out(&mut self, parent: &[u8], whiteout: Whiteout<'_>) -> Result<(), Error> {
        let mut steps = Vec::new();
        match whiteout {
            Whiteout::Bookkeeping => return Ok(()),
            Whiteout::Name(name) => steps.push(Step::Enter(join(parent, name))),
            Whiteout::Opaque => self.list(parent, &mut steps)?,
        }
        while let Some(step) = steps.pop() {
            self.progress.check()?;
            match step {
                Step::Enter(path) => self.enter(path, &mut steps)?,
                Step::Leave(path) if !self.made.contains_key(path.as_slice()) => {
                    self.remove(&path, AtFlags::REMOVEDIR)?
                }
                Step::Leave(_) => {}
            }
        }
        // The open parent may have been removed.
        self.parent = None;
        self.summary.whiteouts = self.summary.whiteouts.saturating_add(1);
        Ok(())
    }

    fn enter(&mut self, path: Vec<u8>, steps: &mut Vec<Step>) -> Result<(), Error> {
        let (parent, name) = split(&path);
        let stat = self.root.open_dir(parent, THROUGH).and_then(|dir| confine::stat(dir, name));
        let stat = match stat {
            Ok(stat) => stat,
            // There is nothing to remove.
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(beneath(&path, error)),
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let children = steps.len();
            self.list(&path, steps)?;
            steps.insert(children, Step::Leave(path));
        } else if !self.made.contains_key(path.as_slice()) {
            self.remove(&path, AtFlags::empty())?;
        }
        Ok(())
    }

    fn list(&self, path: &[u8], steps: &mut Vec<Step>) -> Result<(), Error> {
        let listed = self.root.open_dir(path, OFlags::RDONLY).and_then(rustix::fs::Dir::new);
        let listed = match listed {
            Ok(listed) => listed,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(beneath(path, error)),
        };
        for entry in listed {
            let entry = entry.map_err(|error| beneath(path, error))?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                steps.push(Step::Enter(join(path, name)));
            }
        }
        Ok(())
    }

    /// Unlinks `path`; a directory that holds something which this run made stays.
    fn remove(&mut self, path: &[u8], flags: AtFlags) -> Result<(), Error> {
        let (parent, name) = split(path);
        let dir = self.root.open_dir(parent, THROUGH).map_err(|error| beneath(path, error))?;
        match retry(|| rustix::fs::unlinkat(&dir, name, flags)) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(source) => Err(Error::Io { action: "remove", path: display(path), source: source.into() }),
        }
    }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let at = path.iter().rposition(|&byte| byte == b'/');
    let at = at.and_then(|at| Some((path.get(..at)?, path.get(at.checked_add(1)?..)?)));
    at.unwrap_or((&[], path))
}
