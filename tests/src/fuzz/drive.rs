//! Runs bodies without a fuzzer: over all seeds, and over mutations of them for some time.

use std::{
    fmt,
    panic::catch_unwind,
    time::{Duration, Instant},
};

use super::{Target, seeds};
use crate::{
    mutate::{Material, mutate},
    mutation::told,
    random::Random,
};

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "figures")]
pub struct Stats {
    /// Inputs.
    pub runs: u64,
    /// The longest that one took.
    pub slowest: Duration,
}

/// An input for which something does not hold.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "all that is needed to see it again")]
pub struct Failure {
    /// The target.
    pub target: &'static str,
    /// The seed of the run, and which of its inputs it was; for a replay, which of the seeds.
    pub seed: Option<u64>,
    /// Counted from 0.
    pub number: u64,
    /// What happened.
    pub what: String,
    /// The input.
    pub input: Vec<u8>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, number, what, input, .. } = self;
        match self.seed {
            Some(seed) => write!(f, "{target}, DUNNAGE_SEED={seed:#x}, input {number}: {what}")?,
            None => write!(f, "{target}, seed {number} of the corpus: {what}")?,
        }
        let shown = &input[..input.len().min(2048)];
        let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
        write!(f, "\n{} bytes: {hex}{}", input.len(), if shown.len() < input.len() { "…" } else { "" })
    }
}

/// Longer than any input may take.
const LONG: Duration = Duration::from_secs(2);

/// Runs the body over all seeds.
///
/// # Errors
///
/// The first [`Failure`].
pub fn replay(target: &Target) -> Result<Stats, Box<Failure>> {
    let mut stats = Stats::default();
    for input in seeds(target) {
        run(target, None, &mut stats, input)?;
    }
    Ok(stats)
}

/// Runs the body over mutations of its seeds until the time is over.
///
/// # Errors
///
/// The first [`Failure`].
pub fn mutate_for(target: &Target, seed: u64, time: Duration) -> Result<Stats, Box<Failure>> {
    let seeds = seeds(target);
    let mut random = Random::new(seed);
    let mut stats = Stats::default();
    let start = Instant::now();
    while start.elapsed() < time && !seeds.is_empty() {
        let from = random.pick(&seeds);
        let material = Material { seeds: &seeds, dictionary: target.dictionary };
        let mut input = mutate(&mut random, from, material);
        if let Some(repair) = target.repair
            && random.below(4) > 0
        {
            repair(&mut input);
        }
        run(target, Some(seed), &mut stats, input)?;
    }
    Ok(stats)
}

fn run(target: &Target, seed: Option<u64>, stats: &mut Stats, input: Vec<u8>) -> Result<(), Box<Failure>> {
    let once = || {
        let start = Instant::now();
        let result = catch_unwind(|| (target.body)(&input));
        (result, start.elapsed())
    };
    let (mut result, mut took) = once();
    if took > LONG {
        // A machine may be busy; an input that is slow is slow again.
        (result, took) = once();
    }
    let what = match result {
        Err(panic) => Some(told(panic.as_ref())),
        Ok(()) if took > LONG => Some(format!("took {took:?}")),
        Ok(()) => None,
    };
    let number = stats.runs;
    stats.runs += 1;
    stats.slowest = stats.slowest.max(took);
    match what {
        Some(what) => Err(Box::new(Failure { target: target.name, seed, number, what, input })),
        None => Ok(()),
    }
}
