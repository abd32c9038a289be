//! A directory of the host.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use dunnage_tree::{DirTree, ExportOptions, ExportSparse, Tree};

use super::{About, Candidate, Input, Kind, Source, contents};
use crate::{args, context::Context, options::Uses, page::Page, report::Document};

/// Directories of the host.
pub(super) static KIND: Kind = Kind {
    name: "directory",
    prefixes: &[],
    uses: Uses { name: "directories", options: &["max-entries", "max-unpacked", "no-passthrough", "sparse"] },
    open: |_, candidate| {
        let Candidate::Directory(path) = candidate else { return Ok(None) };
        Ok(Some(Box::new(Directory::open(path)?)))
    },
};

/// A directory of the host.
#[derive(Debug)]
pub(super) struct Directory(Arc<DirTree>);

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Ok(Self(Arc::new(DirTree::open(path)?)))
    }
}

impl Source for Directory {
    fn about(&self) -> About {
        About { is_live: true, ..About::new(&KIND, "directory") }
    }

    fn tree(&self) -> Result<Arc<dyn Tree>> {
        Ok(Arc::clone(&self.0) as Arc<dyn Tree>)
    }

    fn inspect(&self, context: &Context, args: &args::Inspect, _: Option<&Document>) -> Result<Page> {
        contents::page(context, args, self, contents::Extra::default())
    }

    fn verify(&self, context: &Context, args: &args::Verify) -> Result<Page> {
        contents::read_all(context, args, self)
    }

    fn input(&self, context: &Context) -> Result<Input<'_>> {
        Ok(Input::of_tree(self.0.as_ref(), export_options(context)))
    }
}

/// How files become a tar.
pub(super) fn export_options(context: &Context) -> ExportOptions {
    let sparse = if context.given.has("sparse") { ExportSparse::Pax } else { ExportSparse::Never };
    ExportOptions { limits: context.tree_limits().clone(), sparse, ..ExportOptions::default() }
}
