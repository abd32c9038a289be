//! How many threads listen at once: as few as will do.
//!
//! The kernel wakes the thread that has waited longest, so with many of them each request wakes another one, as a rule on a
//! core that sleeps, and the request takes three times as long as with a single thread (`docs/decisions`, "FUSE: one
//! listener more than needed"). With one thread, two readers wait for each other. So a thread that found its request waiting calls
//! another one back, and a thread that again and again had to wait for its request, while another one listens as well,
//! stays away for a while. It comes back by itself soon, so that nobody depends on being called.

use std::{
    cell::Cell,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Who listens, and who stays away.
#[derive(Debug)]
pub(super) struct Turns {
    /// Threads that wait for a request in the kernel, or are on their way there.
    listening: AtomicUsize,
    away: AtomicUsize,
    called: Mutex<()>,
    call: Condvar,
}

thread_local! {
    /// When this thread answered last, and how many times in a row it then waited.
    static LAST: Cell<(Option<Instant>, u32)> = const { Cell::new((None, 0)) };
}

impl Turns {
    pub(super) const fn new(threads: usize) -> Self {
        Self {
            listening: AtomicUsize::new(threads),
            away: AtomicUsize::new(0),
            called: Mutex::new(()),
            call: Condvar::new(),
        }
    }

    /// A request has come.
    pub(super) fn begin(&self, now: Instant) {
        self.listening.fetch_sub(1, Relaxed);
        let (last, waited) = LAST.get();
        let found_waiting = last.is_some_and(|last| now.saturating_duration_since(last) < AT_ONCE);
        LAST.set((last, if found_waiting { 0 } else { waited.saturating_add(1) }));
        if found_waiting && self.away.load(Relaxed) > 0 {
            self.call.notify_one();
        }
    }

    /// It is answered.
    pub(super) fn end(&self) {
        let (_, mut waited) = LAST.get();
        if waited > OFTEN && self.listening.load(Relaxed) > 0 {
            waited = 0;
            self.away.fetch_add(1, Relaxed);
            let called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.call.wait_timeout(called, AWAY));
            self.away.fetch_sub(1, Relaxed);
        }
        self.listening.fetch_add(1, Relaxed);
        LAST.set((Some(Instant::now()), waited));
    }
}

/// A request that is there so soon was there before.
const AT_ONCE: Duration = Duration::from_micros(4);
/// How many times in a row a thread waits before it stays away.
const OFTEN: u32 = 8;
/// For how long, unless it is called.
const AWAY: Duration = Duration::from_millis(100);
