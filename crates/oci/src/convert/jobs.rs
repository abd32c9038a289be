//! The jobs of an image: layers to convert, and blobs to copy.

use std::io;

use dunnage_digest::VerifyingReader;
use dunnage_estargz::WriteOptions;

use super::{
    ImageOptions, Mode,
    layer::{LayerDone, LayerJob},
};
use crate::{
    Descriptor, Destination, Error, Images,
    destination::write_failed,
    images::{blob_name, read_failed},
    parallel::largest_first,
    progress::{Share, Watch},
};

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

/// The parameters of all jobs.
#[derive(Debug)]
pub(super) struct Work<'w> {
    pub(super) source: &'w dyn Images,
    pub(super) to: &'w dyn Destination,
    pub(super) options: &'w ImageOptions,
    pub(super) mode: Mode,
    pub(super) write: WriteOptions,
    pub(super) watch: &'w Watch<'w>,
}

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

/// Makes sure that the destination has a blob of the source, compared with its descriptor.
pub(super) fn copy_blob(work: &Work<'_>, descriptor: &Descriptor, share: &Share<'_>) -> Result<(), Error> {
    let (digest, size) = (descriptor.digest(), descriptor.size());
    if work.to.has_blob(&digest, size)? {
        return Ok(());
    }
    let stream = work.source.stream(descriptor)?;
    let failed = |error: io::Error| match work.watch.check() {
        Err(cancelled) => cancelled.into(),
        Ok(()) => read_failed(digest, &blob_name(work.source, descriptor), error),
    };
    let mut from = VerifyingReader::new(share.reader(stream), digest, size);
    let mut blob = work.to.begin(digest.algorithm())?;
    let mut block = vec![0; 1 << 20];
    loop {
        use io::{Read as _, Write as _};
        let len = from.read(&mut block).map_err(failed)?;
        if len == 0 {
            return blob.commit(&digest, size);
        }
        blob.write_all(block.get(..len).unwrap_or_default()).map_err(|error| write_failed(work.to, error))?;
    }
}
