//! Writing layers: one reader, streams compressed on all cores, one ordered writer, hashing beside it.
//!
//! ```text
//! tar in -> entries -> batches of streams -> [compress + chunk digest] x threads -> in order -> blob
//!                          \-> DiffID and file digests, on a thread of their own
//! ```
//!
//! Where a stream starts follows from the headers alone (or, if streams are cut by compressed size, from those before it; or
//! from content, in the form of containers/storage, see `chunker.rs`), so the bytes are a function of input and options and never
//! of the number of threads. Memory is bounded by the batches in flight.
//!
//! A form of layers has two halves: a `Cutter` before compression, a `Log` after it. `line.rs` is the machine between them.

mod batch;
mod chunker;
mod cutter;
mod estargz;
mod hashing;
mod line;
mod name_set;
mod names;
mod options;
mod shape;
mod storage;
mod tar_split;
mod toc_log;
mod writer;
mod zeros;

pub(crate) use self::shape::Shape;
pub use self::{
    options::{NonUtf8, Proof, Streams, Summary, WriteOptions},
    writer::Writer,
};
