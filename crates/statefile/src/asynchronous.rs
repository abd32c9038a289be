//! Reads by position on other threads, as gVisor loads the pages of a checkpoint.
//!
//! [`AsyncReader`] takes buffers by value and returns each with its result. [`read_scoped`] borrows slices for the
//! length of a scope, cuts large ones into stripes, and all threads fill them. Both have a position that every request
//! moves on, and both keep the error with the lowest position.

use std::{collections::VecDeque, fmt, sync::Arc, thread};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use dunnage_digest::{Offset, ReadAt};

use crate::{Error, Part, error::guarded, options};

/// Number of threads, size of reads and length of the queue of an [`AsyncReader`] or [`read_scoped`].
///
/// The defaults suit local disks. A source with a long latency wants more threads than there are cores.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct AsyncOptions {
    /// Number of threads that read; 0 for one per core. At most 64.
    pub threads: usize,
    /// The most bytes of one read. Default 1 MiB.
    pub stripe: usize,
    /// The start of every stripe but the first is a multiple of this, for sources that read whole blocks. Default 4096.
    pub align: usize,
    /// Number of requests that can wait for a thread. When the queue is full, the caller waits. 0 for one per thread.
    pub queue: usize,
}

impl Default for AsyncOptions {
    fn default() -> Self {
        Self { threads: 0, stripe: 1 << 20, align: 4096, queue: 0 }
    }
}

impl AsyncOptions {
    /// Number of threads, and of places in the queue.
    fn sizes(&self) -> (usize, usize) {
        let threads = options::threads(self.threads);
        (threads, if self.queue == 0 { threads } else { self.queue })
    }

    /// The most bytes of a read at this offset.
    fn step(&self, at: u64) -> usize {
        let stripe = self.stripe.max(1);
        let over = usize::try_from(at.checked_rem(self.align.max(1) as u64).unwrap_or(0)).unwrap_or(0);
        // The first stripe is shorter, so that the next one starts at a multiple of `align`.
        if over < stripe { stripe.saturating_sub(over) } else { stripe }
    }
}

/// The number of a request of an [`AsyncReader`], counted from 0. It tells which request a [`Completed`] belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A request of an [`AsyncReader`] that has ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Completed<B> {
    /// The number of the request.
    pub ticket: Ticket,
    /// The position of its first byte.
    pub at: Offset,
    /// The buffer of the request. It is full if `result` is `Ok`.
    pub buffer: B,
    /// The result. It is an error if the source ends before the buffer is full.
    pub result: Result<(), Error>,
}

struct Request<B> {
    ticket: Ticket,
    at: u64,
    buffer: B,
}

/// Fills `buffer` stripe after stripe.
fn fill<S: ReadAt + ?Sized>(
    source: &S,
    mut at: u64,
    mut buffer: &mut [u8],
    options: &AsyncOptions,
) -> Result<(), Error> {
    while !buffer.is_empty() {
        let step = options.step(at).min(buffer.len());
        let (now, rest) = buffer.split_at_mut_checked(step).unwrap_or_default();
        source.read_exact_at(Offset::new(at), now).map_err(Error::read(Part::Page, at))?;
        at = at.saturating_add(step as u64);
        buffer = rest;
    }
    Ok(())
}

fn serve<S: ReadAt + ?Sized, B: AsMut<[u8]>>(
    source: &S,
    options: &AsyncOptions,
    requests: &Receiver<Request<B>>,
    done: &Sender<Completed<B>>,
) {
    for Request { ticket, at, mut buffer } in requests {
        let result = guarded(|| fill(source, at, buffer.as_mut(), options));
        // Fails only if the reader was dropped, which gives up the result.
        let _ = done.send(Completed { ticket, at: Offset::new(at), buffer, result });
    }
}

/// The error with the lowest position, and the number of errors.
#[derive(Debug, Default)]
struct Latch {
    first: Option<(Offset, Error)>,
    errors: u64,
}

impl Latch {
    fn add(&mut self, at: Offset, result: &Result<(), Error>) {
        let Err(error) = result else { return };
        self.errors = self.errors.saturating_add(1);
        let at = match error {
            Error::Read { at, .. } => *at,
            _ => at,
        };
        if self.first.as_ref().is_none_or(|(first, _)| at < *first) {
            self.first = Some((at, error.clone()));
        }
    }

    fn take(&mut self) -> Result<(), Error> {
        self.errors = 0;
        self.first.take().map_or(Ok(()), |(_, error)| Err(error))
    }
}

/// Reads into owned buffers on other threads and returns them. (gVisor: `NewAsyncReader`.)
///
/// Use it for many reads of a page or more each, such as those of `pages.img`, when the caller has other work
/// meanwhile. Use [`read_scoped`] for large slices that the caller owns: here one thread fills one buffer, there all
/// threads share a slice. It costs a few threads, which live as long as the reader. It reads bytes as they are: it
/// verifies nothing and inflates nothing. Dropping it waits for the requests that have started or wait in the queue.
pub struct AsyncReader<B = Vec<u8>> {
    requests: Option<Sender<Request<B>>>,
    done: Receiver<Completed<B>>,
    threads: Vec<thread::JoinHandle<()>>,
    at: u64,
    issued: u64,
    in_flight: u64,
    completed: VecDeque<Completed<B>>,
    latch: Latch,
}

impl<B: AsMut<[u8]> + Send + 'static> AsyncReader<B> {
    /// A reader whose first request reads at `start`.
    ///
    /// # Errors
    ///
    /// [`Error::Worker`] if the system starts no thread.
    pub fn new<S>(source: S, start: Offset, options: &AsyncOptions) -> Result<Self, Error>
    where
        S: ReadAt + Send + Sync + 'static,
    {
        let (threads, queue) = options.sizes();
        let (requests, waiting) = bounded::<Request<B>>(queue);
        let (sender, done) = unbounded();
        let (source, options) = (Arc::new(source), *options);
        let start_one = |_| {
            let (source, waiting, sender) = (Arc::clone(&source), waiting.clone(), sender.clone());
            let work = move || serve(&*source, &options, &waiting, &sender);
            thread::Builder::new().name("dunnage-pages".to_owned()).spawn(work).ok()
        };
        let threads: Vec<_> = (0..threads).filter_map(start_one).collect();
        if threads.is_empty() {
            return Err(Error::Worker);
        }
        let (completed, latch) = (VecDeque::new(), Latch::default());
        let at = start.get();
        Ok(Self { requests: Some(requests), done, threads, at, issued: 0, in_flight: 0, completed, latch })
    }

    /// Requests the next `buffer.len()` bytes, and moves the position on by as many. Waits while the queue is full.
    /// (gVisor: `ReadAsync`.)
    ///
    /// # Errors
    ///
    /// [`Error::Worker`] if all threads have ended.
    pub fn read_async(&mut self, mut buffer: B) -> Result<Ticket, Error> {
        let (at, len) = (self.at, buffer.as_mut().len() as u64);
        self.at = at.saturating_add(len);
        self.read_async_at(Offset::new(at), buffer)
    }

    /// Requests bytes at any position, and leaves the reader's own position. Waits while the queue is full.
    ///
    /// # Errors
    ///
    /// As [`read_async`](Self::read_async).
    pub fn read_async_at(&mut self, at: Offset, mut buffer: B) -> Result<Ticket, Error> {
        let ticket = Ticket(self.issued);
        if buffer.as_mut().is_empty() {
            self.completed.push_back(Completed { ticket, at, buffer, result: Ok(()) });
        } else {
            let requests = self.requests.as_ref().ok_or(Error::Worker)?;
            requests.send(Request { ticket, at: at.get(), buffer }).map_err(|_| Error::Worker)?;
            self.in_flight = self.in_flight.saturating_add(1);
        }
        self.issued = self.issued.saturating_add(1);
        Ok(ticket)
    }

    /// The position of the next [`read_async`](Self::read_async).
    #[must_use]
    pub const fn position(&self) -> Offset {
        Offset::new(self.at)
    }

    /// Number of requests that have not ended.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// The next request that has ended, in the order in which they ended. Waits if requests are under way and none has
    /// ended; returns `None` if there are no more.
    ///
    /// # Errors
    ///
    /// [`Error::Worker`] if all threads have ended. The result of the request is in [`Completed::result`].
    pub fn completed(&mut self) -> Result<Option<Completed<B>>, Error> {
        if self.completed.is_empty() && self.in_flight > 0 {
            self.receive()?;
        }
        Ok(self.completed.pop_front())
    }

    /// Waits until all requests have ended. Returns the error with the lowest position since the last call, and forgets
    /// the others. [`completed`](Self::completed) returns the buffers. (gVisor: `Wait`.)
    ///
    /// # Errors
    ///
    /// [`Error::Read`] with the offset; [`Error::Worker`] if all threads have ended.
    pub fn wait(&mut self) -> Result<(), Error> {
        while self.in_flight > 0 {
            self.receive()?;
        }
        self.latch.take()
    }

    /// Number of failed requests since the last [`wait`](Self::wait), among those whose result has arrived.
    #[must_use]
    pub const fn errors(&self) -> u64 {
        self.latch.errors
    }

    /// Waits, ends the threads, and returns the requests that [`completed`](Self::completed) has not. (gVisor:
    /// `Close`.)
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn close(mut self) -> Result<Vec<Completed<B>>, Error> {
        self.wait()?;
        Ok(std::mem::take(&mut self.completed).into())
    }

    fn receive(&mut self) -> Result<(), Error> {
        let done = self.done.recv().map_err(|_| Error::Worker)?;
        self.in_flight = self.in_flight.saturating_sub(1);
        self.latch.add(done.at, &done.result);
        self.completed.push_back(done);
        Ok(())
    }
}

impl<B> Drop for AsyncReader<B> {
    fn drop(&mut self) {
        drop(self.requests.take());
        for thread in self.threads.drain(..) {
            // A thread that panicked left a request without an answer. `wait` reports that.
            let _ = thread.join();
        }
    }
}

impl<B> fmt::Debug for AsyncReader<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("AsyncReader");
        debug
            .field("at", &self.at)
            .field("in_flight", &self.in_flight)
            .field("latch", &self.latch)
            .finish_non_exhaustive()
    }
}

/// Reads into borrowed slices on other threads. [`read_scoped`] makes one and lends it to its closure.
///
/// It cuts each slice into stripes of [`AsyncOptions::stripe`] bytes, which all threads fill at once. A slice is
/// borrowed until the scope ends, so the caller cannot look at it before it is full.
pub struct ScopedReader<'env> {
    requests: Sender<Request<&'env mut [u8]>>,
    done: Receiver<Completed<&'env mut [u8]>>,
    options: AsyncOptions,
    at: u64,
    in_flight: u64,
    latch: Latch,
}

/// Calls `work` with a reader of `source` that fills slices from outside of this call. When it returns, every slice is
/// full or has failed.
///
/// Use it to fill large memory, such as the pages of a checkpoint, from a file or a range of an object store. It starts
/// its threads anew in each call, so make few calls with many requests. It verifies nothing.
///
/// # Errors
///
/// The error of `work`; otherwise the error with the lowest position since the last [`wait`](ScopedReader::wait).
pub fn read_scoped<'env, S, T>(
    source: &S,
    start: Offset,
    options: &AsyncOptions,
    work: impl FnOnce(&mut ScopedReader<'env>) -> Result<T, Error>,
) -> Result<T, Error>
where
    S: ReadAt + Sync + ?Sized,
{
    let (threads, queue) = options.sizes();
    let (requests, waiting) = bounded(queue);
    let (sender, done) = unbounded();
    thread::scope(|scope| {
        for _ in 0..threads {
            let (waiting, sender) = (waiting.clone(), sender.clone());
            let serve = move || serve(source, options, &waiting, &sender);
            let started = thread::Builder::new().name("dunnage-pages".to_owned()).spawn_scoped(scope, serve);
            started.map_err(|_| Error::Worker)?;
        }
        drop((waiting, sender));
        let (at, latch) = (start.get(), Latch::default());
        let mut reader = ScopedReader { requests, done, options: *options, at, in_flight: 0, latch };
        let result = work(&mut reader)?;
        reader.wait()?;
        Ok(result)
    })
}

impl<'env> ScopedReader<'env> {
    /// Requests the next `buffer.len()` bytes, and moves the position on by as many. Waits while the queue is full.
    ///
    /// # Errors
    ///
    /// [`Error::Worker`] if all threads have ended.
    pub fn read_async(&mut self, buffer: &'env mut [u8]) -> Result<(), Error> {
        let (at, len) = (self.at, buffer.len() as u64);
        self.at = at.saturating_add(len);
        self.read_async_at(Offset::new(at), buffer)
    }

    /// Requests bytes at any position, and leaves the reader's own position. Waits while the queue is full.
    ///
    /// # Errors
    ///
    /// As [`read_async`](Self::read_async).
    pub fn read_async_at(&mut self, at: Offset, mut buffer: &'env mut [u8]) -> Result<(), Error> {
        let mut at = at.get();
        while !buffer.is_empty() {
            let step = self.options.step(at).min(buffer.len());
            let (now, rest) = buffer.split_at_mut_checked(step).unwrap_or_default();
            let request = Request { ticket: Ticket(0), at, buffer: now };
            self.requests.send(request).map_err(|_| Error::Worker)?;
            self.in_flight = self.in_flight.saturating_add(1);
            at = at.saturating_add(step as u64);
            buffer = rest;
        }
        Ok(())
    }

    /// Waits until all requests have ended. Returns the error with the lowest position since the last call, and forgets
    /// the others.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] with the offset; [`Error::Worker`] if all threads have ended.
    pub fn wait(&mut self) -> Result<(), Error> {
        while self.in_flight > 0 {
            let done = self.done.recv().map_err(|_| Error::Worker)?;
            self.in_flight = self.in_flight.saturating_sub(1);
            self.latch.add(done.at, &done.result);
        }
        self.latch.take()
    }
}

impl fmt::Debug for ScopedReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ScopedReader");
        debug
            .field("at", &self.at)
            .field("in_flight", &self.in_flight)
            .field("latch", &self.latch)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    #[test]
    fn pages_arrive_in_their_buffers() {
        let source = noise(4 << 20);
        for threads in [1, 2, 7] {
            let options = AsyncOptions { threads, ..AsyncOptions::default() };
            let mut reader = AsyncReader::new(source.clone(), Offset::ZERO, &options).unwrap();
            for _ in 0..1024 {
                reader.read_async(vec![0; 4096]).unwrap();
            }
            reader.wait().unwrap();
            let mut pages = reader.close().unwrap();
            pages.sort_by_key(|page| page.ticket);
            assert!(pages.iter().all(|page| page.result.is_ok()));
            let read: Vec<u8> = pages.into_iter().flat_map(|page| page.buffer).collect();
            assert!(read == source, "{threads} threads");
        }
    }

    #[test]
    fn scopes_fill_slices_in_stripes() {
        let source = noise((3 << 20) + 77);
        for (threads, stripe, align) in [(1, 1 << 20, 4096), (2, 1000, 1), (5, 4096, 4096), (2, 1, 0), (2, 0, 4096)] {
            let (start, len) = (33, if stripe < 2 { 5000 } else { source.len() - 33 });
            let mut read = vec![0; len];
            let options = AsyncOptions { threads, stripe, align, queue: 3 };
            let (front, back) = read.split_at_mut(len / 3);
            let result = read_scoped(&source, Offset::new(start), &options, |reader| {
                reader.read_async(front)?;
                reader.read_async(&mut [])?;
                reader.read_async(back)
            });
            result.unwrap();
            assert!(read == source[33..33 + len], "{options:?}");
        }
    }

    #[test]
    fn the_first_error_by_position_is_reported_once() {
        let source = noise(10_000);
        let mut reader = AsyncReader::new(source, Offset::ZERO, &AsyncOptions::default()).unwrap();
        for at in [50_000, 9_999, 20_000, 0] {
            reader.read_async_at(Offset::new(at), vec![0; 100]).unwrap();
        }
        reader.read_async_at(Offset::new(1 << 40), Vec::new()).unwrap();
        let error = reader.wait().unwrap_err();
        assert_eq!(error.to_string(), "cannot read page range at offset 0x270f");
        assert!(reader.wait().is_ok());
        assert_eq!(reader.position(), Offset::ZERO);
        let done = reader.close().unwrap();
        assert_eq!(done.len(), 5);
        assert_eq!(done.iter().filter(|done| done.result.is_ok()).count(), 2);
    }

    struct Panicking;

    impl ReadAt for Panicking {
        fn size(&self) -> std::io::Result<u64> {
            Ok(1 << 20)
        }

        fn read_exact_at(&self, _: Offset, _: &mut [u8]) -> std::io::Result<()> {
            panic!("in a source")
        }
    }

    #[test]
    fn a_source_that_panics_has_failed() {
        let options = AsyncOptions { threads: 3, ..AsyncOptions::default() };
        let mut reader = AsyncReader::new(Panicking, Offset::ZERO, &options).unwrap();
        reader.read_async(vec![0; 10]).unwrap();
        assert!(matches!(reader.wait(), Err(Error::Worker)));
        let mut read = [0; 10];
        let result = read_scoped(&Panicking, Offset::ZERO, &options, |reader| reader.read_async(&mut read));
        assert!(matches!(result, Err(Error::Worker)));
    }

    #[test]
    fn a_scope_reports_an_error_that_was_not_waited_for() {
        let source = noise(100);
        let mut buffer = [0; 200];
        let result =
            read_scoped(&source, Offset::ZERO, &AsyncOptions::default(), |reader| reader.read_async(&mut buffer));
        assert_eq!(result.unwrap_err().to_string(), "cannot read page range at offset 0x0");
    }
}
