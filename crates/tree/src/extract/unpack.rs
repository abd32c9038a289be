//! Puts one entry after the other in its place.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use dunnage_digest::Progress;
use hashbrown::HashMap;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::{
    destination::Destination,
    meta::{Meta, Subject},
    options::{ExtractDevices, ExtractOptions, ExtractWhiteouts},
    summary::{DroppedPart, Extracted},
};
use crate::{
    Error, Kind, SafePath, Span, Tree,
    confine::{self, Root, THROUGH, retry},
    content::{Content, prefix},
    name::display,
    tar::Reader,
    whiteout::parse_whiteout,
};

/// An extraction on its way.
pub(super) struct Unpacker<'o> {
    pub(super) root: Root,
    pub(super) options: &'o ExtractOptions,
    pub(super) summary: Extracted,
    /// Everything that this run made, by path.
    pub(super) made: HashMap<Box<[u8]>, Made>,
    /// Directories whose attributes are set at the end, and the identity they must still have then.
    directories: BTreeMap<Box<[u8]>, (Inode, Meta)>,
    /// The directory that the last entry went to.
    pub(super) parent: Option<(Box<[u8]>, Arc<OwnedFd>)>,
    pub(super) progress: Progress<'o>,
    /// Entries that were begun.
    entries: u64,
    /// Bytes of content that were written, holes included.
    bytes: u64,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Made {
    inode: Inode,
    what: MadeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MadeKind {
    Directory,
    /// Anything else: it can have further names.
    Node,
    /// A device that was left out, and its further names with it.
    LeftOut,
}

pub(super) type Inode = (u64, u64);

/// An open directory and a name in it.
type Spot<'p> = (Arc<OwnedFd>, &'p [u8]);

/// Content of a file that is written.
pub(super) trait Source {
    /// The span at the position, a hole passed over; `None` at the end.
    fn next_span(&mut self) -> Result<Option<Span>, Error>;

    /// Reads data of the span at the position; 0 if the content ends too early.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error>;
}

impl<T: Tree + ?Sized> Source for Content<'_, T> {
    fn next_span(&mut self) -> Result<Option<Span>, Error> {
        Content::next_span(self)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        Content::read(self, buf, u64::MAX)
    }
}

impl<R: Read> Source for Reader<R> {
    fn next_span(&mut self) -> Result<Option<Span>, Error> {
        Reader::next_span(self)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        self.read_payload(buf)
    }
}

impl<'o> Unpacker<'o> {
    pub(super) fn new(
        destination: Destination,
        options: &'o ExtractOptions,
        progress: Progress<'o>,
    ) -> Result<Self, Error> {
        Ok(Self {
            root: Root::new(destination.open(options.existing)?),
            options,
            summary: Extracted::default(),
            made: HashMap::new(),
            directories: BTreeMap::new(),
            parent: None,
            progress,
            entries: 0,
            bytes: 0,
            buffer: Vec::new(),
        })
    }

    /// A regular file of `size` bytes. Its holes become holes.
    pub(super) fn file(
        &mut self,
        path: &SafePath,
        meta: &Meta,
        size: u64,
        content: &mut dyn Source,
    ) -> Result<(), Error> {
        let Some((parent, name)) = self.begin(path)? else { return Ok(()) };
        let total = self.bytes.saturating_add(size);
        if total > self.options.limits.unpacked {
            return Err(Error::Limit { what: "unpacked bytes", limit: self.options.limits.unpacked, asked: total });
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let fd = self.put(path, &parent, name, "create", || rustix::fs::openat(&*parent, name, flags, mode))?;
        let mut file = File::from(fd);
        let mut buffer = std::mem::take(&mut self.buffer);
        let wanted = usize::try_from(size).unwrap_or(usize::MAX).clamp(1, BUFFER);
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        let mut written: u64 = 0;
        let mut ends_in_hole = false;
        while let Some(span) = content.next_span()? {
            ends_in_hole = matches!(span, Span::Hole(_));
            let len = match span {
                Span::Hole(len) => {
                    let end = written.saturating_add(len);
                    file.seek(SeekFrom::Start(end)).map_err(|source| io_error("write", path, source))?;
                    len
                }
                Span::Data(len) => {
                    let read = content.read(prefix(&mut buffer, len))?;
                    let Some(block) = buffer.get(..read).filter(|block| !block.is_empty()) else { break };
                    file.write_all(block).map_err(|source| io_error("write", path, source))?;
                    read as u64
                }
            };
            written = written.saturating_add(len);
            self.bytes = self.bytes.saturating_add(len);
            self.progress.check()?;
            self.progress.at(self.bytes);
        }
        self.buffer = buffer;
        if written != size {
            let (path, expected, got) = (display(path.as_bytes()), format!("{size} bytes"), format!("{written}"));
            return Err(Error::Inconsistent { path, expected, got });
        }
        if ends_in_hole {
            file.set_len(size).map_err(|source| io_error("write", path, source))?;
        }
        meta.apply(Subject::open(&file), path.as_bytes(), self.options, &mut self.summary)?;
        let stat = rustix::fs::fstat(&file).map_err(|error| failed("examine", path, error))?;
        self.made.insert(path.as_bytes().into(), Made { inode: inode(&stat), what: MadeKind::Node });
        self.summary.files = self.summary.files.saturating_add(1);
        self.summary.bytes = self.bytes;
        Ok(())
    }

    /// A directory; one that is there already is kept, and takes these attributes.
    pub(super) fn directory(&mut self, path: &SafePath, meta: Meta) -> Result<(), Error> {
        if path.is_root() {
            self.charge_entry()?;
            let stat = rustix::fs::fstat(&self.root).map_err(|error| failed("examine", path, error))?;
            self.directories.insert(Box::default(), (inode(&stat), meta));
            self.summary.directories = self.summary.directories.saturating_add(1);
            return Ok(());
        }
        let Some((parent, name)) = self.begin(path)? else { return Ok(()) };
        let made = self.make_directory(path.as_bytes(), &parent, name)?;
        self.made.insert(path.as_bytes().into(), Made { inode: made, what: MadeKind::Directory });
        self.directories.insert(path.as_bytes().into(), (made, meta));
        self.summary.directories = self.summary.directories.saturating_add(1);
        Ok(())
    }

    pub(super) fn symlink(&mut self, path: &SafePath, meta: &Meta, target: &[u8]) -> Result<(), Error> {
        let Some((parent, name)) = self.begin(path)? else { return Ok(()) };
        let (limit, asked) = (self.options.limits.symlink_target, target.len() as u64);
        if asked > limit {
            return Err(Error::Limit { what: "symlink target", limit, asked });
        }
        if target.is_empty() || target.contains(&0) {
            return Err(refused(path, "its target is empty or contains NUL"));
        }
        self.put(path, &parent, name, "create", || rustix::fs::symlinkat(target, &*parent, name))?;
        meta.apply(Subject::Symlink(parent.as_fd(), name), path.as_bytes(), self.options, &mut self.summary)?;
        self.note(path, &parent, name)?;
        self.summary.symlinks = self.summary.symlinks.saturating_add(1);
        Ok(())
    }

    /// A device or FIFO.
    pub(super) fn special(
        &mut self,
        path: &SafePath,
        meta: &Meta,
        kind: Kind,
        device: (u32, u32),
    ) -> Result<(), Error> {
        let Some((parent, name)) = self.begin(path)? else { return Ok(()) };
        let sort = match kind {
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        if sort != FileType::Fifo && self.options.devices == ExtractDevices::Drop {
            // The entry removes the node that it replaces all the same.
            self.clear(path.as_bytes(), &parent, name)?;
            self.leave_out_device(path);
            return Ok(());
        }
        let number = if sort == FileType::Fifo { 0 } else { rustix::fs::makedev(device.0, device.1) };
        let mode = Mode::RUSR | Mode::WUSR;
        self.put(path, &parent, name, "create", || rustix::fs::mknodat(&*parent, name, sort, mode, number))?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = retry(|| rustix::fs::openat(&*parent, name, flags, Mode::empty()));
        let fd = fd.map_err(|error| failed("open", path, error))?;
        let stat = rustix::fs::fstat(&fd).map_err(|error| failed("examine", path, error))?;
        if FileType::from_raw_mode(stat.st_mode) != sort {
            return Err(refused(path, "it was exchanged while it was made"));
        }
        meta.apply(Subject::Special(fd.as_fd()), path.as_bytes(), self.options, &mut self.summary)?;
        self.made.insert(path.as_bytes().into(), Made { inode: inode(&stat), what: MadeKind::Node });
        let count = if sort == FileType::Fifo { &mut self.summary.fifos } else { &mut self.summary.devices };
        *count = count.saturating_add(1);
        Ok(())
    }

    /// A socket, which only the program that listens on it can make.
    pub(super) fn socket(&mut self, path: &SafePath) {
        self.summary.drop_part(path.as_bytes(), DroppedPart::Socket, "sockets are not made");
    }

    fn leave_out_device(&mut self, path: &SafePath) {
        self.summary.drop_part(path.as_bytes(), DroppedPart::Device, "devices were not asked for");
        self.made.insert(path.as_bytes().into(), Made { inode: (0, 0), what: MadeKind::LeftOut });
    }

    /// A further name of the node that this run made at `target`.
    pub(super) fn hard_link(&mut self, path: &SafePath, target: &SafePath) -> Result<(), Error> {
        let Some((parent, name)) = self.begin(path)? else { return Ok(()) };
        if path == target {
            return Err(refused(path, "hard link to itself"));
        }
        let made = self.made.get(target.as_bytes()).copied();
        let wrong = |what: &str| {
            let reason = format!("hard link to `{}`, {what}", display(target.as_bytes()));
            Error::Refused { path: display(path.as_bytes()), reason }
        };
        let (Some(made), Some((target_parent, target_name))) = (made, target.split_last()) else {
            return Err(wrong("which no entry before it has made"));
        };
        match made.what {
            MadeKind::Node => {}
            MadeKind::Directory => return Err(wrong("a directory")),
            MadeKind::LeftOut => {
                self.clear(path.as_bytes(), &parent, name)?;
                self.leave_out_device(path);
                return Ok(());
            }
        }
        let from = self.root.open_dir(target_parent, THROUGH).map_err(|error| beneath(target.as_bytes(), error))?;
        let same =
            |dir: BorrowedFd<'_>, name: &[u8]| confine::stat(dir, name).is_ok_and(|stat| inode(&stat) == made.inode);
        if !same(from.as_fd(), target_name.as_bytes()) {
            return Err(refused(target, "it was exchanged since it was extracted"));
        }
        self.put(path, &parent, name, "link", || {
            rustix::fs::linkat(&from, target_name.as_bytes(), &*parent, name, AtFlags::empty())
        })?;
        if !same(parent.as_fd(), name) {
            // Another process exchanged the file first, so the new link leads to a file of that process.
            let _ = rustix::fs::unlinkat(&*parent, name, AtFlags::empty());
            return Err(refused(target, "it was exchanged while it was linked"));
        }
        self.made.insert(path.as_bytes().into(), made);
        self.summary.hard_links = self.summary.hard_links.saturating_add(1);
        Ok(())
    }

    /// Sets the attributes of all directories, deepest first.
    pub(super) fn finish(mut self) -> Result<Extracted, Error> {
        let mut directories: Vec<_> = std::mem::take(&mut self.directories).into_iter().collect();
        let depth = |path: &[u8]| if path.is_empty() { 0 } else { path.split(|&byte| byte == b'/').count() };
        directories.sort_by_key(|(path, _)| std::cmp::Reverse(depth(path)));
        for (path, (expected, meta)) in directories {
            let dir = self.root.open_dir(&path, OFlags::RDONLY).map_err(|error| beneath(&path, error))?;
            let stat = rustix::fs::fstat(&dir);
            if stat.is_ok_and(|stat| inode(&stat) != expected) {
                let reason = "the directory was exchanged since it was extracted".to_owned();
                return Err(Error::Refused { path: display(&path), reason });
            }
            meta.apply(Subject::open(&dir), &path, self.options, &mut self.summary)?;
        }
        Ok(self.summary)
    }

    /// Counts an entry, applies it if it is a whiteout, and otherwise opens the directory it goes to.
    fn begin<'p>(&mut self, path: &'p SafePath) -> Result<Option<Spot<'p>>, Error> {
        self.charge_entry()?;
        let limits = &self.options.limits;
        let (len, depth) = (path.as_bytes().len() as u64, path.components().count() as u64);
        if len > limits.path {
            return Err(Error::Limit { what: "path length", limit: limits.path, asked: len });
        }
        if depth > limits.depth {
            return Err(Error::Limit { what: "directory depth", limit: limits.depth, asked: depth });
        }
        let Some((parent, name)) = path.split_last() else {
            return Err(refused(path, "the root can only be a directory"));
        };
        if self.options.whiteouts == ExtractWhiteouts::Apply {
            if parent.split(|&byte| byte == b'/').any(|name| name.starts_with(b".wh.")) {
                return Err(refused(path, "it lies under a whiteout"));
            }
            if let Some(whiteout) = parse_whiteout(name.as_bytes(), path.as_bytes())? {
                self.white_out(parent, whiteout)?;
                return Ok(None);
            }
        }
        Ok(Some((self.parent(parent)?, name.as_bytes())))
    }

    fn charge_entry(&mut self) -> Result<(), Error> {
        self.progress.check()?;
        self.entries = self.entries.saturating_add(1);
        let (limit, asked) = (self.options.limits.entries, self.entries);
        if asked > limit { Err(Error::Limit { what: "entries", limit, asked }) } else { Ok(()) }
    }

    /// The directory at `path`, made together with those above it if it does not exist.
    fn parent(&mut self, path: &[u8]) -> Result<Arc<OwnedFd>, Error> {
        if let Some((last, fd)) = &self.parent
            && **last == *path
        {
            return Ok(Arc::clone(fd));
        }
        let opened = match self.root.open_dir(path, THROUGH) {
            Err(Errno::NOENT) => {
                self.make_parents(path)?;
                self.root.open_dir(path, THROUGH)
            }
            opened => opened,
        };
        let fd = Arc::new(opened.map_err(|error| beneath(path, error))?);
        self.parent = Some((path.into(), Arc::clone(&fd)));
        Ok(fd)
    }

    /// Makes `path` and its missing parents, as directories that have no entries of their own.
    fn make_parents(&mut self, path: &[u8]) -> Result<(), Error> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let mut above: &[u8] = &[];
        for end in ends.chain([path.len()]) {
            let here = path.get(..end).unwrap_or_default();
            let dir = self.root.open_dir(above, THROUGH).map_err(|error| beneath(above, error))?;
            let name = here.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            match retry(|| rustix::fs::mkdirat(&dir, name, Mode::RWXU)) {
                Ok(()) => {
                    let stat = confine::stat(&dir, name).map_err(|error| beneath(here, error))?;
                    let meta = Meta { mode: 0o755, ..Meta::for_caller() };
                    self.made.insert(here.into(), Made { inode: inode(&stat), what: MadeKind::Directory });
                    self.directories.insert(here.into(), (inode(&stat), meta));
                }
                Err(Errno::EXIST) => {}
                Err(source) => return Err(not_made(here, source)),
            }
            above = here;
        }
        Ok(())
    }

    /// Makes a directory, or finds the one that is there.
    fn make_directory(&mut self, path: &[u8], parent: &Arc<OwnedFd>, name: &[u8]) -> Result<Inode, Error> {
        for _ in 0..TRIES {
            match retry(|| rustix::fs::mkdirat(&**parent, name, Mode::RWXU)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(source) => return Err(not_made(path, source)),
            }
            let stat = confine::stat(&**parent, name).map_err(|error| beneath(path, error))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                return Ok(inode(&stat));
            }
            self.clear(path, parent, name)?;
        }
        Err(not_made(path, Errno::EXIST))
    }

    /// Calls `make`, which makes `name` in `parent`, after removing the node that has this name now.
    fn put<V>(
        &mut self,
        path: &SafePath,
        parent: &OwnedFd,
        name: &[u8],
        action: &'static str,
        mut make: impl FnMut() -> Result<V, Errno>,
    ) -> Result<V, Error> {
        for _ in 0..TRIES {
            match retry(&mut make) {
                Ok(value) => return Ok(value),
                Err(Errno::EXIST) => self.clear(path.as_bytes(), parent, name)?,
                Err(error) => return Err(failed(action, path, error)),
            }
        }
        Err(failed(action, path, Errno::EXIST))
    }

    /// Removes the node `name` in `parent`, unless it is a directory that is not empty.
    fn clear(&mut self, path: &[u8], parent: &OwnedFd, name: &[u8]) -> Result<(), Error> {
        let remove = |flags| retry(|| rustix::fs::unlinkat(parent, name, flags));
        let removed = match remove(AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => remove(AtFlags::REMOVEDIR),
            other => other,
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => {
                self.forget(path);
                Ok(())
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let reason = "it would replace a directory that is not empty".to_owned();
                Err(Error::Refused { path: display(path), reason })
            }
            Err(source) => Err(Error::Io { action: "remove", path: display(path), source: source.into() }),
        }
    }

    /// Nothing is at `path` any more.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.made.remove(path);
        self.directories.remove(path);
        if self.parent.as_ref().is_some_and(|(last, _)| **last == *path) {
            self.parent = None;
        }
    }

    fn note(&mut self, path: &SafePath, parent: &OwnedFd, name: &[u8]) -> Result<(), Error> {
        let stat = confine::stat(parent, name).map_err(|error| failed("examine", path, error))?;
        self.made.insert(path.as_bytes().into(), Made { inode: inode(&stat), what: MadeKind::Node });
        Ok(())
    }
}

impl Meta {
    /// Owned by the caller.
    fn for_caller() -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { uid: uid.into(), gid: gid.into(), ..Self::default() }
    }
}

pub(super) fn inode(stat: &Stat) -> Inode {
    (stat.st_dev, stat.st_ino)
}

fn io_error(action: &'static str, path: &SafePath, source: io::Error) -> Error {
    Error::Io { action, path: display(path.as_bytes()), source }
}

fn failed(action: &'static str, path: &SafePath, source: Errno) -> Error {
    io_error(action, path, source.into())
}

fn refused(path: &SafePath, reason: &str) -> Error {
    let path = if path.is_root() { b"/" } else { path.as_bytes() };
    Error::Refused { path: display(path), reason: reason.to_owned() }
}

/// The error for a directory `path` that cannot be opened from the destination.
pub(super) fn beneath(path: &[u8], source: Errno) -> Error {
    match source {
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV => {
            let reason = "a symlink or something else than a directory is in its way".to_owned();
            Error::Refused { path: display(path), reason }
        }
        _ => Error::Io { action: "open", path: display(path), source: source.into() },
    }
}

fn not_made(path: &[u8], source: Errno) -> Error {
    Error::Io { action: "create", path: display(path), source: source.into() }
}

/// Content is moved in blocks of this size.
const BUFFER: usize = 1 << 20;

/// How often a name is removed that another process keeps making again.
const TRIES: usize = 16;
