//! The few values used last, kept for the next call.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// A few values by node number; the one unused for longest is dropped first.
pub(crate) struct Cache<V> {
    capacity: usize,
    /// Newest first.
    kept: Mutex<VecDeque<(u64, Arc<V>)>>,
}

impl<V> Cache<V> {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self { capacity, kept: Mutex::new(VecDeque::new()) }
    }

    pub(crate) fn get(&self, node: u64) -> Option<Arc<V>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(number, _)| *number == node)?;
        if at > 0 {
            let found = kept.remove(at)?;
            kept.push_front(found);
        }
        kept.front().map(|(_, value)| Arc::clone(value))
    }

    pub(crate) fn put(&self, node: u64, value: V) -> Arc<V> {
        let value = Arc::new(value);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(number, _)| *number != node);
        kept.push_front((node, Arc::clone(&value)));
        let dropped = if kept.len() > self.capacity { kept.pop_back() } else { None };
        drop(kept);
        // Closing a descriptor can take long: drop it outside of the lock.
        drop(dropped);
        value
    }
}
