//! Going into the background: the same command once more, which says when it is ready.
//!
//! The process that was called waits for that line, passes it on and ends. If the other one ends first, what it said on
//! standard error and its exit code are those of the command.

use std::{
    fs::OpenOptions,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{exit::Exit, print::stdout_file};

/// Starts the process in the background and waits until its mount answers.
pub(super) fn start() -> Result<Exit> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let args = std::env::args_os().skip(1).filter(|arg| arg != "--daemon");
    let mut child = Command::new(program)
        .args(args)
        .arg("--is-daemon")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a process in the background")?;
    let mut line = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_until(b'\n', &mut line).context("the process in the background says nothing")?;
    }
    if line.is_empty() {
        let status = child.wait().context("the process in the background is gone")?;
        return Ok(Exit::of_process(status.code()));
    }
    stdout_file()?.write_all(&line).context("cannot write to standard output")?;
    Ok(Exit::DONE)
}

/// Lets go of the terminal, the directory and whoever waits for us.
pub(super) fn let_go() -> Result<()> {
    let failed = "cannot leave the foreground";
    // Who leads a group of processes cannot leave it, but then nobody is in front of it either.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/").context(failed)?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").context(failed)?;
    rustix::stdio::dup2_stdin(&null).context(failed)?;
    rustix::stdio::dup2_stdout(&null).context(failed)?;
    rustix::stdio::dup2_stderr(&null).context(failed)
}
