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
// The names below have their documentation in the modules. The root keeps them for callers that import them from here.
#[doc(hidden)]
pub use crate::{
    annotations::{
        LAYER_DIGEST_ANNOTATION, MANIFEST_CHECKSUM_ANNOTATION, MANIFEST_POSITION_ANNOTATION,
        STORAGE_CHECKSUM_ANNOTATION, STORAGE_POSITION_ANNOTATION, STORAGE_TAR_SPLIT_ANNOTATION, TOC_DIGEST_ANNOTATION,
        UNCOMPRESSED_SIZE_ANNOTATION,
    },
    audit::{Audit, Disagreement},
    codec::{
        Codec, Compressor, CorruptStream, Covers, Decoder, Decompressor, Encoder, End, ExternalTocCompressor,
        ExternalTocDecompressor, Form, Gauge, GzipCompressor, GzipDecompressor, LegacyGzipDecompressor, Level,
        StorageCompressor, StorageDecompressor, TarSplit, TocSource, TocWritten, ZstdCompressor, ZstdDecompressor,
        ZstdLevel,
    },
    compose::{LANDMARK_CONTENT, Missing, NO_PREFETCH_LANDMARK, Once, PREFETCH_LANDMARK, Pass, Restart},
    footer::{
        EXTERNAL_FOOTER_LEN, FOOTER_LEN, Footer, Format, LEGACY_FOOTER_LEN, STORAGE_FOOTER_LEN, TocPlace,
        ZSTD_FOOTER_LEN, external_footer_bytes, footer_bytes, gzip_footer, parse_external_footer, parse_footer,
        parse_legacy_footer, parse_storage_footer, parse_zstd_footer,
    },
    input::{Gunzip, Packing, Whole},
    read::{
        Chunk, Decoders, Entry, FileReader, Hook, Landmarks, PreRead, PreReader, Prefetch, Reassembled, RepeatedNames,
        TarPart, Telemetry, Trust, Versions, find_footer, open_footer, restore_tar, unpack_with,
    },
    report::{
        FileFacts, Group, GroupShare, KindCounts, LandmarkKind, LayoutOptions, LayoutReport, MeasureOptions, Measured,
        PayloadShares, Plain, PrefetchArea, Segment, SegmentKind, SharedStreams, SizeClass, StreamFacts, StreamFigures,
        StreamKind,
    },
    toc::{ChunkType, TOC_TAR_NAME, Toc, TocEntry, TocType},
    trust::{AnnotatedToc, ChunkVerifier, Verified, Verifiers},
    write::{NonUtf8, Proof, Streams},
};
