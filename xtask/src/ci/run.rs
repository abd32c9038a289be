//! Runs the steps, lanes side by side, and prints a table of their times.
//!
//! A lane that is alone in its stage prints as it goes. Where lanes run side by side, a step's output goes to a file and is
//! printed when the step ends, so that the lines of two steps never mix.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result};

use super::{Lane, Stage, Step};
use crate::{
    measure::Cost,
    workspace::{root, scratch_dir},
};

/// A line of the table.
struct Row {
    name: String,
    /// Seconds from start to end, and of all processors together.
    wall: f64,
    cpu: f64,
    ok: bool,
}

/// Runs the stages; the names of the steps that failed.
pub(crate) fn run_stages(stages: &[Stage]) -> Result<Vec<String>> {
    let runner = Runner { dir: scratch_dir("steps")?, rows: Mutex::new(Vec::new()) };
    let start = Instant::now();
    for stage in stages {
        let lanes: Vec<&Lane> = stage.iter().filter(|lane| !lane.is_empty()).collect();
        let is_alone = lanes.len() < 2;
        thread::scope(|scope| -> Result<()> {
            let threads: Vec<_> = lanes.into_iter().map(|lane| scope.spawn(|| runner.run(lane, is_alone))).collect();
            for thread in threads {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            }
            Ok(())
        })?;
    }
    Ok(report(&runner.rows.into_inner().unwrap_or_else(PoisonError::into_inner), start.elapsed().as_secs_f64()))
}

struct Runner {
    /// Where outputs and costs are kept.
    dir: PathBuf,
    /// Also the lock for standard output.
    rows: Mutex<Vec<Row>>,
}

impl Runner {
    fn run(&self, lane: &[Step], is_alone: bool) -> Result<()> {
        for step in lane {
            let stem: String = step.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            let (log, cost) = (self.dir.join(format!("{stem}.log")), self.dir.join(format!("{stem}.json")));
            if is_alone {
                println!("==> {}", step.name);
            }
            let begin = Instant::now();
            let ok = measured(step, &cost, (!is_alone).then_some(log.as_path()))?;
            let wall = begin.elapsed().as_secs_f64();
            let row = Row { name: step.name.clone(), wall, cpu: processor_seconds(&cost), ok };
            let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            if !is_alone {
                println!("==> {}", step.name);
                let mut log = File::open(&log).with_context(|| format!("cannot open `{}`", log.display()))?;
                io::copy(&mut log, &mut io::stdout().lock()).context("cannot print a step's output")?;
            }
            println!("<== {}", line(&row));
            rows.push(row);
        }
        Ok(())
    }
}

/// Runs a step under `xtask measure`, which writes down its cost; whether it succeeded.
fn measured(step: &Step, cost: &Path, log: Option<&Path>) -> Result<bool> {
    let _ = std::fs::remove_file(cost);
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.arg("measure").arg("--out").arg(cost).arg("--").args(&step.command);
    command.envs(step.env.iter().map(|(name, value)| (name, value))).current_dir(root()).stdin(Stdio::null());
    if let Some(path) = log {
        let file = File::create(path).with_context(|| format!("cannot create `{}`", path.display()))?;
        command.stdout(file.try_clone().context("cannot share a file")?).stderr(file);
    }
    let status = command.status().with_context(|| format!("cannot run `{}`", step.command.join(" ")))?;
    Ok(status.success() && read_cost(cost).is_some_and(|cost| cost.success()))
}

fn processor_seconds(cost: &Path) -> f64 {
    read_cost(cost).map_or(f64::NAN, |cost| cost.user + cost.sys)
}

fn read_cost(path: &Path) -> Option<Cost> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn line(row: &Row) -> String {
    let Row { name, wall, cpu, ok } = row;
    format!("{name:<44} {wall:>7.1} s {cpu:>8.1} s cpu  {}", if *ok { "ok" } else { "FAILED" })
}

/// Prints the table; the names of the steps that failed.
fn report(rows: &[Row], wall: f64) -> Vec<String> {
    println!();
    rows.iter().for_each(|row| println!("{}", line(row)));
    let cpu: f64 = rows.iter().map(|row| row.cpu).sum();
    println!("{wall:.0} s in all, {cpu:.0} s of processors");
    let failed: Vec<String> = rows.iter().filter(|row| !row.ok).map(|row| row.name.clone()).collect();
    println!("{} passed, {} failed", rows.len() - failed.len(), failed.len());
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_name_times_and_outcome() {
        let row = |ok| Row { name: "lints".to_owned(), wall: 61.25, cpu: 100.0, ok };
        let name = format!("{:<44}", "lints");
        assert_eq!(line(&row(true)), format!("{name}    61.2 s    100.0 s cpu  ok"));
        assert_eq!(line(&row(false)), format!("{name}    61.2 s    100.0 s cpu  FAILED"));
        assert_eq!(report(&[row(true), row(false)], 1.0), ["lints"]);
    }
}
