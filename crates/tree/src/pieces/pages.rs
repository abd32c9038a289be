//! Memory of kept pieces: pages of one size, used again and again.
//!
//! Pieces have all sizes, and are dropped in another order than they were made. With an allocation each, the dropped ones
//! would leave holes between those that stay, and a long-lived server would grow by the holes. With an allocation for each
//! page, the buffers that come and go between the pages would leave them. So pages are cut from slabs, which are large enough
//! that the system hands each out as a mapping of its own, and takes no memory for pages that were never used.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::BytesMut;

/// Small enough to waste little after the end of a piece, large enough that a large piece takes few.
const PAGE: usize = 16 << 10;
/// The size from which on allocators always ask the system for a mapping.
const SLAB: usize = 32 << 20;

/// Where pages come from.
pub(super) struct Pages {
    /// Bytes of the largest piece that is cut from slabs. A larger one has memory of its own.
    most: usize,
    free: Mutex<Free>,
}

/// Pages that no piece uses at the moment.
#[derive(Default)]
struct Free {
    idle: Vec<BytesMut>,
    /// The part of the newest slab that was never used.
    rest: BytesMut,
    /// Pages of slabs that pieces use.
    used: usize,
}

impl Free {
    fn take(&mut self, count: usize) -> Vec<BytesMut> {
        self.used = self.used.saturating_add(count);
        let first = self.idle.len().saturating_sub(count);
        let mut pages: Vec<BytesMut> = Vec::with_capacity(count);
        pages.extend(self.idle.drain(first..));
        while pages.len() < count {
            if self.rest.len() < PAGE {
                self.rest = BytesMut::zeroed(SLAB);
            }
            pages.push(self.rest.split_to(PAGE));
        }
        pages
    }
}

impl Pages {
    /// For pieces of which `bytes` bytes are kept.
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { most: bytes, free: Mutex::default() })
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of memory that a piece of `len` bytes takes.
    pub(super) const fn size_for(len: usize) -> usize {
        len.div_ceil(PAGE).saturating_mul(PAGE)
    }

    /// A piece with a copy of `content`.
    pub(super) fn piece(self: &Arc<Self>, content: &[u8]) -> Piece {
        let is_large = content.len() > self.most;
        let mut pages = if is_large {
            let mut own = BytesMut::zeroed(Self::size_for(content.len()));
            content.chunks(PAGE).map(|_| own.split_to(PAGE)).collect()
        } else {
            self.free().take(content.len().div_ceil(PAGE))
        };
        for (page, content) in pages.iter_mut().zip(content.chunks(PAGE)) {
            if let Some(page) = page.get_mut(..content.len()) {
                page.copy_from_slice(content);
            }
        }
        Piece { pages, len: content.len(), home: (!is_large).then(|| Arc::clone(self)) }
    }

    /// Gives the slabs back to the system, if no piece lies in them.
    pub(super) fn trim(&self) {
        let mut free = self.free();
        if free.used == 0 {
            let slabs = mem::take(&mut *free);
            drop(free);
            drop(slabs);
        }
    }
}

/// The decoded bytes of one piece. Its memory goes back to the cache when the last reader drops it.
pub struct Piece {
    pages: Vec<BytesMut>,
    len: usize,
    /// Where the pages go back to, unless they are a memory of their own.
    home: Option<Arc<Pages>>,
}

impl Piece {
    /// Bytes of the piece.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the piece holds no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that the piece takes.
    pub(super) const fn memory(&self) -> usize {
        Pages::size_for(self.len)
    }

    /// Fills `to` with the bytes from `skip` on. Returns `false` if the piece ends before `to` is full.
    #[must_use]
    pub fn copy_to(&self, skip: usize, to: &mut [u8]) -> bool {
        if skip.checked_add(to.len()).is_none_or(|end| end > self.len) {
            return false;
        }
        let (first, mut skip) = (skip / PAGE, skip % PAGE);
        let mut rest = to;
        for page in self.pages.iter().skip(first) {
            let from = page.get(skip..).unwrap_or_default();
            let len = from.len().min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(from.get(..len).unwrap_or_default());
            (rest, skip) = (later, 0);
            if rest.is_empty() {
                break;
            }
        }
        true
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            let mut free = home.free();
            free.used = free.used.saturating_sub(self.pages.len());
            free.idle.append(&mut self.pages);
        }
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Piece").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 21) as u8).collect()
    }

    #[test]
    fn all_parts_come_back_as_they_were() {
        let pages = Pages::new(8 * PAGE);
        for len in [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 7] {
            let content = noise(len);
            let piece = pages.piece(&content);
            for skip in [0, 1, PAGE - 1, PAGE, PAGE + 1, len.saturating_sub(1), len] {
                for take in [0, 1, PAGE, len.saturating_sub(skip)] {
                    let mut to = vec![1; take];
                    let fits = skip + take <= len;
                    assert_eq!(piece.copy_to(skip, &mut to), fits, "{len} {skip} {take}");
                    assert!(!fits || to == content[skip..skip + take], "{len} {skip} {take}");
                }
            }
            assert!(!piece.copy_to(usize::MAX, &mut [0]));
        }
    }

    #[test]
    fn pages_are_used_again_and_slabs_are_given_back() {
        let pages = Pages::new(4 * PAGE);
        let idle = || pages.free().idle.len();
        drop(pages.piece(&noise(3 * PAGE)));
        assert_eq!(idle(), 3);
        let piece = pages.piece(&noise(2 * PAGE));
        assert_eq!((idle(), piece.memory()), (1, 2 * PAGE));
        // One that is larger than all that is kept has memory of its own.
        drop(pages.piece(&noise(9 * PAGE)));
        assert_eq!((idle(), pages.free().used), (1, 2));
        pages.trim();
        assert_eq!(idle(), 1);
        drop(piece);
        assert_eq!((idle(), pages.free().rest.len()), (3, SLAB - 3 * PAGE));
        pages.trim();
        assert_eq!((idle(), pages.free().rest.len()), (0, 0));
        let many: Vec<_> = (0..=SLAB / PAGE).map(|_| pages.piece(&[1])).collect();
        assert_eq!((many.len(), pages.free().rest.len()), (SLAB / PAGE + 1, SLAB - PAGE));
    }
}
