//! What only the payload can tell: its length, its streams, and what one ordinary stream would have taken.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    sync::atomic::{AtomicU64, Ordering},
};

use dunnage_digest::{Cancel, Cursor, Offset, ReadAt, Section, read_some};
use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};

use super::{LayoutReport, Parts, StreamKind};
use crate::{
    Error,
    codec::{Level, ZstdLevel},
    input::Decoded,
    read::Reader,
};

/// How to measure.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct MeasureOptions {
    /// How hard the one stream is compressed if it is gzip, at most 9. Default 6.
    pub gzip: Level,
    /// The same if it is zstd. Default 3.
    pub zstd: ZstdLevel,
    /// Ends it early.
    pub cancel: Cancel,
}

/// The results of [`Reader::measure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Measured {
    /// The payload, decompressed: the tar stream without the TOC.
    pub uncompressed_len: u64,
    /// Streams in the payload, those without content included; `None` for a format that this crate does not know.
    pub streams: Option<u64>,
    /// The single stream that the layer is compared with.
    pub plain: Plain,
    /// The same tar stream, compressed as that.
    pub plain_len: u64,
}

/// One ordinary stream of the layer's own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plain {
    /// gzip, compressed by zlib-rs.
    Gzip(Level),
    /// zstd.
    Zstd(ZstdLevel),
}

impl Measured {
    /// Bytes that the blob is longer than its tar stream in one ordinary stream; negative if it is shorter, as a layer
    /// made by a better compressor can be.
    #[must_use]
    pub fn overhead(&self, report: &LayoutReport) -> i128 {
        i128::from(report.blob_len).saturating_sub(i128::from(self.plain_len))
    }
}

/// Bytes that are decompressed at a time.
const BLOCK: usize = 128 << 10;

/// The largest window of a zstd frame, as a power of two: as much as reading chunks allows.
const WINDOW_LOG_MAX: u32 = 25;

impl<R: ReadAt + Sync> Reader<R> {
    /// Reads the payload from front to back, decompresses it, and compresses it again as one stream, which is thrown
    /// away: what the format adds to an ordinary `.tar.gz` or `.tar.zst` is thereby known to the byte.
    ///
    /// Memory does not depend on the layer. `progress` is told how many bytes of the payload have been read. Digests are
    /// not compared; that is what [`verify`](Self::verify) is for.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] if the source fails or the payload is damaged, with the start of the stream;
    /// [`Error::Limit`] beyond [`Limits::tar`](crate::Limits::tar)'s `unpacked`, [`Error::Cancelled`],
    /// [`Error::Misuse`] for gzip above level 9.
    pub fn measure(&self, options: &MeasureOptions, progress: &mut dyn FnMut(u64)) -> Result<Measured, Error> {
        let failed = |at: u64| move |source| Error::Read { what: "the payload", at: Offset::new(at), source };
        let payload_len = self.payload_len();
        let kind = Parts::of(self.footer(), payload_len).stream_kind;
        let read = AtomicU64::new(0);
        let inner = Cursor::new(Section::new(self.source(), Offset::ZERO, payload_len)).map_err(failed(0))?;
        let mut payload = BufReader::with_capacity(BLOCK, Counted { inner, read: &read });
        let mut one = One::new(kind, options)?;
        let (mut uncompressed_len, mut streams) = (0_u64, 0_u64);
        let mut block = vec![0; BLOCK];
        loop {
            let start = read.load(Ordering::Relaxed).saturating_sub(payload.buffer().len() as u64);
            if payload.fill_buf().map_err(failed(start))?.is_empty() {
                break;
            }
            streams = streams.saturating_add(1);
            let mut stream = self.next_stream(kind, &mut payload).map_err(failed(start))?;
            loop {
                options.cancel.check()?;
                let len = read_some(&mut stream, &mut block).map_err(failed(start))?;
                if len == 0 {
                    break;
                }
                uncompressed_len = uncompressed_len.saturating_add(len as u64);
                let limit = self.limits().tar.unpacked;
                if uncompressed_len > limit {
                    return Err(Error::Limit { what: "unpacked bytes", limit, asked: uncompressed_len });
                }
                one.take(block.get(..len).unwrap_or_default())?;
                progress(read.load(Ordering::Relaxed));
            }
            if kind == StreamKind::Other {
                // All of them came as one, and the number of them is not known.
                break;
            }
        }
        let (plain, plain_len) = one.finish()?;
        let streams = (kind != StreamKind::Other).then_some(streams);
        Ok(Measured { uncompressed_len, streams, plain, plain_len })
    }

    /// The stream that `payload` goes on with; all that follow if it is not known where they end.
    fn next_stream<'p, B: BufRead + Send>(
        &self,
        kind: StreamKind,
        payload: &'p mut B,
    ) -> io::Result<Box<dyn Read + 'p>> {
        Ok(match kind {
            StreamKind::Gzip => Box::new(Decoded(GzDecoder::new(payload))),
            StreamKind::Zstd => {
                let mut frame = zstd::Decoder::with_buffer(payload)?.single_frame();
                frame.window_log_max(WINDOW_LOG_MAX)?;
                Box::new(Decoded(frame))
            }
            StreamKind::Other => self.decompressor().streams(Box::new(payload)),
        })
    }
}

/// The one stream that everything is compressed into; only its length is kept.
enum One {
    Gzip(GzEncoder<Counter>, Level),
    Zstd(zstd::Encoder<'static, Counter>, ZstdLevel),
}

impl One {
    fn new(kind: StreamKind, options: &MeasureOptions) -> Result<Self, Error> {
        Ok(match kind {
            StreamKind::Zstd => {
                let encoder = zstd::Encoder::new(Counter::default(), options.zstd.get()).and_then(|mut encoder| {
                    encoder.include_checksum(true)?;
                    Ok(encoder)
                });
                Self::Zstd(encoder.map_err(failed)?, options.zstd)
            }
            StreamKind::Gzip | StreamKind::Other => {
                // Nothing that a level above 9 stands for can compress a stream piece by piece.
                let level = options.gzip.get();
                if level > 9 {
                    return Err(Error::Misuse(format!("one gzip stream at level {level}: expected 0 to 9")));
                }
                let encoder = GzEncoder::new(Counter::default(), Compression::new(u32::from(level)));
                Self::Gzip(encoder, options.gzip)
            }
        })
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Gzip(encoder, _) => encoder.write_all(bytes),
            Self::Zstd(encoder, _) => encoder.write_all(bytes),
        }
        .map_err(failed)
    }

    fn finish(self) -> Result<(Plain, u64), Error> {
        Ok(match self {
            Self::Gzip(encoder, level) => (Plain::Gzip(level), encoder.finish().map_err(failed)?.0),
            Self::Zstd(encoder, level) => (Plain::Zstd(level), encoder.finish().map_err(failed)?.0),
        })
    }
}

fn failed(error: io::Error) -> Error {
    Error::Misuse(format!("compressing one stream: {error}"))
}

/// A source that counts the bytes read from it.
struct Counted<'c, R> {
    inner: R,
    read: &'c AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buf)?;
        self.read.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

/// Counts the bytes written to it.
#[derive(Default)]
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(buf.len() as u64);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
