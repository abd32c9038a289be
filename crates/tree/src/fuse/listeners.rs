//! Limits how many threads wait on `/dev/fuse`. Each idle listener costs a core wake-up per request.
//!
//! The kernel wakes the thread that has waited longest. With many listeners each request wakes another one, mostly on a sleeping
//! core, and takes three times as long as with a single thread (`docs/decisions`, "FUSE: one listener more than needed"). With
//! one thread, two readers wait for each other. So a thread that found its request waiting calls another thread back, and a
//! thread that had to wait for its request many times in a row, while another one listens, stays away for a while. Where
//! answers take long, the last listener calls another thread before it begins. A thread that stays away comes back by itself
//! after a tenth of a second, in case no other thread calls it.

use std::{
    cell::Cell,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// The threads that listen, and those that stay away.
#[derive(Debug)]
pub(super) struct Listeners {
    /// Threads that wait for a request in the kernel, or are on their way there.
    listening: AtomicUsize,
    away: AtomicUsize,
    /// How long a thread stays away at most.
    most: Duration,
    /// An answer that took longer than this counts as slow.
    long: Duration,
    /// Whether the last answer was slow: the next one may be slow too.
    slow: AtomicBool,
    called: Mutex<()>,
    call: Condvar,
}

/// The memory of a thread about its own requests.
#[derive(Clone, Copy)]
struct Own {
    /// When its current request came, or the last one.
    begun: Option<Instant>,
    /// When it answered last.
    ended: Option<Instant>,
    /// How many times in a row it then waited.
    waited: u32,
}

thread_local! {
    static OWN: Cell<Own> = const { Cell::new(Own { begun: None, ended: None, waited: 0 }) };
}

impl Listeners {
    pub(super) const fn new(threads: usize) -> Self {
        Self {
            listening: AtomicUsize::new(threads),
            away: AtomicUsize::new(0),
            most: AWAY,
            long: LONG,
            slow: AtomicBool::new(false),
            called: Mutex::new(()),
            call: Condvar::new(),
        }
    }

    /// Called when a request has come.
    pub(super) fn begin(&self, now: Instant) {
        let others = self.listening.fetch_sub(1, Relaxed).saturating_sub(1);
        let own = OWN.get();
        let found_waiting = own.ended.is_some_and(|ended| now.saturating_duration_since(ended) < AT_ONCE);
        let waited = if found_waiting { 0 } else { own.waited.saturating_add(1) };
        OWN.set(Own { begun: Some(now), waited, ..own });
        let is_needed = found_waiting || (others == 0 && self.slow.load(Relaxed));
        if is_needed && self.away.load(Relaxed) > 0 {
            self.call.notify_one();
        }
    }

    /// Called when the request is answered.
    pub(super) fn end(&self) {
        let mut own = OWN.get();
        let now = Instant::now();
        let is_slow = own.begun.is_some_and(|begun| now.saturating_duration_since(begun) > self.long);
        // Store only on change, to keep the cache line shared.
        if self.slow.load(Relaxed) != is_slow {
            self.slow.store(is_slow, Relaxed);
        }
        own.ended = Some(now);
        if own.waited > OFTEN && self.listening.load(Relaxed) > 0 {
            own.waited = 0;
            self.away.fetch_add(1, Relaxed);
            let called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.call.wait_timeout(called, self.most));
            self.away.fetch_sub(1, Relaxed);
            own.ended = Some(Instant::now());
        }
        self.listening.fetch_add(1, Relaxed);
        OWN.set(own);
    }
}

/// A request that comes so soon after the last answer was waiting already.
const AT_ONCE: Duration = Duration::from_micros(4);
/// How many times in a row a thread waits before it stays away.
const OFTEN: u32 = 8;
/// How long a thread stays away, unless another one calls it.
const AWAY: Duration = Duration::from_millis(100);
/// Chunks of a megabyte take longer, names and small files a tenth.
const LONG: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    /// Two threads that listen, of which the one that waited for all its requests has gone away for an hour. Answers that take
    /// longer than `long` take long.
    fn one_away(long: Duration) -> Arc<Listeners> {
        let turns = Arc::new(Listeners { most: Duration::from_secs(3600), long, ..Listeners::new(2) });
        let other = Arc::clone(&turns);
        thread::spawn(move || (0..=OFTEN).for_each(|_| answer(&other)));
        until(|| turns.away.load(Relaxed) == 1);
        turns
    }

    fn until(is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(10), "it takes too long");
            thread::yield_now();
        }
    }

    /// A request that was waited for.
    fn answer(turns: &Listeners) {
        thread::sleep(AT_ONCE * 2);
        turns.begin(Instant::now());
        turns.end();
    }

    #[test]
    fn a_slow_thread_calls_another_one_first() {
        let turns = one_away(Duration::ZERO);
        // A call is lost if the other thread does not wait yet.
        for _ in 1..OFTEN {
            answer(&turns);
            thread::sleep(Duration::from_millis(1));
        }
        until(|| turns.listening.load(Relaxed) == 2);
        assert_eq!(turns.away.load(Relaxed), 0);
    }

    #[test]
    fn a_quick_thread_calls_no_other() {
        let turns = one_away(Duration::from_secs(3600));
        for _ in 1..OFTEN {
            answer(&turns);
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(turns.away.load(Relaxed), 1);
    }
}
