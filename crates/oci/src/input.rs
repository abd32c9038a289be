//! Reads the blob of a layer once, from front to back: computes its digest and the digest of its content, and hands the
//! content to the caller, in one pass.
//!
//! A layer with a table of contents has two parts: the tar, and the bytes after it. Only the tar is handed out; both parts
//! belong to the diff ID.

use std::io::{self, Read};

use dunnage_digest::{Cursor, DiffId, ErrorKind, Hasher, Mismatch, Progress, VerifyingReader};
use dunnage_estargz::{Error as LayerError, input::Packing};
use dunnage_tree::Spool;

use crate::{Blob, Descriptor, Error, progress::Share};

/// A layer's blob, and how to read it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerInput<'i> {
    pub(crate) descriptor: &'i Descriptor,
    /// The name of the layer in messages.
    pub(crate) name: &'i str,
    pub(crate) blob: &'i Blob,
    /// Bytes before the table of contents, if there is one.
    pub(crate) payload_len: Option<u64>,
    /// The most bytes it may unpack to.
    pub(crate) unpacked_limit: u64,
    pub(crate) share: &'i Share<'i>,
}

impl LayerInput<'_> {
    /// Reads all of the blob, hands its tar to `take`, and compares digest, size and diff ID.
    ///
    /// The caller uses the result of `take` only after this has returned it.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] and [`Error::DiffId`]; [`Error::Layer`] with the error of `take`, unless the blob turns out to
    /// be damaged; [`Error::Limit`], [`Error::Cancelled`].
    pub(crate) fn read<T>(
        &self,
        diff_id: &DiffId,
        take: impl FnOnce(&mut dyn Read) -> Result<T, LayerError>,
    ) -> Result<T, Error> {
        self.read_counted(diff_id, take).map(|(taken, _)| taken)
    }

    /// The same, and counts the bytes that the blob unpacked to, with those after the tar.
    pub(crate) fn read_counted<T>(
        &self,
        diff_id: &DiffId,
        take: impl FnOnce(&mut dyn Read) -> Result<T, LayerError>,
    ) -> Result<(T, u64), Error> {
        let mut content =
            Content { hasher: Hasher::new(diff_id.digest().algorithm()), len: 0, limit: self.unpacked_limit };
        let done = self.pass(&mut content, take);
        let taken = done.map_err(|error| match content.len > content.limit {
            true => Error::Limit { what: "unpacked bytes of a layer", limit: content.limit, asked: content.len },
            false => self.explain(error),
        })?;
        let mismatch = Mismatch::check(diff_id.digest(), &content.hasher.snapshot());
        mismatch.map_err(|source| Error::DiffId { layer: self.name.to_owned(), source })?;
        Ok((taken, content.len))
    }

    fn pass<T>(
        &self,
        content: &mut Content,
        take: impl FnOnce(&mut dyn Read) -> Result<T, LayerError>,
    ) -> Result<T, LayerError> {
        let failed = |source| LayerError::Input { source };
        let (digest, size) = (self.descriptor.digest(), self.descriptor.size());
        let (packing, _) = Packing::peek(Cursor::new(self.blob).map_err(failed)?).map_err(failed)?;
        let cursor = Cursor::new(self.blob).map_err(failed)?;
        let mut stored = VerifyingReader::new(self.share.reader(cursor), digest, size);
        let payload_len = self.payload_len.unwrap_or(size);
        let mut payload = Counted { inner: part(packing, &mut stored, payload_len).map_err(failed)?, content };
        let taken = take(&mut payload)?;
        io::copy(&mut payload, &mut io::sink()).map_err(failed)?;
        drop(payload);
        let rest_len = size.saturating_sub(payload_len);
        let mut rest = Counted { inner: part(packing, &mut stored, rest_len).map_err(failed)?, content };
        io::copy(&mut rest, &mut io::sink()).map_err(failed)?;
        drop(rest);
        // The end of the blob is where its digest is compared.
        io::copy(&mut stored, &mut io::sink()).map_err(failed)?;
        Ok(taken)
    }

    /// Finds the cause of an error: a damaged blob fails in many ways, and its digest explains all of them.
    pub(crate) fn explain(&self, source: LayerError) -> Error {
        let is_ours = matches!(source, LayerError::Write { .. } | LayerError::Misuse(_) | LayerError::Worker);
        let error = Error::Layer { layer: self.name.to_owned(), source };
        if is_ours { error } else { self.explain_other(error) }
    }

    /// The same for an error that is not one of estargz.
    pub(crate) fn explain_other(&self, error: Error) -> Error {
        if let Err(cancelled) = self.share.check() {
            return cancelled.into();
        }
        // A source that failed has said why, and would only fail again.
        let is_about_content = matches!(
            error.kind(),
            ErrorKind::Malformed
                | ErrorKind::Unsupported
                | ErrorKind::Integrity
                | ErrorKind::Inconsistent
                | ErrorKind::Unauthenticated
                | ErrorKind::LimitExceeded
        );
        if !is_about_content {
            return error;
        }
        self.blob.check(self.descriptor).err().unwrap_or(error)
    }
}

/// The next `len` bytes of a blob, unpacked.
fn part<'s, R: Read + 's>(packing: Packing, stored: &'s mut R, len: u64) -> io::Result<Box<dyn Read + 's>> {
    // No stream at all unpacks to nothing.
    if len == 0 { Ok(Box::new(io::empty())) } else { packing.decompressed(stored.take(len)) }
}

/// Digest and length of the content that was unpacked so far.
struct Content {
    hasher: Hasher,
    len: u64,
    limit: u64,
}

/// A reader that hashes and counts the bytes it passes on, and fails over the limit.
struct Counted<'c, R> {
    inner: R,
    content: &'c mut Content,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buf)?;
        self.content.len = self.content.len.saturating_add(len as u64);
        if self.content.len > self.content.limit {
            return Err(io::Error::other("over the limit"));
        }
        self.content.hasher.update(buf.get(..len).unwrap_or_default());
        Ok(len)
    }
}

/// Keeps a stream in a temporary file without a name. [`LayerInput`] limits its length.
pub(crate) fn spool(from: &mut dyn Read) -> Result<Spool, LayerError> {
    Spool::keep(from, u64::MAX, Progress::none()).map_err(LayerError::from)
}
