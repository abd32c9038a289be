//! Adding to a layout: first the blobs, each durably and under its digest, then the index.
//!
//! Paths consist of constants and of the hex digits of parsed digests, never of text from a document.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::PoisonError,
};

use dunnage_digest::{Algorithm, Digest};
use dunnage_estargz::compose::Restart;
use dunnage_tree::{NewFile, Root, SameName, flush_dir};
use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::{Errno, retry_on_intr},
};
use serde_json::value::RawValue;

use super::{Layout, VERSION, VERSION_KEY, blob_path};
use crate::{Descriptor, Destination, Error, Limits, NewBlob, descriptor::TAG_ANNOTATION, json::Object};

/// Whether an image replaces another one of its name in the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: it is replaced or not")]
pub enum SameTag {
    /// The tag then leads to the new image. The blobs of the old one stay.
    #[default]
    Replace,
    /// It is an error.
    Refuse,
}

impl Layout {
    /// Opens the layout in the directory `path` for adding to it; makes it, parents included, if there is none.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); [`Error::NotLayout`] for a directory that holds something else.
    pub fn create(path: &Path, limits: &Limits) -> Result<Self, Error> {
        let name = path.display().to_string();
        let failed = |action| {
            let path = name.clone();
            move |source| Error::Io { action, path, source }
        };
        make_dirs(path).map_err(failed("create"))?;
        let root = Root::open(path).map_err(failed("open"))?;
        let layout = Self { root, name: name.clone(), limits: limits.clone(), written: std::sync::Mutex::default() };
        if !layout.check_version()? {
            layout.begin(path)?;
        }
        make_dir(&layout.root, "blobs").map(drop).map_err(layout.failed("create", "blobs".to_owned()))?;
        Ok(layout)
    }

    /// Makes an empty directory a layout, unless another process has done so meanwhile.
    fn begin(&self, path: &Path) -> Result<(), Error> {
        let _locked = self.lock()?;
        if self.check_version()? {
            return Ok(());
        }
        let mut files = std::fs::read_dir(path).map_err(self.failed("list", ".".to_owned()))?;
        if files.next().is_some() {
            let reason = "it is not empty, and has no file `oci-layout`".to_owned();
            return Err(Error::NotLayout { path: self.name.clone(), reason });
        }
        self.put_file("oci-layout", &layout_marker()?)
    }

    /// Locks the layout against other processes that write documents, until the result is closed.
    fn lock(&self) -> Result<OwnedFd, Error> {
        let lock = || -> io::Result<OwnedFd> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = retry_on_intr(|| rustix::fs::openat(&self.root, ".", flags, Mode::empty()))?;
            retry_on_intr(|| rustix::fs::flock(&dir, FlockOperation::LockExclusive))?;
            Ok(dir)
        };
        lock().map_err(self.failed("lock", ".".to_owned()))
    }

    /// Makes `images` part of the layout, each in place of an image of its tag. All other entries stay as they are.
    ///
    /// All blobs are on disk before the index is written, and the index is on disk when this returns.
    fn commit(&self, images: &[Descriptor], same_tag: SameTag) -> Result<(), Error> {
        self.flush_blobs()?;
        // Of two processes that add images, none loses those of the other.
        let _locked = self.lock()?;
        let (mut index, entries) = match self.index()? {
            Some(found) => found,
            None => (new_index()?, Vec::new()),
        };
        let mut kept: Vec<Option<Box<RawValue>>> = Vec::with_capacity(entries.len());
        // A new image takes the place of the one that it replaces.
        let mut places = BTreeMap::new();
        for entry in entries {
            let known = Descriptor::parse(&entry, "index.json")?;
            let replaced = images.iter().position(|image| is_replaced(&known, image));
            match replaced {
                None => kept.push(Some(entry)),
                Some(image) => {
                    if let (SameTag::Refuse, Some(tag)) = (same_tag, known.tag()) {
                        return Err(Error::TagExists { layout: self.name.clone(), tag: tag.to_owned() });
                    }
                    places.entry(image).or_insert(kept.len());
                    kept.push(None);
                }
            }
        }
        let raw = |image: &Descriptor| serde_json::value::to_raw_value(image);
        for (number, image) in images.iter().enumerate() {
            let image = raw(image).map_err(|error| Error::Misuse(format!("an entry cannot be written: {error}")))?;
            match places.get(&number).and_then(|place| kept.get_mut(*place)) {
                Some(place) => *place = Some(image),
                None => kept.push(Some(image)),
            }
        }
        let entries: Vec<_> = kept.into_iter().flatten().collect();
        index.set("manifests", &entries)?;
        self.put_file("index.json", &index.to_bytes()?)
    }

    /// Whether the layout has an image of this tag; not if it has no index yet.
    pub(crate) fn has_tag(&self, tag: &str) -> Result<bool, Error> {
        let Some((_, entries)) = self.index()? else { return Ok(false) };
        for entry in entries {
            if Descriptor::parse(&entry, "index.json")?.tag() == Some(tag) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn flush_blobs(&self) -> Result<(), Error> {
        let written = std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner));
        for algorithm in &written {
            let path = format!("blobs/{}", algorithm.name());
            let failed = self.failed("flush", path.clone());
            self.root.directory(path.as_bytes()).and_then(|dir| flush_dir(dir.as_fd())).map_err(failed)?;
        }
        let failed = self.failed("flush", "blobs".to_owned());
        self.root.directory(b"blobs").and_then(|dir| flush_dir(dir.as_fd())).map_err(failed)
    }

    /// Replaces a small file in the root, durably.
    fn put_file(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let write = || {
            let mut file = NewFile::create_in(self.root.as_fd(), 0o666)?;
            file.write_all(bytes)?;
            file.commit(OsStr::new(name), SameName::Replace)
        };
        write().map_err(self.failed("write", name.to_owned()))
    }
}

/// An image replaces the one of its tag. One without a tag replaces itself.
fn is_replaced(old: &Descriptor, new: &Descriptor) -> bool {
    match (old.tag(), new.tag()) {
        (None, None) => old.digest() == new.digest(),
        (old, new) => old == new,
    }
}

/// The content of the file `oci-layout`.
pub(crate) fn layout_marker() -> Result<Vec<u8>, Error> {
    let mut marker = Object::default();
    marker.set(VERSION_KEY, VERSION)?;
    marker.to_bytes()
}

/// An index without images. It has no media type, which is optional: some versions of umoci refuse the index of a layout
/// that has one.
pub(crate) fn new_index() -> Result<Object, Error> {
    let mut index = Object::default();
    index.set("schemaVersion", &2)?;
    Ok(index)
}

/// Makes a directory and those above it, each brought to disk.
fn make_dirs(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    std::fs::create_dir_all(path)?;
    for made in missing {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        flush_dir(File::open(parent)?.as_fd())?;
    }
    Ok(())
}

/// The directory at `path` below `root`, made if it does not exist.
fn make_dir(root: &Root, path: &str) -> io::Result<OwnedFd> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let dir = root.directory(parent.as_bytes())?;
    match retry_on_intr(|| rustix::fs::mkdirat(&dir, name, Mode::from(0o777))) {
        Ok(()) | Err(Errno::EXIST) => root.directory(path.as_bytes()),
        Err(error) => Err(error.into()),
    }
}

impl Destination for Layout {
    fn name(&self) -> &str {
        &self.name
    }

    fn choose_name(&self, given: Option<&str>, inherited: Option<&str>) -> Result<Option<String>, Error> {
        choose_tag(given, inherited)
    }

    fn has_name(&self, name: &str) -> Result<bool, Error> {
        self.has_tag(name)
    }

    fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        self.has_sound_blob(digest, size)
    }

    fn begin(&self, algorithm: Algorithm) -> Result<Box<dyn NewBlob + '_>, Error> {
        let path = format!("blobs/{}", algorithm.name());
        let failed = self.failed("create a file in", path.clone());
        let dir = make_dir(&self.root, &path).map_err(&failed)?;
        let file = NewFile::create_in(dir.as_fd(), 0o666).map_err(&failed)?;
        Ok(Box::new(LayoutBlob { layout: self, algorithm, file }))
    }

    fn finish(&self, images: &[Descriptor], same_tag: SameTag) -> Result<Vec<Descriptor>, Error> {
        self.commit(images, same_tag)?;
        Ok(images.to_vec())
    }
}

/// A blob that is being written. It has no name before it is committed, so a run that ends early leaves nothing.
#[derive(Debug)]
struct LayoutBlob<'l> {
    layout: &'l Layout,
    algorithm: Algorithm,
    file: NewFile,
}

impl Restart for LayoutBlob<'_> {
    fn restart(&mut self) -> io::Result<()> {
        self.file.restart()
    }
}

impl NewBlob for LayoutBlob<'_> {
    /// Gives the blob the name of its digest. A sound blob of that name stays as it is; a damaged one is replaced.
    fn commit(self: Box<Self>, digest: &Digest, size: u64) -> Result<(), Error> {
        let Self { layout, algorithm, file } = *self;
        if layout.has_sound_blob(digest, size)? {
            return Ok(());
        }
        let same_name = if layout.has_file(digest)? { SameName::Replace } else { SameName::Keep };
        match file.commit_unflushed(OsStr::new(&digest.to_hex()), same_name) {
            Ok(_) => {}
            // Another process wrote the same blob meanwhile.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && layout.has_sound_blob(digest, size)? => {}
            Err(error) => return Err(layout.failed("write", blob_path(digest))(error)),
        }
        layout.written.lock().unwrap_or_else(PoisonError::into_inner).insert(algorithm);
        Ok(())
    }
}

impl Write for LayoutBlob<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The tag of an image: the given one, which is checked, or the one that it had, whatever that is.
pub(crate) fn choose_tag(given: Option<&str>, inherited: Option<&str>) -> Result<Option<String>, Error> {
    if let Some(tag) = given.filter(|tag| Some(*tag) != inherited) {
        check_tag(tag)?;
    }
    Ok(given.or(inherited).map(str::to_owned))
}

/// Whether `tag` may be given to an image.
///
/// # Errors
///
/// [`Error::Misuse`] unless it is made of letters and digits, joined by single characters out of `-._:@+/` (or `--`).
fn check_tag(tag: &str) -> Result<(), Error> {
    let is_word = |component: &str| {
        let ends_well = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let mut chars = component.chars();
        ends_well(component.chars().next())
            && ends_well(component.chars().next_back())
            && chars.all(|c| c.is_ascii_alphanumeric() || "-._:@+".contains(c))
    };
    if tag.len() <= 255 && tag.split('/').all(is_word) {
        return Ok(());
    }
    let expected = "letters and digits, joined by `-._:@+/`, at most 255 characters";
    Err(Error::Misuse(format!("a tag is made of {expected}, got `{}`", tag.escape_debug())))
}

/// An entry of a layout with this tag, or without any.
pub(crate) fn tagged(entry: &Descriptor, tag: Option<&str>) -> Result<Descriptor, Error> {
    let mut entry = entry.clone();
    match tag {
        Some(tag) => entry.annotate(|_| false, [(TAG_ANNOTATION, tag)])?,
        None => entry.annotate(|name| name == TAG_ANNOTATION, [])?,
    }
    Ok(entry)
}
