//! Buffers for what is read, for all threads together.
//!
//! Threads come and go with the reads that wait. A buffer for each would come and go with it, and take memory in as many
//! places as there have been threads at once.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// Buffers that nobody uses at the moment.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<VecDeque<Vec<u8>>>);

impl Buffers {
    /// A buffer of any length, until it is given [`back`](Self::give_back).
    pub(super) fn take(&self) -> Vec<u8> {
        // They take turns, so that all have soon grown to the size of the largest read.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or_default()
    }

    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push_back(buffer);
        }
    }
}

/// As many as readers that keep a machine busy; who waits for a network is in no hurry to get one.
const KEPT: usize = 16;
