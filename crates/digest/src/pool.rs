//! A pool of threads that returns results in the order of the jobs. Readers and writers compress, hash and check the
//! pieces of a stream with it.

use std::{collections::VecDeque, fmt, thread};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

/// A worker thread panicked, or the system started no thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a worker thread died")]
#[non_exhaustive]
pub struct WorkerDied;

type Work<J, O> = Box<dyn FnMut(J) -> O + Send>;

/// Runs jobs on worker threads and returns the results in the order of submission.
///
/// Use it where one thread reads or writes a stream and each piece can be worked on alone. The pool does not bound
/// memory: the caller does, by calling [`take`](Self::take) whenever [`in_flight`](Self::in_flight) reaches its limit.
/// Each job costs one channel, so a job should take microseconds at least. With one thread, [`submit`](Self::submit)
/// runs the job itself and no thread is started. Dropping the pool waits for all submitted jobs.
pub struct Ordered<J, O> {
    lane: Lane<J, O>,
}

enum Lane<J, O> {
    Here {
        work: Work<J, O>,
        done: VecDeque<O>,
    },
    Threads {
        jobs: Option<Sender<(J, Sender<O>)>>,
        waiting: VecDeque<Receiver<O>>,
        threads: Vec<thread::JoinHandle<()>>,
    },
}

impl<J: Send + 'static, O: Send + 'static> Ordered<J, O> {
    /// A pool of `threads` workers. Each calls a function of its own, which `worker` makes.
    pub fn new<W: FnMut(J) -> O + Send + 'static>(threads: usize, worker: impl Fn() -> W) -> Self {
        if threads <= 1 {
            return Self { lane: Lane::Here { work: Box::new(worker()), done: VecDeque::new() } };
        }
        // Unbounded: the caller submits and takes, and so bounds the jobs in flight.
        let (jobs, queue) = unbounded::<(J, Sender<O>)>();
        let start = |mut work: W| {
            let queue = queue.clone();
            thread::Builder::new().name("dunnage-worker".to_owned()).spawn(move || {
                for (job, reply) in queue {
                    // Fails only if the pool was dropped, which gives up the result.
                    let _ = reply.send(work(job));
                }
            })
        };
        let threads = (0..threads).filter_map(|_| start(worker()).ok()).collect();
        Self { lane: Lane::Threads { jobs: Some(jobs), waiting: VecDeque::new(), threads } }
    }

    /// Adds a job. Does not wait, so the caller bounds the jobs in flight.
    ///
    /// # Errors
    ///
    /// [`WorkerDied`] if no worker thread is left.
    pub fn submit(&mut self, job: J) -> Result<(), WorkerDied> {
        match &mut self.lane {
            Lane::Here { work, done } => done.push_back(work(job)),
            Lane::Threads { jobs, waiting, threads } => {
                let (reply, result) = bounded(1);
                let jobs = jobs.as_ref().filter(|_| !threads.is_empty()).ok_or(WorkerDied)?;
                jobs.send((job, reply)).map_err(|_| WorkerDied)?;
                waiting.push_back(result);
            }
        }
        Ok(())
    }

    /// Number of jobs whose results were not taken.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        match &self.lane {
            Lane::Here { done, .. } => done.len(),
            Lane::Threads { waiting, .. } => waiting.len(),
        }
    }

    /// Whether [`take`](Self::take) returns without waiting.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.lane {
            Lane::Here { done, .. } => !done.is_empty(),
            Lane::Threads { waiting, .. } => waiting.front().is_some_and(|result| !result.is_empty()),
        }
    }

    /// Waits for the result of the oldest job.
    ///
    /// # Errors
    ///
    /// [`WorkerDied`] if the job panicked, and if no job is in flight.
    pub fn take(&mut self) -> Result<O, WorkerDied> {
        match &mut self.lane {
            Lane::Here { done, .. } => done.pop_front().ok_or(WorkerDied),
            Lane::Threads { waiting, .. } => {
                let result = waiting.pop_front().ok_or(WorkerDied)?;
                // Fails if the worker panicked, which drops the reply.
                result.recv().map_err(|_| WorkerDied)
            }
        }
    }
}

impl<J, O> Drop for Ordered<J, O> {
    fn drop(&mut self) {
        if let Lane::Threads { jobs, threads, .. } = &mut self.lane {
            drop(jobs.take());
            for thread in threads.drain(..) {
                // `take` has reported a worker that panicked.
                let _ = thread.join();
            }
        }
    }
}

impl<J, O> fmt::Debug for Ordered<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ordered")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        for threads in [1, 2, 8] {
            let worker = || {
                |job: u64| {
                    thread::sleep(std::time::Duration::from_micros((job * 7919) % 300));
                    job
                }
            };
            let mut pool = Ordered::new(threads, worker);
            let mut taken = Vec::new();
            for job in 0..200 {
                pool.submit(job).unwrap();
                if pool.in_flight() > 5 {
                    taken.push(pool.take().unwrap());
                }
            }
            while pool.in_flight() > 0 {
                taken.push(pool.take().unwrap());
            }
            assert_eq!(taken, (0..200).collect::<Vec<_>>(), "{threads} threads");
        }
    }
}
