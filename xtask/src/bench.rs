//! Benches: ours and the reference in turn, in one run, medians of several rounds.

mod estargz;
mod mount;
mod table;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

/// What `bench` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which bench: `estargz`, which is taken if none is named, or `mount`, which takes root.
    name: Option<String>,
    /// Measure the reference implementation too.
    #[arg(long)]
    pub(crate) peers: bool,
    /// Write the figures to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// How often each is measured.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Only rows whose input or description contains this.
    #[arg(long)]
    pub(crate) only: Option<String>,
    /// Bytes through the pipe, in GiB.
    #[arg(long, default_value_t = 8)]
    pub(crate) pipe_gib: u64,
}

/// `cargo xtask bench`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let table = match options.name.as_deref() {
        None | Some("estargz") => estargz::run(options)?,
        Some("mount") => mount::run(options)?,
        Some(name) => bail!("no bench is called `{name}`: there are `estargz` and `mount`"),
    };
    table.print();
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&table.figures())?;
        std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}
