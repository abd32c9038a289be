//! Decoded pieces of files, kept for further reads: one cache for all sources of a mount or a command.
//!
//! Many formats decode a file in pieces: a chunk of a layer, a block of squashfs. A reader wants a few bytes, and the format
//! has to fetch and decode the whole piece for them. A [`PieceCache`] keeps the decoded bytes, and lets one reader decode a
//! piece while the others that want it wait.
//!
//! | file      | subject                                                                    |
//! |-----------|----------------------------------------------------------------------------|
//! | `cache`   | which pieces are kept, and which reader makes the one that is missing       |
//! | `pages`   | memory of kept pieces                                                      |
//! | `buffers` | memory for bytes that are fetched and not decoded yet, bounded              |
//! | `wait`    | waiting that ends with the request                                         |
//! | `store`   | the trait of a second cache that outlives the process                      |
//!
//! A format reads a piece in this order, so that many reads can wait for a slow source at once and few decoders suffice:
//! [`enter`](PieceSource::enter); if the answer is [`PieceLookup::Make`], ask the [store](PieceCache::store); fetch into a
//! [`buffer`](PieceSource::buffer); only then take a decoder, decode, verify; [`keep`](PieceTurn::keep) or
//! [`pass`](PieceTurn::pass) the content.

mod buffers;
mod cache;
mod pages;
mod store;
mod wait;

pub use self::{
    buffers::PieceBuffer,
    cache::{PieceCache, PieceCacheOptions, PieceLookup, PieceSource, PieceTurn},
    pages::Piece,
    store::PieceStore,
    wait::wait_for,
};
