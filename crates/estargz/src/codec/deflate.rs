//! Raw deflate with encoders that are reset instead of rebuilt, and the gzip header around it.
//!
//! Building an encoder for each of a layer's small files would cost more than compressing them.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{CorruptStream, GrowingStream, Level};
use crate::Error;

/// Bytes that fit in front of every compressed input: deflate never grows by more.
pub(super) const fn bound(input: usize) -> usize {
    // Stored blocks cost 5 bytes each 16 KiB at worst; the rest is header, trailer and flush marks.
    input.saturating_add(input >> 11).saturating_add(128)
}

/// A raw deflate encoder (zlib-rs).
pub(super) struct Deflater(Compress);

impl Deflater {
    pub(super) fn new(level: Level) -> Self {
        Self(Compress::new(Compression::new(u32::from(level.up_to_9())), false))
    }

    /// Appends `input` to `out` as a complete deflate stream.
    pub(super) fn deflate(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.reset();
        self.run(input, out, FlushCompress::Finish)
    }

    /// Appends `input` to `out` as a part of a longer stream whose preceding bytes end in `dictionary`.
    pub(super) fn deflate_part(
        &mut self,
        dictionary: &[u8],
        input: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        self.0.reset();
        if !dictionary.is_empty() {
            let refused = |error| Error::Misuse(format!("deflate dictionary: {error}"));
            self.0.set_dictionary(dictionary).map_err(refused)?;
        }
        self.run(input, out, if last { FlushCompress::Finish } else { FlushCompress::Sync })
    }

    fn run(&mut self, input: &[u8], out: &mut Vec<u8>, flush: FlushCompress) -> Result<(), Error> {
        let failed = |error| Error::Misuse(format!("deflate: {error}"));
        out.reserve(bound(input.len()));
        let before = self.0.total_in();
        loop {
            let read = usize::try_from(self.0.total_in().saturating_sub(before)).unwrap_or(usize::MAX);
            let status = self.0.compress_vec(input.get(read..).unwrap_or_default(), out, flush).map_err(failed)?;
            let done = match flush {
                FlushCompress::Finish => status == Status::StreamEnd,
                // A sync flush is complete once it leaves room in the output.
                _ => out.len() < out.capacity() && self.0.total_in().saturating_sub(before) == input.len() as u64,
            };
            if done {
                return Ok(());
            }
            out.reserve(4096);
        }
    }
}

/// Compresses with zlib-rs, flushing at each step, and counts the result: header, blocks and flush markers.
pub(super) struct DeflateGauge {
    deflater: Deflater,
    scratch: Vec<u8>,
    total: u64,
}

impl DeflateGauge {
    pub(super) fn new(level: Level) -> Self {
        Self { deflater: Deflater::new(level), scratch: Vec::new(), total: 0 }
    }
}

impl GrowingStream for DeflateGauge {
    fn start(&mut self) -> Result<(), Error> {
        self.deflater.0.reset();
        self.total = gzip_header(Level::DEFAULT).len() as u64;
        Ok(())
    }

    fn add(&mut self, input: &[u8]) -> Result<u64, Error> {
        self.scratch.clear();
        self.deflater.run(input, &mut self.scratch, FlushCompress::Sync)?;
        self.total = self.total.saturating_add(self.scratch.len() as u64);
        Ok(self.total)
    }
}

/// A raw deflate decoder (zlib-rs) that stops after the bytes it was asked for.
pub(super) struct Inflater(Decompress);

impl Inflater {
    pub(super) fn new() -> Self {
        Self(Decompress::new(false))
    }

    /// Fills `out` with the first bytes of the gzip member that `input` starts with.
    ///
    /// Ignores the member's checksum: readers of chunks compare digests.
    pub(super) fn inflate(&mut self, input: &[u8], out: &mut [u8]) -> Result<(), CorruptStream> {
        let mut rest = skip_gzip_header(input)?;
        let mut out = out;
        self.0.reset(false);
        while !out.is_empty() {
            let (read, written) = (self.0.total_in(), self.0.total_out());
            let status = self.0.decompress(rest, out, FlushDecompress::None);
            let status = status.map_err(|error| CorruptStream(format!("inflate: {error}")))?;
            let read = usize::try_from(self.0.total_in().saturating_sub(read)).unwrap_or(usize::MAX);
            let written = usize::try_from(self.0.total_out().saturating_sub(written)).unwrap_or(usize::MAX);
            rest = rest.get(read..).unwrap_or_default();
            out = out.get_mut(written..).unwrap_or_default();
            if !out.is_empty() && (status == Status::StreamEnd || (read == 0 && written == 0)) {
                return Err(CorruptStream(format!("the stream ends {} bytes too early", out.len())));
            }
        }
        Ok(())
    }
}

/// The header of a gzip member with neither name nor time, as all members of a layer have it.
pub(super) const fn gzip_header(level: Level) -> [u8; 10] {
    let extra_flags = match level.get() {
        1 => 4,
        9.. => 2,
        _ => 0,
    };
    [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, extra_flags, 0xff]
}

/// What follows the header of a gzip member.
fn skip_gzip_header(input: &[u8]) -> Result<&[u8], CorruptStream> {
    const CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    let bad = |what: &str| CorruptStream(format!("gzip header: {what}"));
    let (head, mut rest) = input.split_at_checked(10).ok_or_else(|| bad("cut short"))?;
    let [0x1f, 0x8b, 8, flags, ..] = *head else { return Err(bad("no gzip magic")) };
    if flags & 0xe0 != 0 {
        return Err(bad("reserved flags"));
    }
    if flags & EXTRA != 0 {
        let (len, after) = rest.split_first_chunk::<2>().ok_or_else(|| bad("cut short"))?;
        rest = after.get(usize::from(u16::from_le_bytes(*len))..).ok_or_else(|| bad("cut short"))?;
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            let end = memchr::memchr(0, rest).ok_or_else(|| bad("cut short"))?;
            rest = rest.get(end.saturating_add(1)..).unwrap_or_default();
        }
    }
    if flags & CRC != 0 {
        rest = rest.get(2..).ok_or_else(|| bad("cut short"))?;
    }
    Ok(rest)
}
