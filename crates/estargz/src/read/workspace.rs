//! Decoders with their buffers, lent to whoever unpacks a chunk.
//!
//! There are few of them: unpacking takes a core, so more at once would take more memory and no less time. Who finds none
//! waits for one.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::Decoder;

/// What it takes to unpack a chunk.
pub(super) struct Workspace {
    pub(super) decoder: Box<dyn Decoder>,
    /// Compressed bytes.
    pub(super) input: Vec<u8>,
}

/// All workspaces of a reader.
pub(super) struct Workspaces {
    most: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    /// The one that was not used for longest in front. They take turns, so that all of them have soon grown to the size
    /// they need, and memory stays as it is from then on.
    idle: VecDeque<Workspace>,
    lent: usize,
    /// Who waits for one. Telling nobody would still be a call to the kernel.
    waiting: usize,
}

impl Workspaces {
    /// As many as keep all cores busy with large chunks, and one for what is small meanwhile.
    pub(super) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::of(cores.saturating_add(1))
    }

    fn of(most: usize) -> Self {
        Self { most, state: Mutex::default(), returned: Condvar::new() }
    }

    /// Works in a workspace, for a stream of which `len` bytes are unpacked. `work` must not ask for a second one: all
    /// could then wait for each other.
    pub(super) fn with<T>(
        &self,
        len: u64,
        decoder: impl FnOnce() -> Box<dyn Decoder>,
        work: impl FnOnce(&mut Workspace) -> T,
    ) -> T {
        let mut lent = Lent { home: self, workspace: self.take(), is_kept: len <= KEPT };
        work(lent.workspace.get_or_insert_with(|| Workspace { decoder: decoder(), input: Vec::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to one, and the one if it is there already.
    fn take(&self) -> Option<Workspace> {
        let mut state = self.state();
        while state.idle.is_empty() && state.lent >= self.most {
            state.waiting = state.waiting.saturating_add(1);
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting = state.waiting.saturating_sub(1);
        }
        state.lent = state.lent.saturating_add(1);
        state.idle.pop_front()
    }
}

/// A workspace that is in use. It comes back even from a panic, but then without what was in it.
struct Lent<'w> {
    home: &'w Workspaces,
    workspace: Option<Workspace>,
    is_kept: bool,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let kept = self.workspace.take().filter(|_| self.is_kept && !thread::panicking());
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

/// Buffers for streams that are longer go back to the system at once.
const KEPT: u64 = 8 << 20;

impl fmt::Debug for Workspaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Workspaces")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        time::Duration,
    };

    use super::*;
    use crate::CorruptStream;

    struct Nothing;

    impl Decoder for Nothing {
        fn decode(&mut self, _: &[u8], _: usize) -> Result<&[u8], CorruptStream> {
            Ok(&[])
        }
    }

    #[test]
    fn there_are_never_more_than_there_may_be() {
        let (all, made) = (Workspaces::of(3), AtomicUsize::new(0));
        let (busy, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let decoder = || -> Box<dyn Decoder> {
            made.fetch_add(1, SeqCst);
            Box::new(Nothing)
        };
        thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        all.with(1, decoder, |_| {
                            most.fetch_max(busy.fetch_add(1, SeqCst) + 1, SeqCst);
                            thread::sleep(Duration::from_millis(1));
                            busy.fetch_sub(1, SeqCst);
                        });
                    }
                });
            }
        });
        assert_eq!(most.load(SeqCst), 3);
        assert_eq!(made.load(SeqCst), 3);
    }

    #[test]
    fn what_panicked_or_grew_too_large_is_made_anew() {
        let (all, made) = (Workspaces::of(1), AtomicUsize::new(0));
        let decoder = || -> Box<dyn Decoder> {
            made.fetch_add(1, SeqCst);
            Box::new(Nothing)
        };
        all.with(1, decoder, |workspace| workspace.input.push(1));
        all.with(1, decoder, |workspace| assert_eq!(workspace.input, [1]));
        assert_eq!(made.load(SeqCst), 1);
        let panicked = catch_unwind(AssertUnwindSafe(|| all.with(1, decoder, |_| panic!("in a decoder"))));
        assert!(panicked.is_err());
        all.with(KEPT + 1, decoder, |workspace| assert!(workspace.input.is_empty()));
        all.with(1, decoder, |_| ());
        assert_eq!(made.load(SeqCst), 3);
    }
}
