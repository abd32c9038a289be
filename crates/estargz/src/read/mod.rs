//! Reading layers: open, look up, read verified bytes, verify.

mod builder;
mod cache;
mod index;
mod open;
mod pre_read;
mod reader;
mod restore;
mod telemetry;
mod tree;
mod trusted;
mod unpack;
mod verify;

pub use self::{
    open::{Landmarks, OpenOptions, RepeatedNames, Trust, Versions},
    pre_read::{PreRead, PreReader},
    reader::{Chunk, Entry, FileReader, Prefetch, Reader},
    restore::restore_tar,
    telemetry::{Hook, Telemetry},
    trusted::TrustedReader,
    unpack::{find_footer, open_footer, unpack, unpack_with},
    verify::{ChunkVerifier, Verified, Verifiers},
};
