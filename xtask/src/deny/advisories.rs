//! Known vulnerabilities, asked of cargo-deny where it is installed and its database can be reached.
//!
//! Elsewhere a line says that this was skipped. It does not fail, even where nothing else may be skipped: a machine
//! without the network would otherwise never pass.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{cargo, has_program};

const DATABASE: &str = "https://github.com/rustsec/advisory-db";

pub(super) fn run() -> Result<()> {
    if !is_reachable() {
        println!("deny: advisories skipped: the database {DATABASE} cannot be reached");
        return Ok(());
    }
    if !has_program("cargo-deny") {
        println!("deny: advisories skipped: cargo-deny is not installed (`cargo install --locked cargo-deny`)");
        return Ok(());
    }
    let status = cargo().args(["deny", "check", "advisories"]).status().context("cannot run cargo-deny")?;
    if !status.success() {
        bail!("cargo-deny found advisories");
    }
    Ok(())
}

/// Whether git finds the database within some seconds.
fn is_reachable() -> bool {
    let mut git = Command::new("git");
    git.args(["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=5", "ls-remote", "--quiet", DATABASE, "HEAD"]);
    git.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    git.status().is_ok_and(|status| status.success())
}
