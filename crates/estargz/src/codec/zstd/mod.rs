//! zstd: each stream is one frame, with its size and a checksum, and the TOC is in a skippable frame.
//!
//! | part             | bytes                                                        |
//! |------------------|--------------------------------------------------------------|
//! | frames           | the tar stream                                               |
//! | skippable frame  | header of 8, then one frame with the TOC document            |
//! | skippable frame  | header of 8, then the footer                                 |
//!
//! Specification: eStargz, section 2.2.

mod frame;
mod storage;
mod toc;

use std::io::{Read, Write};

use zstd::zstd_safe::{
    self, CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, get_error_name, zstd_sys::ZSTD_EndDirective,
};

pub use self::storage::{StorageCompressor, StorageDecompressor};
pub(crate) use self::toc::TocFrame;
use self::{
    frame::{FrameDecoder, Frames},
    toc::compress_json,
};
use super::{Compressor, Decoder, Decompressor, Encoder, End, GrowingStream, TocWritten};
use crate::{
    Error,
    annotations::{MANIFEST_CHECKSUM_ANNOTATION, MANIFEST_POSITION_ANNOTATION},
    footer::{
        Footer, Format, Part, SKIPPABLE_HEADER, ZSTD_FOOTER_LEN, parse_zstd_footer, skippable_header, zstd_footer_bytes,
    },
    input::Decoded,
};

/// The largest window that is decompressed by a decoder which needs a buffer of that size: 32 MiB, as much as the writers
/// of layers use at their highest levels. Frames that are decompressed as a whole need none.
const WINDOW_LOG_MAX: u32 = 25;

/// How hard zstd compresses: 1 to 22.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZstdLevel(i32);

impl ZstdLevel {
    /// 1: what the reference calls fastest.
    pub const FASTEST: Self = Self(1);
    /// 3: what the reference calls default.
    pub const DEFAULT: Self = Self(3);
    /// 6: what the reference calls better.
    pub const BETTER: Self = Self(6);
    /// 10: what the reference calls best.
    pub const BEST: Self = Self(10);

    /// A level from 1 to 22. The reference has four, and takes 1 and 2, 3 to 5, 6 to 9, and all others as one each.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] for any other number.
    pub fn new(level: i32) -> Result<Self, Error> {
        if !(1..=22).contains(&level) {
            return Err(Error::Misuse(format!("zstd level {level}: expected 1 to 22")));
        }
        Ok(Self(level))
    }

    /// The level as a number.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }
}

impl Default for ZstdLevel {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Compresses to zstd frames, with the TOC and footer of the reference's `zstdchunked`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ZstdCompressor {
    level: ZstdLevel,
}

impl ZstdCompressor {
    /// A compressor at this level.
    #[must_use]
    pub const fn new(level: ZstdLevel) -> Self {
        Self { level }
    }
}

impl Compressor for ZstdCompressor {
    fn format(&self) -> Format {
        Format::ZstdChunked
    }

    fn encoder(&self) -> Result<Box<dyn Encoder>, Error> {
        Ok(Box::new(FrameEncoder(context(self.level)?)))
    }

    fn write_toc_and_footer(
        &self,
        end: &End<'_>,
        _diff: &mut dyn FnMut(&[u8]),
        out: &mut dyn Write,
    ) -> Result<TocWritten, Error> {
        let toc = compress_json(self.level, end)?;
        let part = write_skippable(end.payload_len, &toc.bytes, toc.plain_len, out)?;
        out.write_all(&zstd_footer_bytes(&part)).map_err(|source| Error::Write { source })?;
        let mut written = TocWritten::new(toc.document, 0);
        written.annotations.insert(MANIFEST_CHECKSUM_ANNOTATION, toc.stored.to_string());
        written.annotations.insert(MANIFEST_POSITION_ANNOTATION, position(&part));
        Ok(written)
    }

    fn gauge(&self) -> Result<Option<Box<dyn GrowingStream>>, Error> {
        Ok(Some(Box::new(FrameGauge { context: context(self.level)?, total: 0 })))
    }
}

/// What the annotation about a TOC's position says: offset, length, length uncompressed, kind.
fn position(toc: &Part) -> String {
    format!("{}:{}:{}:1", toc.at, toc.len, toc.plain_len)
}

/// Writes `content` as a skippable frame that starts at `at`, and says where the content then is.
fn write_skippable(at: u64, content: &[u8], plain_len: u64, out: &mut dyn Write) -> Result<Part, Error> {
    let limit = u64::from(u32::MAX);
    let over = Error::Limit { what: "bytes of a skippable frame", limit, asked: content.len() as u64 };
    let header = skippable_header(u32::try_from(content.len()).map_err(|_| over)?);
    out.write_all(&header).and_then(|()| out.write_all(content)).map_err(|source| Error::Write { source })?;
    Ok(Part { at: at.saturating_add(SKIPPABLE_HEADER as u64), len: content.len() as u64, plain_len })
}

/// A context that writes the size of the content and a checksum into each frame.
fn context(level: ZstdLevel) -> Result<CCtx<'static>, Error> {
    let mut context = CCtx::try_create().ok_or_else(|| Error::Misuse("zstd: no memory for an encoder".to_owned()))?;
    for parameter in [CParameter::CompressionLevel(level.0), CParameter::ChecksumFlag(true)] {
        context.set_parameter(parameter).map_err(failed)?;
    }
    Ok(context)
}

fn failed(code: usize) -> Error {
    Error::Misuse(format!("zstd: {}", get_error_name(code)))
}

struct FrameEncoder(CCtx<'static>);

impl Encoder for FrameEncoder {
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        out.resize(start.saturating_add(zstd_safe::compress_bound(input.len())), 0);
        let written = self.0.compress2(out.get_mut(start..).unwrap_or_default(), input).map_err(failed)?;
        out.truncate(start.saturating_add(written));
        Ok(())
    }
}

/// Compresses one growing frame, and throws the result away.
struct FrameGauge {
    context: CCtx<'static>,
    total: u64,
}

impl GrowingStream for FrameGauge {
    fn start(&mut self) -> Result<(), Error> {
        self.total = 0;
        self.context.reset(ResetDirective::SessionOnly).map_err(failed).map(drop)
    }

    fn add(&mut self, input: &[u8]) -> Result<u64, Error> {
        let mut scratch = [0; 64 << 10];
        let mut input = InBuffer::around(input);
        loop {
            let mut out = OutBuffer::around(scratch.as_mut_slice());
            let left = self.context.compress_stream2(&mut out, &mut input, ZSTD_EndDirective::ZSTD_e_flush);
            let left = left.map_err(failed)?;
            self.total = self.total.saturating_add(out.pos() as u64);
            if left == 0 {
                return Ok(self.total);
            }
        }
    }
}

/// Reads the zstd frames of a blob that ends with the 40-byte footer.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ZstdDecompressor;

impl ZstdDecompressor {
    /// The decompressor; it has no settings.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Decompressor for ZstdDecompressor {
    fn footer_len(&self) -> usize {
        SKIPPABLE_HEADER.saturating_add(ZSTD_FOOTER_LEN)
    }

    fn parse_footer(&self, bytes: &[u8], blob_len: u64) -> Result<Footer, Error> {
        parse_zstd_footer(bytes, blob_len)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(FrameDecoder::new(Frames::One))
    }

    fn toc_json<'a>(
        &self,
        toc: Option<Box<dyn Read + Send + 'a>>,
        footer: &Footer,
    ) -> Result<Box<dyn Read + Send + 'a>, Error> {
        Ok(Box::new(TocFrame::open(toc.ok_or(Error::ExternalToc)?, footer)?))
    }

    fn streams<'a>(&self, payload: Box<dyn Read + Send + 'a>) -> Box<dyn Read + Send + 'a> {
        frames(payload)
    }
}

/// All frames of `payload`, one after the other.
fn frames<'a>(payload: Box<dyn Read + Send + 'a>) -> Box<dyn Read + Send + 'a> {
    let decoder = zstd::Decoder::new(payload).and_then(|mut decoder| {
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        Ok(decoder)
    });
    match decoder {
        Ok(decoder) => Box::new(Decoded(decoder)),
        Err(error) => Box::new(Broken(Some(error))),
    }
}

/// A reader that could not be made.
struct Broken(Option<std::io::Error>);

impl Read for Broken {
    fn read(&mut self, _buf: &mut [u8]) -> std::io::Result<usize> {
        Err(self.0.take().unwrap_or_else(|| std::io::ErrorKind::OutOfMemory.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_outside_the_range_are_refused_at_once() {
        for (level, wanted) in [(0, Err(())), (1, Ok(1)), (22, Ok(22)), (23, Err(())), (-1, Err(()))] {
            assert_eq!(ZstdLevel::new(level).map(ZstdLevel::get).map_err(drop), wanted, "{level}");
        }
    }

    #[test]
    fn a_gauge_counts_what_a_flushed_frame_would_have() {
        let mut gauge = ZstdCompressor::default().gauge().unwrap().unwrap();
        gauge.start().unwrap();
        let noise: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let first = gauge.add(&noise).unwrap();
        let second = gauge.add(&[0; 1000]).unwrap();
        assert!(first > 1000 && second > first && second < first + 100, "{first} {second}");
        gauge.start().unwrap();
        assert!(gauge.add(&[]).unwrap() < 20);
        assert!(gauge.add(&[0; 10]).unwrap() < 40);
    }
}
