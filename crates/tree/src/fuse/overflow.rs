//! Threads for work that would occupy the last listener.
//!
//! A request can wait for a disk or a network, and as many requests can wait at once as there are callers. One listener always
//! has to be free for requests that need not wait: those answered from memory, and the last request of a closed file, without
//! which the kernel lets no process die. So a request that would occupy the last listener goes to an overflow thread. These
//! threads start on demand and end after some idle seconds. They also unpack pieces [ahead](super::readahead) of readers.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

type Job = Box<dyn FnOnce() + Send>;

/// Threads that come and go.
#[derive(Default)]
pub(super) struct Overflow {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    ended: bool,
}

impl Overflow {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `job` in another thread, as soon as there is one.
    pub(super) fn run(self: &Arc<Self>, job: Job) {
        let mut state = self.state();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() || state.threads >= MOST {
            self.changed.notify_one();
            return;
        }
        state.threads = state.threads.saturating_add(1);
        drop(state);
        let own = Arc::clone(self);
        if thread::Builder::new().name("fuse-more".to_owned()).spawn(move || own.work()).is_err() {
            // Without another thread it has to be this one.
            let job = {
                let mut state = self.state();
                state.threads = state.threads.saturating_sub(1);
                state.jobs.pop_back()
            };
            if let Some(job) = job {
                job();
            }
        }
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.state();
                continue;
            }
            if state.ended || state.idle >= MOST_IDLE {
                break;
            }
            state.idle = state.idle.saturating_add(1);
            let waited = self.changed.wait_timeout(state, PATIENCE);
            let (awake, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = awake;
            state.idle = state.idle.saturating_sub(1);
            if timeout.timed_out() && state.jobs.is_empty() {
                break;
            }
        }
        state.threads = state.threads.saturating_sub(1);
    }

    /// Lets the threads end once the queue is empty.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }
}

impl fmt::Debug for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overflow").field("threads", &self.state().threads).finish_non_exhaustive()
    }
}

/// Threads at most. Further requests wait in the queue, where their callers can be interrupted.
const MOST: usize = 64;
/// Idle threads at most: after a burst of reads that were interrupted, the others end at once.
const MOST_IDLE: usize = 16;
/// How long a thread waits for more to do.
const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, time::Instant};

    use super::*;

    #[test]
    fn after_a_burst_few_threads_are_left() {
        let overflow = Arc::new(Overflow::default());
        let (release, released) = channel::<()>();
        let released = Arc::new(Mutex::new(released));
        for _ in 0..200 {
            let released = Arc::clone(&released);
            // All jobs wait until the sender is gone.
            overflow.run(Box::new(move || {
                let _ended = released.lock().unwrap().recv();
            }));
        }
        assert_eq!(overflow.state().threads, MOST);
        drop(release);
        let start = Instant::now();
        while overflow.state().threads > MOST_IDLE {
            assert!(start.elapsed() < Duration::from_secs(20), "{overflow:?}");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(overflow.state().jobs.is_empty());
        overflow.end();
        while overflow.state().threads > 0 {
            assert!(start.elapsed() < Duration::from_secs(20), "{overflow:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
