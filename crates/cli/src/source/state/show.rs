//! The page that `dunnage state show` and `dunnage inspect` print of a state file.

use std::{fmt, fs::File, path::Path};

use anyhow::{Context as _, Result};
use dunnage_digest::ReadAt;
use serde::Serialize;

use super::{FORMAT, Facts, StateHow};
use crate::{
    page,
    print::{bytes, count, row, schema},
    source::{name_of, title},
};

/// The page of a state file.
pub(crate) fn show_state(path: &Path, file: &File, how: &StateHow) -> Result<page::Page> {
    let failed = || format!("cannot read {}", name_of(path));
    Ok(page::Page::new(Page {
        schema: schema("state"),
        source: title(path),
        format: FORMAT,
        size: ReadAt::size(file).with_context(failed)?,
        facts: Facts::of(file, how.key.as_ref(), &how.options).with_context(failed)?,
    }))
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
