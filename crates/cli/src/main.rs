//! The command `dunnage`: arguments in, one library call, text or JSON out.
//!
//! The libraries know the formats. The command knows the words that people type (`args`, `options`), where bytes come from
//! and go to (`source`, `sink`), how results look (`page`, `print`, `report`, `progress`), and the number that the process
//! ends with (`exit`). Each verb is a file in `cmd`, each kind of source a file in `source`.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation))]

mod args;
mod cmd;
mod context;
mod exit;
mod failure;
mod options;
mod page;
mod print;
mod progress;
mod report;
mod sink;
mod source;

use std::process::ExitCode;

use crate::{context::Context, exit::Exit};

fn main() -> ExitCode {
    let exit = match args::parse(std::env::args_os().collect()) {
        Ok((args, given)) => {
            let context = Context::new(&args.global, given);
            cmd::run(&context, args.command).unwrap_or_else(|error| exit::report(context.json, &error))
        }
        Err(exit) => exit,
    };
    Exit::into(exit)
}
