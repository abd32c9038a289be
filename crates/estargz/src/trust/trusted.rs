//! A layer whose TOC is the one that was meant: the difference between a layer that agrees with itself and one that is
//! the digest that a manifest names, as a type.

use std::ops::Deref;

use dunnage_digest::{Digest, ReadAt};

use crate::{Error, OpenOptions, Reader};

/// A [`Reader`] whose TOC has the digest that the caller trusts, and which covers every chunk.
///
/// There is no way to one but through [`Reader::trusted`], so a function that takes it cannot be handed anything else.
#[derive(Debug)]
pub struct TrustedReader<R>(Reader<R>);

impl<R: ReadAt + Sync> TrustedReader<R> {
    /// Opens a layer and compares its TOC with `toc_digest`, usually from the manifest's annotation.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::open`] and [`Reader::trusted`].
    pub fn open(source: R, options: &OpenOptions, toc_digest: &Digest) -> Result<Self, Error> {
        Reader::open(source, options)?.trusted(toc_digest)
    }
}

impl<R> TrustedReader<R> {
    /// The reader, and with it the knowledge that its TOC was compared.
    pub fn into_inner(self) -> Reader<R> {
        self.0
    }
}

impl<R> Deref for TrustedReader<R> {
    type Target = Reader<R>;

    fn deref(&self) -> &Reader<R> {
        &self.0
    }
}

impl<R> Reader<R> {
    /// Compares the TOC with the digest that a manifest names, and keeps the result as a type.
    ///
    /// # Errors
    ///
    /// Those of [`verify_toc`](Self::verify_toc).
    pub fn trusted(self, toc_digest: &Digest) -> Result<TrustedReader<R>, Error> {
        self.verify_toc(toc_digest)?;
        Ok(TrustedReader(self))
    }
}
