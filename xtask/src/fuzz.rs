//! `cargo xtask fuzz`: the fuzz bodies of tests/src/fuzz, under libFuzzer where a nightly toolchain and cargo-fuzz are there,
//! and otherwise driven by the suite's own seeded mutator.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace::root;

/// What `fuzz` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// The targets, as tests/fuzz/Cargo.toml names them.
const TARGETS: [&str; 8] = [
    "estargz_footer",
    "toc_json",
    "gzip_members",
    "zstd_frames",
    "tar_stream",
    "toc_vs_tar_consistency",
    "roundtrip_estargz",
    "verify_never_accepts_mutant",
];

pub(crate) fn run(options: &Options) -> Result<()> {
    let seconds = options.seconds.to_string();
    if !has_cargo_fuzz() {
        println!("no nightly toolchain with cargo-fuzz: the seeded mutator runs instead");
        let mut mutator = Command::new("cargo");
        mutator.args(["test", "--package", "dunnage-conformance", "--test", "fuzz", "--", "--nocapture"]);
        return succeed(mutator.current_dir(root()).env("DUNNAGE_FUZZ_SECONDS", seconds));
    }
    for target in TARGETS {
        println!("==> {target}");
        let mut fuzzer = Command::new("cargo");
        fuzzer.args(["+nightly", "fuzz", "run", target, "--", &format!("-max_total_time={seconds}"), "-timeout=2"]);
        succeed(fuzzer.current_dir(root().join("tests")))?;
    }
    Ok(())
}

fn has_cargo_fuzz() -> bool {
    let mut version = Command::new("cargo");
    version.args(["+nightly", "fuzz", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}
