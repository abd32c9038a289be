//! gzip: each stream is one member.
//!
//! Members are written with an empty header (no time, no name, OS unknown) by one of two codecs; which one is the
//! caller's choice, because the bytes depend on it.

use std::{
    fmt,
    io::{BufReader, Read, Write},
};

use super::{
    Compressor, CorruptStream, Decoder, Decompressor, Encoder, End, GrowingStream, Level, TocWritten,
    deflate::{DeflateGauge, Deflater, Inflater, gzip_header},
    toc_member::{TocJson, write_toc_member},
};
use crate::{
    Error,
    footer::{FOOTER_LEN, Footer, LEGACY_FOOTER_LEN, footer_bytes, parse_footer, parse_legacy_footer},
    input::Decoded,
};

/// Which implementation of deflate compresses. Bytes differ between them; any gzip reader reads both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// zlib-rs: pure Rust, always there.
    #[default]
    Zlib,
    /// libdeflate: whole chunks at once, smaller and faster.
    #[cfg(feature = "libdeflate")]
    Libdeflate,
}

/// Compresses to gzip members.
#[derive(Clone, Copy, Debug, Default)]
pub struct GzipCompressor {
    codec: Codec,
    level: Level,
}

impl GzipCompressor {
    /// A compressor with this codec at this level.
    #[must_use]
    pub const fn new(codec: Codec, level: Level) -> Self {
        Self { codec, level }
    }

    /// Writes the TOC as one member, the last of the blob or one that is stored elsewhere.
    pub(super) fn write_toc(
        &self,
        end: &End<'_>,
        diff: &mut dyn FnMut(&[u8]),
        out: &mut dyn Write,
    ) -> Result<TocWritten, Error> {
        write_toc_member(self.level, end, diff, out)
    }
}

impl Compressor for GzipCompressor {
    fn encoder(&self) -> Result<Box<dyn Encoder>, Error> {
        Ok(match self.codec {
            Codec::Zlib => Box::new(ZlibEncoder { level: self.level, deflater: Deflater::new(self.level) }),
            #[cfg(feature = "libdeflate")]
            Codec::Libdeflate => Box::new(libdeflate::LibdeflateEncoder::new(self.level)?),
        })
    }

    fn write_toc_and_footer(
        &self,
        end: &End<'_>,
        diff: &mut dyn FnMut(&[u8]),
        out: &mut dyn Write,
    ) -> Result<TocWritten, Error> {
        let written = self.write_toc(end, diff, out)?;
        out.write_all(&footer_bytes(end.payload_len.into())).map_err(|source| Error::Write { source })?;
        Ok(written)
    }

    fn gauge(&self) -> Result<Option<Box<dyn GrowingStream>>, Error> {
        Ok(Some(Box::new(DeflateGauge::new(self.level))))
    }
}

struct ZlibEncoder {
    level: Level,
    deflater: Deflater,
}

impl Encoder for ZlibEncoder {
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        out.extend_from_slice(&gzip_header(self.level));
        self.deflater.deflate(input, out)?;
        out.extend_from_slice(&crc32fast::hash(input).to_le_bytes());
        // The format's length field is the length modulo 2^32.
        let len = (input.len() as u64 & 0xffff_ffff).to_le_bytes();
        out.extend_from_slice(len.first_chunk::<4>().unwrap_or(&[0; 4]));
        Ok(())
    }
}

/// Reads the gzip members of a blob that ends with the 51-byte footer.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct GzipDecompressor;

/// Reads the gzip members of a blob that ends with the 47-byte footer of stargz.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LegacyGzipDecompressor;

impl GzipDecompressor {
    /// The decompressor; it has no settings.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl LegacyGzipDecompressor {
    /// The decompressor; it has no settings.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

/// Gzip members are the same with every footer.
macro_rules! decompresses_gzip {
    ($decompressor:ty, $footer_len:expr, $parse_footer:path) => {
        impl Decompressor for $decompressor {
            fn footer_len(&self) -> usize {
                $footer_len
            }

            fn parse_footer(&self, bytes: &[u8], blob_len: u64) -> Result<Footer, Error> {
                $parse_footer(bytes, blob_len)
            }

            fn decoder(&self) -> Box<dyn Decoder> {
                gzip_decoder()
            }

            fn toc_json<'a>(
                &self,
                toc: Option<Box<dyn Read + Send + 'a>>,
                footer: &Footer,
            ) -> Result<Box<dyn Read + Send + 'a>, Error> {
                let toc = toc.ok_or(Error::ExternalToc)?;
                Ok(Box::new(TocJson::open(toc, footer.toc_at(), footer.toc_len())?))
            }

            fn streams<'a>(&self, payload: Box<dyn Read + Send + 'a>) -> Box<dyn Read + Send + 'a> {
                gzip_streams(payload)
            }
        }
    };
}

decompresses_gzip!(GzipDecompressor, FOOTER_LEN, parse_footer);
decompresses_gzip!(LegacyGzipDecompressor, LEGACY_FOOTER_LEN, parse_legacy_footer);

pub(crate) fn gzip_streams<'a>(payload: Box<dyn Read + Send + 'a>) -> Box<dyn Read + Send + 'a> {
    Box::new(Decoded(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(256 << 10, payload))))
}

#[cfg(not(feature = "libdeflate"))]
pub(super) fn gzip_decoder() -> Box<dyn Decoder> {
    Box::new(ZlibDecoder::new())
}

#[cfg(feature = "libdeflate")]
pub(super) fn gzip_decoder() -> Box<dyn Decoder> {
    Box::new(libdeflate::LibdeflateDecoder::new())
}

struct ZlibDecoder {
    inflater: Inflater,
    out: Vec<u8>,
}

impl ZlibDecoder {
    fn new() -> Self {
        Self { inflater: Inflater::new(), out: Vec::new() }
    }
}

/// Deflate can shrink no more than to one part in so many.
const MOST: usize = 1032;

impl Decoder for ZlibDecoder {
    fn decode(&mut self, input: &[u8], want: usize) -> Result<&[u8], CorruptStream> {
        // Memory is for what can come, not for what a TOC claims.
        if want > input.len().saturating_mul(MOST) {
            return Err(CorruptStream(format!("{} bytes of gzip cannot hold {want}", input.len())));
        }
        if self.out.len() < want {
            self.out.resize(want, 0);
        }
        let out = self.out.get_mut(..want).unwrap_or_default();
        self.inflater.inflate(input, out)?;
        Ok(out)
    }
}

impl fmt::Debug for ZlibDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ZlibDecoder")
    }
}

#[cfg(feature = "libdeflate")]
mod libdeflate {
    //! Whole members at once through libdeflate.

    use libdeflater::{CompressionLvl, Compressor, Decompressor};

    use super::{CorruptStream, Decoder, Encoder, Error, Level, ZlibDecoder};

    pub(super) struct LibdeflateEncoder(Compressor);

    impl LibdeflateEncoder {
        pub(super) fn new(level: Level) -> Result<Self, Error> {
            let refused = |_| Error::Misuse(format!("libdeflate has no level {}", level.get()));
            let level = CompressionLvl::new(i32::from(level.get())).map_err(refused)?;
            Ok(Self(Compressor::new(level)))
        }
    }

    impl Encoder for LibdeflateEncoder {
        fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
            let start = out.len();
            let room = self.0.gzip_compress_bound(input.len());
            out.resize(start.saturating_add(room), 0);
            let written = self.0.gzip_compress(input, out.get_mut(start..).unwrap_or_default());
            // The bound is the library's own promise, so this cannot fail for want of room.
            let written = written.map_err(|error| Error::Misuse(format!("libdeflate: {error}")))?;
            out.truncate(start.saturating_add(written));
            Ok(())
        }
    }

    /// Decodes whole members, falling back to zlib-rs where the size of a member is not known or is too large.
    pub(super) struct LibdeflateDecoder {
        whole: Decompressor,
        front: ZlibDecoder,
        out: Vec<u8>,
    }

    impl LibdeflateDecoder {
        pub(super) fn new() -> Self {
            Self { whole: Decompressor::new(), front: ZlibDecoder::new(), out: Vec::new() }
        }
    }

    /// The bytes that a member may hold after the wanted ones (padding and the headers that follow) before decoding the
    /// front alone is cheaper.
    const SURPLUS: usize = 1 << 20;

    impl Decoder for LibdeflateDecoder {
        fn decode(&mut self, input: &[u8], want: usize) -> Result<&[u8], CorruptStream> {
            // If the input ends where the member ends, its last four bytes are the member's length. It is a hint: what
            // comes out is checked against the digest, whichever way it was decoded.
            let hint = input.last_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            let hint = usize::try_from(hint).unwrap_or(0);
            if hint >= want && hint.saturating_sub(want) <= SURPLUS {
                if self.out.len() < hint {
                    self.out.resize(hint, 0);
                }
                let out = self.out.get_mut(..hint).unwrap_or_default();
                if let Ok(len) = self.whole.gzip_decompress(input, out)
                    && len >= want
                {
                    return Ok(self.out.get(..len).unwrap_or_default());
                }
            }
            self.front.decode(input, want)
        }
    }
}
