//! Memory for chunks that are kept: pages of one size, used again and again.
//!
//! Chunks are of all sizes and go in another order than they came. Each in memory of its own would leave holes between
//! those that stay, and a server that lives long would grow by them.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
};

/// Little is lost behind the end of a chunk, and few pages make a large one.
const PAGE: usize = 16 << 10;

type Page = Box<[u8; PAGE]>;

/// Pages that nobody uses at the moment.
pub(super) struct Pages {
    /// How many are kept.
    most: usize,
    idle: Mutex<Vec<Page>>,
}

impl Pages {
    /// At most so many bytes of pages that are not in use.
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { most: bytes.div_ceil(PAGE), idle: Mutex::default() })
    }

    /// Bytes of memory for a chunk of `len` bytes.
    pub(super) const fn size_for(len: usize) -> usize {
        len.div_ceil(PAGE).saturating_mul(PAGE)
    }

    /// Copies `content`.
    pub(super) fn chunk(self: &Arc<Self>, content: &[u8]) -> Chunk {
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
        Chunk { pages, len: content.len(), home: Arc::clone(self) }
    }
}

/// A chunk in pages, which go back when it is dropped.
pub(super) struct Chunk {
    pages: Vec<Page>,
    len: usize,
    home: Arc<Pages>,
}

impl Chunk {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory it takes.
    pub(super) const fn memory(&self) -> usize {
        Pages::size_for(self.len)
    }

    /// Copies its bytes from `skip` on; `false` if it has not so many.
    pub(super) fn copy_to(&self, skip: usize, to: &mut [u8]) -> bool {
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

impl Drop for Chunk {
    fn drop(&mut self) {
        let pages = mem::take(&mut self.pages);
        let mut idle = self.home.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.home.most.saturating_sub(idle.len());
        idle.extend(pages.into_iter().take(room));
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("len", &self.len).finish_non_exhaustive()
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
            let chunk = pages.chunk(&content);
            for skip in [0, 1, PAGE - 1, PAGE, PAGE + 1, len.saturating_sub(1), len] {
                for take in [0, 1, PAGE, len.saturating_sub(skip)] {
                    let mut to = vec![1; take];
                    let fits = skip + take <= len;
                    assert_eq!(chunk.copy_to(skip, &mut to), fits, "{len} {skip} {take}");
                    assert!(!fits || to == content[skip..skip + take], "{len} {skip} {take}");
                }
            }
            assert!(!chunk.copy_to(usize::MAX, &mut [0]));
        }
    }

    #[test]
    fn pages_are_used_again_and_not_hoarded() {
        let pages = Pages::new(4 * PAGE);
        let idle = || pages.idle.lock().unwrap().len();
        drop(pages.chunk(&noise(3 * PAGE)));
        assert_eq!(idle(), 3);
        let chunk = pages.chunk(&noise(2 * PAGE));
        assert_eq!((idle(), chunk.memory()), (1, 2 * PAGE));
        drop(chunk);
        drop(pages.chunk(&noise(9 * PAGE)));
        assert_eq!(idle(), 4);
    }
}
