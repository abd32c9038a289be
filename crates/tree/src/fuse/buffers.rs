//! Buffers for answers to reads, shared by all threads of a mount.
//!
//! Threads come and go with the number of waiting reads. With a buffer per thread, memory would follow the largest number of
//! threads there ever was.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// Buffers that no thread uses at the moment.
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

/// Enough for the readers that keep a machine busy. Allocating one more costs little beside a wait for a network.
const KEPT: usize = 16;
