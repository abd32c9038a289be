//! Memory of kept pieces: pages of one size, used again and again.
//!
//! Pieces have all sizes, and are dropped in another order than they were made. With an allocation each, the dropped ones
//! would leave holes between those that stay, and a long-lived server would grow by the holes.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
};

/// Small enough to waste little after the end of a piece, large enough that a large piece takes few.
const PAGE: usize = 16 << 10;

type Page = Box<[u8; PAGE]>;

/// Pages that no piece uses at the moment.
pub(super) struct Pages {
    /// Pages kept for later pieces.
    most: usize,
    idle: Mutex<Vec<Page>>,
}

impl Pages {
    /// Keeps at most `bytes` bytes of unused pages.
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { most: bytes.div_ceil(PAGE), idle: Mutex::default() })
    }

    /// Bytes of memory that a piece of `len` bytes takes.
    pub(super) const fn size_for(len: usize) -> usize {
        len.div_ceil(PAGE).saturating_mul(PAGE)
    }

    /// A piece with a copy of `content`.
    pub(super) fn piece(self: &Arc<Self>, content: &[u8]) -> Piece {
        let count = content.len().div_ceil(PAGE);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let first = idle.len().saturating_sub(count);
        let mut pages: Vec<Page> = Vec::with_capacity(count);
        pages.extend(idle.drain(first..));
        drop(idle);
        pages.resize_with(count, || Box::new([0; PAGE]));
        for (page, content) in pages.iter_mut().zip(content.chunks(PAGE)) {
            if let Some(page) = page.get_mut(..content.len()) {
                page.copy_from_slice(content);
            }
        }
        Piece { pages, len: content.len(), home: Arc::clone(self) }
    }

    /// Gives the unused pages back to the system.
    pub(super) fn trim(&self) {
        let idle = mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        drop(idle);
    }
}

/// The decoded bytes of one piece. Its memory goes back to the cache when the last reader drops it.
pub struct Piece {
    pages: Vec<Page>,
    len: usize,
    home: Arc<Pages>,
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
        let pages = mem::take(&mut self.pages);
        let mut idle = self.home.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.home.most.saturating_sub(idle.len());
        idle.extend(pages.into_iter().take(room));
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
    fn pages_are_used_again_and_not_hoarded() {
        let pages = Pages::new(4 * PAGE);
        let idle = || pages.idle.lock().unwrap().len();
        drop(pages.piece(&noise(3 * PAGE)));
        assert_eq!(idle(), 3);
        let piece = pages.piece(&noise(2 * PAGE));
        assert_eq!((idle(), piece.memory()), (1, 2 * PAGE));
        drop(piece);
        drop(pages.piece(&noise(9 * PAGE)));
        assert_eq!(idle(), 4);
        pages.trim();
        assert_eq!(idle(), 0);
    }
}
