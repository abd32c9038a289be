//! Reading layers: open, look up, read verified bytes, verify.

mod builder;
mod decoders;
pub(crate) mod index;
mod open;
mod options;
mod pre_read;
mod reader;
mod restore;
mod tar_split;
mod telemetry;
mod tree;
mod unpack;
pub(crate) mod zeros;

pub use self::{
    decoders::Decoders,
    options::{Landmarks, OpenOptions, RepeatedNames, Trust, Versions},
    pre_read::{PreRead, PreReader},
    reader::{Chunk, Entry, FileReader, Prefetch, Reader},
    restore::restore_tar,
    tar_split::{Reassembled, TarPart},
    telemetry::{Hook, Telemetry},
    unpack::{find_footer, open_footer, unpack, unpack_with},
};
