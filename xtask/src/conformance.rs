//! Our readers and writers against themselves and against the reference implementations.

mod archives;
mod estargz;
mod images;
mod input;
mod mount;
mod pairs;
mod statefile;
mod storage;
mod tally;

use std::{path::Path, time::Instant};

use anyhow::{Context as _, Result, bail};
use dunnage_conformance::parallel;

use self::tally::Tally;
use crate::workspace::scratch_dir;

/// What `conformance` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these parts.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Compare with the reference implementations, through the programs in tests/peers.
    #[arg(long)]
    pub(crate) peers: bool,
    /// Generated inputs at one level only: a minute instead of many.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Of gzip over the large input, level 6 with chunks of 4 MiB alone: what a submission is checked with, in half the time.
    #[arg(long)]
    pub(crate) sample: bool,
    /// A peer or an input that cannot be had is a failure.
    #[arg(long)]
    pub(crate) no_skips: bool,
    /// Only inputs whose name contains this.
    #[arg(long)]
    pub(crate) input: Option<String>,
    /// Only combinations whose name contains this.
    #[arg(long)]
    pub(crate) only: Option<String>,
}

/// A part of the conformance suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Whole images, converted to every target.
    Images,
    /// Archives of images, of others and ours.
    Archives,
    /// Mounts of a Debian root.
    Mount,
    /// gVisor state files.
    Statefile,
    /// eStargz layers.
    Estargz,
    /// The containers/storage form of zstd:chunked.
    Storage,
}

impl Part {
    const ALL: [Self; 6] = [Self::Images, Self::Archives, Self::Mount, Self::Statefile, Self::Estargz, Self::Storage];

    fn run(self, options: &Options) -> Result<()> {
        let wanted = |name: &str| options.wants_input(name) && options.wants(name);
        match self {
            Self::Images if wanted("images") => images::run(options),
            Self::Archives if wanted("archives") => archives::run(options),
            Self::Mount if wanted("mount") => mount::run(options),
            Self::Images | Self::Archives | Self::Mount => Ok(()),
            Self::Statefile => statefile::run(options),
            Self::Estargz => estargz::run(options),
            Self::Storage => storage::run(options),
        }
    }
}

impl Options {
    /// Whether the input of this name is to be used.
    fn wants_input(&self, name: &str) -> bool {
        self.input.as_deref().is_none_or(|part| name.contains(part))
    }

    /// Whether the combination of this name is to be run.
    fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|part| name.contains(part))
    }
}

/// `cargo xtask conformance`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let wanted = Part::ALL.into_iter().filter(|part| options.parts.is_empty() || options.parts.contains(part));
    // A part that fails does not end the run, so that one report names everything that is wrong.
    let failed: Vec<String> =
        wanted.filter_map(|part| part.run(options).err()).map(|error| format!("{error:#}")).collect();
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}

/// Runs combinations, as many at once as the machine has cores, and prints what came of it.
fn run_all<T: Sync>(
    what: &str,
    has_peer: bool,
    combinations: &[T],
    run: impl Fn(&T, &Path) -> Tally + Sync,
) -> Result<()> {
    let start = Instant::now();
    let dir = tempfile::tempdir_in(scratch_dir("conformance")?).context("cannot create a scratch directory")?;
    let tallies = parallel::map(combinations, |combination| run(combination, dir.path()));
    let made: u64 = tallies.iter().map(|tally| tally.made).sum();
    let failed: usize = tallies.iter().map(|tally| tally.failures.len()).sum();
    let (count, against) = (tallies.len(), if has_peer { "" } else { " (no peer)" });
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "conformance {what}{against}: {count} combinations, {made} comparisons, {failed} failures, {seconds:.0} s"
    );
    if failed > 0 {
        bail!("{what}: {failed} failures");
    }
    Ok(())
}

/// A TOC document with U+FFFD as such. Go writes the escape for a byte that is not UTF-8 and the character for the
/// character, so once decoded, nobody can tell which it was.
fn decoded(json: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(json).replace("\\ufffd", "\u{fffd}").into_bytes()
}
