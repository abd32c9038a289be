//! Our readers and writers against themselves and against the reference implementations.

mod estargz;
mod input;
mod pairs;
mod tally;

use anyhow::Result;

/// What `conformance` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Compare with the reference implementations, through the programs in tests/peers.
    #[arg(long)]
    pub(crate) peers: bool,
    /// Generated inputs at one level only: a minute instead of many.
    #[arg(long)]
    pub(crate) quick: bool,
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

impl Options {
    /// Whether the combination of this name is to be run.
    fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|part| name.contains(part))
    }
}

/// `cargo xtask conformance`.
pub(crate) fn run(options: &Options) -> Result<()> {
    estargz::run(options)
}
