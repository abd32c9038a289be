//! Reading layers: open, look up, read verified bytes, verify.

mod builder;
mod cache;
mod index;
mod open;
mod reader;
mod tree;
mod unpack;
mod verify;

pub use self::{
    open::{Landmarks, OpenOptions, Trust},
    reader::{Chunk, Entry, FileReader, Reader},
    unpack::{open_footer, unpack, unpack_with},
    verify::{ChunkVerifier, Verified, Verifiers},
};
