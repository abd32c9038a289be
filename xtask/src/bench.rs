//! Benches: ours and the reference in turn, in one run, several rounds.

mod estargz;
mod latency;
mod mount;
mod statefile;
mod table;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{measure::Cost, peers::Report};

/// What `bench` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which bench: `estargz`, `latency`, `mount` (which takes root) or `statefile`; all of them if none is named.
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
        None => {
            let mut table = estargz::run(options)?;
            table.append(latency::run(options)?);
            table.append(mount::run(options)?);
            table.append(statefile::run(options)?);
            table
        }
        Some("estargz") => estargz::run(options)?,
        Some("latency") => latency::run(options)?,
        Some("mount") => mount::run(options)?,
        Some("statefile") => statefile::run(options)?,
        Some(name) => bail!("no bench is called `{name}`: there are `estargz`, `latency`, `mount` and `statefile`"),
    };
    table.print();
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&table.figures())?;
        std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

/// Replaces the process's wall time by that of the operation proper, which the program printed.
fn timed(mut cost: Cost) -> Result<Cost> {
    cost.wall = Report::parse(&cost.stdout)?.seconds()?;
    Ok(cost)
}

/// Reads a file once, so that all runs find it in memory.
fn warm(path: &Path) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    io::copy(&mut file, &mut io::sink()).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(())
}

fn size(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("nothing was written to `{}`", path.display()))?.len())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path of the repository is not UTF-8")
}
