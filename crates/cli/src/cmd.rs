//! The commands, one file each.

mod cat;
mod convert;
mod copy;
mod diff;
mod docs;
mod extract;
mod inspect;
mod ls;
#[cfg(feature = "fuse")]
mod mount;
mod state;
mod verify;

use anyhow::Result;

use crate::{args::Command, context::Context, exit::Exit};

/// Runs a command; the code to end with if nothing failed.
pub(crate) fn run(context: &Context, command: Command) -> Result<Exit> {
    match command {
        Command::Inspect(args) => inspect::run(&context.reading(&args.from), &args),
        Command::Ls(args) => ls::run(&context.reading(&args.from), &args),
        Command::Cat(args) => cat::run(&context.reading(&args.from), &args),
        Command::Extract(args) => extract::run(&context.reading(&args.from), &args),
        Command::Diff(args) => diff::run(&context.reading(&args.from), &args),
        Command::Verify(args) => verify::run(&context.reading(&args.from), &args),
        Command::Convert(args) => convert::run(&context.reading(&args.from), &args),
        Command::Copy(args) => copy::run(context, &args),
        Command::State(what) => state::run(context, what),
        #[cfg(feature = "fuse")]
        Command::Mount(args) => mount::run(&context.reading(&args.from), &args),
        #[cfg(feature = "fuse")]
        Command::Umount { dir, once_closed: Some(device), .. } => mount::keep(&dir, &device),
        #[cfg(feature = "fuse")]
        Command::Umount { dir, recursive, lazy, .. } => mount::unmount(context, &dir, recursive, lazy),
        Command::Completions { shell } => docs::completions(shell),
        Command::Man { dir } => docs::man(&dir),
    }
}
