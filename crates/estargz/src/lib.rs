#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation))]

mod build;
mod codec;
mod error;
mod footer;
mod input;
mod limits;
mod pool;
mod read;
mod toc;
mod write;

pub use crate::{
    build::{Build, Built, LANDMARK_CONTENT, Missing, NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK},
    codec::{
        Codec, Compressor, CorruptStream, Decoder, Decompressor, Encoder, End, GzipCompressor, GzipDecompressor,
        LegacyGzipDecompressor, Level, TocSource, TocWritten,
    },
    error::Error,
    footer::{FOOTER_LEN, Footer, LEGACY_FOOTER_LEN, footer_bytes, parse_footer, parse_legacy_footer},
    input::{Packing, Whole},
    limits::Limits,
    read::{
        Chunk, ChunkVerifier, Entry, FileReader, Landmarks, OpenOptions, Reader, Trust, Verified, Verifiers,
        open_footer, unpack, unpack_with,
    },
    toc::{TOC_TAR_NAME, Toc, TocEntry, TocType},
    write::{NonUtf8, Summary, WriteOptions, Writer},
};

/// Annotation of a layer's descriptor that holds the digest of its TOC.
pub const TOC_DIGEST_ANNOTATION: &str = "containerd.io/snapshot/stargz/toc.digest";

/// Annotation of a layer's descriptor that holds the bytes of its tar stream, in decimal.
pub const UNCOMPRESSED_SIZE_ANNOTATION: &str = "io.containers.estargz.uncompressed-size";
