//! Everything that has to pass before a change goes in.
//!
//! Steps stand in stages. The stages run one after the other; the lanes of a stage run side by side, so that one lane
//! computes while another waits for the linker or the network. Tests that measure time are in a stage of their own.

mod run;
mod steps;

use anyhow::{Result, bail};

pub(crate) use self::run::run_stages;
use self::steps::Steps;

/// What `ci` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A peer or an input that cannot be had is a failure. Also on with `CI=true`.
    #[arg(long)]
    no_skips: bool,
    /// Only the steps whose names contain this.
    #[arg(long)]
    only: Option<String>,
    /// List the steps and run none.
    #[arg(long)]
    list: bool,
}

/// What `deep` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Deep {
    /// Only the steps whose names contain this.
    #[arg(long)]
    only: Option<String>,
    /// List the steps and run none.
    #[arg(long)]
    list: bool,
}

/// A step: another program, or this one again, so that a step that dies does not take the others with it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// What the environment has beside ours.
    pub(crate) env: Vec<(&'static str, String)>,
}

/// Steps in the order in which they run.
pub(crate) type Lane = Vec<Step>;
/// Lanes that run side by side.
pub(crate) type Stage = Vec<Lane>;

/// `cargo xtask ci`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let strict = options.no_skips || std::env::var_os("CI").is_some_and(|value| value == "true");
    finish(Steps::load(strict)?.sampled(), options.only.as_deref(), options.list)
}

/// `cargo xtask deep`: the steps of `ci`, nothing of them sampled, and those that take too long for it.
pub(crate) fn deep(options: &Deep) -> Result<()> {
    finish(Steps::load(true)?.whole(), options.only.as_deref(), options.list)
}

fn finish(mut stages: Vec<Stage>, only: Option<&str>, list: bool) -> Result<()> {
    if let Some(only) = only {
        stages.iter_mut().flatten().for_each(|lane| lane.retain(|step| step.name.contains(only)));
    }
    if list {
        stages.iter().flatten().flatten().for_each(|step| println!("{:<44} {}", step.name, step.command.join(" ")));
        return Ok(());
    }
    let failed = run_stages(&stages)?;
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}
