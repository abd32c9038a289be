//! The writing side of [`Images`](crate::Images): where copies and conversions put blobs and names.

use std::{fmt, io};

use dunnage_digest::{Algorithm, Digest};
use dunnage_estargz::compose::Restart;

use crate::{Descriptor, Error, SameTag};

/// A place that images are written to: a layout, an archive, a registry.
///
/// [`Conversion`](crate::Conversion) and [`Copying`](crate::Copying) write to any of them. Implement it for a place of your
/// own. The caller writes all blobs first, from several threads at once, and then calls [`finish`](Self::finish) once.
/// Nothing leads to the blobs before that, so a run that fails leaves the images that were there.
pub trait Destination: fmt::Debug + Send + Sync {
    /// The place as the caller named it, for messages.
    fn name(&self) -> &str;

    /// Which layers the place can hold.
    fn layers(&self) -> LayerForm {
        LayerForm::Any
    }

    /// Decides the name of an image: from the one that the caller gave, or else from the one that it had in its source.
    /// `None` for an image without a name.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] for a name that the place cannot hold.
    fn choose_name(&self, given: Option<&str>, inherited: Option<&str>) -> Result<Option<String>, Error>;

    /// Whether the place has an image of this name.
    ///
    /// # Errors
    ///
    /// Those of looking it up.
    fn has_name(&self, name: &str) -> Result<bool, Error>;

    /// Whether the place has this blob, and its bytes match digest and size. Callers write the blob otherwise.
    ///
    /// # Errors
    ///
    /// Those of looking it up. That there is no such blob is not an error.
    fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error>;

    /// Begins a blob whose digest will be of this algorithm. The caller computes it while it writes.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    fn begin(&self, algorithm: Algorithm) -> Result<Box<dyn NewBlob + '_>, Error>;

    /// Makes the images part of the place under the names in their annotations, durably, and returns their descriptors
    /// as a reader of the place will see them.
    ///
    /// # Errors
    ///
    /// [`Error::TagExists`] with [`SameTag::Refuse`]; [`Error::Io`].
    fn finish(&self, images: &[Descriptor], same_tag: SameTag) -> Result<Vec<Descriptor>, Error>;
}

/// Which layers a [`Destination`] can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerForm {
    /// Layers of every media type, blob by blob.
    Any,
    /// Plain tars only, without annotations.
    PlainTars,
}

/// A blob that is being written. It becomes part of its place by [`commit`](Self::commit); dropped, it is gone.
///
/// It can be started again ([`Restart`]), since a conversion may find out late that it has to write a layer otherwise.
pub trait NewBlob: Restart + Send + fmt::Debug {
    /// Keeps the blob, durably, under this digest. The caller has computed digest and size.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    fn commit(self: Box<Self>, digest: &Digest, size: u64) -> Result<(), Error>;
}

/// Writes a blob that is in memory; its digest.
pub(crate) fn put(to: &dyn Destination, bytes: &[u8]) -> Result<Digest, Error> {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    put_as(to, &digest, bytes)?;
    Ok(digest)
}

/// Writes a blob that is in memory and has this digest.
pub(crate) fn put_as(to: &dyn Destination, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
    let mut blob = to.begin(digest.algorithm())?;
    blob.write_all(bytes).map_err(|error| write_failed(to, error))?;
    blob.commit(digest, bytes.len() as u64)
}

/// An error of writing a blob that has no name yet.
pub(crate) fn write_failed(to: &dyn Destination, source: io::Error) -> Error {
    Error::Io { action: "write a blob in", path: to.name().to_owned(), source }
}
