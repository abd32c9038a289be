//! A file called `toy` whose content is in the name of the source: `toy:hello`. It shows what a kind takes.

use std::{os::unix::ffi::OsStrExt as _, sync::Arc};

use anyhow::Result;
use dunnage_tree::{
    Limits, Tree,
    tar::{EntryType, Header, TarTree, encode_header},
};

use super::{About, Candidate, Input, Kind, Source, contents, directory::export_options};
use crate::{args, context::Context, options::Uses, page::Page, report::Document};

/// Toys.
pub(super) static KIND: Kind = Kind {
    name: "toy",
    prefixes: &["toy:"],
    uses: Uses { name: "toys", options: &[] },
    open: |_, candidate| {
        let Candidate::Named(name) = candidate else { return Ok(None) };
        let Some(content) = name.as_os_str().as_bytes().strip_prefix(b"toy:") else { return Ok(None) };
        let size = content.len() as u64;
        let header =
            Header { name: b"toy".to_vec(), entry: EntryType::File, mode: 0o644, size, ..Header::default() };
        let mut tar = Vec::new();
        encode_header(&header, &mut tar)?;
        tar.extend(content);
        tar.resize(tar.len().next_multiple_of(512).saturating_add(1024), 0);
        Ok(Some(Box::new(Toy(Arc::new(TarTree::open(tar, &Limits::default())?)))))
    },
};

struct Toy(Arc<TarTree<Vec<u8>>>);

impl Source for Toy {
    fn about(&self) -> About {
        About::new(&KIND, "toy")
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
