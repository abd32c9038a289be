//! Options of a writer, and its summary of the layer.

use std::{collections::BTreeMap, sync::Arc};

use dunnage_digest::{Cancel, DiffId, Digest, Mismatch};

use super::hashing::Hashes;
use crate::{
    Error, Limits,
    codec::{Compressor, GrowingStream, GzipCompressor},
    input::Gunzip,
};

/// The largest size at which a shared stream can be told to end.
const MAX_LEAST: u64 = 64 << 20;

/// Which contents share a stream. Fewer streams make a smaller layer, of which more has to be fetched to read one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: none, or by either size")]
pub enum Streams {
    /// None: each chunk has its own.
    #[default]
    PerChunk,
    /// A stream takes content until it has this many uncompressed bytes, at most 64 MiB. Where streams end is known before
    /// they are compressed, so that is done side by side.
    AtLeast(u64),
    /// A stream takes content until it has this many compressed bytes, as the reference counts them (its
    /// `MinChunkSize`). Everything has to be compressed one after the other to know where streams end.
    CompressedAtLeast(u64),
}

impl Streams {
    /// What measures streams, if they have to be.
    pub(super) fn gauge(self, compressor: &dyn Compressor) -> Result<Option<Box<dyn GrowingStream>>, Error> {
        let (Self::AtLeast(least) | Self::CompressedAtLeast(least)) = self else { return Ok(None) };
        if least > MAX_LEAST {
            return Err(Error::Misuse(format!("stream size {least}: expected at most {MAX_LEAST} bytes")));
        }
        if matches!(self, Self::AtLeast(_)) {
            return Ok(None);
        }
        let missing =
            || Error::Misuse("this compressor cannot measure streams: use their uncompressed size".to_owned());
        compressor.gauge()?.ok_or_else(missing).map(Some)
    }
}

/// What to do with names that are not UTF-8, which a TOC cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NonUtf8 {
    /// Fail and name the entry.
    #[default]
    Refuse,
    /// Write the escape `\ufffd` for each byte, as the reference does, so that readers see U+FFFD. Different names may
    /// become equal.
    Replace,
}

/// How to write a layer.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct WriteOptions {
    /// Bytes of content in one chunk, at most 64 MiB; 0 for the default of 4 MiB.
    pub chunk_size: u64,
    /// Which contents share a stream. Default: each chunk has its own.
    pub streams: Streams,
    /// Default: gzip by zlib-rs at level 6.
    pub compressor: Arc<dyn Compressor>,
    /// Threads that compress; 0 for as many as the machine has. The bytes do not depend on it.
    pub threads: usize,
    /// What to do with names that are not UTF-8. Default: refuse.
    pub non_utf8: NonUtf8,
    /// What inflates inputs that are compressed with gzip. Default: the decoder of this crate.
    pub gunzip: Option<Gunzip>,
    /// Ceilings for the input.
    pub limits: Limits,
    /// Looked at between entries.
    pub cancel: Cancel,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            chunk_size: 0,
            streams: Streams::default(),
            compressor: Arc::new(GzipCompressor::default()),
            threads: 0,
            non_utf8: NonUtf8::default(),
            gunzip: None,
            limits: Limits::default(),
            cancel: Cancel::new(),
        }
    }
}

/// What was written, all of it computed while writing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Digest of the blob as stored.
    pub blob: Digest,
    /// Bytes of the blob.
    pub blob_len: u64,
    /// Digest of the tar stream inside.
    pub diff_id: DiffId,
    /// Digest of the TOC: that of its document, the value of the annotation `containerd.io/snapshot/stargz/toc.digest`; in
    /// the form of containers/storage that of its compressed bytes.
    pub toc_digest: Digest,
    /// Bytes of compressed streams in front of the TOC.
    pub payload_len: u64,
    /// Bytes of the tar stream inside: the value of the annotation `io.containers.estargz.uncompressed-size`.
    pub uncompressed_len: u64,
    /// TOC entries.
    pub entries: u64,
    /// What the layer's descriptor has to say, by the names of annotations.
    pub annotations: BTreeMap<&'static str, String>,
    /// The compressed TOC, if the format stores it elsewhere.
    pub external_toc: Option<Vec<u8>>,
    /// What the layer unpacks to, if nothing but whole tars were appended bit for bit.
    pub input: Option<Proof>,
}

/// That a layer unpacks to its input: the digest that was taken of the input while it was read, and found again over the
/// bytes that were compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proof {
    /// Digest of the input, uncompressed.
    pub digest: Digest,
    /// Its bytes.
    pub len: u64,
}

/// Compares what was read with what was compressed.
pub(super) fn is_proven(input: Option<(Digest, u64)>, hashes: &Hashes) -> Result<Option<Proof>, Error> {
    let Some((digest, len)) = input else { return Ok(None) };
    Mismatch::check(&digest, &hashes.tar).map_err(|source| Error::Mismatch {
        what: format!("the layer does not unpack to its input: {len} bytes were read, {} kept", hashes.tar_len),
        source,
    })?;
    Ok(Some(Proof { digest, len }))
}
