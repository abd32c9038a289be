//! Automation of the workspace: fixtures, conformance, benches, arrows, ci.
//!
//! The CI file only calls this, so a red build can be repeated at a desk. `cargo xtask --help` lists what there is.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::exhaustive_enums,
    reason = "a tool for developers: it prints, and its numbers are its own"
)]

mod api;
mod arrows;
mod bench;
mod ci;
mod conformance;
mod deny;
mod fixtures;
mod fuzz;
mod inputs;
mod measure;
mod mutate;
mod peers;
mod picture;
mod workspace;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// What `cargo xtask` takes.
#[derive(Debug, Parser)]
#[command(name = "xtask", about = "Automation of the dunnage workspace", disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make the fixtures again and list them in fixtures/MANIFEST.toml.
    Fixtures {
        /// Change nothing; fail if any file differs from what its maker makes.
        #[arg(long)]
        check: bool,
    },
    /// Check our readers and writers against themselves and, with --peers, against the reference implementations.
    Conformance(conformance::Options),
    /// Change small blobs in every small way, and see that no change is taken for content.
    Mutate(mutate::Options),
    /// Run the fuzz bodies, under libFuzzer where it is there.
    Fuzz(fuzz::Options),
    /// Measure, alternating with the reference implementation.
    Bench(bench::Options),
    /// Check that dependencies point down only, and other rules of the house that a machine can check.
    Arrows,
    /// List the public items of each library under docs/api.
    Api(api::Options),
    /// Draw the picture of a layer that README shows.
    Picture(picture::Options),
    /// Check licences, versions and sources of all crates against .deny.toml.
    Deny,
    /// Everything that has to pass before a change goes in.
    Ci(ci::Options),
    /// Everything that `ci` samples, whole, and what takes too long for it: mutation, fuzzing, benches, README for real.
    Deep(ci::Deep),
    /// Run a command and write its times and peak memory as JSON (used by bench).
    #[command(hide = true)]
    Measure {
        /// Where the JSON goes.
        #[arg(long)]
        out: PathBuf,
        /// Let the command have the first processor only.
        #[arg(long)]
        one_core: bool,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Write a generated tar to standard output (used by bench).
    #[command(hide = true)]
    Stream {
        /// Bytes of file content.
        bytes: u64,
    },
}

fn main() -> ExitCode {
    if let Some(error) = api::as_rustdoc() {
        eprintln!("xtask: cannot start rustdoc: {error}");
        return ExitCode::FAILURE;
    }
    match run(Args::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Fixtures { check } => fixtures::run(check)?,
        Task::Conformance(options) => conformance::run(&options)?,
        Task::Mutate(options) => return mutate::run(&options),
        Task::Fuzz(options) => fuzz::run(&options)?,
        Task::Bench(options) => bench::run(&options)?,
        Task::Arrows => arrows::run()?,
        Task::Api(options) => api::run(&options)?,
        Task::Picture(options) => picture::run(&options)?,
        Task::Deny => deny::run()?,
        Task::Ci(options) => ci::run(&options)?,
        Task::Deep(options) => ci::deep(&options)?,
        Task::Measure { out, one_core, command } => return measure::child(&out, one_core, &command),
        Task::Stream { bytes } => inputs::stream(bytes, std::io::stdout().lock())?,
    }
    Ok(ExitCode::SUCCESS)
}
