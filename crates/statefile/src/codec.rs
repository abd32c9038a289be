//! Deflate: single chunks, each a raw stream of its own (RFC 1951) without a wrapper.

use flate2::{Compress, Compression as Level, Decompress, FlushCompress, FlushDecompress, Status};

use crate::Error;

/// What compresses. Any reader reads the chunks of either; the bytes differ.
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

/// A deflate encoder that is reset instead of rebuilt.
pub(crate) struct Deflater {
    encoder: Encoder,
    /// Whether noise is stored without being tried: where nobody asked for a level, the name of the compression asks for speed.
    stores_noise: bool,
}

enum Encoder {
    Zlib(Box<Compress>),
    #[cfg(feature = "libdeflate")]
    Libdeflate(libdeflater::Compressor),
}

/// Bytes of a chunk, at most, that inflates to `len` bytes, framing included. More is refused when reading.
pub(crate) const fn bound(len: u64) -> u64 {
    len.saturating_add(len / 8).saturating_add(len / 64).saturating_add(64)
}

impl Deflater {
    pub(crate) fn new(codec: Codec, level: Option<u8>) -> Result<Self, Error> {
        Ok(Self { encoder: Encoder::new(codec, level)?, stores_noise: level.is_none() })
    }

    /// Compresses `input` into `out`, from `start`; the end of what was written. `out` grows as needed.
    pub(crate) fn deflate(&mut self, input: &[u8], out: &mut Vec<u8>, start: usize) -> Result<usize, Error> {
        if self.stores_noise && is_flat(input) && self.gains_nothing(input, out, start)? {
            return Ok(store(input, out, start));
        }
        self.encoder.deflate(input, out, start)
    }

    /// Whether samples of bytes that look like noise are, with no repetitions either.
    fn gains_nothing(&mut self, input: &[u8], out: &mut Vec<u8>, start: usize) -> Result<bool, Error> {
        /// More than the window of deflate.
        const SAMPLE: usize = 48 << 10;
        let last = input.len().saturating_sub(SAMPLE);
        for at in [last / 3, last] {
            let sample = input.get(at..at.saturating_add(SAMPLE)).unwrap_or_default();
            let end = self.encoder.deflate(sample, out, start)?;
            if end.saturating_sub(start) < sample.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether every byte value is about as frequent as every other, in a chunk that is worth asking about.
fn is_flat(input: &[u8]) -> bool {
    const EVERY: usize = 16;
    /// Of 65 536 samples of noise, the squares add up to 65 280 on average, and to this once in many millions of chunks.
    const MOST: u64 = 100_000;
    if input.len() < 1 << 20 {
        return false;
    }
    let mut counts = [0_u64; 256];
    for &byte in input.iter().step_by(EVERY) {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count = count.saturating_add(1);
        }
    }
    let mean = (input.len() / EVERY / 256) as u64;
    let squares = counts.iter().map(|count| count.abs_diff(mean).saturating_pow(2));
    squares.fold(0_u64, u64::saturating_add) <= MOST
}

/// Stored deflate blocks.
fn store(input: &[u8], out: &mut Vec<u8>, start: usize) -> usize {
    const BLOCK: usize = 65_535;
    out.truncate(start);
    out.resize(start, 0);
    let blocks = input.len().div_ceil(BLOCK);
    for (at, block) in input.chunks(BLOCK).enumerate() {
        let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(at.saturating_add(1) == blocks));
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.len()
}

impl Encoder {
    fn new(codec: Codec, level: Option<u8>) -> Result<Self, Error> {
        let refused = |level: u8| Error::Misuse(format!("no such level of compression: {level}"));
        match codec {
            Codec::Zlib => {
                // Level 1 of zlib-rs is faster still, but its output is larger than that of Go's level 1.
                let level = level.unwrap_or(2);
                if !(1..=9).contains(&level) {
                    return Err(refused(level));
                }
                Ok(Self::Zlib(Box::new(Compress::new(Level::new(level.into()), false))))
            }
            #[cfg(feature = "libdeflate")]
            Codec::Libdeflate => {
                let level = level.unwrap_or(1);
                let checked = libdeflater::CompressionLvl::new(level.into()).ok().filter(|_| level > 0);
                Ok(Self::Libdeflate(libdeflater::Compressor::new(checked.ok_or_else(|| refused(level))?)))
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
                    // Deflate falls back to storing, which grows by less than the bound.
                    _ => Err(failed("no room".to_owned())),
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

/// Makes `bytes` at least `len` long; never shorter, because a buffer that is used again need not be cleared again.
pub(crate) fn grow(bytes: &mut Vec<u8>, len: usize) {
    if bytes.len() < len {
        bytes.resize(len, 0);
    }
}

/// What is wrong with a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Corrupt {
    /// It is no deflate stream.
    Invalid,
    /// It ends before its last block does.
    Unfinished,
    /// There is more output than room.
    TooLong,
    /// So many bytes follow its last block.
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

    /// Inflates one whole stream; the bytes that it gave. With `lenient`, what follows the stream is left alone.
    pub(crate) fn inflate(&mut self, input: &[u8], out: &mut [u8], lenient: bool) -> Result<usize, Corrupt> {
        self.zlib.reset(false);
        let mut probe = [0];
        let mut status = self.step(0, input, out)?;
        let written = self.zlib.total_out();
        if status != Status::StreamEnd && written == out.len() as u64 {
            // Full: the stream may still have an end to tell, but nothing else.
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
            for (input, most, least) in [(&noise, (1 << 20) + 85, 1 << 20), (&repeated, 100_000, 0)] {
                let mut deflater = Deflater::new(codec, None).unwrap();
                let mut packed = vec![7; 3];
                let end = deflater.deflate(input, &mut packed, 4).unwrap();
                assert!((least..=most).contains(&(end - 4)), "{codec:?}: {}", end - 4);
                let mut out = vec![0; 1 << 20];
                let len = Inflater::new().inflate(&packed[4..end], &mut out, false).unwrap();
                assert!(out[..len] == input[..], "{codec:?}");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_stream_is_told() {
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
        // Full before the last block, which is empty.
        check(&[0, 2, 0, 0xfd, 0xff, b'h', b'i', 1, 0, 0, 0xff, 0xff], 2, Ok(2));
    }
}
