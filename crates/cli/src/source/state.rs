//! A state file of gVisor: one payload, and no files that a command could list.

use std::{fs::File, io::Read, sync::Arc};

use anyhow::Result;
use dunnage_digest::{ErrorKind, Offset, ReadAt};
use dunnage_statefile::MAGIC;
use dunnage_tree::Tree;

use super::Source;
use crate::{exit::Failure, progress::Progress};

/// A state file.
#[derive(Debug)]
pub(super) struct StateFile(File);

impl StateFile {
    /// The state file in `file` if it begins like one; the file again otherwise.
    pub(super) fn detect(file: File) -> Result<Result<Self, File>> {
        Ok(if begins_like_one(&file)? { Ok(Self(file)) } else { Err(file) })
    }
}

/// Whether the first bytes are those of a state file.
pub(crate) fn begins_like_one(file: &File) -> std::io::Result<bool> {
    let mut magic = [0; MAGIC.len()];
    if ReadAt::size(file)? < magic.len() as u64 {
        return Ok(false);
    }
    file.read_exact_at(Offset::new(0), &mut magic)?;
    Ok(magic == MAGIC)
}

fn no_files() -> anyhow::Error {
    Failure::new(ErrorKind::Unsupported, "a gVisor state file has a payload, and no files")
        .hint("`dunnage state` shows, checks and rewrites it; `dunnage state cat` writes its payload")
        .into()
}

impl Source for StateFile {
    fn format(&self) -> &'static str {
        "gVisor state file"
    }

    fn blob(&self) -> Option<&File> {
        Some(&self.0)
    }

    fn tree(&self) -> Result<Box<dyn Tree + '_>> {
        Err(no_files())
    }

    fn into_tree(self: Box<Self>) -> Result<Arc<dyn Tree>> {
        Err(no_files())
    }

    fn tar<'s>(&'s self, _: &'s Progress) -> Result<Box<dyn Read + 's>> {
        Err(no_files())
    }

    fn tar_total(&self) -> Option<u64> {
        None
    }

    fn state(&self) -> Option<&File> {
        Some(&self.0)
    }
}
