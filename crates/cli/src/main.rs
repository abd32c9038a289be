//! The command `dunnage`: arguments in, one library call, text or JSON out.
//!
//! What is known about formats is known by the libraries. Here is what they have no business with: what people type
//! (`args`), where bytes come from and go to (`source`, `sink`), what is shown (`print`, `progress`), and which number the
//! process ends with (`exit`). Each command is a file in `cmd`.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation))]

mod args;
mod cmd;
mod context;
mod exit;
mod print;
mod progress;
mod sink;
mod source;

use std::process::ExitCode;

use clap::Parser;

use crate::{args::Args, context::Context};

fn main() -> ExitCode {
    let args = Args::parse();
    let context = Context::new(&args.global);
    let exit = match cmd::run(&context, args.command) {
        Ok(exit) => exit,
        Err(error) => exit::report(&context, &error),
    };
    exit.into()
}
