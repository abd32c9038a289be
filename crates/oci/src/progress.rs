//! Progress of a run with several threads: bytes done in all of them, and whether they should go on.

use std::{
    fmt,
    io::{self, Read},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use dunnage_digest::{Cancel, Cancelled, Progress};

/// Counts bytes of input over all threads, and stops the threads when the caller cancels or one of them fails.
pub(crate) struct Watch<'w> {
    done: AtomicU64,
    progress: Progress<'w>,
    /// Raised once one of the threads failed.
    failed: AtomicBool,
}

impl<'w> Watch<'w> {
    pub(crate) const fn new(progress: Progress<'w>) -> Self {
        Self { done: AtomicU64::new(0), progress, failed: AtomicBool::new(false) }
    }

    /// For a part of the work whose bytes are counted already.
    pub(crate) const fn without_reports(&self) -> Progress<'w> {
        self.progress.without_reports()
    }

    /// Stops the other threads, because one failed.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn check(&self) -> Result<(), Cancelled> {
        self.progress.check()?;
        let stop = Cancel::new();
        if self.failed.load(Ordering::Relaxed) {
            stop.cancel();
        }
        stop.check()
    }

    /// The part of the work that is a blob of `size` bytes.
    pub(crate) const fn share(&self, size: u64) -> Share<'_> {
        Share { watch: self, size, counted: AtomicU64::new(0) }
    }
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("done", &self.done).finish_non_exhaustive()
    }
}

/// One blob of many. However often it is read, it counts once, and whole when the share is dropped.
#[derive(Debug)]
pub(crate) struct Share<'w> {
    watch: &'w Watch<'w>,
    size: u64,
    counted: AtomicU64,
}

impl Share<'_> {
    pub(crate) fn check(&self) -> Result<(), Cancelled> {
        self.watch.check()
    }

    /// For a part of the work whose bytes are counted already.
    pub(crate) const fn without_reports(&self) -> Progress<'_> {
        self.watch.without_reports()
    }

    fn count(&self, more: u64) {
        let before = self.counted.fetch_add(more, Ordering::Relaxed);
        let counts = self.size.saturating_sub(before).min(more);
        if counts > 0 {
            self.watch.progress.at(self.watch.done.fetch_add(counts, Ordering::Relaxed).saturating_add(counts));
        }
    }

    /// A reader that counts the bytes it passes on, and fails once the run should stop.
    pub(crate) const fn reader<R>(&self, inner: R) -> Watched<'_, R> {
        Watched { inner, share: self }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if self.check().is_ok() {
            self.count(self.size);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Watched<'w, R> {
    inner: R,
    share: &'w Share<'w>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.share.check().map_err(io::Error::other)?;
        let len = self.inner.read(buf)?;
        self.share.count(len as u64);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn each_blob_counts_once_and_whole() {
        let (cancel, seen) = (Cancel::new(), Mutex::new(Vec::new()));
        let report = |done| seen.lock().unwrap().push(done);
        let watch = Watch::new(Progress::to(&report).cancelled_by(&cancel));
        let share = watch.share(10);
        for _ in 0..2 {
            let mut some = [0; 4];
            share.reader(&b"0123456789"[..]).read_exact(&mut some).unwrap();
            share.reader(&b"0123456789"[..]).read_exact(&mut some).unwrap();
        }
        drop(share);
        drop(watch.share(5));
        cancel.cancel();
        let share = watch.share(7);
        let error = share.reader(&b"x"[..]).read(&mut [0]).unwrap_err();
        assert_eq!(error.to_string(), "cancelled by the caller");
        drop(share);
        assert_eq!(*seen.lock().unwrap(), [4, 8, 10, 15]);
    }
}
