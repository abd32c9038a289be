//! A tar, plain or compressed with gzip or zstd.

use std::{
    fs::File,
    io::Read,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use dunnage_digest::{Cursor, ErrorKind, ReadAt};
use dunnage_estargz::Packing;
use dunnage_tree::{
    Limits, Tree,
    tar::{self, Header, TarTree},
};

use super::{Source, keep};
use crate::{context::Context, exit::Failure, progress::Progress};

/// A tar, plain or compressed.
pub(super) struct Archive {
    packing: Packing,
    from: From,
    limits: Limits,
}

enum From {
    File(File),
    /// Taken by the one who reads it.
    Stream(Mutex<Option<Box<dyn Read>>>),
}

impl Archive {
    /// The archive in `file`, if it begins like one.
    pub(super) fn detect(context: &Context, file: File) -> Result<Self> {
        let (packing, _) = Packing::peek(Cursor::new(&file)?)?;
        let limits = context.tree_limits().clone();
        let mut first = tar::Reader::new(packing.decompressed(Cursor::new(&file)?)?, limits.clone());
        let begins = first.next_header(&mut Header::default());
        drop(first);
        match begins {
            Err(error) if error.kind() == ErrorKind::Malformed => Err(Failure::new(
                ErrorKind::Malformed,
                "it is no directory, no eStargz layer and no tar archive (plain, gzip or zstd)",
            )
            .caused_by(error)
            .hint("check that it is the right file, and whole")
            .into()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(Self { packing, from: From::File(file), limits }),
        }
    }

    /// The archive that comes out of `stream`, to be read once.
    pub(super) fn stream(context: &Context, packing: Packing, stream: Box<dyn Read>) -> Self {
        Self { packing, from: From::Stream(Mutex::new(Some(stream))), limits: context.tree_limits().clone() }
    }

    /// The tar without its compression, in a temporary file.
    fn unpacked(&self) -> Result<File> {
        let nothing = Progress::none();
        keep(self.tar(&nothing)?, self.limits.unpacked).context("cannot unpack the archive")
    }
}

impl Source for Archive {
    fn format(&self) -> &'static str {
        match self.packing {
            Packing::Plain => "tar",
            Packing::Gzip => "tar, gzip",
            Packing::Zstd => "tar, zstd",
        }
    }

    fn blob(&self) -> Option<&File> {
        match &self.from {
            From::File(file) => Some(file),
            From::Stream(_) => None,
        }
    }

    fn tree(&self) -> Result<Box<dyn Tree + '_>> {
        if let (Packing::Plain, From::File(file)) = (self.packing, &self.from) {
            return Ok(Box::new(TarTree::open(file, &self.limits)?));
        }
        Ok(Box::new(TarTree::open(self.unpacked()?, &self.limits)?))
    }

    fn into_tree(self: Box<Self>) -> Result<Arc<dyn Tree>> {
        let Self { packing, from, limits } = *self;
        match (packing, from) {
            (Packing::Plain, From::File(file)) => Ok(Arc::new(TarTree::open(file, &limits)?)),
            (packing, from) => {
                let archive = Self { packing, from, limits };
                Ok(Arc::new(TarTree::open(archive.unpacked()?, &archive.limits)?))
            }
        }
    }

    fn tar<'s>(&'s self, progress: &'s Progress) -> Result<Box<dyn Read + 's>> {
        let packed: Box<dyn Read + 's> = match &self.from {
            From::File(file) => Box::new(Cursor::new(file)?),
            From::Stream(stream) => {
                let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
                stream.context("the stream was read already")?
            }
        };
        Ok(self.packing.decompressed(progress.watch(packed))?)
    }

    fn tar_total(&self) -> Option<u64> {
        ReadAt::size(self.blob()?).ok()
    }

    fn is_archive(&self) -> bool {
        true
    }

    fn is_plain_tar(&self) -> bool {
        self.packing == Packing::Plain && self.blob().is_some()
    }
}
