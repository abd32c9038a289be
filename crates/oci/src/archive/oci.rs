//! A tar of an OCI image layout, as `skopeo copy ... oci-archive:FILE` writes it.

use std::path::Path;

use dunnage_digest::{Digest, Mismatch};

use super::members::{Found, Members};
use crate::{
    Blob, Descriptor, Error, Images, Limits,
    images::pick,
    layout::{blob_path, parse_index, parse_version},
};

/// A tar of an OCI image layout, for reading. Blobs are read in place.
///
/// Use it for files of `podman save --format oci-archive`, `skopeo copy ... oci-archive:FILE`, `docker save` since Docker 25,
/// `docker buildx build --output type=oci`. [`detect`](crate::detect) tells whether a file is one.
#[derive(Debug)]
pub struct OciArchive {
    members: Members,
    limits: Limits,
    entries: Vec<Descriptor>,
}

impl OciArchive {
    /// Opens the archive in the file `path` and reads its index. A compressed archive, and one that is no regular file, is
    /// unpacked into a temporary file without a name.
    ///
    /// # Errors
    ///
    /// [`Error::NotArchive`] for a tar without `oci-layout` or `index.json`; [`Error::Tar`] for one that cannot be read;
    /// [`Error::Archive`] for members that contradict each other; [`Error::Malformed`], [`Error::Unsupported`],
    /// [`Error::Limit`], [`Error::Io`].
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, Error> {
        let members = Members::open(path, limits)?;
        let document = |name: &str| {
            let advice = if members.find("manifest.json")?.is_some() { ": name it as docker-archive:FILE" } else { "" };
            let reason = || format!("it has no member `{name}`{advice}");
            let bytes = members.document(name, limits.document)?;
            bytes.ok_or_else(|| Error::NotArchive { path: members.name().to_owned(), reason: reason() })
        };
        parse_version(&document("oci-layout")?)?;
        let (_, entries) = parse_index(&document("index.json")?)?;
        let entries = entries.iter().map(|entry| Descriptor::parse(entry, "index.json")).collect::<Result<_, _>>()?;
        Ok(Self { members, limits: limits.clone(), entries })
    }

    /// The images in the archive, in order.
    #[must_use]
    pub fn entries(&self) -> &[Descriptor] {
        &self.entries
    }

    fn find(&self, digest: &Digest) -> Result<Option<Found>, Error> {
        self.members.find(&blob_path(digest))
    }
}

impl Images for OciArchive {
    fn name(&self) -> &str {
        self.members.name()
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn resolve(&self, name: Option<&str>) -> Result<Descriptor, Error> {
        pick(&self.entries, name, self.members.name())
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        let (digest, expected) = (descriptor.digest(), descriptor.size());
        let Some(found) = self.find(&digest)? else {
            return Err(Error::NoBlob { layout: self.members.name().to_owned(), digest });
        };
        if found.len != expected {
            let source = Box::new(Mismatch::Size { expected, got: found.len });
            return Err(Error::Mismatch { blob: digest, source });
        }
        Ok(self.members.blob(&blob_path(&digest), found))
    }

    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        Ok(self.find(&descriptor.digest())?.is_some())
    }
}
