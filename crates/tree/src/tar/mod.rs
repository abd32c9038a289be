//! The tar format: the one reader of the workspace, header encoding, and trees of archives.

mod block;
mod encode;
mod header;
mod input;
mod number;
mod pax;
mod reader;
mod sparse;
mod tree;

use std::fmt;

use dunnage_digest::Offset;

use crate::Error;

pub(crate) use self::{encode::SparseMap, tree::device};
pub use self::{
    encode::{END, encode_header, padding},
    header::{EntryType, Format, Header},
    reader::{Reader, is_header},
    tree::TarTree,
};

fn malformed(part: &'static str, at: Offset, expected: impl fmt::Display, got: impl fmt::Display) -> Error {
    Error::Malformed { part, at, expected: expected.to_string(), got: got.to_string() }
}
