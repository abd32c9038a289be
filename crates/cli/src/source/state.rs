//! A state file of gVisor: one payload, and no files that a command could list.

mod facts;
mod key;
mod show;
mod verify;

use std::{fs::File, sync::Arc};

use anyhow::Result;
use dunnage_digest::{Cancel, ErrorKind, Offset, ReadAt};
use dunnage_statefile::{MAGIC, ReadOptions};
use dunnage_tree::Tree;

pub(super) use self::facts::Facts;
pub(super) use self::verify::{Report as StateReport, check as check_state};
pub(crate) use self::{show::show_state, verify::verify_state};
use super::{About, Candidate, Input, Kind, Source};
use crate::{
    args::{self, Dialect, KeyFrom, StateIn},
    context::Context,
    failure::Failure,
    options::Uses,
    page::Page,
    report::Document,
};

/// State files.
pub(super) static KIND: Kind = Kind {
    name: "state",
    prefixes: &[],
    uses: Uses { name: "state files", options: &["key-file", "key-fd"] },
    open: |_, candidate| match candidate {
        Candidate::File(file, _) if begins_like_one(file)? => Ok(Some(Box::new(StateFile(file.try_clone()?)))),
        _ => Ok(None),
    },
};

/// The format of state files in words.
pub(super) const FORMAT: &str = "gVisor state file";

/// A state file.
#[derive(Debug)]
struct StateFile(File);

/// Whether the first bytes are those of a state file.
pub(crate) fn begins_like_one(file: &File) -> std::io::Result<bool> {
    let mut magic = [0; MAGIC.len()];
    if ReadAt::size(file)? < magic.len() as u64 {
        return Ok(false);
    }
    file.read_exact_at(Offset::new(0), &mut magic)?;
    Ok(magic == MAGIC)
}

/// The parts of a call that say how a state file is read.
#[derive(Debug, Default)]
pub(crate) struct StateHow {
    pub(crate) key: Option<dunnage_statefile::Key>,
    pub(crate) options: ReadOptions,
}

impl StateHow {
    /// The key is read here.
    pub(crate) fn of(context: &Context, how: &StateIn, payload_len: Option<u64>) -> Result<Self> {
        Ok(Self { key: how.key.read(context)?, options: read_options(context, how, payload_len) })
    }

    /// For a verb that takes a key and no more.
    pub(super) fn of_key(context: &Context, key: &KeyFrom) -> Result<Self> {
        Self::of(context, &StateIn { key: key.clone(), from: None }, None)
    }
}

/// How a state file is read.
fn read_options(context: &Context, how: &StateIn, payload_len: Option<u64>) -> ReadOptions {
    ReadOptions {
        dialect: how.from.map(Dialect::known),
        threads: context.threads,
        payload_len,
        cancel: Cancel::new(),
        ..ReadOptions::default()
    }
}

fn no_files() -> anyhow::Error {
    Failure::new(ErrorKind::Unsupported, "a gVisor state file has a payload, and no files")
        .hint("`dunnage state` shows, checks and rewrites it; `dunnage state cat` writes its payload")
        .into()
}

impl Source for StateFile {
    fn about(&self) -> About {
        About::new(&KIND, FORMAT)
    }

    fn tree(&self) -> Result<Arc<dyn Tree>> {
        Err(no_files())
    }

    fn inspect(&self, _: &Context, args: &args::Inspect, _: Option<&Document>) -> Result<Page> {
        show_state(&args.source, &self.0, &StateHow::default())
    }

    fn verify(&self, context: &Context, args: &args::Verify) -> Result<Page> {
        verify_state(context, &args.source, &self.0, &StateHow::of_key(context, &args.key)?)
    }

    fn input(&self, _: &Context) -> Result<Input<'_>> {
        Err(no_files())
    }
}
