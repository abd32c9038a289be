//! Jobs side by side, the largest first, results by value.

use std::{
    cmp::Reverse,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{Error, progress::Watch};

/// Runs `work` for all jobs on `threads` threads. The jobs of the largest `size` start first, so that no thread works alone on
/// a large one at the end. Returns the results in the order of the jobs; if a job fails, the others stop.
pub(crate) fn largest_first<J: Sync, T: Send>(
    jobs: &[J],
    size: impl Fn(&J) -> u64,
    threads: usize,
    watch: &Watch<'_>,
    work: impl Fn(&J) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let mut order: Vec<(usize, &J)> = jobs.iter().enumerate().collect();
    order.sort_by_key(|(index, job)| (Reverse(size(job)), *index));
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<T, Error>>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let worker = || {
        while let Some((index, job)) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let done = work(job);
            if done.is_err() {
                watch.fail();
            }
            if let Some(result) = results.get(*index) {
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            }
        }
    };
    thread::scope(|scope| {
        let more: Vec<_> = (1..threads.min(jobs.len())).map(|_| scope.spawn(worker)).collect();
        worker();
        // A thread that died has left a result empty, which is seen below.
        more.into_iter().for_each(|thread| drop(thread.join()));
    });
    let (mut done, mut failed) = (Vec::with_capacity(jobs.len()), None);
    for result in results {
        match result.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Ok(value)) => done.push(value),
            // Of several errors, that of the first job which did not merely stop because of another one.
            Some(Err(error)) if failed.as_ref().is_none_or(|first| matches!(first, Error::Cancelled(_))) => {
                failed = Some(error);
            }
            Some(Err(_)) => {}
            None => failed = failed.or(Some(Error::Worker)),
        }
    }
    failed.map_or(Ok(done), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use dunnage_digest::{Cancel, Progress};

    use super::*;

    #[test]
    fn large_ones_begin_and_results_keep_their_order() {
        let (cancel, begun) = (Cancel::new(), Mutex::new(Vec::new()));
        let watch = Watch::new(Progress::none().cancelled_by(&cancel));
        let work = |job: &u64| {
            begun.lock().unwrap().push(*job);
            Ok(job * 2)
        };
        assert_eq!(largest_first(&[1, 3, 2], |job| *job, 1, &watch, work).unwrap(), [2, 6, 4]);
        assert_eq!(*begun.lock().unwrap(), [3, 2, 1]);
        assert_eq!(largest_first(&[1, 3, 2], |job| *job, 9, &watch, work).unwrap(), [2, 6, 4]);
    }

    #[test]
    fn the_error_is_the_one_that_made_the_others_stop() {
        for threads in [1, 3] {
            let cancel = Cancel::new();
            let watch = Watch::new(Progress::none().cancelled_by(&cancel));
            let work = |job: &u64| -> Result<(), Error> {
                watch.check()?;
                if *job == 7 { Err(Error::Misuse("seven".to_owned())) } else { Ok(()) }
            };
            let error = largest_first(&[1, 2, 7, 3], |job| *job, threads, &watch, work).unwrap_err();
            assert_eq!(error.to_string(), "seven");
        }
    }
}
