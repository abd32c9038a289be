//! Bytes read as decisions: what a structure-aware body does is a function of its input.

/// The decisions that are left. When they run out, all are 0.
#[derive(Debug)]
pub(super) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(super) fn number(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let pair = u64::from_le_bytes([self.byte(), self.byte(), self.byte(), 0, 0, 0, 0, 0]);
        (pair % limit.max(1) as u64) as usize
    }

    pub(super) fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        let at = self.below(of.len());
        &of[at]
    }
}
