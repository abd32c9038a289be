//! Counting comparisons, and keeping the first difference of each that fails.

use std::{
    fmt::{Debug, Display},
    fs,
    path::Path,
    time::Instant,
};

use anyhow::{Context as _, Result};

/// The comparisons of one combination.
#[derive(Debug)]
pub(crate) struct Tally {
    /// The name of the comparison, for messages.
    pub(crate) name: String,
    /// How many comparisons were made.
    pub(crate) made: u64,
    /// What was wrong.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    /// Makes the comparisons of one combination, in a directory of its own below `dir`, and prints how many there were
    /// and each that failed. An error is a failure.
    pub(crate) fn run(name: String, dir: &Path, check: impl FnOnce(&mut Self, &Path) -> Result<()>) -> Self {
        let begin = Instant::now();
        let scratch = dir.join(name.replace(' ', "-"));
        let mut tally = Self { name, made: 0, failures: Vec::new() };
        let made = fs::create_dir_all(&scratch).with_context(|| format!("cannot create `{}`", scratch.display()));
        if let Err(error) = made.and_then(|()| check(&mut tally, &scratch)) {
            tally.failures.push(format!("{error:#}"));
        }
        // Files that are left go with `dir`.
        let _ = fs::remove_dir_all(&scratch);
        let Self { name, made, failures } = &tally;
        println!("  {name}: {made} comparisons, {} failures, {:.1} s", failures.len(), begin.elapsed().as_secs_f64());
        for failure in failures {
            println!("    FAILED {failure}");
        }
        tally
    }

    /// Something has to work; its result if it does.
    pub(crate) fn works<T, E: Display>(&mut self, what: &str, result: Result<T, E>) -> Option<T> {
        self.made += 1;
        result.map_err(|error| self.failures.push(format!("{what}: {error:#}"))).ok()
    }

    /// Two values have to be equal.
    pub(crate) fn same<T: PartialEq + Debug>(&mut self, what: &str, ours: &T, theirs: &T) {
        self.made += 1;
        if ours != theirs {
            self.failures.push(format!("{what}: {ours:?} against {theirs:?}"));
        }
    }

    /// Two byte strings have to be equal.
    pub(crate) fn same_bytes(&mut self, what: &str, ours: &[u8], theirs: &[u8]) {
        self.made += 1;
        if ours == theirs {
            return;
        }
        let at = ours.iter().zip(theirs).position(|(a, b)| a != b).unwrap_or_else(|| ours.len().min(theirs.len()));
        let show = |bytes: &[u8]| {
            let around = bytes.get(at.saturating_sub(60)..bytes.len().min(at + 60)).unwrap_or_default();
            around.escape_ascii().to_string()
        };
        let lens = format!("{} against {} bytes", ours.len(), theirs.len());
        self.failures.push(format!(
            "{what}: {lens}, first difference at {at:#x}: `{}` against `{}`",
            show(ours),
            show(theirs)
        ));
    }

    /// There must be nothing to say.
    pub(crate) fn nothing(&mut self, what: &str, difference: Option<String>) {
        self.made += 1;
        if let Some(difference) = difference {
            self.failures.push(format!("{what}: {difference}"));
        }
    }
}
