#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation))]

mod audit;
mod codec;
mod compose;
mod crc64;
mod error;
mod footer;
mod gunzip;
mod input;
mod limits;
mod read;
mod report;
#[cfg(feature = "testsuite")]
pub mod testsuite;
mod toc;
mod trust;
mod write;

pub use crate::{
    audit::{Audit, Disagreement},
    codec::{
        Codec, Compressor, CorruptStream, Covers, Decoder, Decompressor, Encoder, End, ExternalTocCompressor,
        ExternalTocDecompressor, Form, Gauge, GzipCompressor, GzipDecompressor, LegacyGzipDecompressor, Level,
        StorageCompressor, StorageDecompressor, TarSplit, TocSource, TocWritten, ZstdCompressor, ZstdDecompressor,
        ZstdLevel,
    },
    compose::{
        Build, Built, Input, LANDMARK_CONTENT, Missing, NO_PREFETCH_LANDMARK, Once, PREFETCH_LANDMARK, Pass, Restart,
    },
    error::{Error, aggregate},
    footer::{
        EXTERNAL_FOOTER_LEN, FOOTER_LEN, Footer, Format, LEGACY_FOOTER_LEN, STORAGE_FOOTER_LEN, TocPlace,
        ZSTD_FOOTER_LEN, external_footer_bytes, footer_bytes, gzip_footer, parse_external_footer, parse_footer,
        parse_legacy_footer, parse_storage_footer, parse_zstd_footer,
    },
    gunzip::Gunzip,
    input::{Packing, Whole},
    limits::Limits,
    read::{
        Chunk, Decoders, Entry, FileReader, Hook, Landmarks, OpenOptions, PreRead, PreReader, Prefetch, Reader,
        Reassembled, RepeatedNames, TarPart, Telemetry, Trust, Versions, find_footer, open_footer, restore_tar, unpack,
        unpack_with,
    },
    report::{
        FileFacts, Group, GroupShare, KindCounts, LandmarkKind, LayoutOptions, LayoutReport, MeasureOptions, Measured,
        PayloadShares, Plain, PrefetchArea, Segment, SegmentKind, SharedStreams, SizeClass, StreamFacts, StreamFigures,
        StreamKind,
    },
    toc::{ChunkType, TOC_TAR_NAME, Toc, TocEntry, TocType},
    trust::{AnnotatedToc, ChunkVerifier, TrustedReader, Verified, Verifiers},
    write::{NonUtf8, Proof, Streams, Summary, WriteOptions, Writer},
};

/// Annotation of a layer's descriptor that holds the digest of its TOC.
pub const TOC_DIGEST_ANNOTATION: &str = "containerd.io/snapshot/stargz/toc.digest";

/// Annotation of a zstd:chunked layer's descriptor that holds the digest of its TOC as it is stored.
pub const MANIFEST_CHECKSUM_ANNOTATION: &str = "io.containers.zstd-chunked.manifest-checksum";

/// Annotation of a zstd:chunked layer's descriptor that says where its TOC is: offset, length, length uncompressed, kind.
pub const MANIFEST_POSITION_ANNOTATION: &str = "io.containers.zstd-chunked.manifest-position";

/// The same as [`MANIFEST_CHECKSUM_ANNOTATION`] for layers in the form of containers/storage.
pub const STORAGE_CHECKSUM_ANNOTATION: &str = "io.github.containers.zstd-chunked.manifest-checksum";

/// The same as [`MANIFEST_POSITION_ANNOTATION`] for layers in the form of containers/storage.
pub const STORAGE_POSITION_ANNOTATION: &str = "io.github.containers.zstd-chunked.manifest-position";

/// Annotation of a layer's descriptor in the form of containers/storage that says where its tar headers are: offset,
/// length, length uncompressed.
pub const STORAGE_TAR_SPLIT_ANNOTATION: &str = "io.github.containers.zstd-chunked.tarsplit-position";

/// Annotation of a layer in a TOC image: the digest of the eStargz layer whose TOC it is.
pub const LAYER_DIGEST_ANNOTATION: &str = "containerd.io/snapshot/stargz/layer.digest";

/// Annotation of a layer's descriptor that holds the bytes of its tar stream, in decimal.
pub const UNCOMPRESSED_SIZE_ANNOTATION: &str = "io.containers.estargz.uncompressed-size";
