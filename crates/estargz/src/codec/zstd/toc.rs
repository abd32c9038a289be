//! The TOC document as one zstd frame.

use std::io::{self, BufReader, Read, Write};

use dunnage_digest::{Algorithm, Digest, Hasher, Offset};

use super::{WINDOW_LOG_MAX, ZstdLevel};
use crate::{
    Error,
    codec::{CorruptStream, End},
    footer::Footer,
};

/// A compressed TOC.
pub(crate) struct CompressedToc {
    pub(crate) bytes: Vec<u8>,
    pub(crate) plain_len: u64,
    /// Digest of the document.
    pub(crate) document: Digest,
    /// Digest of the compressed bytes.
    pub(crate) stored: Digest,
}

/// Compresses the document of `end` to one frame.
pub(crate) fn compress_json(level: ZstdLevel, end: &End<'_>) -> Result<CompressedToc, Error> {
    let failed = |source: io::Error| Error::Misuse(format!("zstd: {source}"));
    let plain_len = end.toc.json_len();
    let mut encoder = zstd::Encoder::new(Vec::new(), level.get()).map_err(failed)?;
    encoder.include_checksum(true).map_err(failed)?;
    encoder.set_pledged_src_size(Some(plain_len)).map_err(failed)?;
    // The bytes are the same for any number of workers, but others than without any.
    encoder.multithread(u32::try_from(end.threads.clamp(1, 64)).unwrap_or(1)).map_err(failed)?;
    let mut hasher = Hasher::sha256();
    end.toc.write_json(&mut |piece| {
        hasher.update(piece);
        encoder.write_all(piece).map_err(failed)
    })?;
    let bytes = encoder.finish().map_err(failed)?;
    let stored = Digest::of(Algorithm::Sha256, &bytes);
    Ok(CompressedToc { bytes, plain_len, document: hasher.finish(), stored })
}

/// Reads the document out of a frame, and fails at its end if anything else is there, or if it was not as long as the
/// footer says.
pub(crate) struct TocFrame<'a> {
    frame: Option<zstd::Decoder<'static, BufReader<Box<dyn Read + Send + 'a>>>>,
    at: Offset,
    len: u64,
    read: u64,
    wanted: Option<u64>,
}

impl<'a> TocFrame<'a> {
    pub(crate) fn open(toc: Box<dyn Read + Send + 'a>, footer: &Footer) -> Result<Self, Error> {
        Self::over(toc, "the TOC", footer.toc_at(), footer.toc_len(), footer.toc_plain_len())
    }

    /// Any document that is one frame of `len` bytes at `at`, and `wanted` bytes long if that is known.
    pub(crate) fn over(
        toc: Box<dyn Read + Send + 'a>,
        what: &'static str,
        at: Offset,
        len: u64,
        wanted: Option<u64>,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Read { what, at, source };
        let mut frame =
            zstd::Decoder::with_buffer(BufReader::with_capacity(64 << 10, toc)).map_err(failed)?.single_frame();
        frame.window_log_max(WINDOW_LOG_MAX).map_err(failed)?;
        Ok(Self { frame: Some(frame), at, len, read: 0, wanted })
    }

    /// Nothing follows the frame.
    fn check_end(&mut self) -> io::Result<()> {
        let Some(frame) = self.frame.take() else { return Ok(()) };
        let mut rest = frame.finish();
        if rest.read(&mut [0])? > 0 {
            return Err(invalid(format!("bytes after the frame of {} bytes at offset {}", self.len, self.at)));
        }
        match self.wanted {
            Some(wanted) if wanted != self.read => {
                Err(invalid(format!("expected a document of {wanted} bytes, got {}", self.read)))
            }
            _ => Ok(()),
        }
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, CorruptStream(what))
}

impl Read for TocFrame<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(frame) = &mut self.frame else { return Ok(0) };
        let len = match frame.read(buf) {
            Ok(len) => len,
            Err(error) if error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted => {
                return Err(error);
            }
            Err(error) => return Err(invalid(error.to_string())),
        };
        self.read = self.read.saturating_add(len as u64);
        if self.wanted.is_some_and(|wanted| self.read > wanted) {
            return Err(invalid(format!("expected a document of {} bytes, got more", self.wanted.unwrap_or(0))));
        }
        if len == 0 && !buf.is_empty() {
            self.check_end()?;
        }
        Ok(len)
    }
}
