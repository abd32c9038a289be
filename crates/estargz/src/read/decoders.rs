//! Decoders, lent to readers that have fetched a chunk.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use dunnage_digest::ReadRequest;
use dunnage_tree::pieces::wait_for;

use crate::codec::{Decoder, Decompressor};

/// A set of decoders for any number of readers: at most one more than the machine has cores.
///
/// Decoding is CPU-bound, so more decoders would only cost memory. Give clones of one set to all readers of a mount or a
/// command: clones lend the same decoders. A reader holds one only while it decodes, never while it waits for its source.
#[derive(Clone)]
pub struct Decoders(Arc<Shared>);

struct Shared {
    most: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    /// The decoder unused for longest comes first. They take turns, so that all of them soon have grown to the size they need,
    /// and memory stays as it is from then on.
    idle: VecDeque<Idle>,
    lent: usize,
    /// Threads that wait for a decoder. Waking nobody would still be a call to the kernel.
    waiting: usize,
}

struct Idle {
    maker: Maker,
    decoder: Box<dyn Decoder>,
}

/// The decompressor that made a decoder. Two that are equal make decoders for the same streams.
#[derive(Clone, Debug)]
pub(super) enum Maker {
    /// One of this crate's formats with gzip members.
    Gzip,
    /// One of this crate's formats with zstd frames.
    Zstd,
    /// A decompressor of the caller.
    Other(Arc<dyn Decompressor>),
}

impl PartialEq for Maker {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Gzip, Self::Gzip) | (Self::Zstd, Self::Zstd) => true,
            (Self::Other(one), Self::Other(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Default for Decoders {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::of(cores.saturating_add(1))
    }
}

impl Decoders {
    fn of(most: usize) -> Self {
        Self(Arc::new(Shared { most, state: Mutex::default(), returned: Condvar::new() }))
    }

    /// Works with a decoder, for a stream of which `len` bytes are decoded. `work` must not ask for a second one: all threads
    /// could then wait for each other.
    pub(super) fn with<T>(
        &self,
        maker: &Maker,
        len: u64,
        decoder: impl FnOnce() -> Box<dyn Decoder>,
        request: &ReadRequest<'_>,
        work: impl FnOnce(&mut dyn Decoder) -> T,
    ) -> io::Result<T> {
        let (mut lent, surplus) = self.0.take(maker, len <= LONGEST_KEPT, request)?;
        drop(surplus);
        Ok(work(lent.decoder.get_or_insert_with(decoder).as_mut()))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to use a decoder, with an idle one that fits if there is one, and an idle one that has to go for it.
    fn take<'s>(
        &'s self,
        maker: &'s Maker,
        is_kept: bool,
        request: &ReadRequest<'_>,
    ) -> io::Result<(Lent<'s>, Option<Idle>)> {
        let mut state = self.state();
        if state.lent >= self.most {
            state.waiting = state.waiting.saturating_add(1);
            let is_free =
                |state: &mut State| (state.lent < self.most).then(|| state.waiting = state.waiting.saturating_sub(1));
            state = match wait_for(&self.returned, state, request, is_free) {
                Ok((state, ())) => state,
                Err(error) => {
                    let mut state = self.state();
                    state.waiting = state.waiting.saturating_sub(1);
                    drop(state);
                    // The wake-up that this thread may have got is for another one.
                    self.returned.notify_one();
                    return Err(error);
                }
            };
        }
        state.lent = state.lent.saturating_add(1);
        let fitting = state.idle.iter().position(|idle| idle.maker == *maker);
        let found = fitting.and_then(|at| state.idle.remove(at));
        // Idle decoders and those in use are together no more than the bound.
        let is_full = state.idle.len().saturating_add(state.lent) > self.most;
        let surplus = if found.is_none() && is_full { state.idle.pop_front() } else { None };
        drop(state);
        Ok((Lent { home: self, maker, decoder: found.map(|idle| idle.decoder), is_kept }, surplus))
    }
}

/// A decoder in use. The right to it comes back even from a panic, but then without the decoder.
struct Lent<'s> {
    home: &'s Shared,
    maker: &'s Maker,
    decoder: Option<Box<dyn Decoder>>,
    is_kept: bool,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let kept = self.decoder.take().filter(|_| self.is_kept && !thread::panicking());
        let kept = kept.map(|decoder| Idle { maker: self.maker.clone(), decoder });
        let mut state = self.home.state();
        state.lent = state.lent.saturating_sub(1);
        state.idle.extend(kept);
        let is_awaited = state.waiting > 0;
        drop(state);
        if is_awaited {
            self.home.returned.notify_one();
        }
    }
}

/// Decoders that decoded more go back to the system at once, with their buffers.
const LONGEST_KEPT: u64 = 8 << 20;

impl fmt::Debug for Decoders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoders").field("most", &self.0.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        time::{Duration, Instant},
    };

    use dunnage_digest::{ErrorKind, Purpose, kind_of};

    use super::*;
    use crate::codec::CorruptStream;

    const ALWAYS: ReadRequest<'_> = ReadRequest { purpose: Purpose::Demand, deadline: None, cancel: None };

    struct Nothing;

    impl Decoder for Nothing {
        fn decode(&mut self, _: &[u8], _: usize) -> Result<&[u8], CorruptStream> {
            Ok(&[])
        }
    }

    #[test]
    fn no_more_decoders_than_the_bound_are_in_use_or_idle() {
        let (all, made) = (Decoders::of(3), AtomicUsize::new(0));
        let (busy, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let decoder = || -> Box<dyn Decoder> {
            made.fetch_add(1, SeqCst);
            Box::new(Nothing)
        };
        thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let work = |_: &mut dyn Decoder| {
                            most.fetch_max(busy.fetch_add(1, SeqCst) + 1, SeqCst);
                            thread::sleep(Duration::from_millis(1));
                            busy.fetch_sub(1, SeqCst);
                        };
                        all.with(&Maker::Gzip, 1, decoder, &ALWAYS, work).unwrap();
                    }
                });
            }
        });
        assert_eq!((most.load(SeqCst), made.load(SeqCst)), (3, 3));
        // A reader of another format replaces an idle decoder.
        all.with(&Maker::Zstd, 1, decoder, &ALWAYS, |_| ()).unwrap();
        assert_eq!((made.load(SeqCst), all.0.state().idle.len()), (4, 3));
        all.clone().with(&Maker::Zstd, 1, decoder, &ALWAYS, |_| ()).unwrap();
        assert_eq!(made.load(SeqCst), 4);
    }

    #[test]
    fn a_decoder_that_panicked_or_grew_too_large_is_not_used_again() {
        let (all, made) = (Decoders::of(1), AtomicUsize::new(0));
        let with = |len: u64, work: fn()| {
            let decoder = || -> Box<dyn Decoder> {
                made.fetch_add(1, SeqCst);
                Box::new(Nothing)
            };
            all.with(&Maker::Gzip, len, decoder, &ALWAYS, |_| work()).unwrap();
        };
        with(1, || ());
        with(1, || ());
        assert_eq!(made.load(SeqCst), 1);
        assert!(catch_unwind(AssertUnwindSafe(|| with(1, || panic!("in a decoder")))).is_err());
        with(LONGEST_KEPT + 1, || ());
        with(1, || ());
        assert_eq!(made.load(SeqCst), 3);
    }

    #[test]
    fn a_thread_that_waits_for_a_decoder_ends_with_its_request() {
        let all = Decoders::of(1);
        let decoder = || -> Box<dyn Decoder> { Box::new(Nothing) };
        let inner = |_: &mut dyn Decoder| {
            let deadline = Some(Instant::now() + Duration::from_millis(20));
            let late = ReadRequest { deadline, ..ALWAYS };
            kind_of(&all.with(&Maker::Gzip, 1, decoder, &late, |_| ()).unwrap_err())
        };
        assert_eq!(all.with(&Maker::Gzip, 1, decoder, &ALWAYS, inner).unwrap(), ErrorKind::Timeout);
        all.with(&Maker::Gzip, 1, decoder, &ALWAYS, |_| ()).unwrap();
        assert_eq!(all.0.state().waiting, 0);
    }
}
