//! Reports of a long run to its caller, and the way to stop it.

use std::fmt;

use crate::{Cancel, Cancelled};

/// Connects a long run with its caller: the run reports how many bytes it has handled, and stops when the caller asks.
///
/// Use it to draw a progress bar, or to end a run from another thread. The long operations of the workspace take one by
/// value: it is three words. A run reports per chunk or mebibyte, not per byte, so `report` can be slow enough to draw. It
/// does not report the total beforehand. [`Progress::none`] neither reports nor stops.
#[derive(Clone, Copy)]
pub struct Progress<'p> {
    report: Option<&'p (dyn Fn(u64) + Sync)>,
    cancel: Option<&'p Cancel>,
}

impl<'p> Progress<'p> {
    /// Reports nothing and is never cancelled.
    #[must_use]
    pub const fn none() -> Self {
        Self { report: None, cancel: None }
    }

    /// Calls `report` with the number of bytes handled since the start. Any thread of the run may call it.
    #[must_use]
    pub const fn to(report: &'p (dyn Fn(u64) + Sync)) -> Self {
        Self { report: Some(report), cancel: None }
    }

    /// Ends the run with [`Cancelled`] once `cancel` is raised.
    #[must_use]
    pub const fn cancelled_by(self, cancel: &'p Cancel) -> Self {
        Self { cancel: Some(cancel), ..self }
    }

    /// The same without reports, for a part of a run whose bytes are counted elsewhere.
    #[must_use]
    pub const fn without_reports(self) -> Self {
        Self { report: None, ..self }
    }

    /// Reports that the run has handled `bytes` since its start. For the run to call.
    pub fn at(&self, bytes: u64) {
        if let Some(report) = self.report {
            report(bytes);
        }
    }

    /// Returns an error if the run should stop. For the run to call between chunks.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] once the flag is raised.
    pub fn check(&self) -> Result<(), Cancelled> {
        self.cancel.map_or(Ok(()), Cancel::check)
    }
}

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("reports", &self.report.is_some()).field("cancel", &self.cancel).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_run_reports_and_stops() {
        let (seen, cancel) = (Mutex::new(Vec::new()), Cancel::new());
        let report = |bytes| seen.lock().unwrap().push(bytes);
        let progress = Progress::to(&report).cancelled_by(&cancel);
        progress.at(1);
        progress.check().unwrap();
        progress.without_reports().at(7);
        cancel.cancel();
        assert_eq!(progress.without_reports().check(), Err(Cancelled));
        progress.at(2);
        assert_eq!(progress.check(), Err(Cancelled));
        assert_eq!(*seen.lock().unwrap(), [1, 2]);
        Progress::none().at(3);
        Progress::none().check().unwrap();
    }
}
