//! A reader and a writer that compare size and digest of the bytes that pass through them.
//!
//! A wrong size is an error even if the digest of some prefix matches.

use std::io::{self, Read, Write};

use crate::{Digest, Hasher};

/// The bytes do not have the expected digest or size. [`kind_of`](crate::kind_of) sorts it as
/// [`ErrorKind::Integrity`](crate::ErrorKind::Integrity).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Mismatch {
    /// The bytes have another digest.
    #[error("digest mismatch: expected {expected}, got {got}")]
    Digest { expected: Digest, got: Digest },
    /// There are more or fewer bytes. If there are more, `got` counts the bytes up to the read or write that found out,
    /// not all.
    #[error("size mismatch: expected {expected} bytes, got {got}")]
    Size { expected: u64, got: u64 },
}

impl Mismatch {
    /// Compares a computed digest with the expected one.
    ///
    /// # Errors
    ///
    /// [`Mismatch::Digest`] if they differ.
    pub fn check(expected: &Digest, got: &Digest) -> Result<(), Self> {
        if expected == got { Ok(()) } else { Err(Self::Digest { expected: *expected, got: *got }) }
    }
}

impl From<Mismatch> for io::Error {
    fn from(mismatch: Mismatch) -> Self {
        Self::new(io::ErrorKind::InvalidData, mismatch)
    }
}

#[derive(Debug)]
struct Expectation {
    digest: Digest,
    size: u64,
    hasher: Hasher,
    bytes: u64,
}

impl Expectation {
    fn new(digest: Digest, size: u64) -> Self {
        Self { digest, size, hasher: Hasher::new(digest.algorithm()), bytes: 0 }
    }

    fn update(&mut self, data: &[u8]) -> Result<(), Mismatch> {
        self.bytes = self.bytes.saturating_add(data.len() as u64);
        if self.bytes > self.size {
            return Err(Mismatch::Size { expected: self.size, got: self.bytes });
        }
        self.hasher.update(data);
        Ok(())
    }

    fn check(&self) -> Result<(), Mismatch> {
        if self.bytes != self.size {
            return Err(Mismatch::Size { expected: self.size, got: self.bytes });
        }
        Mismatch::check(&self.digest, &self.hasher.snapshot())
    }
}

/// A reader that compares size and digest when its source ends, and returns an error in place of the end if they
/// differ.
///
/// Use it for content that is read once, from front to back. It hashes in the calling thread and has no buffer, so the
/// bytes that it returns are not verified yet: use them only after `read` has returned 0. A caller that stops earlier
/// has verified nothing.
#[derive(Debug)]
pub struct VerifyingReader<R> {
    inner: R,
    expectation: Expectation,
}

impl<R: Read> VerifyingReader<R> {
    /// Reads `inner`, which should have `size` bytes and this digest.
    pub fn new(inner: R, digest: Digest, size: u64) -> Self {
        Self { inner, expectation: Expectation::new(digest, size) }
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] with a [`Mismatch`] inside, at the end or as soon as there are too many bytes.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let len = self.inner.read(buf)?;
        match buf.get(..len) {
            Some(data) if len > 0 => self.expectation.update(data)?,
            _ => self.expectation.check()?,
        }
        Ok(len)
    }
}

/// A writer that compares size and digest of the bytes it has passed on to its sink, in [`finish`](Self::finish).
///
/// Use it to store content that arrives from elsewhere. It writes before it has compared, so the sink should be a
/// temporary file that gets its name after `finish`. It never writes more than the expected size. Dropping it compares
/// nothing.
#[derive(Debug)]
pub struct VerifyingWriter<W> {
    inner: W,
    expectation: Expectation,
}

impl<W: Write> VerifyingWriter<W> {
    /// Writes to `inner`, which should receive `size` bytes with this digest.
    pub fn new(inner: W, digest: Digest, size: u64) -> Self {
        Self { inner, expectation: Expectation::new(digest, size) }
    }

    /// Compares size and digest, and returns the sink.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] if they differ. Do not use the bytes in the sink then.
    pub fn finish(self) -> Result<W, Mismatch> {
        self.expectation.check()?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for VerifyingWriter<W> {
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] with a [`Mismatch`] inside, before more bytes than the expected size are written.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let room = self.expectation.size.saturating_sub(self.expectation.bytes);
        if buf.len() as u64 > room {
            let got = self.expectation.bytes.saturating_add(buf.len() as u64);
            return Err(Mismatch::Size { expected: self.expectation.size, got }.into());
        }
        let len = self.inner.write(buf)?;
        self.expectation.update(buf.get(..len).unwrap_or_default())?;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    fn read(data: &[u8], digest: Digest, size: u64) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let result = VerifyingReader::new(data, digest, size).read_to_end(&mut out);
        result.map(|_| out).map_err(|error| error.to_string())
    }

    fn write(data: &[u8], digest: Digest, size: u64) -> Result<Vec<u8>, String> {
        let mut writer = VerifyingWriter::new(Vec::new(), digest, size);
        writer.write_all(data).map_err(|error| error.to_string())?;
        writer.finish().map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_promised_bytes_pass() {
        let digest = Digest::of(Algorithm::Sha256, b"hello");
        let other = Digest::of(Algorithm::Sha256, b"hellO");
        for run in [read, write] {
            assert_eq!(run(b"hello", digest, 5), Ok(b"hello".to_vec()));
            assert_eq!(run(b"hellO", digest, 5), Err(format!("digest mismatch: expected {digest}, got {other}")));
            assert_eq!(run(b"hell", digest, 5), Err("size mismatch: expected 5 bytes, got 4".into()));
            assert_eq!(run(b"hello!", digest, 5), Err("size mismatch: expected 5 bytes, got 6".into()));
        }
    }
}
