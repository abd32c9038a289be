//! Verified chunks, kept because small reads come in rows, and unpacked once however many ask for one at the same time.
//!
//! A chunk of which as many bytes were read as it has goes at once: as a rule it was read from front to back, and who read it
//! has it. Else no more is lost than unpacking it a second time for as many bytes again.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use hashbrown::{HashMap, HashSet};

use super::{
    index::DigestCell,
    pages::{Chunk, Pages},
};

/// Which bytes, by where they lie, and what they were compared with: a TOC can name one place twice with different digests, and
/// what matches one of them has not matched the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Offset of the stream.
    pub(super) offset: u64,
    /// Place in it.
    pub(super) inner: u64,
    pub(super) size: u64,
    pub(super) digest: DigestCell,
}

/// Chunks by where they are stored; the one that was not used for longest goes first.
pub(super) struct ChunkCache {
    /// Bytes of memory for chunks at most; a single chunk may be larger.
    capacity: usize,
    pages: Arc<Pages>,
    kept: Mutex<Kept>,
    /// Told when somebody has unpacked a chunk, or failed to.
    done: Condvar,
}

#[derive(Default)]
struct Kept {
    chunks: HashMap<Key, Row>,
    /// The same by when they were used last.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    /// Bytes of memory, those of chunks that are on their way here among them.
    bytes: usize,
    /// Chunks that somebody unpacks at the moment.
    busy: HashSet<Key>,
}

struct Row {
    chunk: Arc<Chunk>,
    /// When it was used last.
    used: u64,
    /// Bytes that were read of it.
    read: usize,
}

impl ChunkCache {
    /// A cache of so many bytes; 0 for 32 MiB.
    pub(super) fn new(capacity: u64) -> Self {
        let capacity = if capacity == 0 { 32 << 20 } else { usize::try_from(capacity).unwrap_or(usize::MAX) };
        Self { capacity, pages: Pages::new(capacity), kept: Mutex::default(), done: Condvar::new() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chunk, if it is there already or somebody is about to keep it, to read so many bytes of it.
    pub(super) fn get(&self, key: Key, read: usize) -> Option<Arc<Chunk>> {
        let mut kept = self.kept();
        loop {
            let chunk = kept.get(key, read);
            if chunk.is_some() || !kept.busy.contains(&key) {
                return chunk;
            }
            kept = self.done.wait(kept).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The chunk; if it is not there, what `make` gives to [`keep`](Self::keep). If somebody else is about to do that, waits
    /// for it instead; if that fails, it is this caller's turn to fail.
    pub(super) fn get_or<E>(
        &self,
        key: Key,
        read: usize,
        make: impl FnOnce() -> Result<Arc<Chunk>, E>,
    ) -> Result<Arc<Chunk>, E> {
        let mut kept = self.kept();
        loop {
            if let Some(chunk) = kept.get(key, read) {
                return Ok(chunk);
            }
            if kept.busy.insert(key) {
                break;
            }
            kept = self.done.wait(kept).unwrap_or_else(PoisonError::into_inner);
        }
        drop(kept);
        let _turn = Turn { cache: self, key };
        make()
    }

    /// Keeps a copy of `content`, of which so many bytes are read, in the memory of chunks that were not used for longer.
    pub(super) fn keep(&self, key: Key, content: &[u8], read: usize) -> Arc<Chunk> {
        self.kept().make_room(Pages::size_for(content.len()), self.capacity);
        let chunk = Arc::new(self.pages.chunk(content));
        self.kept().put(key, &chunk, read);
        chunk
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
    fn get(&mut self, key: Key, read: usize) -> Option<Arc<Chunk>> {
        self.uses = self.uses.saturating_add(1);
        let now = self.uses;
        let row = self.chunks.get_mut(&key)?;
        self.by_use.remove(&row.used);
        row.read = row.read.saturating_add(read);
        if row.read >= row.chunk.len() {
            let chunk = self.chunks.remove(&key)?.chunk;
            self.bytes = self.bytes.saturating_sub(chunk.memory());
            return Some(chunk);
        }
        row.used = now;
        self.by_use.insert(now, key);
        Some(Arc::clone(&row.chunk))
    }

    /// Lets go of chunks until there is room for `need` bytes, and counts these as taken.
    fn make_room(&mut self, need: usize, capacity: usize) {
        self.bytes = self.bytes.saturating_add(need);
        while self.bytes > capacity
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            if let Some(old) = self.chunks.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(old.chunk.memory());
            }
        }
    }

    fn put(&mut self, key: Key, chunk: &Arc<Chunk>, read: usize) {
        self.uses = self.uses.saturating_add(1);
        let row = Row { chunk: Arc::clone(chunk), used: self.uses, read };
        if let Some(old) = self.chunks.insert(key, row) {
            self.by_use.remove(&old.used);
            self.bytes = self.bytes.saturating_sub(old.chunk.memory());
        }
        self.by_use.insert(self.uses, key);
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

    const fn key(offset: u64) -> Key {
        Key { offset, inner: 0, size: 0, digest: DigestCell::None }
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let page = Pages::size_for(1);
        let cache = ChunkCache::new(5 * page as u64);
        let put = |at: u64, pages: usize| drop(cache.keep(key(at), &vec![7; pages * page], 1));
        let has = |at: u64| cache.get(key(at), 1).is_some();
        put(1, 2);
        put(2, 2);
        assert!(has(1));
        put(3, 2);
        assert_eq!([1, 2, 3].map(has), [true, false, true]);
        put(4, 50);
        assert_eq!([1, 2, 3, 4].map(has), [false, false, false, true]);
        let kept = cache.kept();
        assert_eq!((kept.by_use.len(), kept.chunks.len(), kept.bytes), (1, 1, 50 * page));
        drop(kept);
        // The same chunk twice counts once; small ones take a page each.
        for _ in 0..2 {
            cache.keep(key(5), &[1, 2, 3], 1);
        }
        put(6, 1);
        assert_eq!(([5, 6].map(has), cache.kept().bytes), ([true; 2], 2 * page));
    }

    #[test]
    fn what_was_read_once_from_front_to_back_goes_at_once() {
        let cache = ChunkCache::new(0);
        let left = || {
            let kept = cache.kept();
            (kept.chunks.len(), kept.by_use.len(), kept.bytes)
        };
        cache.keep(key(1), &[7; 100], 40);
        for (read, is_there, expected) in
            [(40, true, (1, 1, Pages::size_for(100))), (20, true, (0, 0, 0)), (20, false, (0, 0, 0))]
        {
            let chunk = cache.get(key(1), read);
            assert_eq!((chunk.is_some(), left()), (is_there, expected), "{read}");
            assert!(chunk.is_none_or(|chunk| chunk.copy_to(80, &mut [0; 20])));
        }
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
                        Ok::<_, ()>(cache.keep(key(5), &[7; 100], 10))
                    };
                    assert!(cache.get_or(key(5), 10, make).unwrap().copy_to(0, &mut [0; 10]));
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn who_wants_all_of_a_chunk_waits_for_who_unpacks_it() {
        let cache = ChunkCache::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                let make = || {
                    thread::sleep(Duration::from_millis(30));
                    Ok::<_, ()>(cache.keep(key(5), &[7; 100], 1))
                };
                cache.get_or(key(5), 1, make).unwrap();
            });
            while !cache.kept().busy.contains(&key(5)) {
                thread::yield_now();
            }
            assert!(cache.get(key(5), 100).is_some());
        });
        assert!(cache.get(key(5), 100).is_none());
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
                    assert_eq!(cache.get_or(key(5), 10, make).unwrap_err(), "damaged");
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 4);
    }
}
