//! A layer with a table of contents: eStargz, the older stargz, zstd:chunked.

use std::{fs::File, io::Read, sync::Arc};

use anyhow::Result;
use dunnage_digest::{Cancel, ReadAt};
use dunnage_estargz::{Audit, Format, Reader, unpack};
use dunnage_tree::Tree;

use super::Source;
use crate::{context::Context, progress::Progress};

/// A layer with a table of contents.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) reader: Reader<File>,
}

impl Layer {
    /// The layer in `file` if it ends like one; the file again otherwise.
    pub(super) fn detect(context: &Context, file: File) -> Result<Result<Self, File>> {
        let reader = match Reader::detect(file, &context.open_options())? {
            Ok(reader) => reader,
            Err(file) => return Ok(Err(file)),
        };
        if let Some(expected) = &context.toc_digest {
            reader.verify_toc(expected)?;
        }
        Ok(Ok(Self { reader }))
    }

    /// Makes sure that the TOC and the tar in the layer agree.
    pub(crate) fn audit(&self, progress: &Progress) -> Result<Audit, dunnage_estargz::Error> {
        self.reader.audit(&Cancel::new(), &|done| progress.set(done))?.agreed()
    }
}

impl Source for Layer {
    fn format(&self) -> &'static str {
        match self.reader.footer().format {
            Format::Estargz => "eStargz layer",
            Format::Stargz => "stargz layer",
            Format::ExternalToc => "eStargz layer with an external table of contents",
            Format::ZstdChunked => "zstd:chunked layer",
            Format::StorageChunked => "zstd:chunked layer in the form of containers/storage",
            _ => "layer",
        }
    }

    fn blob(&self) -> Option<&File> {
        Some(self.reader.source())
    }

    fn tree(&self) -> Result<Box<dyn Tree + '_>> {
        Ok(Box::new(&self.reader))
    }

    fn into_tree(self: Box<Self>) -> Result<Arc<dyn Tree>> {
        Ok(Arc::new(self.reader))
    }

    fn tar<'s>(&'s self, progress: &'s Progress) -> Result<Box<dyn Read + 's>> {
        Ok(unpack(progress.watch(self.reader.source()))?)
    }

    fn tar_total(&self) -> Option<u64> {
        ReadAt::size(self.reader.source()).ok()
    }

    fn layer(&self) -> Option<&Layer> {
        Some(self)
    }
}
