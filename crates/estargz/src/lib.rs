#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation))]

pub mod annotations;
pub mod audit;
pub mod codec;
pub mod compose;
mod crc64;
mod error;
pub mod footer;
mod gunzip;
pub mod input;
mod limits;
mod members;
pub mod read;
pub mod report;
pub mod toc;
pub mod trust;
pub mod write;

pub use crate::{
    compose::{Build, Built, Input},
    error::Error,
    limits::Limits,
    read::{OpenOptions, Reader, unpack},
    trust::TrustedReader,
    write::{Summary, WriteOptions, Writer},
};
