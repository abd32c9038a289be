//! Every small change of the small blobs, millions of them, in processes of their own so that none takes the others along.
//!
//! Each batch runs under a ceiling for its address space. A process that dies is run again in halves until the one input
//! that kills it is known.

use std::{
    ops::Range,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use dunnage_conformance::{
    mutation::{Depth, Outcome, SUBJECTS, Subject},
    parallel, statefile,
};
use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};

/// What `mutate` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only blobs whose name contains this.
    #[arg(long)]
    subject: Option<String>,
    /// The share that `cargo test` runs, instead of all.
    #[arg(long)]
    share: bool,
    /// At most about so many changes of each blob, taken evenly from all of them.
    #[arg(long)]
    most: Option<usize>,
    /// Run the changes FROM..TO of one blob, counting every STEPth, and print what became of them as JSON.
    #[arg(long, hide = true, num_args = 4, value_names = ["SUBJECT", "STEP", "FROM", "TO"])]
    child: Vec<String>,
}

/// Which of the changes are made.
#[derive(Clone, Copy, Debug)]
struct Choice {
    depth: Depth,
    /// 1 for all, 2 for every second, and so on.
    step: usize,
}

/// What became of a batch.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Batch {
    inputs: u64,
    refused: u64,
    unnoticed: u64,
    slow: Vec<String>,
    panics: Vec<String>,
    wrong: Vec<String>,
    /// Inputs that ended the process.
    #[serde(default)]
    aborts: Vec<String>,
    peak_kib: u64,
}

impl Batch {
    fn add(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.refused += other.refused;
        self.unnoticed += other.unnoticed;
        self.slow.extend(other.slow);
        self.panics.extend(other.panics);
        self.wrong.extend(other.wrong);
        self.aborts.extend(other.aborts);
        self.peak_kib = self.peak_kib.max(other.peak_kib);
    }
}

/// Inputs of one process.
const BATCH: usize = 50_000;
/// Bytes of address space that a process may have.
const CEILING: u64 = 1 << 30;
/// KiB that a process may have resident: what small limits allow, and the process itself.
const PEAK_KIB: u64 = 64 << 10;

/// `cargo xtask mutate`.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let depth = if options.share { Depth::Share } else { Depth::Full };
    if let [name, step, from, to] = options.child.as_slice() {
        let batch = child(name, Choice { depth, step: step.parse()? }, from.parse()?..to.parse()?)?;
        println!("{}", serde_json::to_string(&batch)?);
        return Ok(ExitCode::SUCCESS);
    }
    let start = Instant::now();
    let mut all = Batch::default();
    if options.subject.as_ref().is_none_or(|part| part.starts_with("statefile")) {
        state_files(&mut all);
    }
    for name in SUBJECTS {
        if options.subject.as_ref().is_some_and(|part| !name.contains(part.as_str())) {
            continue;
        }
        let all_of_it = Subject::new(name).mutations(depth).count();
        let step = options.most.map_or(1, |most| all_of_it.div_ceil(most.max(1)).max(1));
        let (choice, len) = (Choice { depth, step }, all_of_it.div_ceil(step));
        let batches: Vec<Range<usize>> = (0..len).step_by(BATCH).map(|from| from..len.min(from + BATCH)).collect();
        let begin = Instant::now();
        let mut sum = Batch::default();
        for batch in parallel::map(&batches, |batch| process(name, choice, batch.clone())) {
            sum.add(batch?);
        }
        let (seconds, peak) = (begin.elapsed().as_secs_f64(), sum.peak_kib / 1024);
        let share = if step == 1 { String::new() } else { format!(", one in {step}") };
        let Batch { inputs, refused, .. } = sum;
        println!("{name:<20} {inputs:>9} inputs, {refused:>9} refused, {seconds:>6.1} s, peak {peak} MiB{share}");
        all.add(sum);
    }
    for (what, list) in
        [("abort", &all.aborts), ("panic", &all.panics), ("slow", &all.slow), ("accepted or misnamed", &all.wrong)]
    {
        for input in list {
            println!("{what}: {input}");
        }
    }
    println!("{:.0} s in all", start.elapsed().as_secs_f64());
    println!("figure mutate_inputs={}", all.inputs);
    println!("figure mutate_refused={}", all.refused);
    println!("figure mutate_unnoticed={}", all.unnoticed);
    println!("figure mutate_panics={}", all.panics.len());
    println!("figure mutate_aborts={}", all.aborts.len());
    println!("figure mutate_slow={}", all.slow.len());
    println!("figure mutate_accepted_changes={}", all.wrong.len());
    println!("figure mutate_peak_kib={}", all.peak_kib);
    let bad = all.aborts.len() + all.panics.len() + all.slow.len() + all.wrong.len();
    if bad > 0 {
        bail!("{bad} inputs were not answered as they should be");
    }
    if all.peak_kib > PEAK_KIB {
        bail!("a process took {} KiB, more than {PEAK_KIB}", all.peak_kib);
    }
    Ok(ExitCode::SUCCESS)
}

/// State files, every byte by three masks and every truncation, read in four ways each.
fn state_files(all: &mut Batch) {
    let (subjects, begin) = (statefile::subjects(), Instant::now());
    let (mut sum, mut files) = (Batch::default(), 0_u64);
    for result in parallel::map(&subjects, statefile::Subject::judge_all) {
        files += 1;
        match result {
            Ok(tally) => {
                sum.inputs += tally.inputs;
                sum.refused += tally.refused;
                sum.unnoticed += tally.read;
            }
            Err(wrong) => {
                let (panics, wrong): (Vec<_>, Vec<_>) = wrong.into_iter().partition(|what| what.ends_with("a panic"));
                sum.panics.extend(panics);
                sum.wrong.extend(wrong);
            }
        }
    }
    let (name, seconds) = ("statefile", begin.elapsed().as_secs_f64());
    println!("{name:<20} {:>9} inputs, {:>9} refused, {seconds:>6.1} s, {files} files", sum.inputs, sum.refused);
    all.add(sum);
}

/// Runs a batch in a process of its own; if that dies, its halves.
fn process(name: &str, choice: Choice, range: Range<usize>) -> Result<Batch> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.arg("mutate");
    if choice.depth == Depth::Share {
        command.arg("--share");
    }
    let numbers = [choice.step, range.start, range.end].map(|number| number.to_string());
    command.arg("--child").arg(name).args(numbers);
    let output = command.stdin(Stdio::null()).output().context("cannot start a process")?;
    if output.status.success() {
        return serde_json::from_slice(&output.stdout).context("a process printed something else than its batch");
    }
    let mut both = Batch::default();
    if range.len() == 1 {
        let mutation = Subject::new(subject(name)?).mutations(choice.depth).step_by(choice.step).nth(range.start);
        let what = mutation.map(|mutation| mutation.to_string()).unwrap_or_default();
        let told = String::from_utf8_lossy(&output.stderr);
        both.inputs = 1;
        both.aborts.push(format!("{name}: {what}: {}: {}", output.status, told.trim()));
        return Ok(both);
    }
    let middle = range.start + range.len() / 2;
    for half in [range.start..middle, middle..range.end] {
        both.add(process(name, choice, half)?);
    }
    Ok(both)
}

fn subject(name: &str) -> Result<&'static str> {
    SUBJECTS.into_iter().find(|subject| *subject == name).with_context(|| format!("no blob is called `{name}`"))
}

/// Runs a batch here.
fn child(name: &str, choice: Choice, range: Range<usize>) -> Result<Batch> {
    setrlimit(Resource::RLIMIT_AS, CEILING, CEILING).context("cannot set a ceiling")?;
    // A panic is an outcome, and told as one.
    std::panic::set_hook(Box::new(|_| ()));
    let subject = Subject::new(subject(name)?);
    let mut batch = Batch::default();
    for mutation in subject.mutations(choice.depth).step_by(choice.step).skip(range.start).take(range.len()) {
        let Some(outcome) = subject.outcome(mutation) else { continue };
        batch.inputs += 1;
        let told = || format!("{name}: {mutation}: {outcome}");
        match &outcome {
            Outcome::Refused => batch.refused += 1,
            Outcome::Unnoticed => batch.unnoticed += 1,
            Outcome::Slow(_) => batch.slow.push(told()),
            Outcome::Wrong(what) if what.starts_with("a panic") => batch.panics.push(told()),
            Outcome::Wrong(_) => batch.wrong.push(told()),
        }
    }
    batch.peak_kib = peak_kib()?;
    Ok(batch)
}

/// The most memory that this process had resident at once.
pub(crate) fn peak_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak in /proc/self/status")?;
    line.trim().trim_end_matches("kB").trim().parse().context("a peak that is no number")
}
