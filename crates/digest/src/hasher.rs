//! A running hash for all ten algorithms, and a reader and a writer that hash the bytes that pass through them.

use std::{
    fmt,
    io::{self, Read, Write},
};

use sha2::Digest as _;

use crate::{Algorithm, Digest};

/// Hashes bytes that arrive in pieces.
///
/// Use [`Digest::of`] for bytes that are in memory as a whole. A clone copies the state, a few hundred bytes.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha224(sha2::Sha224),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
    Sha512_224(sha2::Sha512_224),
    Sha512_256(sha2::Sha512_256),
    Sha3_224(sha3::Sha3_224),
    Sha3_256(sha3::Sha3_256),
    Sha3_384(sha3::Sha3_384),
    Sha3_512(sha3::Sha3_512),
}

macro_rules! each {
    ($state:expr, $hash:ident => $body:expr) => {
        match $state {
            State::Sha224($hash) => $body,
            State::Sha256($hash) => $body,
            State::Sha384($hash) => $body,
            State::Sha512($hash) => $body,
            State::Sha512_224($hash) => $body,
            State::Sha512_256($hash) => $body,
            State::Sha3_224($hash) => $body,
            State::Sha3_256($hash) => $body,
            State::Sha3_384($hash) => $body,
            State::Sha3_512($hash) => $body,
        }
    };
}

impl Hasher {
    /// A hash that has seen no bytes.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha224 => State::Sha224(sha2::Sha224::new()),
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => State::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
            Algorithm::Sha512_224 => State::Sha512_224(sha2::Sha512_224::new()),
            Algorithm::Sha512_256 => State::Sha512_256(sha2::Sha512_256::new()),
            Algorithm::Sha3_224 => State::Sha3_224(sha3::Sha3_224::new()),
            Algorithm::Sha3_256 => State::Sha3_256(sha3::Sha3_256::new()),
            Algorithm::Sha3_384 => State::Sha3_384(sha3::Sha3_384::new()),
            Algorithm::Sha3_512 => State::Sha3_512(sha3::Sha3_512::new()),
        })
    }

    /// A SHA-256 that has seen no bytes: nearly every digest in an image is one.
    #[must_use]
    pub fn sha256() -> Self {
        Self::new(Algorithm::Sha256)
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Sha224(_) => Algorithm::Sha224,
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha384(_) => Algorithm::Sha384,
            State::Sha512(_) => Algorithm::Sha512,
            State::Sha512_224(_) => Algorithm::Sha512_224,
            State::Sha512_256(_) => Algorithm::Sha512_256,
            State::Sha3_224(_) => Algorithm::Sha3_224,
            State::Sha3_256(_) => Algorithm::Sha3_256,
            State::Sha3_384(_) => Algorithm::Sha3_384,
            State::Sha3_512(_) => Algorithm::Sha3_512,
        }
    }

    /// Adds `data`.
    pub fn update(&mut self, data: &[u8]) {
        each!(&mut self.0, hash => hash.update(data));
    }

    /// The digest of all bytes added.
    #[must_use]
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        let mut bytes = [0_u8; 64];
        let len = each!(self.0, hash => {
            let out = hash.finalize();
            for (to, from) in bytes.iter_mut().zip(out.iter()) {
                *to = *from;
            }
            out.len()
        });
        let zero = Digest::sha256([0; 32]);
        // Each function returns as many bytes as its algorithm has, so this never returns `zero`.
        bytes.get(..len).and_then(|bytes| Digest::new(algorithm, bytes).ok()).unwrap_or(zero)
    }

    /// The digest of all bytes added so far. More bytes can follow. Costs a clone of the state.
    #[must_use]
    pub fn snapshot(&self) -> Digest {
        self.clone().finish()
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm())
    }
}

/// A reader that hashes and counts the bytes it returns.
///
/// Use it to learn a digest; [`VerifyingReader`](crate::VerifyingReader) checks one. It hashes in the calling thread
/// and has no buffer.
#[derive(Debug)]
pub struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
    bytes: u64,
}

impl<R: Read> HashingReader<R> {
    /// Reads from `inner` and adds the bytes to `hasher`.
    pub const fn new(inner: R, hasher: Hasher) -> Self {
        Self { inner, hasher, bytes: 0 }
    }

    /// Bytes read so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The source, and the digest and the number of the bytes read.
    pub fn finish(self) -> (R, Digest, u64) {
        (self.inner, self.hasher.finish(), self.bytes)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buf)?;
        self.hasher.update(buf.get(..len).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(len as u64);
        Ok(len)
    }
}

/// A writer that hashes and counts the bytes that its sink takes.
///
/// Use it to learn a digest; [`VerifyingWriter`](crate::VerifyingWriter) checks one. It hashes in the calling thread
/// and has no buffer.
#[derive(Debug)]
pub struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
    bytes: u64,
}

impl<W: Write> HashingWriter<W> {
    /// Writes to `inner` and adds the bytes to `hasher`.
    pub const fn new(inner: W, hasher: Hasher) -> Self {
        Self { inner, hasher, bytes: 0 }
    }

    /// Bytes written so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The sink, and the digest and the number of the bytes written.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, self.hasher.finish(), self.bytes)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = self.inner.write(buf)?;
        self.hasher.update(buf.get(..len).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(len as u64);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hash_like_the_whole() {
        let mut hasher = Hasher::sha256();
        hasher.update(b"he");
        assert_eq!(hasher.snapshot(), Digest::of(Algorithm::Sha256, b"he"));
        hasher.update(b"llo");
        assert_eq!(hasher.finish(), Digest::of(Algorithm::Sha256, b"hello"));
        let mut reader = HashingReader::new(b"hello".as_slice(), Hasher::sha256());
        let mut writer = HashingWriter::new(Vec::new(), Hasher::sha256());
        assert_eq!(io::copy(&mut reader, &mut writer).unwrap(), 5);
        let (_, read, bytes) = reader.finish();
        assert_eq!((writer.finish(), bytes), ((b"hello".to_vec(), read, 5), 5));
    }
}
