//! The seams between the format and its compression: third-party algorithms plug in here.
//!
//! A stream is one independently decodable unit (a gzip member, a zstd frame). Writing compresses whole streams, each as a
//! job of its own, so encoders never see half a stream; reading decodes the front of one stream into memory.

mod deflate;
mod external;
mod gzip;
mod level;
mod toc_member;
mod zstd;

use std::{
    collections::BTreeMap,
    fmt,
    io::{Read, Write},
};

use dunnage_digest::Digest;

pub(crate) use self::zstd::TocFrame;
pub use self::{
    external::{ExternalTocCompressor, ExternalTocDecompressor},
    gzip::{Codec, GzipCompressor, GzipDecompressor, LegacyGzipDecompressor},
    level::Level,
    zstd::{StorageCompressor, StorageDecompressor, ZstdCompressor, ZstdDecompressor, ZstdLevel},
};
use crate::{
    Error,
    annotations::TOC_DIGEST_ANNOTATION,
    footer::{Footer, Format},
};

/// Compresses streams and writes the TOC and footer after them.
pub trait Compressor: fmt::Debug + Send + Sync {
    /// An encoder for one worker, to be reused for any number of streams.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] for settings the codec cannot use.
    fn encoder(&self) -> Result<Box<dyn Encoder>, Error>;

    /// Writes TOC and footer after `end.payload_len` bytes of streams.
    ///
    /// Bytes that an unaware runtime would see as part of the tar stream go to `diff` as well, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if `out` fails, and those of `end.toc`.
    fn write_toc_and_footer(
        &self,
        end: &End<'_>,
        diff: &mut dyn FnMut(&[u8]),
        out: &mut dyn Write,
    ) -> Result<TocWritten, Error>;

    /// A gauge for streams that are cut by their compressed size; none if such streams cannot be written.
    ///
    /// # Errors
    ///
    /// Those of the codec.
    fn gauge(&self) -> Result<Option<Box<dyn GrowingStream>>, Error> {
        Ok(None)
    }

    /// How the tar stream is cut into streams, and which parts of it are kept once more.
    fn form(&self) -> Form {
        Form::Estargz
    }

    /// The format of the blobs that it ends. A conversion of images names the layers after it.
    fn format(&self) -> Format {
        Format::Estargz
    }
}

/// How a tar stream is cut into streams, and which parts of it are kept once more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: these are the two families of layers with a TOC")]
pub enum Form {
    /// A stream begins where content does, and takes the padding and headers after it. Chunks have a fixed size. The TOC
    /// is that of eStargz.
    #[default]
    Estargz,
    /// Chunks of content have streams to themselves, and are cut by what they are. The TOC is that of containers/storage,
    /// and the tar headers are kept once more, in a zstd frame of this level.
    Storage(ZstdLevel),
}

/// The tar stream without the content of files, compressed.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "third-party writers build it in their tests")]
pub struct TarSplit {
    /// One zstd frame with JSON lines.
    pub bytes: Vec<u8>,
    /// Bytes of the lines.
    pub plain_len: u64,
    /// Digest of `bytes`, which the TOC names.
    pub digest: Digest,
}

impl fmt::Debug for TarSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("TarSplit");
        out.field("len", &self.bytes.len()).field("plain_len", &self.plain_len).field("digest", &self.digest).finish()
    }
}

/// Says how long a stream has become while it grows.
pub trait GrowingStream: Send {
    /// Begins a stream.
    ///
    /// # Errors
    ///
    /// Those of the codec.
    fn start(&mut self) -> Result<(), Error>;

    /// Adds bytes to the stream, and says how many compressed bytes it has by now, with nothing held back.
    ///
    /// # Errors
    ///
    /// Those of the codec.
    fn add(&mut self, input: &[u8]) -> Result<u64, Error>;
}

/// Compresses whole streams.
pub trait Encoder: Send {
    /// Appends `input` to `out` as one stream. The bytes depend on `input` and the settings alone.
    ///
    /// # Errors
    ///
    /// Those of the codec.
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error>;
}

/// What a [`Compressor`] needs to end a blob.
#[derive(Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "third-party writers build it in their tests")]
pub struct End<'a> {
    /// Bytes of compressed streams before.
    pub payload_len: u64,
    /// The TOC.
    pub toc: &'a dyn TocSource,
    /// Threads that may be used; the bytes do not depend on it.
    pub threads: usize,
    /// The tar headers, where the form of the layer keeps them apart. The TOC has their digest already.
    pub tar_split: Option<&'a TarSplit>,
}

impl fmt::Debug for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("End");
        out.field("payload_len", &self.payload_len).field("threads", &self.threads).field("tar_split", &self.tar_split);
        out.finish_non_exhaustive()
    }
}

/// A TOC document that need not be in memory as text.
pub trait TocSource {
    /// Bytes of the document.
    fn json_len(&self) -> u64;

    /// Hands the document to `sink` piece by piece.
    ///
    /// # Errors
    ///
    /// Those of `sink`.
    fn write_json(&self, sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error>;
}

/// What [`Compressor::write_toc_and_footer`] wrote.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "third-party compressors build it")]
pub struct TocWritten {
    /// Digest by which the TOC is known: in nearly all formats that of the document, uncompressed.
    pub toc_digest: Digest,
    /// Bytes that went to `diff`.
    pub diff_len: u64,
    /// What the layer's descriptor has to say about the TOC, by the names of annotations.
    pub annotations: BTreeMap<&'static str, String>,
    /// The compressed TOC, if it is to be stored elsewhere.
    pub external_toc: Option<Vec<u8>>,
}

impl TocWritten {
    /// A TOC in the blob, known by this digest, of which `diff_len` bytes went to the tar stream.
    #[must_use]
    pub fn new(toc_digest: Digest, diff_len: u64) -> Self {
        let annotations = BTreeMap::from([(TOC_DIGEST_ANNOTATION, toc_digest.to_string())]);
        Self { toc_digest, diff_len, annotations, external_toc: None }
    }
}

/// Finds the TOC and decompresses streams.
pub trait Decompressor: fmt::Debug + Send + Sync {
    /// Bytes of the footer it knows.
    fn footer_len(&self) -> usize;

    /// Reads the last [`footer_len`](Self::footer_len) bytes of a blob of `blob_len` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if it is another footer or points outside the blob.
    fn parse_footer(&self, bytes: &[u8], blob_len: u64) -> Result<Footer, Error>;

    /// A decoder for one worker, to be reused for any number of streams.
    fn decoder(&self) -> Box<dyn Decoder>;

    /// Turns the compressed TOC into its document. The reader fails unless the document is followed by nothing but what
    /// the format puts there. `toc` is `None` if the footer says that the TOC is stored elsewhere.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if the bytes are no TOC, [`Error::ExternalToc`] if it is elsewhere and cannot be had.
    fn toc_json<'a>(
        &self,
        toc: Option<Box<dyn Read + Send + 'a>>,
        footer: &Footer,
    ) -> Result<Box<dyn Read + Send + 'a>, Error>;

    /// Of what the TOC's digest is taken.
    fn toc_digest_covers(&self) -> TocDigestOf {
        TocDigestOf::Document
    }

    /// Decompresses all streams of `payload`, one after the other.
    fn streams<'a>(&self, payload: Box<dyn Read + Send + 'a>) -> Box<dyn Read + Send + 'a>;
}

/// Of what the digest of a TOC is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: before or after compression")]
pub enum TocDigestOf {
    /// Of the document.
    Document,
    /// Of its bytes as they are stored.
    Stored,
}

/// Decodes the front of single streams.
pub trait Decoder: Send {
    /// Decodes at least the first `want` bytes of the stream that `input` starts with. `input` may go on behind the end
    /// of the stream.
    ///
    /// # Errors
    ///
    /// [`CorruptStream`] if it is no stream, or a shorter one.
    fn decode(&mut self, input: &[u8], want: usize) -> Result<&[u8], CorruptStream>;
}

/// A stream that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
#[expect(clippy::exhaustive_structs, reason = "third-party decoders build it")]
pub struct CorruptStream(pub String);
