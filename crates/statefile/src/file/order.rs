//! Reads and checks all groups of a file on many threads, and delivers them in order.
//!
//! There are buffers for two groups per thread. A worker takes a buffer first and the next group then, so the group
//! that the caller waits for always has a buffer. When all buffers hold groups that wait for their turn, the workers
//! wait too.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use dunnage_digest::{Progress, ReadAt};

use super::{
    File,
    index::{Group, Index},
};
use crate::{
    Error,
    error::guarded,
    options,
    unit::{Checker, Done, Job, short_before_the_end},
};

/// A verified group; `None` for a frame that is too long to keep in memory.
type Checked = Result<Option<Done>, Error>;

/// Receives the payload of each group.
type Deliver<'a> = &'a mut dyn FnMut(&Group, Option<&Done>) -> Result<(), Error>;

impl<S: ReadAt> File<S> {
    /// Verifies all groups and calls `deliver` with each, in order. The first fault in the file ends the run, after
    /// `deliver` has received all groups before it. With `partial`, `deliver` also receives the units before the fault
    /// in its group.
    pub(super) fn in_order(
        &self,
        index: &Index,
        partial: bool,
        progress: Progress<'_>,
        deliver: Deliver<'_>,
    ) -> Result<(), Error>
    where
        S: Sync,
    {
        let mut short = None;
        let mut take = |group: &Group, checked: Checked| -> Result<Option<Job>, Error> {
            self.check(progress)?;
            let Some(mut done) = checked? else {
                deliver(group, None)?;
                return Ok(None);
            };
            short_before_the_end(&self.rules, short)?;
            short = done.short;
            let result = std::mem::replace(&mut done.result, Ok(()));
            if result.is_ok() || partial {
                deliver(group, Some(&done))?;
            }
            result.map(|()| Some(done.job))
        };
        let threads = options::threads(self.options.threads).min(index.groups.len());
        if threads <= 1 {
            let (mut checker, mut job) = (Checker::new(&self.rules), Job::default());
            for group in &index.groups {
                let checked = self.check_group(group, &mut checker, job, progress);
                job = take(group, checked)?.unwrap_or_default();
            }
            return index.end.clone();
        }
        let (next, groups) = (&AtomicUsize::new(0), &index.groups);
        thread::scope(|scope| {
            let (memory, jobs) = unbounded::<Job>();
            let (results, checked) = unbounded::<(usize, Checked)>();
            for _ in 0..self.rules.jobs_in_flight(threads) {
                let _ = memory.send(Job::default());
            }
            for _ in 0..threads {
                let (jobs, results) = (jobs.clone(), results.clone());
                let worker = move || self.work(groups, next, &jobs, &results, progress);
                thread::Builder::new()
                    .name("dunnage-worker".to_owned())
                    .spawn_scoped(scope, worker)
                    .map_err(|_| Error::Worker)?;
            }
            drop((jobs, results));
            let mut early = BTreeMap::new();
            for (number, group) in groups.iter().enumerate() {
                let now = loop {
                    if let Some(now) = early.remove(&number) {
                        break now;
                    }
                    let (number, result) = checked.recv().map_err(|_| Error::Worker)?;
                    early.insert(number, result);
                };
                let job = take(group, now)?;
                // An early return drops `memory`, which ends the workers.
                let _ = memory.send(job.unwrap_or_default());
            }
            index.end.clone()
        })
    }

    fn work(
        &self,
        groups: &[Group],
        next: &AtomicUsize,
        jobs: &Receiver<Job>,
        results: &Sender<(usize, Checked)>,
        progress: Progress<'_>,
    ) {
        let mut checker = Checker::new(&self.rules);
        for job in jobs {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(group) = groups.get(number) else { break };
            let checked = guarded(|| self.check_group(group, &mut checker, job, progress));
            if results.send((number, checked)).is_err() {
                break;
            }
        }
    }

    fn check_group(&self, group: &Group, checker: &mut Checker, mut job: Job, progress: Progress<'_>) -> Checked {
        if group.is_huge {
            return self.huge_frame(group, progress, &mut |_| Ok(())).map(|()| None);
        }
        self.load(group, &mut job)?;
        Ok(Some(checker.check(job)))
    }
}
