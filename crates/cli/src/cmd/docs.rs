//! `dunnage completions` and `dunnage man`: both from the definitions that arguments are read with.

use std::{io::Write, path::Path};

use anyhow::{Context as _, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use crate::{args::Args, exit::Exit, print::Out};

pub(super) fn completions(shell: Shell) -> Result<Exit> {
    // Written at once: the generator panics if its sink fails.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "dunnage", &mut script);
    let mut out = Out::stdout()?;
    out.write_all(&script)?;
    out.finish()?;
    Ok(Exit::DONE)
}

pub(super) fn man(dir: &Path) -> Result<Exit> {
    let failed = || format!("cannot write man pages into `{}`", dir.display());
    std::fs::create_dir_all(dir).with_context(failed)?;
    clap_mangen::generate_to(Args::command().disable_help_subcommand(true), dir).with_context(failed)?;
    Ok(Exit::DONE)
}
