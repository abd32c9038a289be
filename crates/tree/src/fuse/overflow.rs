//! Threads for work that would take the last thread that listens to the kernel.
//!
//! A request can wait for a disk or a network, and as many can wait at once as there are callers. One thread always has to be
//! free for what does not wait: what is in memory, and the last request of a file that is closed, without which the kernel
//! lets no process die. So the request that would take it goes to one of these. They come when they are needed and go when
//! they are not. What is unpacked [ahead](super::readahead) of readers is done here too.

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
            if state.ended {
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

    /// Sends the threads home when they have nothing left to do.
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

/// Threads at most; what comes beyond waits its turn, and can be interrupted there.
const MOST: usize = 64;
/// How long a thread waits for more to do.
const PATIENCE: Duration = Duration::from_secs(3);
