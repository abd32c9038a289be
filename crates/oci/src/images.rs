//! Images by name and blobs by descriptor: everything that reading, checking and converting need of a place with images.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    ops::Range,
    os::unix::fs::MetadataExt,
    sync::Arc,
};

use dunnage_digest::{
    Cursor, Digest, ErrorKind, Mismatch, Offset, ReadAt, ReadRequest, SourceError, VerifyingReader, error_inside,
};

use crate::{Descriptor, Error, Limits};

/// A place that holds images: a layout, an archive, a registry.
///
/// Reading, verifying, converting and copying take a `&dyn Images`, so they work on any of them. Implement it for a
/// place of your own: [`name`](Self::name), [`limits`](Self::limits), [`resolve`](Self::resolve) and
/// [`blob`](Self::blob) are enough. Override [`stream`](Self::stream) where reading a blob from front to back is cheaper
/// than reading it by position, and [`has_blob`](Self::has_blob) where a blob can be looked up without opening it.
///
/// The implementation does not compare digests: the callers do. Its errors keep their [`ErrorKind`], so a timeout of a
/// registry stays a timeout: put a [`SourceError`] into the `source` of [`Error::Io`].
pub trait Images: fmt::Debug + Send + Sync {
    /// The place as the caller named it, for messages.
    fn name(&self) -> &str;

    /// Ceilings for documents.
    fn limits(&self) -> &Limits;

    /// Finds an image: the one with this tag; `@sha256:...` finds it by the digest of its document, `@0` by its place in
    /// the list. Without a name, the only image.
    ///
    /// # Errors
    ///
    /// [`Error::NoTag`], [`Error::NoImage`] and [`Error::ManyTags`] list the names that there are; [`Error::Empty`]; those
    /// of reading the list.
    fn resolve(&self, name: Option<&str>) -> Result<Descriptor, Error>;

    /// Opens the blob of a descriptor for reading by position. The blob has the size of the descriptor; the caller
    /// compares its digest.
    ///
    /// # Errors
    ///
    /// [`Error::NoBlob`], [`Error::Mismatch`] for another size, [`Error::Io`].
    fn blob(&self, descriptor: &Descriptor) -> Result<Blob, Error>;

    /// Opens the blob of a descriptor for one reading from front to back.
    ///
    /// # Errors
    ///
    /// As [`blob`](Self::blob).
    fn stream(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let blob = self.blob(descriptor)?;
        let failed = blob.failure(descriptor);
        Ok(Box::new(Cursor::new(blob).map_err(failed)?))
    }

    /// Returns a document, compared with its descriptor.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] for a document over [`Limits::document`], [`Error::Mismatch`]; as [`blob`](Self::blob).
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let (limit, asked) = (self.limits().document, descriptor.size());
        if asked > limit {
            return Err(Error::Limit { what: "bytes of a document", limit, asked });
        }
        self.blob(descriptor)?.read_whole(descriptor)
    }

    /// Whether the place has the blob, whatever its content.
    ///
    /// # Errors
    ///
    /// Those of looking it up. That there is no blob is not an error.
    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        match self.blob(descriptor) {
            Ok(_) | Err(Error::Mismatch { .. }) => Ok(true),
            Err(Error::NoBlob { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The bytes of one blob, by position. Clones share the source.
///
/// [`Images::blob`] returns it. It owns its source, so a tree made of it can outlive the [`Images`].
#[derive(Clone)]
pub struct Blob {
    source: Arc<dyn ReadAt + Send + Sync>,
    place: Arc<str>,
}

impl Blob {
    /// A blob read from `source`, which messages name `place`: a path, or the address of a remote object.
    pub fn new(place: impl Into<Arc<str>>, source: impl ReadAt + Send + Sync + 'static) -> Self {
        Self { source: Arc::new(source), place: place.into() }
    }

    /// Where the blob is, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Reads the blob from front to back. Neither size nor digest is compared.
    ///
    /// # Errors
    ///
    /// Those of [`ReadAt::size`].
    pub fn reader(&self) -> io::Result<Cursor<&Self>> {
        Cursor::new(self)
    }

    /// Reads all bytes and compares them with the descriptor. The caller has compared the size with a limit.
    pub(crate) fn read_whole(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let failed = self.failure(descriptor);
        let mut bytes = Vec::new();
        let reader = self.reader().map_err(&failed)?;
        let mut reader = VerifyingReader::new(reader, descriptor.digest(), descriptor.size());
        reader.read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// Hashes all bytes and compares them with the descriptor.
    pub(crate) fn check(&self, descriptor: &Descriptor) -> Result<(), Error> {
        let failed = self.failure(descriptor);
        let reader = self.reader().map_err(&failed)?;
        let mut reader = VerifyingReader::new(reader, descriptor.digest(), descriptor.size());
        io::copy(&mut reader, &mut io::sink()).map(drop).map_err(failed)
    }

    /// Makes an error of reading this blob: [`Error::Mismatch`] for a comparison that failed, [`Error::Io`] otherwise.
    pub(crate) fn failure(&self, descriptor: &Descriptor) -> impl Fn(io::Error) -> Error + use<> {
        let (digest, place) = (descriptor.digest(), Arc::clone(&self.place));
        move |error| read_failed(digest, &place, error)
    }
}

/// An error of reading a blob: that of a comparison, or that of the source.
pub(crate) fn read_failed(blob: Digest, place: &str, source: io::Error) -> Error {
    match error_inside::<Mismatch>(&source) {
        Some(mismatch) => Error::Mismatch { blob, source: Box::new(*mismatch) },
        None => Error::Io { action: "read", path: place.to_owned(), source },
    }
}

/// The name of a blob that is read as a stream, for messages.
pub(crate) fn blob_name(images: &dyn Images, descriptor: &Descriptor) -> String {
    format!("{}: blob {}", images.name(), descriptor.digest())
}

impl ReadAt for Blob {
    fn size(&self) -> io::Result<u64> {
        self.source.size()
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        self.source.read_exact_at(at, buf)
    }

    fn read_exact_at_for(&self, at: Offset, buf: &mut [u8], request: &ReadRequest<'_>) -> io::Result<()> {
        self.source.read_exact_at_for(at, buf, request)
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        self.source.prefetch(ranges);
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Finds the image that `name` means among the entries of `images`. See [`Images::resolve`].
pub(crate) fn pick(entries: &[Descriptor], name: Option<&str>, images: &str) -> Result<Descriptor, Error> {
    if entries.is_empty() {
        return Err(Error::Empty { layout: images.to_owned() });
    }
    let meant: Vec<&Descriptor> = match name {
        None => entries.iter().collect(),
        Some(name) => match name.strip_prefix('@') {
            None => entries.iter().filter(|entry| entry.tag() == Some(name)).collect(),
            Some(chosen) => match (chosen.parse::<usize>(), chosen.parse::<Digest>()) {
                (Ok(place), _) => entries.get(place).into_iter().collect(),
                (_, Ok(digest)) => entries.iter().find(|entry| entry.digest() == digest).into_iter().collect(),
                _ => Vec::new(),
            },
        },
    };
    match (meant.as_slice(), name) {
        ([], Some(name)) => Err(no_image(images, name, names(entries))),
        // One image listed twice under one tag is still one image.
        ([first, more @ ..], _) if more.iter().all(|other| other.digest() == first.digest()) => Ok((*first).clone()),
        (several, _) => {
            let (layout, count) = (images.to_owned(), several.len());
            Err(Error::ManyTags { layout, count, found: names(entries) })
        }
    }
}

/// The error for a name that no image has.
pub(crate) fn no_image(images: &str, name: &str, found: Vec<String>) -> Error {
    let (layout, name) = (images.to_owned(), name.to_owned());
    if name.starts_with('@') {
        Error::NoImage { layout, name, found }
    } else {
        Error::NoTag { layout, tag: name, found }
    }
}

/// A name for each entry that finds it again: its tag, or its digest if it has none or shares it with another image.
fn names(entries: &[Descriptor]) -> Vec<String> {
    let shares =
        |entry: &Descriptor| entries.iter().any(|other| other.tag() == entry.tag() && other.digest() != entry.digest());
    let name = |entry: &Descriptor| match entry.tag() {
        Some(tag) if !shares(entry) => tag.to_owned(),
        _ => format!("@{}", entry.digest()),
    };
    entries.iter().map(name).collect()
}

/// A file of which no two reads show two versions: a read fails once the file was changed.
///
/// It compares length and time of last change after each read, which costs one system call. A change within one tick of
/// the clock of the file system stays unseen; where a digest is compared, that finds it.
#[derive(Debug)]
pub(crate) struct SteadyFile {
    file: File,
    state: (u64, i64, i64),
}

impl SteadyFile {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let state = state_of(&file)?;
        Ok(Self { file, state })
    }

    pub(crate) const fn len(&self) -> u64 {
        self.state.0
    }

    fn check(&self) -> io::Result<()> {
        let now = state_of(&self.file)?;
        if now == self.state {
            return Ok(());
        }
        let (expected, got) = (self.state.0, now.0);
        let message = match expected == got {
            true => "the file changed while it was read: its time of last change differs".to_owned(),
            false => format!("the file changed while it was read: expected {expected} bytes, got {got}"),
        };
        Err(SourceError::new(ErrorKind::Conflict, message).into())
    }
}

fn state_of(file: &File) -> io::Result<(u64, i64, i64)> {
    let found = file.metadata()?;
    Ok((found.len(), found.mtime(), found.mtime_nsec()))
}

impl ReadAt for SteadyFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.state.0)
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        let read = self.file.read_exact_at(at, buf);
        self.check()?;
        read
    }
}
