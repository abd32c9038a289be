//! A flag that asks long work to stop.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A flag that asks running work to stop.
///
/// Clones share one flag: give one clone to the work and raise the other from any thread. The work checks the flag
/// between steps of bounded size, such as chunks, so it stops soon but not at once: a call that waits for the operating
/// system ends first. One check is one atomic load.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that is not raised.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag; it stays raised.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the flag is raised.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Turns a raised flag into an error, for use with `?`.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] once [`cancel`](Self::cancel) was called on any clone.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }
}

/// The error of work that ends because its [`Cancel`] was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled by the caller")]
#[non_exhaustive]
pub struct Cancelled;
