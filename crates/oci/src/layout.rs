//! OCI image layouts: an image, or many, in a directory.
//!
//! | path                 | is                                                       |
//! |----------------------|----------------------------------------------------------|
//! | `oci-layout`         | `{"imageLayoutVersion":"1.0.0"}`                          |
//! | `index.json`         | an index; its entries are the images, their tags annotations |
//! | `blobs/ALGORITHM/HEX`| all other documents and layers, each under its digest     |
//!
//! Blobs are compared with the size and the digest of their descriptor when they are read. A written blob appears whole or not
//! at all, and is on disk before a document refers to it. The index, which leads to all blobs, is replaced last.
//! The rules are in `docs/formats/oci.md`.

mod write;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Mutex,
};

use dunnage_digest::{Algorithm, Cursor, Digest, Mismatch, VerifyingReader, error_inside};
use dunnage_tree::Root;
use serde_json::value::RawValue;

pub use self::write::SameTag;
pub(crate) use self::write::{choose_tag, layout_marker, new_index, tagged};
use crate::{
    Blob, Descriptor, Error, Images, Limits,
    document::{INDEX_KEYS, check_head},
    images::{SteadyFile, pick},
    json::Object,
    media::{Document, INDEX},
};

/// An image layout in a directory.
///
/// Use it for images on a local disk: it implements [`Images`] for reading and [`Destination`](crate::Destination) for adding
/// images. [`open`](Self::open) never writes; [`create`](Self::create) makes a layout where there is none.
#[derive(Debug)]
pub struct Layout {
    root: Root,
    /// The directory as the caller named it.
    name: String,
    limits: Limits,
    /// Directories of blobs that were written to, by algorithm.
    written: Mutex<BTreeSet<Algorithm>>,
}

/// The index of a layout and its entries, as they were written.
pub(crate) type Index = (Object, Vec<Box<RawValue>>);

impl Layout {
    /// Opens the layout in the directory `path`. The path may lead through symlinks; nothing inside of it may.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::NotLayout`] for a directory without the file `oci-layout`, [`Error::Unsupported`] for a
    /// version other than 1.0.0, [`Error::Malformed`].
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, Error> {
        let name = path.display().to_string();
        let root = Root::open(path).map_err(|source| Error::Io { action: "open", path: name.clone(), source })?;
        let layout = Self { root, name, limits: limits.clone(), written: Mutex::default() };
        if layout.check_version()? {
            return Ok(layout);
        }
        let reason = "it has no file `oci-layout`".to_owned();
        Err(Error::NotLayout { path: layout.name, reason })
    }

    /// The directory as the caller named it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ceilings for its documents.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The images in it, in order.
    ///
    /// # Errors
    ///
    /// [`Error::NotLayout`] if there is no index, [`Error::Malformed`], [`Error::Limit`], [`Error::Io`].
    pub fn entries(&self) -> Result<Vec<Descriptor>, Error> {
        let Some((_, entries)) = self.index()? else {
            let reason = "it has no file `index.json`".to_owned();
            return Err(Error::NotLayout { path: self.name.clone(), reason });
        };
        entries.iter().map(|entry| Descriptor::parse(entry, "index.json")).collect()
    }

    /// Whether there is a file for the blob, whatever its content.
    pub(crate) fn has_file(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.open_any_blob(digest)?.is_some())
    }

    /// Whether the layout has this blob, undamaged.
    pub(crate) fn has_sound_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let Some(file) = self.open_any_blob(digest)? else { return Ok(false) };
        let failed = |error| self.failed("read", blob_path(digest))(error);
        if file.metadata().map_err(failed)?.len() != size {
            return Ok(false);
        }
        let file = SteadyFile::new(file).and_then(Cursor::new).map_err(failed)?;
        let mut whole = VerifyingReader::new(file, *digest, size);
        match io::copy(&mut whole, &mut io::sink()) {
            Ok(_) => Ok(true),
            Err(error) if error_inside::<Mismatch>(&error).is_some() => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// The file of a blob, whatever its size.
    pub(crate) fn blob_file(&self, descriptor: &Descriptor) -> Result<File, Error> {
        let digest = descriptor.digest();
        self.open_any_blob(&digest)?.ok_or_else(|| Error::NoBlob { layout: self.name.clone(), digest })
    }

    fn open_any_blob(&self, digest: &Digest) -> Result<Option<File>, Error> {
        let path = blob_path(digest);
        match self.root.file(path.as_bytes()) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("open", path)(error)),
        }
    }

    /// Whether there is a file `oci-layout`; an error if it is of a version that is not read.
    fn check_version(&self) -> Result<bool, Error> {
        self.read_file("oci-layout")?.map_or(Ok(false), |bytes| parse_version(&bytes).map(|()| true))
    }

    /// The index and its entries, as they were written; `None` if there is no index yet.
    fn index(&self) -> Result<Option<Index>, Error> {
        self.read_file("index.json")?.map(|bytes| parse_index(&bytes)).transpose()
    }

    /// A small file in the root.
    fn read_file(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let file = match self.root.file(name.as_bytes()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("open", name.to_owned())(error)),
        };
        let limit = self.limits.document;
        let mut bytes = Vec::new();
        let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(self.failed("read", name.to_owned()))?;
        let asked = bytes.len() as u64;
        if asked > limit {
            return Err(Error::Limit { what: "bytes of a document", limit, asked });
        }
        Ok(Some(bytes))
    }

    /// Adds what was done to which file to the error of a system call.
    fn failed(&self, action: &'static str, path: String) -> impl Fn(io::Error) -> Error {
        move |source| Error::Io { action, path: format!("{}/{path}", self.name), source }
    }
}

impl Images for Layout {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn resolve(&self, name: Option<&str>) -> Result<Descriptor, Error> {
        pick(&self.entries()?, name, &self.name)
    }

    /// Opens the file of a blob. A symlink, or anything but a regular file, is [`Error::Io`].
    fn blob(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        let (digest, expected) = (descriptor.digest(), descriptor.size());
        let file = self.blob_file(descriptor)?;
        let path = blob_path(&digest);
        let file = SteadyFile::new(file).map_err(self.failed("read", path.clone()))?;
        let got = file.len();
        if got == expected {
            return Ok(Blob::new(format!("{}/{path}", self.name), file));
        }
        Err(Error::Mismatch { blob: digest, source: Box::new(Mismatch::Size { expected, got }) })
    }

    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        self.has_file(&descriptor.digest())
    }
}

/// Checks the content of the file `oci-layout`.
pub(crate) fn parse_version(bytes: &[u8]) -> Result<(), Error> {
    let document = "oci-layout";
    let version: String = Object::parse(bytes, document, &[VERSION_KEY])?.need(VERSION_KEY, document, "a version")?;
    if version == VERSION {
        return Ok(());
    }
    Err(Error::Unsupported { document: document.to_owned(), what: "version", got: version })
}

/// Reads the content of the file `index.json`.
pub(crate) fn parse_index(bytes: &[u8]) -> Result<Index, Error> {
    let document = "index.json";
    let index = Object::parse(bytes, document, INDEX_KEYS)?;
    check_head(&index, document, INDEX, Document::Index)?;
    // umoci writes null for a layout without images.
    let entries = index.read("manifests", document, "a list of descriptors")?.unwrap_or_default();
    Ok((index, entries))
}

/// The path of a blob, from the root.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.to_hex())
}

const VERSION_KEY: &str = "imageLayoutVersion";
const VERSION: &str = "1.0.0";
