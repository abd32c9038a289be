//! The compressions of this crate, ready to be tested, and what looks for streams in their blobs.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    sync::Arc,
};

use dunnage_digest::DiffId;
use flate2::bufread::{GzDecoder, MultiGzDecoder};
use zstd::zstd_safe::find_frame_compressed_size;

use super::{Controller, sha256};
use dunnage_estargz::codec::{
    Codec, Compressor, Decompressor, ExternalTocCompressor, ExternalTocDecompressor, GzipCompressor, GzipDecompressor,
    Level, ZstdCompressor, ZstdDecompressor, ZstdLevel,
};

/// gzip, with the TOC in the blob.
#[derive(Clone, Copy, Debug)]
pub struct GzipController {
    codec: Codec,
    level: i32,
}

impl GzipController {
    /// gzip with this codec, at a level that [`Level::new`] takes.
    #[must_use]
    pub const fn new(codec: Codec, level: i32) -> Self {
        Self { codec, level }
    }

    fn gzip(self) -> GzipCompressor {
        GzipCompressor::new(self.codec, Level::new(self.level).unwrap())
    }
}

impl Controller for GzipController {
    fn name(&self) -> String {
        format!("gzip, {:?}, level {}", self.codec, self.level)
    }

    fn compressor(&self) -> Arc<dyn Compressor> {
        Arc::new(self.gzip())
    }

    fn decompressor(&self, _: Option<Vec<u8>>) -> Arc<dyn Decompressor> {
        Arc::new(GzipDecompressor::new())
    }

    fn check_streams(&self, blob: &[u8], offsets: &[u64]) {
        check_gzip_has_streams(blob, offsets);
    }

    fn tar_of(&self, blob: &[u8]) -> Vec<u8> {
        gunzip(blob)
    }
}

/// gzip, with the TOC stored elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct ExternalTocController {
    gzip: GzipController,
}

impl ExternalTocController {
    /// gzip with this codec, at a level that [`Level::new`] takes.
    #[must_use]
    pub const fn new(codec: Codec, level: i32) -> Self {
        Self { gzip: GzipController::new(codec, level) }
    }
}

impl Controller for ExternalTocController {
    fn name(&self) -> String {
        format!("external TOC, {}", self.gzip.name())
    }

    fn compressor(&self) -> Arc<dyn Compressor> {
        Arc::new(ExternalTocCompressor::new(self.gzip.gzip()))
    }

    fn decompressor(&self, external_toc: Option<Vec<u8>>) -> Arc<dyn Decompressor> {
        let toc = external_toc.expect("the compressor gives the TOC out");
        Arc::new(ExternalTocDecompressor::new(move || Ok(toc.clone())))
    }

    fn check_streams(&self, blob: &[u8], offsets: &[u64]) {
        check_gzip_has_streams(blob, offsets);
    }

    fn tar_of(&self, blob: &[u8]) -> Vec<u8> {
        gunzip(blob)
    }
}

/// zstd:chunked as the reference writes it.
#[derive(Clone, Copy, Debug)]
pub struct ZstdController {
    level: ZstdLevel,
}

impl ZstdController {
    /// zstd at this level.
    #[must_use]
    pub const fn new(level: ZstdLevel) -> Self {
        Self { level }
    }
}

impl Controller for ZstdController {
    fn name(&self) -> String {
        format!("zstd, level {}", self.level.get())
    }

    fn compressor(&self) -> Arc<dyn Compressor> {
        Arc::new(ZstdCompressor::new(self.level))
    }

    fn decompressor(&self, _: Option<Vec<u8>>) -> Arc<dyn Decompressor> {
        Arc::new(ZstdDecompressor::new())
    }

    fn check_streams(&self, blob: &[u8], offsets: &[u64]) {
        check_zstd_has_streams(blob, offsets);
    }

    fn tar_of(&self, blob: &[u8]) -> Vec<u8> {
        unzstd(blob)
    }
}

/// Looks for all gzip members of a blob.
///
/// # Panics
///
/// If something in the blob is no gzip member, or if none of them starts at one of `offsets`.
pub fn check_gzip_has_streams(blob: &[u8], offsets: &[u64]) {
    let mut starts = BTreeSet::new();
    let mut rest = blob;
    while !rest.is_empty() {
        let at = (blob.len() - rest.len()) as u64;
        let mut member = GzDecoder::new(rest);
        io::copy(&mut member, &mut io::sink()).unwrap_or_else(|error| panic!("no gzip member at {at:#x}: {error}"));
        rest = member.into_inner();
        starts.insert(at);
    }
    check_starts("gzip member", &starts, offsets);
}

/// Looks for all zstd frames of a blob, skippable ones and frames inside these among them.
///
/// # Panics
///
/// If something in the blob is no frame, or if none of them starts at one of `offsets`.
pub fn check_zstd_has_streams(blob: &[u8], offsets: &[u64]) {
    const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
    let mut starts = BTreeSet::new();
    let mut rest = blob;
    while !rest.is_empty() {
        let at = (blob.len() - rest.len()) as u64;
        let len = find_frame_compressed_size(rest).unwrap_or_else(|code| panic!("no zstd frame at {at:#x}: {code}"));
        let (frame, after) = rest.split_at(len);
        starts.insert(at);
        if frame.starts_with(&SKIPPABLE) && find_frame_compressed_size(&frame[8..]) == Ok(len - 8) {
            starts.insert(at + 8);
        }
        rest = after;
    }
    check_starts("zstd frame", &starts, offsets);
}

fn check_starts(what: &str, starts: &BTreeSet<u64>, offsets: &[u64]) {
    for offset in offsets {
        assert!(starts.contains(offset), "no {what} starts at {offset:#x}, but at {starts:x?}");
    }
}

/// The digest of all that the gzip members of a blob hold.
///
/// # Panics
///
/// If the blob is not gzip.
#[must_use]
pub fn gzip_diff_id_of(blob: &[u8]) -> DiffId {
    DiffId::new(sha256(&gunzip(blob)))
}

/// The digest of all that the zstd frames of a blob hold.
///
/// # Panics
///
/// If the blob is not zstd.
#[must_use]
pub fn zstd_diff_id_of(blob: &[u8]) -> DiffId {
    DiffId::new(sha256(&unzstd(blob)))
}

fn gunzip(blob: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    MultiGzDecoder::new(blob).read_to_end(&mut tar).unwrap_or_else(|error| panic!("the blob is not gzip: {error}"));
    tar
}

fn unzstd(blob: &[u8]) -> Vec<u8> {
    zstd::decode_all(blob).unwrap_or_else(|error| panic!("the blob is not zstd: {error}"))
}
