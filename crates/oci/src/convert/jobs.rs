//! The jobs of an image: layers to convert, and blobs to copy.

use super::{
    layer::{LayerDone, LayerJob},
    work::{Work, copy_blob},
};
use crate::{Descriptor, Error, parallel::largest_first};

/// The work for one blob.
#[derive(Debug)]
pub(super) enum Job {
    Layer(Box<LayerJob>),
    Copy(Box<CopyJob>),
}

/// A blob to copy into the destination.
#[derive(Debug)]
pub(super) struct CopyJob {
    pub(super) descriptor: Descriptor,
}

/// The result of a job: `None` for a copy.
pub(super) type Done = Option<LayerDone>;

impl Job {
    pub(super) const fn descriptor(&self) -> &Descriptor {
        match self {
            Self::Layer(job) => &job.descriptor,
            Self::Copy(job) => &job.descriptor,
        }
    }

    fn run(&self, work: &Work<'_>) -> Result<Done, Error> {
        work.watch.check()?;
        let share = work.watch.share(self.descriptor().size());
        match self {
            Self::Layer(job) => job.run(work, &share).map(Some),
            Self::Copy(job) => copy_blob(work, &job.descriptor, &share).map(|()| None),
        }
    }
}

/// Runs all jobs on `threads` threads. Returns their results, in the order of the jobs.
pub(super) fn run_jobs(jobs: &[Job], threads: usize, work: &Work<'_>) -> Result<Vec<Done>, Error> {
    largest_first(jobs, |job| job.descriptor().size(), threads, work.watch, |job| job.run(work))
}
