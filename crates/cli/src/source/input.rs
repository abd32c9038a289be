//! The bytes that a conversion reads.

use std::{
    fs::File,
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use dunnage_digest::{Cursor, ReadAt};
use dunnage_estargz::{Reader, input::Packing, unpack};
use dunnage_tree::{ExportOptions, TarExport, Tree};

use crate::{print::printable, progress::Progress};

/// The bytes that a conversion reads.
pub(crate) enum Input<'s> {
    /// A tar that can be read once. `None` once it was.
    Stream(Packing, Option<Box<dyn Read + 's>>),
    /// A tar in a file, plain or compressed.
    Tar(Packing, &'s File),
    /// The tar in a layer.
    Layer(&'s Reader<File>),
    /// Files, which become a tar on the way.
    Tree { tree: &'s dyn Tree, options: ExportOptions, left_out: Arc<Mutex<Vec<String>>> },
}

impl<'s> Input<'s> {
    pub(super) fn of_tree(tree: &'s dyn Tree, options: ExportOptions) -> Self {
        Self::Tree { tree, options, left_out: Arc::default() }
    }

    /// Bytes that the progress counts while the tar stream is read, if that is known.
    pub(crate) fn total(&self) -> Option<u64> {
        match self {
            Self::Stream(..) | Self::Tree { .. } => None,
            Self::Tar(_, file) => ReadAt::size(*file).ok(),
            Self::Layer(reader) => ReadAt::size(reader.source()).ok(),
        }
    }

    /// Whether [`tar`](Self::tar) gives the same bytes once more.
    pub(crate) const fn can_repeat(&self) -> bool {
        matches!(self, Self::Tar(..) | Self::Layer(_))
    }

    /// The file, if it is nothing but the tar.
    pub(crate) const fn plain(&self) -> Option<&'s File> {
        match self {
            Self::Tar(Packing::Plain, file) => Some(*file),
            _ => None,
        }
    }

    /// Whether it is a compressed tar in a file.
    pub(crate) const fn is_compressed(&self) -> bool {
        matches!(self, Self::Tar(Packing::Gzip | Packing::Zstd, _))
    }

    /// Whether it is a layer, whose tar has more in it than files.
    pub(crate) const fn is_layer(&self) -> bool {
        matches!(self, Self::Layer(_))
    }

    /// The tar stream from its start. Bytes that are read of the source are counted.
    pub(crate) fn tar<'p>(&mut self, progress: &'p Progress) -> Result<Box<dyn Read + 'p>>
    where
        's: 'p,
    {
        Ok(match self {
            Self::Stream(packing, stream) => {
                let stream = stream.take().context("the stream was read already")?;
                packing.decompressed(progress.watch(stream))?
            }
            Self::Tar(packing, file) => {
                let file: &'s File = file;
                packing.decompressed(progress.watch(Cursor::new(file)?))?
            }
            Self::Layer(reader) => {
                let reader: &'s Reader<File> = reader;
                unpack(progress.watch(reader.source()))?
            }
            Self::Tree { tree, options, left_out } => {
                let export = TarExport::new(*tree, options.clone());
                Box::new(progress.watch(Exported { export, left_out: Arc::clone(left_out) }))
            }
        })
    }

    /// Keeps the paths that a conversion of the tree left out.
    pub(crate) fn note_left_out(&self, paths: &[Vec<u8>]) {
        if let Self::Tree { left_out, .. } = self {
            let names = paths.iter().map(|name| printable(name).into_owned()).collect();
            *left_out.lock().unwrap_or_else(PoisonError::into_inner) = names;
        }
    }

    /// Names of what a tar stream cannot hold, once it was read.
    pub(crate) fn left_out(&self) -> Vec<String> {
        match self {
            Self::Tree { left_out, .. } => left_out.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            _ => Vec::new(),
        }
    }
}

/// A tree as a tar stream that remembers the sockets once it has ended.
struct Exported<'s> {
    export: TarExport<'s, dyn Tree + 's>,
    left_out: Arc<Mutex<Vec<String>>>,
}

impl Read for Exported<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.export.read(buf)?;
        if len == 0 && !buf.is_empty() {
            let names = self.export.skipped().iter().map(|name| printable(name).into_owned()).collect();
            *self.left_out.lock().unwrap_or_else(PoisonError::into_inner) = names;
        }
        Ok(len)
    }
}
