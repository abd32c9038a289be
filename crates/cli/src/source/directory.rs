//! A directory of the host.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use dunnage_tree::{DirTree, ExportOptions, TarExport, Tree};

use super::Source;
use crate::{context::Context, print::printable, progress::Progress};

/// A directory of the host.
#[derive(Debug)]
pub(super) struct Directory {
    tree: DirTree,
    options: ExportOptions,
    sockets: Mutex<Vec<String>>,
}

impl Directory {
    pub(super) fn open(context: &Context, path: &Path) -> Result<Self> {
        let options = ExportOptions { limits: context.tree_limits().clone(), ..ExportOptions::default() };
        Ok(Self { tree: DirTree::open(path)?, options, sockets: Mutex::default() })
    }
}

impl Source for Directory {
    fn format(&self) -> &'static str {
        "directory"
    }

    fn blob(&self) -> Option<&File> {
        None
    }

    fn tree(&self) -> Result<Box<dyn Tree + '_>> {
        Ok(Box::new(&self.tree))
    }

    fn into_tree(self: Box<Self>) -> Result<Arc<dyn Tree>> {
        Ok(Arc::new(self.tree))
    }

    fn is_live(&self) -> bool {
        true
    }

    fn tar<'s>(&'s self, progress: &'s Progress) -> Result<Box<dyn Read + 's>> {
        let export = TarExport::new(&self.tree, self.options.clone());
        Ok(Box::new(progress.watch(Exported { export, sockets: &self.sockets })))
    }

    fn exported(&self) -> Option<(&dyn Tree, &ExportOptions)> {
        Some((&self.tree, &self.options))
    }

    fn note_left_out(&self, paths: &[Vec<u8>]) {
        let names = paths.iter().map(|name| printable(name).into_owned()).collect();
        *self.sockets.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    fn tar_total(&self) -> Option<u64> {
        None
    }

    fn left_out(&self) -> Vec<String> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The tar stream; remembers the sockets once it has ended.
struct Exported<'s> {
    export: TarExport<'s, DirTree>,
    sockets: &'s Mutex<Vec<String>>,
}

impl Read for Exported<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.export.read(buf)?;
        if len == 0 && !buf.is_empty() {
            let names = self.export.skipped().iter().map(|name| printable(name).into_owned()).collect();
            *self.sockets.lock().unwrap_or_else(PoisonError::into_inner) = names;
        }
        Ok(len)
    }
}
