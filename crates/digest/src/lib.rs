#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation))]

mod algorithm;
mod cancel;
mod digest;
mod hasher;
mod hex;
mod kind;
mod offset;
mod pool;
mod progress;
mod read_at;
mod read_full;
mod request;
mod source_error;
mod verify;

pub use crate::{
    algorithm::Algorithm,
    cancel::{Cancel, Cancelled},
    digest::{DiffId, Digest, ParseDigestError},
    hasher::{Hasher, HashingReader, HashingWriter},
    hex::{HexError, decode_hex, decode_lower_hex, encode_hex, encode_hex_into},
    kind::ErrorKind,
    offset::Offset,
    pool::{Ordered, WorkerDied},
    progress::Progress,
    read_at::{Cursor, ReadAt, Section},
    read_full::{read_full, read_some},
    request::{Purpose, ReadRequest},
    source_error::{SourceError, error_inside, kind_of},
    verify::{Mismatch, VerifyingReader, VerifyingWriter},
};
