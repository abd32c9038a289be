//! Jobs that run on many threads and come back in the order in which they were given.

use std::{collections::VecDeque, fmt, thread};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::Error;

type Work<J, O> = Box<dyn FnMut(J) -> O + Send>;

/// A pool whose results are taken in order. With one thread, jobs run where they are submitted and nothing is spawned.
pub(crate) struct Ordered<J, O> {
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
    /// A pool of `threads` workers, each with a function of its own from `worker`.
    pub(crate) fn new<W: FnMut(J) -> O + Send + 'static>(threads: usize, worker: impl Fn() -> W) -> Self {
        if threads <= 1 {
            return Self { lane: Lane::Here { work: Box::new(worker()), done: VecDeque::new() } };
        }
        // Unbounded, because whoever submits also takes, and bounds what is in flight.
        let (jobs, queue) = unbounded::<(J, Sender<O>)>();
        let start = |mut work: W| {
            let queue = queue.clone();
            thread::Builder::new().name("dunnage-worker".to_owned()).spawn(move || {
                for (job, reply) in queue {
                    // Nobody waits for the result any more: there is nothing to do with it.
                    let _ = reply.send(work(job));
                }
            })
        };
        let threads = (0..threads).filter_map(|_| start(worker()).ok()).collect();
        Self { lane: Lane::Threads { jobs: Some(jobs), waiting: VecDeque::new(), threads } }
    }

    /// Adds a job.
    pub(crate) fn submit(&mut self, job: J) -> Result<(), Error> {
        match &mut self.lane {
            Lane::Here { work, done } => done.push_back(work(job)),
            Lane::Threads { jobs, waiting, threads } => {
                let (reply, result) = bounded(1);
                let jobs = jobs.as_ref().filter(|_| !threads.is_empty()).ok_or(Error::Worker)?;
                jobs.send((job, reply)).map_err(|_| Error::Worker)?;
                waiting.push_back(result);
            }
        }
        Ok(())
    }

    /// Jobs submitted and not taken.
    pub(crate) fn in_flight(&self) -> usize {
        match &self.lane {
            Lane::Here { done, .. } => done.len(),
            Lane::Threads { waiting, .. } => waiting.len(),
        }
    }

    /// Whether the oldest result can be taken without waiting.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.lane {
            Lane::Here { done, .. } => !done.is_empty(),
            Lane::Threads { waiting, .. } => waiting.front().is_some_and(|result| !result.is_empty()),
        }
    }

    /// Waits for the oldest result.
    pub(crate) fn take(&mut self) -> Result<O, Error> {
        match &mut self.lane {
            Lane::Here { done, .. } => done.pop_front().ok_or(Error::Worker),
            Lane::Threads { waiting, .. } => {
                let result = waiting.pop_front().ok_or(Error::Worker)?;
                // An error means the worker panicked and dropped the reply.
                result.recv().map_err(|_| Error::Worker)
            }
        }
    }
}

impl<J, O> Drop for Ordered<J, O> {
    fn drop(&mut self) {
        if let Lane::Threads { jobs, threads, .. } = &mut self.lane {
            drop(jobs.take());
            for thread in threads.drain(..) {
                // A worker that panicked was reported when its result was taken.
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
