//! Keeps a stream in a temporary file without a name, so that it can be read by position and more than once.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use dunnage_digest::{Offset, Progress, ReadAt, read_full};

use crate::{Error, new_file::system_error};

/// A stream that was kept in a temporary file without a name. The file is gone when this is dropped.
///
/// Use it for pipes and for compressed inputs whose content is needed more than once. The file lies in the folder for
/// temporary files (`TMPDIR`, usually `/tmp`).
#[derive(Debug)]
pub struct Spool {
    file: File,
    len: u64,
}

impl Spool {
    /// An empty spool to write to.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the folder for temporary files.
    pub fn new() -> Result<Self, Error> {
        let file = tempfile::tempfile().map_err(|error| failed("make a temporary file in", system_error(error)))?;
        Ok(Self { file, len: 0 })
    }

    /// Reads `from` to its end, at most `limit` bytes, and reports the bytes kept so far.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] for a longer stream, [`Error::Read`] if `from` fails, [`Error::Io`] naming the folder for temporary
    /// files if the file cannot be written, [`Error::Cancelled`].
    pub fn keep<R: Read + ?Sized>(from: &mut R, limit: u64, progress: Progress<'_>) -> Result<Self, Error> {
        let mut spool = Self::new()?;
        let mut block = vec![0; BLOCK];
        loop {
            progress.check()?;
            let at = Offset::new(spool.len);
            let len = read_full(from, &mut block).map_err(|source| Error::Read { what: "the input", at, source })?;
            let bytes = block.get(..len).unwrap_or_default();
            let asked = spool.len.saturating_add(len as u64);
            if asked > limit {
                return Err(Error::Limit { what: "unpacked bytes", limit, asked });
            }
            spool.write_all(bytes).map_err(|error| failed("write a temporary file in", error))?;
            progress.at(spool.len);
            if len < block.len() {
                return Ok(spool);
            }
        }
    }

    /// Bytes kept.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was kept.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The file, positioned at its end.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }
}

impl Write for Spool {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = self.file.write(buf)?;
        self.len = self.len.saturating_add(len as u64);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl ReadAt for Spool {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(at, buf)
    }
}

fn failed(action: &'static str, source: io::Error) -> Error {
    Error::Io { action, path: std::env::temp_dir().display().to_string(), source }
}

/// Bytes that are kept at a time.
const BLOCK: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use dunnage_digest::{Cancel, ErrorKind, SourceError};

    use super::*;

    #[test]
    fn a_stream_is_kept_and_read_by_position() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let seen = AtomicU64::new(0);
        let report = |bytes| seen.store(bytes, Ordering::Relaxed);
        let spool = Spool::keep(&mut bytes.as_slice(), 3_000_000, Progress::to(&report)).unwrap();
        assert_eq!((spool.len(), seen.into_inner()), (3_000_000, 3_000_000));
        let mut back = vec![0; 1000];
        spool.read_exact_at(Offset::new(2_999_000), &mut back).unwrap();
        assert_eq!(back, bytes[2_999_000..]);
        assert!(spool.read_exact_at(Offset::new(2_999_001), &mut back).is_err());
    }

    #[test]
    fn a_long_failing_or_cancelled_stream_is_an_error_of_its_kind() {
        let error = Spool::keep(&mut io::repeat(0), 5 << 20, Progress::none()).unwrap_err();
        assert_eq!(error.to_string(), "unpacked bytes: 6291456 is over the limit of 5242880");
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(SourceError::new(ErrorKind::Timeout, "too slow").into())
            }
        }
        assert_eq!(Spool::keep(&mut Fails, 1, Progress::none()).unwrap_err().kind(), ErrorKind::Timeout);
        let cancel = Cancel::new();
        cancel.cancel();
        let progress = Progress::none().cancelled_by(&cancel);
        assert_eq!(Spool::keep(&mut io::repeat(0), 1, progress).unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
