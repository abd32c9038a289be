//! Going into the background: the same command once more, which says when it is ready.
//!
//! The process that was called waits for that line, passes it on and ends. If the other one ends first, its output on
//! standard error and its exit code are those of the command.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal};

use crate::{exit::Exit, print::stdout_file};

/// Starts the process in the background and waits until its mount answers.
pub(super) fn start() -> Result<Exit> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut child = Command::new(program)
        .args(in_background(std::env::args_os().skip(1).collect()))
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
    let told = stdout_file().and_then(|mut stdout| super::told(stdout.write_all(&line)));
    if told.is_err() {
        end(&mut child);
    }
    told.context("cannot write to standard output")?;
    Ok(Exit::DONE)
}

/// The same arguments for the process in the background. After `--`, nothing is an option.
fn in_background(mut args: Vec<OsString>) -> Vec<OsString> {
    let options = args.iter_mut().take_while(|arg| *arg != "--");
    if let Some(arg) = options.into_iter().find(|arg| *arg == "--daemon") {
        *arg = "--is-daemon".into();
    }
    args
}

/// Ends a server whose line could not be passed on, and its mount with it.
fn end(child: &mut Child) {
    let _ = rustix::process::kill_process(Pid::from_child(child), Signal::TERM);
    let start = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if start.elapsed() > PATIENCE {
            // It may have been told to ignore that signal. Its guard takes the mount off.
            let _ = child.kill();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// How long a server may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Leaves the terminal and the working directory, and closes the pipes that callers wait at.
pub(super) fn let_go() -> Result<()> {
    let failed = "cannot leave the foreground";
    // The leader of a process group cannot leave it, and does not need to: the group has no terminal then.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/").context(failed)?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").context(failed)?;
    rustix::stdio::dup2_stdin(&null).context(failed)?;
    rustix::stdio::dup2_stdout(&null).context(failed)?;
    rustix::stdio::dup2_stderr(&null).context(failed)
}
