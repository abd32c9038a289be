//! What a command costs: wall and processor seconds, and peak memory.
//!
//! The kernel keeps the peak of all children together, so each measured command gets a process of its own: this program
//! again, as `xtask measure`, which starts the command, waits, asks for the usage of its children and writes it down.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::resource::{UsageWho, getrusage},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

/// What a command cost.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Cost {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// Processor seconds in the program.
    pub(crate) user: f64,
    /// Processor seconds in the kernel.
    pub(crate) sys: f64,
    /// Most memory resident at once, in KiB.
    pub(crate) peak_kib: u64,
    success: bool,
    /// What it printed.
    #[serde(default)]
    pub(crate) stdout: String,
}

impl Cost {
    /// Processor seconds per second: how many cores were busy.
    pub(crate) fn cores(&self) -> f64 {
        self.user / self.wall.max(1e-9)
    }

    /// Whether the command ended with 0.
    pub(crate) fn success(&self) -> bool {
        self.success
    }

    pub(crate) fn peak_mib(&self) -> f64 {
        self.peak_kib as f64 / 1024.0
    }
}

/// The processors that a command may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cores {
    One,
    All,
}

/// Runs `program` with `args` and reports its cost.
pub(crate) fn run<S: AsRef<OsStr>>(program: &Path, args: &[S]) -> Result<Cost> {
    run_with(program, args, Stdio::null(), Cores::All)
}

/// The same, with something to read on standard input, or on one processor.
pub(crate) fn run_with<S: AsRef<OsStr>>(program: &Path, args: &[S], stdin: Stdio, cores: Cores) -> Result<Cost> {
    let dir = tempfile::tempdir().context("cannot create a temporary directory")?;
    let out = dir.path().join("cost.json");
    let output = Command::new(std::env::current_exe().context("cannot find this program")?)
        .arg("measure")
        .arg("--out")
        .arg(&out)
        .args((cores == Cores::One).then_some("--one-core"))
        .arg("--")
        .arg(program)
        .args(args)
        .stdin(stdin)
        .output()
        .with_context(|| format!("cannot measure `{}`", program.display()))?;
    let shown: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if !output.status.success() {
        bail!("`{} {}`: {stderr}", program.display(), shown.join(" "));
    }
    let mut cost: Cost = serde_json::from_slice(&fs::read(&out).context("nothing was measured")?)?;
    cost.stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !cost.success {
        bail!("`{} {}` failed: {stderr}", program.display(), shown.join(" "));
    }
    Ok(cost)
}

/// `xtask measure`: the process between [`run`] and the command.
pub(crate) fn child(out: &Path, one_core: bool, command: &[OsString]) -> Result<ExitCode> {
    let Some((program, args)) = command.split_first() else { bail!("no command to measure") };
    if one_core {
        let mut first = CpuSet::new();
        first.set(0).context("cannot name the first processor")?;
        // Of this thread, which the command inherits.
        sched_setaffinity(Pid::this(), &first).context("cannot stay on the first processor")?;
    }
    let start = Instant::now();
    let status = Command::new(program).args(args).status().context("cannot start the command")?;
    let wall = start.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot ask for the usage")?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let cost = Cost {
        wall,
        user: seconds(usage.user_time()),
        sys: seconds(usage.system_time()),
        // Linux counts in KiB.
        peak_kib: usage.max_rss() as u64,
        success: status.success(),
        stdout: String::new(),
    };
    serde_json::to_writer(File::create(out).context("cannot write the measurement")?, &cost)?;
    Ok(ExitCode::SUCCESS)
}

/// The middle value; the mean of the two middle ones of an even number.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(&high), 0) => values.get(middle.wrapping_sub(1)).map_or(high, |low| f64::midpoint(*low, high)),
        (Some(&value), _) => value,
        (None, _) => f64::NAN,
    }
}

/// The median of each part of several costs.
pub(crate) fn median_cost(costs: &[Cost]) -> Cost {
    let of = |part: fn(&Cost) -> f64| median(costs.iter().map(part));
    Cost {
        wall: of(|cost| cost.wall),
        user: of(|cost| cost.user),
        sys: of(|cost| cost.sys),
        peak_kib: of(|cost| cost.peak_kib as f64) as u64,
        success: costs.iter().all(|cost| cost.success),
        stdout: costs.last().map(|cost| cost.stdout.clone()).unwrap_or_default(),
    }
}

/// The fastest of several costs, with the most memory that any of them took.
pub(crate) fn best_cost(costs: &[Cost]) -> Cost {
    let mut best = costs.iter().min_by(|a, b| a.wall.total_cmp(&b.wall)).cloned().unwrap_or_default();
    best.peak_kib = costs.iter().map(|cost| cost.peak_kib).max().unwrap_or_default();
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median([]).is_nan());
    }
}
