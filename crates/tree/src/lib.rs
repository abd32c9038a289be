#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation))]

mod error;
mod limits;
mod name;
mod node;
pub mod tar;

pub use crate::{
    error::{BoxError, Error},
    limits::Limits,
    name::{SafeName, SafePath, UnsafeName},
    node::{Attr, DirEntry, DirVisitor, Kind, Mtime, NodeId, Owner, Tree, XattrVisitor},
};
