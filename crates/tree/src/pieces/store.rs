//! A second cache for pieces, which outlives the process.

use std::fmt;

use dunnage_digest::{Digest, ReadRequest};

/// Keeps pieces by their digest, on disk for example.
///
/// Implement it to put a cache on disk, or one shared by several processes, below a [`PieceCache`](super::PieceCache). A
/// reader asks it before it fetches a piece, and offers it each piece that it fetched and verified. Readers compare the
/// digest of everything that is loaded, so a damaged store costs time and never wrong bytes.
///
/// Calls come from many threads at once. They return no errors: a store that fails answers that it has nothing, and reports
/// its trouble on a way of its own.
pub trait PieceStore: fmt::Debug + Send + Sync {
    /// Fills all of `content` with the piece of this digest. Returns `false` if the store does not have it, has it in another
    /// length, or cannot read it before the request ends.
    fn load(&self, digest: &Digest, content: &mut [u8], request: &ReadRequest<'_>) -> bool;

    /// Offers a verified piece. A store that writes slowly copies the bytes and returns: a reader waits for this call.
    fn store(&self, digest: &Digest, content: &[u8]);
}
