//! A tar, plain or compressed with gzip or zstd.

use std::{
    fs::File,
    io::Read,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use dunnage_digest::{Cursor, ErrorKind};
use dunnage_estargz::input::Packing;
use dunnage_tree::{
    Limits, Spool, Tree,
    tar::{self, Header, TarTree},
};

use super::{About, Candidate, Input, Kind, Source, contents};
use crate::{
    args, context::Context, failure::Failure, options::Uses, page::Page, progress::Progress, report::Document,
};

/// Tars, plain or compressed.
pub(super) static KIND: Kind = Kind {
    name: "tar",
    prefixes: &[],
    uses: Uses { name: "tars", options: &["max-entries", "max-unpacked", "digest"] },
    open: Archive::detect,
};

/// A tar, plain or compressed.
pub(super) struct Archive {
    packing: Packing,
    from: From,
    limits: Limits,
}

enum From {
    File(File),
    /// `None` once it was read.
    Stream(Mutex<Option<Box<dyn Read>>>),
}

impl Archive {
    /// The last kind that is asked: a file that is no tar is of no kind.
    fn detect(context: &Context, candidate: &Candidate<'_>) -> Result<Option<Box<dyn Source>>> {
        let Candidate::File(file, _) = candidate else { return Ok(None) };
        let (packing, _) = Packing::peek(Cursor::new(*file)?)?;
        let limits = context.tree_limits().clone();
        let mut first = tar::Reader::new(packing.decompressed(Cursor::new(*file)?)?, limits.clone());
        match first.next_header(&mut Header::default()) {
            Err(error) if error.kind() == ErrorKind::Malformed => Err(Failure::new(
                ErrorKind::Malformed,
                "it is no directory, no eStargz layer and no tar archive (plain, gzip or zstd)",
            )
            .caused_by(error)
            .into()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(Some(Box::new(Self { packing, from: From::File(file.try_clone()?), limits }))),
        }
    }

    /// The archive that comes out of `stream`, to be read once.
    pub(super) fn stream(context: &Context, packing: Packing, stream: Box<dyn Read>) -> Self {
        Self { packing, from: From::Stream(Mutex::new(Some(stream))), limits: context.tree_limits().clone() }
    }

    const fn file(&self) -> Option<&File> {
        match &self.from {
            From::File(file) => Some(file),
            From::Stream(_) => None,
        }
    }

    fn bytes(&self) -> Input<'_> {
        match &self.from {
            From::File(file) => Input::Tar(self.packing, file),
            From::Stream(stream) => {
                let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
                Input::Stream(self.packing, stream.map(|stream| stream as Box<dyn Read + '_>))
            }
        }
    }
}

impl Source for Archive {
    fn about(&self) -> About {
        let format = match self.packing {
            Packing::Plain => "tar",
            Packing::Gzip => "tar, gzip",
            Packing::Zstd => "tar, zstd",
        };
        About { is_sequential: true, ..About::new(&KIND, format) }
    }

    fn tree(&self) -> Result<Arc<dyn Tree>> {
        if let (Packing::Plain, Some(file)) = (self.packing, self.file()) {
            return Ok(Arc::new(TarTree::open(file.try_clone()?, &self.limits)?));
        }
        let (mut input, nothing) = (self.bytes(), Progress::none());
        let mut tar = input.tar(&nothing)?;
        let plain = Spool::keep(&mut tar, self.limits.unpacked, dunnage_digest::Progress::none());
        Ok(Arc::new(TarTree::open(plain.context("cannot unpack the archive")?.into_file(), &self.limits)?))
    }

    fn inspect(&self, context: &Context, args: &args::Inspect, _: Option<&Document>) -> Result<Page> {
        let digests = self.file().filter(|_| args.digest).map(|file| contents::digests(context, file)).transpose()?;
        contents::page(context, args, self, contents::Extra { file: self.file(), digests, layer: None })
    }

    fn verify(&self, context: &Context, args: &args::Verify) -> Result<Page> {
        contents::read_all(context, args, self)
    }

    fn input(&self, _: &Context) -> Result<Input<'_>> {
        Ok(self.bytes())
    }
}
