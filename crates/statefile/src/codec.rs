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
pub(crate) enum Deflater {
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

    /// Compresses `input` into `out`, from `start`; the end of what was written. `out` grows as needed.
    pub(crate) fn deflate(&mut self, input: &[u8], out: &mut Vec<u8>, start: usize) -> Result<usize, Error> {
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
