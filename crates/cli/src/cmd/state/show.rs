//! `dunnage state show`: what a state file is. `dunnage inspect` shows the same.

use std::{fmt, fs::File, path::Path};

use anyhow::{Context as _, Result};
use dunnage_digest::ReadAt;
use dunnage_statefile::{Key, ReadOptions};
use serde::Serialize;

use super::{Facts, open_seekable, read_options};
use crate::{
    args::StateShow,
    context::Context,
    exit::Exit,
    print::{Out, bytes, count, row, schema},
    source::{name_of, title},
};

pub(super) fn run(context: &Context, args: &StateShow) -> Result<Exit> {
    let key = args.how.key.read(context)?;
    let file = open_seekable(&args.file)?;
    print(context, &args.file, &file, key.as_ref(), &read_options(context, &args.how, None))
}

/// What `dunnage inspect` shows of a state file.
pub(crate) fn inspect(context: &Context, path: &Path, file: &File) -> Result<Exit> {
    print(context, path, file, None, &ReadOptions::default())
}

fn print(context: &Context, path: &Path, file: &File, key: Option<&Key>, options: &ReadOptions) -> Result<Exit> {
    let failed = || format!("cannot read {}", name_of(path));
    let page = Page {
        schema: schema("state"),
        source: title(path),
        format: "gVisor state file",
        size: ReadAt::size(file).with_context(failed)?,
        facts: Facts::of(file, key, options).with_context(failed)?,
    };
    let mut out = Out::stdout()?;
    out.either(context, &page)?;
    out.finish()?;
    Ok(Exit::DONE)
}

#[derive(Serialize)]
struct Page {
    schema: String,
    source: String,
    format: &'static str,
    /// Bytes of the file.
    size: u64,
    #[serde(flatten)]
    facts: Facts,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.source, self.format)?;
        row(f, "size", format_args!("{} ({} bytes)", bytes(self.size), count(self.size)))?;
        write!(f, "{}", self.facts)
    }
}
