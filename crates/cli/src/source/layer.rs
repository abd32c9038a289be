//! An eStargz layer, or one in the older stargz form.

use std::{fs::File, io::Read};

use anyhow::Result;
use dunnage_digest::{ErrorKind, ReadAt};
use dunnage_estargz::{LEGACY_FOOTER_LEN, Reader, open_footer, unpack};
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
        match open_footer(&file) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Malformed => return Ok(Err(file)),
            Err(error) => return Err(error.into()),
        }
        let reader = Reader::open(file, &context.open_options())?;
        if let Some(expected) = &context.toc_digest {
            reader.verify_toc(expected)?;
        }
        Ok(Ok(Self { reader }))
    }

    pub(crate) const fn is_legacy(&self) -> bool {
        self.reader.footer().footer_len == LEGACY_FOOTER_LEN as u64
    }
}

impl Source for Layer {
    fn format(&self) -> &'static str {
        if self.is_legacy() { "stargz layer" } else { "eStargz layer" }
    }

    fn blob(&self) -> Option<&File> {
        Some(self.reader.source())
    }

    fn tree(&self) -> Result<Box<dyn Tree + '_>> {
        Ok(Box::new(&self.reader))
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
