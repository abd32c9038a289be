//! Memory for bytes that are fetched and not decoded yet.
//!
//! Any number of threads may wait for a source at once. Their buffers together are bounded, in bytes: a thread that would
//! exceed the bound waits until others have decoded what they fetched.

use std::{
    collections::BTreeSet,
    fmt, io,
    ops::{Deref, DerefMut},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use dunnage_digest::{Purpose, ReadRequest};

use super::wait::wait_for;

/// Buffers of all sources of a cache.
pub(super) struct Buffers {
    /// Bytes in all buffers together, those that are kept for the next reads included.
    most: u64,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    /// Bytes reserved by buffers in use.
    used: u64,
    /// Threads that wait for room. The first one goes next: reads with a caller before others, then in the order of arrival.
    queue: BTreeSet<(Purpose, u64)>,
    arrivals: u64,
    /// Buffers for the next reads. The largest ones are kept, so that all of them soon have the size that reads need. Then none
    /// is allocated any more: buffers of all sizes that come and go would leave holes in the memory between the pages of
    /// pieces, which stay.
    idle: Vec<Vec<u8>>,
    /// Bytes of the idle buffers.
    idle_bytes: u64,
}

impl Buffers {
    pub(super) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { most, state: Mutex::default(), freed: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty buffer that may [grow](PieceBuffer::grow) to `len` bytes.
    pub(super) fn take(self: &Arc<Self>, len: u64, request: &ReadRequest<'_>) -> io::Result<PieceBuffer> {
        // A buffer larger than the bound waits until it is the only one.
        let reserved = len.min(self.most);
        let mut state = self.state();
        if !state.queue.is_empty() || !self.fits(&state, reserved) {
            state.arrivals = state.arrivals.saturating_add(1);
            let place = (request.purpose, state.arrivals);
            state.queue.insert(place);
            let is_next = |state: &mut State| {
                let is_next = state.queue.first() == Some(&place) && self.fits(state, reserved);
                is_next.then(|| state.queue.remove(&place)).map(drop)
            };
            match wait_for(&self.freed, state, request, is_next) {
                Ok((guard, ())) => state = guard,
                Err(error) => {
                    self.state().queue.remove(&place);
                    self.freed.notify_all();
                    return Err(error);
                }
            }
            // The next thread in the queue may fit as well.
            if !state.queue.is_empty() {
                self.freed.notify_all();
            }
        }
        state.used = state.used.saturating_add(reserved);
        let wanted = usize::try_from(len).unwrap_or(usize::MAX);
        let fitting = state.idle.iter().enumerate().filter(|(_, idle)| idle.len() >= wanted);
        let smallest = fitting.min_by_key(|(_, idle)| idle.len()).map(|(at, _)| at);
        let bytes = smallest.map(|at| state.idle.swap_remove(at)).unwrap_or_default();
        state.idle_bytes = state.idle_bytes.saturating_sub(bytes.len() as u64);
        let surplus = self.surplus(&mut state);
        drop(state);
        drop(surplus);
        Ok(PieceBuffer { home: Arc::clone(self), bytes, len: 0, reserved })
    }

    fn fits(&self, state: &State, len: u64) -> bool {
        state.used == 0 || state.used.saturating_add(len) <= self.most
    }

    /// The smallest idle buffers, as many as exceed the bound. The caller drops them outside of the lock.
    fn surplus(&self, state: &mut State) -> Vec<Vec<u8>> {
        let mut surplus = Vec::new();
        while state.used.saturating_add(state.idle_bytes) > self.most
            && let Some((at, len)) = state.idle.iter().map(Vec::len).enumerate().min_by_key(|(_, len)| *len)
        {
            surplus.push(state.idle.swap_remove(at));
            state.idle_bytes = state.idle_bytes.saturating_sub(len as u64);
        }
        surplus
    }

    fn give_back(&self, bytes: Vec<u8>, reserved: u64) {
        let mut state = self.state();
        state.used = state.used.saturating_sub(reserved);
        if !bytes.is_empty() && bytes.len() <= LONGEST_KEPT {
            state.idle_bytes = state.idle_bytes.saturating_add(bytes.len() as u64);
            state.idle.push(bytes);
        }
        let surplus = self.surplus(&mut state);
        let is_awaited = !state.queue.is_empty();
        drop(state);
        drop(surplus);
        if is_awaited {
            self.freed.notify_all();
        }
    }
}

/// The size of a buffer for `len` bytes: up to an eighth more, so that it fits the next read of about as many bytes.
const fn rounded(len: usize) -> usize {
    let step = match len.checked_next_power_of_two() {
        Some(power) if power / 8 > 1 => power / 8,
        _ => 1,
    };
    match len.checked_next_multiple_of(step) {
        Some(rounded) => rounded,
        None => len,
    }
}

/// Longer buffers go back to the system at once.
const LONGEST_KEPT: usize = 8 << 20;

/// Bytes that were fetched and wait for a decoder. Counts against the bound of its cache until it is dropped.
pub struct PieceBuffer {
    home: Arc<Buffers>,
    /// As long as it ever was; only the first `len` bytes count.
    bytes: Vec<u8>,
    len: usize,
    reserved: u64,
}

impl PieceBuffer {
    /// Makes the buffer `len` bytes long and keeps the bytes that it holds. The content of the new bytes is unspecified.
    pub fn grow(&mut self, len: usize) {
        if self.bytes.len() < len {
            let rounded = rounded(len);
            if self.len == 0 {
                // Memory that the system hands out zeroed is not written twice.
                self.bytes = vec![0; rounded];
            } else {
                self.bytes.resize(rounded, 0);
            }
        }
        self.len = len;
    }
}

impl Deref for PieceBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl DerefMut for PieceBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }
}

impl Drop for PieceBuffer {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.bytes), self.reserved);
    }
}

impl fmt::Debug for PieceBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceBuffer").field("len", &self.len).finish_non_exhaustive()
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers").field("used", &self.state().used).field("most", &self.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering::SeqCst},
        thread,
        time::{Duration, Instant},
    };

    use dunnage_digest::{Cancel, ErrorKind, kind_of};

    use super::*;

    const ALWAYS: ReadRequest<'_> = ReadRequest { purpose: Purpose::Demand, deadline: None, cancel: None };

    fn until(is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(20), "it takes too long");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn buffers_in_use_stay_below_the_bound() {
        let (buffers, used, most) = (Buffers::new(100), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for thread in 0..16 {
                let (buffers, used, most) = (&buffers, &used, &most);
                scope.spawn(move || {
                    for round in 0..20 {
                        let len = 1 + (thread * 7 + round * 13) % 60;
                        let mut buffer = buffers.take(len, &ALWAYS).unwrap();
                        most.fetch_max(used.fetch_add(len, SeqCst) + len, SeqCst);
                        buffer.grow(len as usize);
                        assert_eq!(buffer.len() as u64, len);
                        thread::yield_now();
                        used.fetch_sub(len, SeqCst);
                    }
                });
            }
        });
        assert!(most.load(SeqCst) <= 100, "{most:?}");
        assert_eq!(buffers.state().used, 0);
        // One that is larger than the bound goes alone.
        let large = buffers.take(1000, &ALWAYS).unwrap();
        let soon = ReadRequest { deadline: Some(Instant::now() + Duration::from_millis(20)), ..ALWAYS };
        assert_eq!(kind_of(&buffers.take(1, &soon).unwrap_err()), ErrorKind::Timeout);
        drop(large);
        drop(buffers.take(1, &soon).unwrap());
    }

    #[test]
    fn a_demand_goes_before_reads_ahead_and_a_cancelled_thread_leaves_the_queue() {
        let (buffers, order, cancel) = (Buffers::new(10), Mutex::new(Vec::new()), Cancel::new());
        let held = buffers.take(10, &ALWAYS).unwrap();
        thread::scope(|scope| {
            let wait = |purpose: Purpose, cancel: Option<Cancel>| {
                let (buffers, order) = (&buffers, &order);
                let waiting = buffers.state().queue.len();
                scope.spawn(move || {
                    let request = ReadRequest { purpose, deadline: None, cancel: cancel.as_ref() };
                    let taken = buffers.take(10, &request);
                    order.lock().unwrap().push(taken.map(|_| purpose).map_err(|error| kind_of(&error)));
                });
                until(|| buffers.state().queue.len() == waiting + 1);
            };
            wait(Purpose::Background, None);
            wait(Purpose::Ahead, None);
            wait(Purpose::Demand, Some(cancel.clone()));
            wait(Purpose::Demand, None);
            cancel.cancel();
            until(|| order.lock().unwrap().len() == 1);
            drop(held);
        });
        let wanted = [Err(ErrorKind::Cancelled), Ok(Purpose::Demand), Ok(Purpose::Ahead), Ok(Purpose::Background)];
        assert_eq!(*order.lock().unwrap(), wanted);
    }

    #[test]
    fn idle_buffers_are_used_again_and_count_against_the_bound() {
        let buffers = Buffers::new(10 << 20);
        let mut first = buffers.take(100, &ALWAYS).unwrap();
        first.grow(100);
        first.fill(7);
        first.grow(120);
        assert_eq!((&first[..100], first.len()), ([7; 100].as_slice(), 120));
        assert_eq!([1, 8, 9, 1000, 1025, usize::MAX].map(rounded), [1, 8, 10, 1024, 1280, usize::MAX]);
        drop(first);
        let again = buffers.take(50, &ALWAYS).unwrap();
        assert_eq!((again.len(), again.bytes.len(), buffers.state().idle.len()), (0, 128, 0));
        drop(again);
        let idle = || {
            let state = buffers.state();
            (state.idle.len(), state.idle_bytes)
        };
        let many: Vec<_> = (0..50)
            .map(|_| {
                let mut buffer = buffers.take(10, &ALWAYS).unwrap();
                buffer.grow(10);
                buffer
            })
            .collect();
        drop(many);
        assert_eq!(idle(), (50, 128 + 49 * 10));
        // The smallest ones go when the bytes are needed.
        let wide = buffers.take((10 << 20) - 200, &ALWAYS).unwrap();
        assert_eq!(idle(), (8, 128 + 7 * 10));
        drop(wide);
        let mut large = buffers.take(9 << 20, &ALWAYS).unwrap();
        large.grow(9 << 20);
        drop(large);
        assert!(buffers.state().idle.iter().all(|idle| idle.len() <= LONGEST_KEPT));
    }
}
