//! Verified chunks, kept because small reads come in rows, and unpacked once however many ask for one at the same time.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use hashbrown::{HashMap, HashSet};

/// Offset of the stream, place in it, and length.
pub(super) type Key = (u64, u64, u64);

/// Chunks by where they are stored; the one that was not used for longest goes first.
pub(super) struct ChunkCache {
    /// Bytes kept at most; a single chunk may be larger.
    capacity: usize,
    kept: Mutex<Kept>,
    /// Told when somebody has unpacked a chunk, or failed to.
    done: Condvar,
}

#[derive(Default)]
struct Kept {
    chunks: HashMap<Key, (u64, Arc<[u8]>)>,
    /// The same by when they were used last.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
    /// Chunks that somebody unpacks at the moment.
    busy: HashSet<Key>,
}

impl ChunkCache {
    /// A cache of so many bytes; 0 for 32 MiB.
    pub(super) fn new(capacity: u64) -> Self {
        let capacity = if capacity == 0 { 32 << 20 } else { usize::try_from(capacity).unwrap_or(usize::MAX) };
        Self { capacity, kept: Mutex::default(), done: Condvar::new() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chunk, if it is there already.
    pub(super) fn get(&self, key: Key) -> Option<Arc<[u8]>> {
        self.kept().get(key)
    }

    /// The chunk, unpacked by `make` if it is not there. If somebody else unpacks it already, waits for that instead; if
    /// that fails, it is this caller's turn to fail.
    pub(super) fn get_or<E>(&self, key: Key, make: impl FnOnce() -> Result<Arc<[u8]>, E>) -> Result<Arc<[u8]>, E> {
        let mut kept = self.kept();
        loop {
            if let Some(chunk) = kept.get(key) {
                return Ok(chunk);
            }
            if kept.busy.insert(key) {
                break;
            }
            kept = self.done.wait(kept).unwrap_or_else(PoisonError::into_inner);
        }
        drop(kept);
        let _turn = Turn { cache: self, key };
        let chunk = make()?;
        self.kept().put(key, &chunk, self.capacity);
        Ok(chunk)
    }
}

/// The right to unpack a chunk. It ends even by a panic, so that nobody waits for nothing.
struct Turn<'c> {
    cache: &'c ChunkCache,
    key: Key,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.cache.kept().busy.remove(&self.key);
        self.cache.done.notify_all();
    }
}

impl Kept {
    fn get(&mut self, key: Key) -> Option<Arc<[u8]>> {
        self.uses = self.uses.saturating_add(1);
        let now = self.uses;
        let (used, chunk) = self.chunks.get_mut(&key)?;
        self.by_use.remove(used);
        self.by_use.insert(now, key);
        *used = now;
        Some(Arc::clone(chunk))
    }

    fn put(&mut self, key: Key, chunk: &Arc<[u8]>, capacity: usize) {
        self.uses = self.uses.saturating_add(1);
        if let Some((used, old)) = self.chunks.insert(key, (self.uses, Arc::clone(chunk))) {
            self.by_use.remove(&used);
            self.bytes = self.bytes.saturating_sub(old.len());
        }
        self.by_use.insert(self.uses, key);
        self.bytes = self.bytes.saturating_add(chunk.len());
        while self.bytes > capacity && self.chunks.len() > 1 {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            if let Some((_, old)) = self.chunks.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(old.len());
            }
        }
    }
}

impl fmt::Debug for ChunkCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkCache")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    use super::*;

    fn chunk(len: usize) -> Arc<[u8]> {
        Arc::from(vec![7; len])
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let cache = ChunkCache::new(100);
        let put = |at: u64, len: usize| cache.get_or::<()>((at, 0, 0), || Ok(chunk(len))).unwrap();
        put(1, 40);
        put(2, 40);
        assert!(cache.get((1, 0, 0)).is_some());
        put(3, 40);
        assert!(cache.get((2, 0, 0)).is_none());
        assert!(cache.get((1, 0, 0)).is_some());
        put(4, 1000);
        assert!(cache.get((1, 0, 0)).is_none());
        assert_eq!(cache.get((4, 0, 0)).map(|chunk| chunk.len()), Some(1000));
        let kept = cache.kept();
        assert_eq!((kept.by_use.len(), kept.chunks.len(), kept.bytes), (1, 1, 1000));
    }

    #[test]
    fn a_chunk_that_many_ask_for_is_unpacked_once() {
        let (cache, made) = (ChunkCache::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let make = || {
                        made.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(30));
                        Ok::<_, ()>(chunk(10))
                    };
                    assert_eq!(cache.get_or((5, 0, 10), make).unwrap().len(), 10);
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_failure_is_everybodys_own() {
        let (cache, made) = (ChunkCache::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let make = || {
                        made.fetch_add(1, Ordering::Relaxed);
                        Err("damaged")
                    };
                    assert_eq!(cache.get_or((5, 0, 10), make), Err("damaged"));
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 4);
    }
}
