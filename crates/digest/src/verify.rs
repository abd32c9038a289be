//! Readers and writers that refuse what does not match.
//!
//! Sizes count too: more or fewer bytes than declared is an error even where a prefix would hash right.

use std::io::{self, Read, Write};

use crate::{Digest, Hasher};

/// The bytes are not those their digest or size promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Mismatch {
    /// The digest of the bytes is another one.
    #[error("digest mismatch: expected {expected}, got {got}")]
    Digest { expected: Digest, got: Digest },
    /// There are more or fewer bytes. Of too many, no more than the first surplus byte is read.
    #[error("size mismatch: expected {expected} bytes, got {got}")]
    Size { expected: u64, got: u64 },
}

impl Mismatch {
    /// Checks a digest that was computed against the one that was promised.
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

/// Passes bytes on and turns the end of the source into an error, unless size and digest match.
///
/// What it passes on before the end is not verified yet: act on it only after the end was reached without an error.
#[derive(Debug)]
pub struct VerifyingReader<R> {
    inner: R,
    expectation: Expectation,
}

impl<R: Read> VerifyingReader<R> {
    /// Reads `inner`, which has to be `size` bytes with this digest.
    pub fn new(inner: R, digest: Digest, size: u64) -> Self {
        Self { inner, expectation: Expectation::new(digest, size) }
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] holding a [`Mismatch`], at the end or at the first surplus byte.
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

/// Passes bytes on to a sink and says at the end whether size and digest matched.
#[derive(Debug)]
pub struct VerifyingWriter<W> {
    inner: W,
    expectation: Expectation,
}

impl<W: Write> VerifyingWriter<W> {
    /// Writes to `inner`, which is to receive `size` bytes with this digest.
    pub fn new(inner: W, digest: Digest, size: u64) -> Self {
        Self { inner, expectation: Expectation::new(digest, size) }
    }

    /// Ends the writing.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] if size or digest differ; what the sink received is then not to be used.
    pub fn finish(self) -> Result<W, Mismatch> {
        self.expectation.check()?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for VerifyingWriter<W> {
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] holding a [`Mismatch`] instead of writing more than the declared size.
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
