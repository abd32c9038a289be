//! A few verified chunks, kept because small reads come in rows.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Bytes kept at most; a single chunk may be larger.
const CAPACITY: usize = 32 << 20;

/// Offset of the stream, and place in it.
type Key = (u64, u64);

/// Chunks by stream and place in it, the one used last at the back.
#[derive(Default)]
pub(super) struct ChunkCache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    chunks: VecDeque<(Key, Arc<[u8]>)>,
    bytes: usize,
}

impl ChunkCache {
    pub(super) fn get(&self, key: Key) -> Option<Arc<[u8]>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.chunks.iter().rposition(|(known, _)| *known == key)?;
        let (key, chunk) = kept.chunks.remove(at)?;
        kept.chunks.push_back((key, Arc::clone(&chunk)));
        Some(chunk)
    }

    pub(super) fn put(&self, key: Key, chunk: &Arc<[u8]>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.chunks.iter().any(|(known, _)| *known == key) {
            return;
        }
        kept.bytes = kept.bytes.saturating_add(chunk.len());
        kept.chunks.push_back((key, Arc::clone(chunk)));
        while kept.bytes > CAPACITY && kept.chunks.len() > 1 {
            if let Some((_, old)) = kept.chunks.pop_front() {
                kept.bytes = kept.bytes.saturating_sub(old.len());
            }
        }
    }
}

impl fmt::Debug for ChunkCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkCache")
    }
}
