//! The blob of a layer, read once from front to back: its own digest, the digest of its content, and whatever the caller
//! does with the content, all in one pass.
//!
//! A layer with a table of contents has two parts, the tar and what stands behind it. Only the first is handed out; both
//! belong to the diff ID.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
};

use dunnage_digest::{Cursor, DiffId, Hasher, Mismatch, VerifyingReader};
use dunnage_estargz::{Error as LayerError, Packing};

use crate::{Descriptor, Error, Layout, progress::Share};

/// A layer's blob, and how it is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerInput<'i> {
    pub(crate) layout: &'i Layout,
    pub(crate) descriptor: &'i Descriptor,
    /// What the layer is called in errors.
    pub(crate) name: &'i str,
    pub(crate) file: &'i File,
    /// Bytes in front of the table of contents, if there is one.
    pub(crate) payload_len: Option<u64>,
    /// Most bytes it may unpack to.
    pub(crate) unpacked_limit: u64,
    pub(crate) share: &'i Share<'i>,
}

impl LayerInput<'_> {
    /// Reads all of the blob, hands its tar to `take`, and compares digest, size and diff ID.
    ///
    /// What `take` makes of the tar is not to be used before this returns.
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

    /// The same, with the bytes that the blob unpacked to, those behind the tar included.
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
        let (packing, _) = Packing::peek(Cursor::new(self.file).map_err(failed)?).map_err(failed)?;
        let cursor = Cursor::new(self.file).map_err(failed)?;
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

    /// The reason behind an error: a layer that is damaged fails in many ways, and the digest tells it best.
    pub(crate) fn explain(&self, source: LayerError) -> Error {
        let is_ours = matches!(source, LayerError::Write { .. } | LayerError::Misuse(_) | LayerError::Worker);
        let error = Error::Layer { layer: self.name.to_owned(), source };
        if is_ours { error } else { self.explain_other(error) }
    }

    /// The same for an error that is no layer's own.
    pub(crate) fn explain_other(&self, error: Error) -> Error {
        if let Err(cancelled) = self.share.check() {
            return cancelled.into();
        }
        match self.layout.has_sound_blob(&self.descriptor.digest(), self.descriptor.size()) {
            Ok(true) => error,
            Ok(false) => self.mismatch(),
            Err(error) => error,
        }
    }

    /// How the blob differs from its descriptor.
    fn mismatch(&self) -> Error {
        let compare = || -> io::Result<()> {
            let (digest, size) = (self.descriptor.digest(), self.descriptor.size());
            io::copy(&mut VerifyingReader::new(Cursor::new(self.file)?, digest, size), &mut io::sink())?;
            Ok(())
        };
        match compare() {
            Err(error) => self.layout.blob_failed(self.descriptor, error),
            Ok(()) => Error::Misuse(format!("{}: the blob changed while it was read", self.name)),
        }
    }
}

/// The next `len` bytes of a blob, unpacked.
fn part<'s, R: Read + 's>(packing: Packing, stored: &'s mut R, len: u64) -> io::Result<Box<dyn Read + 's>> {
    // No stream at all unpacks to nothing.
    if len == 0 { Ok(Box::new(io::empty())) } else { packing.decompressed(stored.take(len)) }
}

/// What was unpacked so far.
struct Content {
    hasher: Hasher,
    len: u64,
    limit: u64,
}

/// Hashes and counts what is read through it, up to the limit.
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

/// Copies what can be read once into a temporary file without a name.
pub(crate) fn spool(from: &mut dyn Read) -> Result<File, LayerError> {
    let failed = |source| LayerError::Input { source };
    let mut file = tempfile::tempfile().map_err(failed)?;
    let mut block = vec![0; 1 << 20];
    loop {
        match from.read(&mut block) {
            Ok(0) => break,
            Ok(len) => file.write_all(block.get(..len).unwrap_or_default()).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    file.rewind().map_err(failed)?;
    Ok(file)
}
