//! Everything that has to pass before a change goes in, one step after the other.
//!
//! All steps share one target directory and one profile, so a crate is compiled once for checks and once for tests.

use std::{process::Command, time::Instant};

use anyhow::{Result, bail};

use crate::workspace::{Metadata, cargo};

/// What `ci` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A peer or an input that cannot be had is a failure. Also on with `CI=true`.
    #[arg(long)]
    no_skips: bool,
    /// Only the steps whose names contain this.
    #[arg(long)]
    only: Option<String>,
}

struct Step {
    name: String,
    command: Command,
}

/// `cargo xtask ci`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let strict = options.no_skips || std::env::var_os("CI").is_some_and(|value| value == "true");
    let mut steps = steps(strict)?;
    if let Some(only) = &options.only {
        steps.retain(|step| step.name.contains(only.as_str()));
    }
    let (mut failed, mut report) = (Vec::new(), Vec::new());
    let start = Instant::now();
    for step in &mut steps {
        println!("==> {}", step.name);
        let begin = Instant::now();
        let ok = step.command.status().is_ok_and(|status| status.success());
        let line =
            format!("{:<44} {:>7.1} s  {}", step.name, begin.elapsed().as_secs_f64(), if ok { "ok" } else { "FAILED" });
        println!("<== {line}");
        report.push(line);
        if !ok {
            failed.push(step.name.clone());
        }
    }
    println!("\n{}", report.join("\n"));
    println!("{:.0} s in all", start.elapsed().as_secs_f64());
    println!("{} passed, {} failed", steps.len() - failed.len(), failed.len());
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn steps(strict: bool) -> Result<Vec<Step>> {
    let metadata = Metadata::load()?;
    let mut steps = vec![
        step("format", &["fmt", "--all", "--check"]),
        step("lints", &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]),
        step("tests", &["test", "--workspace", "--no-fail-fast"]),
    ];
    let mut doc = step("documentation", &["doc", "--workspace", "--no-deps"]);
    doc.command.env("RUSTDOCFLAGS", "-D warnings");
    steps.push(doc);
    for package in metadata.libraries() {
        let name = &package.name;
        steps.push(step(&format!("{name} alone"), &["test", "--package", name]));
        for feature in package.features.keys().filter(|feature| *feature != "default") {
            let args = ["test", "--package", name, "--no-default-features", "--features", feature];
            steps.push(step(&format!("{name} with {feature} alone"), &args));
        }
    }
    let mut conformance = vec!["conformance", "--peers", "--sample"];
    if strict {
        conformance.push("--no-skips");
    }
    for args in [vec!["fixtures", "--check"], vec!["arrows"], conformance] {
        steps.push(own(&args)?);
    }
    let mut package = vec!["package", "--no-verify", "--allow-dirty", "--quiet"];
    for library in metadata.libraries() {
        package.extend(["--package", &library.name]);
    }
    steps.push(step("package", &package));
    Ok(steps)
}

fn step(name: &str, args: &[&str]) -> Step {
    let mut command = cargo();
    command.args(args);
    Step { name: name.to_owned(), command }
}

/// This program again, so that a step that fails hard does not take the others with it.
fn own(args: &[&str]) -> Result<Step> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args).current_dir(crate::workspace::root());
    Ok(Step { name: args.join(" "), command })
}
