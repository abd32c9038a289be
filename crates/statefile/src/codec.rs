//! Deflate: each chunk is a raw stream of its own (RFC 1951), without a wrapper.

use std::ops::Range;

use flate2::{Compress, Compression as Level, Decompress, FlushCompress, FlushDecompress, Status};

use crate::Error;

/// The library that compresses chunks.
///
/// Every reader of state files reads the chunks of both, but their bytes differ: choose one and keep it if outputs are
/// compared. It is for writing only; zlib-rs inflates all chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// zlib-rs: pure Rust, always available.
    #[default]
    Zlib,
    /// libdeflate: output is smaller and compression faster. Needs a C compiler to build.
    #[cfg(feature = "libdeflate")]
    Libdeflate,
}

/// A deflate encoder. A worker keeps one and resets it for each chunk, since making one costs more than a small chunk.
pub(crate) struct Deflater {
    encoder: Encoder,
    /// Compresses the bytes before a run of noise; `None` if the caller chose a level. Without a level,
    /// `flate-best-speed` asks for speed, so runs of noise are stored uncompressed.
    parts: Option<Box<Compress>>,
}

enum Encoder {
    Zlib(Box<Compress>),
    #[cfg(feature = "libdeflate")]
    Libdeflate(libdeflater::Compressor),
}

/// The most bytes that a chunk of `len` payload bytes may have (docs/formats/statefile.md, "Limits"). Readers refuse
/// more.
pub(crate) const fn bound(len: u64) -> u64 {
    len.saturating_add(len / 8).saturating_add(len / 64).saturating_add(64)
}

impl Deflater {
    pub(crate) fn new(codec: Codec, level: Option<u8>) -> Result<Self, Error> {
        let parts = level.is_none().then(|| Box::new(Compress::new(Level::new(ZLIB_LEVEL.into()), false)));
        Ok(Self { encoder: Encoder::new(codec, level)?, parts })
    }

    /// Compresses `input` into `out` from `start`, and returns the end of the output. `out` grows as needed.
    pub(crate) fn deflate(&mut self, input: &[u8], out: &mut Vec<u8>, start: usize) -> Result<usize, Error> {
        let Some(parts) = &mut self.parts else { return self.encoder.deflate(input, out, start) };
        let (mut rest, mut end) = (input, start);
        while let Some(run) = noise(rest) {
            let (before, run, after) = split(rest, run);
            if !gains_nothing(&mut self.encoder, run, out, end)? {
                break;
            }
            end = flushed(parts, before, out, end)?;
            end = store(run, after.is_empty(), out, end);
            if after.is_empty() {
                return Ok(end);
            }
            rest = after;
        }
        self.encoder.deflate(rest, out, end)
    }
}

/// The default level of zlib-rs. Level 1 is faster, but its output is larger than that of Go's level 1.
const ZLIB_LEVEL: u8 = 2;

/// The bytes before `range`, in it, and after it.
fn split(input: &[u8], range: Range<usize>) -> (&[u8], &[u8], &[u8]) {
    let (front, after) = input.split_at_checked(range.end).unwrap_or((input, &[]));
    let (before, within) = front.split_at_checked(range.start).unwrap_or((front, &[]));
    (before, within, after)
}

/// The first run of pieces in which all byte values are about equally frequent, if it is long enough to be stored
/// apart.
fn noise(input: &[u8]) -> Option<Range<usize>> {
    const PIECE: usize = 32 << 10;
    /// A shorter run costs more output, since matches do not reach across it, than it saves time.
    const LEAST: usize = 96 << 10;
    let mut run = 0_usize..0;
    // A last piece that is not full has too few samples. It is not part of a run.
    for piece in input.chunks_exact(PIECE) {
        let next = run.end.saturating_add(PIECE);
        if is_flat(piece) {
            run.end = next;
        } else if run.len() >= LEAST {
            return Some(run);
        } else {
            run = next..next;
        }
    }
    (run.len() >= LEAST).then_some(run)
}

/// Whether all byte values are about equally frequent in `piece`.
fn is_flat(piece: &[u8]) -> bool {
    const EVERY: usize = 4;
    let mut counts = [0_u32; 256];
    for &byte in piece.iter().step_by(EVERY) {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count = count.saturating_add(1);
        }
    }
    let samples = piece.len().div_ceil(EVERY);
    let mean = u32::try_from(samples / 256).unwrap_or(u32::MAX);
    let squares = counts.iter().map(|count| u64::from(count.abs_diff(mean)).saturating_pow(2));
    // For noise, the sum of squares is on average the number of samples, and hardly ever more than 1.5 times that.
    squares.fold(0_u64, u64::saturating_add) <= (samples as u64).saturating_mul(3) / 2
}

/// Whether compression makes no sample of `run` smaller. Bytes with flat frequencies can still repeat.
fn gains_nothing(encoder: &mut Encoder, run: &[u8], out: &mut Vec<u8>, start: usize) -> Result<bool, Error> {
    /// The window of deflate, so that a sample shows every repetition that deflate would find.
    const SAMPLE: usize = 32 << 10;
    const APART: usize = 512 << 10;
    for stretch in run.chunks(APART) {
        let at = stretch.len().saturating_sub(SAMPLE) / 2;
        let sample = stretch.get(at..).unwrap_or_default();
        let sample = sample.get(..SAMPLE).unwrap_or(sample);
        if encoder.deflate(sample, out, start)?.saturating_sub(start) < sample.len() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes compressed blocks that end at a byte boundary and do not end the stream. Later blocks refer to nothing in
/// them.
fn flushed(zlib: &mut Compress, input: &[u8], out: &mut Vec<u8>, start: usize) -> Result<usize, Error> {
    if input.is_empty() {
        return Ok(start);
    }
    zlib.reset();
    let room = usize::try_from(bound(input.len() as u64)).unwrap_or(usize::MAX);
    grow(out, start.saturating_add(room));
    let status = zlib.compress(input, out.get_mut(start..).unwrap_or_default(), FlushCompress::Sync);
    status.map_err(|error| Error::Misuse(format!("deflate: {error}")))?;
    if zlib.total_in() != input.len() as u64 {
        return Err(Error::Misuse("deflate: the output buffer is too small".to_owned()));
    }
    Ok(start.saturating_add(usize::try_from(zlib.total_out()).unwrap_or(usize::MAX)))
}

/// Writes stored blocks. If `is_last`, they end the stream.
fn store(input: &[u8], is_last: bool, out: &mut Vec<u8>, start: usize) -> usize {
    const BLOCK: usize = 65_535;
    let blocks = input.len().div_ceil(BLOCK);
    grow(out, start.saturating_add(input.len()).saturating_add(blocks.saturating_mul(5)));
    let mut end = start;
    for (at, block) in input.chunks(BLOCK).enumerate() {
        let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
        let ([low, high], [not_low, not_high]) = (len.to_le_bytes(), (!len).to_le_bytes());
        let is_last = is_last && at.saturating_add(1) == blocks;
        for bytes in [[u8::from(is_last), low, high, not_low, not_high].as_slice(), block] {
            let next = end.saturating_add(bytes.len());
            if let Some(place) = out.get_mut(end..next) {
                place.copy_from_slice(bytes);
            }
            end = next;
        }
    }
    end
}

impl Encoder {
    fn new(codec: Codec, level: Option<u8>) -> Result<Self, Error> {
        let refused =
            |level: u8, most: u8| Error::Misuse(format!("unsupported compression level {level}: expected 1 to {most}"));
        match codec {
            Codec::Zlib => {
                let level = level.unwrap_or(ZLIB_LEVEL);
                if !(1..=9).contains(&level) {
                    return Err(refused(level, 9));
                }
                Ok(Self::Zlib(Box::new(Compress::new(Level::new(level.into()), false))))
            }
            #[cfg(feature = "libdeflate")]
            Codec::Libdeflate => {
                let level = level.unwrap_or(1);
                let checked = libdeflater::CompressionLvl::new(level.into()).ok().filter(|_| level > 0);
                Ok(Self::Libdeflate(libdeflater::Compressor::new(checked.ok_or_else(|| refused(level, 12))?)))
            }
        }
    }

    fn deflate(&mut self, input: &[u8], out: &mut Vec<u8>, start: usize) -> Result<usize, Error> {
        let failed = |error: String| Error::Misuse(format!("deflate: {error}"));
        match self {
            Self::Zlib(zlib) => {
                zlib.reset();
                let room = usize::try_from(bound(input.len() as u64)).unwrap_or(usize::MAX);
                grow(out, start.saturating_add(room));
                let room = out.get_mut(start..).unwrap_or_default();
                let status = zlib.compress(input, room, FlushCompress::Finish);
                match status.map_err(|error| failed(error.to_string()))? {
                    Status::StreamEnd => {
                        Ok(start.saturating_add(usize::try_from(zlib.total_out()).unwrap_or(usize::MAX)))
                    }
                    // Deflate stores bytes that do not compress, which needs less room than the bound.
                    _ => Err(failed("the output buffer is too small".to_owned())),
                }
            }
            #[cfg(feature = "libdeflate")]
            Self::Libdeflate(libdeflate) => {
                grow(out, start.saturating_add(libdeflate.deflate_compress_bound(input.len())));
                let written = libdeflate.deflate_compress(input, out.get_mut(start..).unwrap_or_default());
                Ok(start.saturating_add(written.map_err(|error| failed(error.to_string()))?))
            }
        }
    }
}

/// Makes `bytes` at least `len` long. It never shrinks the buffer, so a buffer that is used again is not cleared again.
pub(crate) fn grow(bytes: &mut Vec<u8>, len: usize) {
    if bytes.len() < len {
        bytes.resize(len, 0);
    }
}

/// Why a chunk does not inflate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Corrupt {
    /// The bytes are not a deflate stream.
    Invalid,
    /// The bytes end before the stream does.
    Unfinished,
    /// The stream has more output than the chunk size.
    TooLong,
    /// This many bytes follow the stream.
    Trailing(usize),
}

/// A deflate decoder.
pub(crate) struct Inflater {
    zlib: Decompress,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self { zlib: Decompress::new(false) }
    }

    /// Inflates one whole stream and returns the number of bytes. With `lenient`, bytes after the stream are ignored.
    pub(crate) fn inflate(&mut self, input: &[u8], out: &mut [u8], lenient: bool) -> Result<usize, Corrupt> {
        self.zlib.reset(false);
        let mut probe = [0];
        let mut status = self.step(0, input, out)?;
        let written = self.zlib.total_out();
        if status != Status::StreamEnd && written == out.len() as u64 {
            // `out` is full. Only an end without further output may follow.
            let read = usize::try_from(self.zlib.total_in()).unwrap_or(usize::MAX);
            status = self.step(read, input, &mut probe)?;
            if self.zlib.total_out() > written {
                return Err(Corrupt::TooLong);
            }
        }
        if status != Status::StreamEnd {
            return Err(Corrupt::Unfinished);
        }
        match input.len().saturating_sub(usize::try_from(self.zlib.total_in()).unwrap_or(usize::MAX)) {
            0 => Ok(usize::try_from(written).unwrap_or(usize::MAX)),
            _ if lenient => Ok(usize::try_from(written).unwrap_or(usize::MAX)),
            rest => Err(Corrupt::Trailing(rest)),
        }
    }

    fn step(&mut self, read: usize, input: &[u8], out: &mut [u8]) -> Result<Status, Corrupt> {
        let rest = input.get(read..).unwrap_or_default();
        self.zlib.decompress(rest, out, FlushDecompress::Finish).map_err(|_| Corrupt::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn noise_is_stored_and_repeated_noise_is_not() {
        let noise = noise(1 << 20);
        let codecs = [
            Codec::Zlib,
            #[cfg(feature = "libdeflate")]
            Codec::Libdeflate,
        ];
        let repeated: Vec<u8> = noise.iter().take(4096).cycle().take(1 << 20).copied().collect();
        for codec in codecs {
            let zeros = vec![0; 200_000];
            let mixed = |parts: &[&[u8]]| parts.concat().into_iter().take(1 << 20).collect::<Vec<u8>>();
            let third = &noise[..300_000];
            let ends_well = mixed(&[third, &zeros, third, &zeros]);
            let ends_badly = mixed(&[&zeros, third, &zeros, third]);
            for (input, most, least) in [
                (&noise, (1 << 20) + 85, 1 << 20),
                (&repeated, 100_000, 0),
                (&ends_well, 610_000, 590_000),
                (&ends_badly, 610_000, 590_000),
            ] {
                let mut deflater = Deflater::new(codec, None).unwrap();
                let mut packed = vec![7; 3];
                let end = deflater.deflate(input, &mut packed, 4).unwrap();
                assert!((least..=most).contains(&(end - 4)), "{codec:?}: {}", end - 4);
                let mut out = vec![0; 1 << 20];
                let len = Inflater::new().inflate(&packed[4..end], &mut out, false).unwrap();
                assert!(out[..len] == input[..], "{codec:?}, {} bytes", input.len());
            }
        }
    }

    #[test]
    fn each_fault_of_a_stream_has_its_error() {
        let check = |input: &[u8], room: usize, wanted: Result<usize, Corrupt>| {
            assert_eq!(Inflater::new().inflate(input, &mut vec![0; room], false), wanted, "{input:?}");
        };
        let stored = [1, 2, 0, 0xfd, 0xff, b'h', b'i'];
        check(&stored, 2, Ok(2));
        check(&stored, 9, Ok(2));
        check(&stored, 1, Err(Corrupt::TooLong));
        check(&stored, 0, Err(Corrupt::TooLong));
        check(&stored[..6], 2, Err(Corrupt::Unfinished));
        check(&[], 2, Err(Corrupt::Unfinished));
        check(&[1, 2, 0, 0xfd, 0xff, b'h', b'i', 0], 2, Err(Corrupt::Trailing(1)));
        check(&[1, 2, 0, 0xfd, 0xfe, b'h', b'i'], 2, Err(Corrupt::Invalid));
        // The output is full before the last block, which is empty.
        check(&[0, 2, 0, 0xfd, 0xff, b'h', b'i', 1, 0, 0, 0xff, 0xff], 2, Ok(2));
    }
}
