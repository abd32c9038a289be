//! Counting comparisons, and keeping the first difference of each that fails.

use std::{
    fmt::{Debug, Display},
    time::Duration,
};

/// The comparisons of one combination.
#[derive(Debug)]
pub(crate) struct Tally {
    /// What is compared, for messages.
    pub(crate) name: String,
    /// How many comparisons were made.
    pub(crate) made: u64,
    /// What was wrong.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    pub(crate) const fn new(name: String) -> Self {
        Self { name, made: 0, failures: Vec::new() }
    }

    /// One line about all of it, and one for each failure.
    pub(crate) fn print(&self, took: Duration) {
        let Self { name, made, failures } = self;
        println!("  {name}: {made} comparisons, {} failures, {:.1} s", failures.len(), took.as_secs_f64());
        for failure in failures {
            println!("    FAILED {failure}");
        }
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
