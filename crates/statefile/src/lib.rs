#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation))]

mod asynchronous;
mod codec;
mod compression;
mod detect;
mod dialect;
mod encoding;
mod error;
mod file;
mod header;
mod key;
mod limits;
mod metadata;
mod options;
mod reader;
mod source;
mod tail;
mod timestamp;
mod transcode;
mod unit;
mod writer;

pub use crate::{
    asynchronous::{AsyncOptions, AsyncReader, Completed, ScopedReader, Ticket, read_scoped},
    codec::Codec,
    compression::Compression,
    dialect::{Body, Dialect, Macs},
    encoding::{BodyMacs, Dialects, Encoding, HeaderMac},
    error::{Error, Hint, Part},
    file::{File, Summary, Verified},
    header::{MAGIC, is_statefile, metadata_unverified},
    key::{Key, MAC_LEN},
    limits::Limits,
    metadata::{MAX_METADATA_LEN, Metadata},
    options::{Frames, Mode, ReadOptions, WriteOptions},
    reader::Reader,
    tail::Tail,
    timestamp::Timestamp,
    transcode::{convert, rekey},
    writer::{Writer, Written},
};
