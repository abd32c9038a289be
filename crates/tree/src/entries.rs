//! A tree as a sequence of entries with their content.
//!
//! The sequence is a function of the tree and the options: no clock, no host name, no order but that of the walk. Memory
//! stays constant, but for the names of files that have hard links.

mod options;

use std::{
    io::{self, Read},
    ops::{ControlFlow, Range},
};

use dunnage_digest::Offset;
use hashbrown::HashMap;

pub use self::options::{ExportMtime, ExportNanos, ExportOptions, ExportOwners, ExportRoot, ExportSparse};
use crate::{
    Attr, Error, Kind, Mtime, NodeId, Owner, Span, Tree, Walk,
    content::{Content, Length, prefix},
    name::display,
    tar::{EntryType, Format, Header},
};

/// The nodes of a tree in the order of an export: a header, its content, the next header.
///
/// Use it to write a tree in a format that describes files as tar does. [`TarExport`](crate::TarExport) makes the bytes of
/// a tar of it; a writer that needs no such bytes takes the entries as they are. The calls are those of
/// [`tar::Reader`](crate::tar::Reader), so that one loop can serve both.
///
/// Parents come before their children, and names of one directory in bytewise order. The first name of a file is an entry
/// with content, each further name is a hard link to the first. Sockets are left out and [listed](Self::skipped).
///
/// After an error, every further call fails.
///
/// ```
/// use dunnage_tree::{DirTree, Entries, ExportOptions, Span, tar::Header};
///
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("motd"), "hello")?;
/// let tree = DirTree::open(dir.path())?;
///
/// let mut entries = Entries::new(&tree, ExportOptions::default());
/// let mut header = Header::default();
/// while entries.next_header(&mut header)? {
///     let mut content = Vec::new();
///     while let Some(span) = entries.next_span()? {
///         match span {
///             Span::Hole(len) => content.resize(content.len() + len as usize, 0),
///             Span::Data(len) => {
///                 let start = content.len();
///                 content.resize(start + len as usize, 0);
///                 entries.read_payload(&mut content[start..])?;
///             }
///         }
///     }
///     assert_eq!((header.name.as_slice(), content.as_slice()), (&b"motd"[..], &b"hello"[..]));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Entries<'t, T: Tree + ?Sized> {
    tree: &'t T,
    options: ExportOptions,
    walk: Walk<'t, T>,
    /// The file that was described last, until its end has been reached.
    file: Option<Content<'t, T>>,
    /// Its name, for errors.
    name: Vec<u8>,
    /// First name of each file that has several.
    linked: HashMap<NodeId, Box<[u8]>>,
    skipped: Vec<Vec<u8>>,
    /// Headers handed out.
    count: u64,
    failed: bool,
}

impl<'t, T: Tree + ?Sized> Entries<'t, T> {
    /// The entries of `tree`.
    #[must_use]
    pub fn new(tree: &'t T, options: ExportOptions) -> Self {
        Self {
            tree,
            walk: Walk::new(tree).limits(options.limits.clone()),
            options,
            file: None,
            name: Vec::new(),
            linked: HashMap::new(),
            skipped: Vec::new(),
            count: 0,
            failed: false,
        }
    }

    /// Paths of the sockets met so far, which tar cannot hold.
    #[must_use]
    pub fn skipped(&self) -> &[Vec<u8>] {
        &self.skipped
    }

    /// Steps to the next entry and describes it in `header`, of which nothing old remains; `false` at the end.
    ///
    /// Content of the entry before that was not read is passed over, without a check of its length.
    ///
    /// # Errors
    ///
    /// Those of [`Walk::advance`] and of the tree.
    pub fn next_header(&mut self, header: &mut Header) -> Result<bool, Error> {
        self.guard(|entries| entries.advance(header))
    }

    /// Reads content of the current entry until `buf` is full or the content ends; the number of bytes read. Holes read as
    /// zeros, without a call of the tree.
    ///
    /// # Errors
    ///
    /// [`Error::Inconsistent`] if the file is not as long as its header says, which a read at the end of the content checks;
    /// those of the tree.
    pub fn read_payload(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        self.guard(|entries| entries.fill(buf))
    }

    /// The span at the current position of the content; `None` at its end.
    ///
    /// A hole is passed over by this call. Data is not: the caller reads it with [`read_payload`](Self::read_payload), and
    /// a call in the middle of data returns the rest of it. Files below 64 KiB are taken for data.
    ///
    /// # Errors
    ///
    /// As [`read_payload`](Self::read_payload).
    pub fn next_span(&mut self) -> Result<Option<Span>, Error> {
        self.guard(|entries| {
            let span = entries.span()?;
            if let (Some(Span::Hole(len)), Some(file)) = (span, &mut entries.file) {
                file.pass(len);
            }
            Ok(span)
        })
    }

    /// Choices of the export.
    pub(crate) const fn options(&self) -> &ExportOptions {
        &self.options
    }

    /// Ranges of the current file that hold data, holes below `smallest` bytes included; `None` if there is no hole, or if
    /// there are more than `at_most` ranges.
    pub(crate) fn data(&mut self, smallest: u64, at_most: u64) -> Result<Option<Vec<Range<u64>>>, Error> {
        self.guard(|entries| {
            let Some(file) = &entries.file else { return Ok(None) };
            let (mut file, mut ranges, mut is_sparse) = (file.again(), Vec::<Range<u64>>::new(), false);
            while let Some(span) = file.span()? {
                let from = file.position();
                file.pass(span.len());
                let to = file.position();
                let (is_data, is_full) =
                    (matches!(span, Span::Data(_)) || span.len() < smallest, ranges.len() as u64 >= at_most);
                match ranges.last_mut() {
                    _ if !is_data => is_sparse = true,
                    Some(last) if last.end == from => last.end = to,
                    _ if is_full => return Ok(None),
                    _ => ranges.push(from..to),
                }
            }
            Ok(is_sparse.then_some(ranges))
        })
    }

    /// Passes over `len` bytes of the current file, which hold zeros.
    pub(crate) fn pass(&mut self, len: u64) {
        if let Some(file) = self.file.as_mut().filter(|_| len > 0) {
            file.pass(len);
        }
    }

    fn guard<V>(&mut self, call: impl FnOnce(&mut Self) -> Result<V, Error>) -> Result<V, Error> {
        if self.failed {
            let source = io::Error::other("an earlier error ended the entries");
            return Err(Error::Read { what: "entries of a tree", at: Offset::new(self.count), source });
        }
        let result = call(self);
        self.failed = result.is_err();
        result
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let mut filled: usize = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let (Some(span), Some(file)) = (self.span()?, &mut self.file) else { break };
            let read = match span {
                Span::Hole(len) => {
                    let part = prefix(rest, len);
                    part.fill(0);
                    file.pass(part.len() as u64);
                    part.len()
                }
                Span::Data(len) => file.read(rest, len)?,
            };
            if read == 0 {
                let (size, at) = (file.size(), file.position());
                return Err(self.changed(size, format!("{at}: it shrank while it was read")));
            }
            filled = filled.saturating_add(read);
        }
        Ok(filled)
    }

    /// The span at the position of the file on its way; at its end, compares its length and lets go of it.
    fn span(&mut self) -> Result<Option<Span>, Error> {
        let Some(file) = &mut self.file else { return Ok(None) };
        if let Some(span) = file.span()? {
            return Ok(Some(span));
        }
        let (size, length) = (file.size(), file.length()?);
        self.file = None;
        match length {
            Length::Same => Ok(None),
            Length::Shorter => Err(self.changed(size, "fewer: it shrank while it was read".to_owned())),
            Length::Longer => Err(self.changed(size, "more: it grew while it was read".to_owned())),
        }
    }

    fn changed(&self, size: u64, got: String) -> Error {
        Error::Inconsistent { path: display(&self.name), expected: format!("{size} bytes"), got }
    }

    fn advance(&mut self, header: &mut Header) -> Result<bool, Error> {
        self.file = None;
        while let Some(visit) = self.walk.advance()? {
            let (node, attr) = (visit.node, visit.attr);
            if visit.path.is_empty() && self.options.root == ExportRoot::Omit {
                continue;
            }
            header.entry = match attr.kind {
                Kind::File => EntryType::File,
                Kind::Directory => EntryType::Directory,
                Kind::Symlink => EntryType::Symlink,
                Kind::CharDevice => EntryType::CharDevice,
                Kind::BlockDevice => EntryType::BlockDevice,
                Kind::Fifo => EntryType::Fifo,
                Kind::Socket => {
                    self.skipped.push(visit.path.to_vec());
                    continue;
                }
            };
            header.name.clear();
            header.name.extend_from_slice(&self.options.prefix);
            header.name.extend_from_slice(visit.path);
            if header.name.is_empty() {
                header.name.extend_from_slice(b"./");
            }
            if attr.kind == Kind::Directory && !header.name.ends_with(b"/") {
                header.name.push(b'/');
            }
            self.describe(node, &attr, header)?;
            if header.entry == EntryType::File && attr.size > 0 {
                self.file = Some(Content::new(self.tree, node, attr.size));
                self.name.clone_from(&header.name);
            }
            self.count = self.count.saturating_add(1);
            return Ok(true);
        }
        Ok(false)
    }

    /// Fills `header` but for its name and type.
    fn describe(&mut self, node: NodeId, attr: &Attr, header: &mut Header) -> Result<(), Error> {
        let options = &self.options;
        header.link.clear();
        header.pax.clear();
        header.sparse = false;
        (header.atime, header.ctime) = (None, None);
        header.format = options.format;
        header.mode = i64::from(attr.mode);
        header.size = if attr.kind == Kind::File { attr.size } else { 0 };
        header.device = (i64::from(attr.device.0), i64::from(attr.device.1));
        header.mtime = attr.mtime.map(|mtime| mtime_of(mtime, options));
        if let ExportMtime::Fixed(secs) = options.mtime {
            header.mtime = Some(Mtime { secs, nanos: 0 });
        }
        // Only PAX records hold parts of a second; other headers stay as small as they can.
        if header.format == Format::Unknown && header.mtime.is_some_and(|mtime| mtime.nanos != 0) {
            header.format = Format::Pax;
        }
        let owner = match options.owners {
            ExportOwners::Keep => self.tree.owner(node)?,
            _ => Owner::default(),
        };
        header.user = owner.user.into_owned();
        header.group = owner.group.into_owned();
        (header.uid, header.gid) = match options.owners {
            ExportOwners::Fixed { uid, gid } => (uid, gid),
            _ => (attr.uid, attr.gid),
        };
        if attr.kind != Kind::Directory && attr.links > 1 {
            if let Some(first) = self.linked.get(&node) {
                header.entry = EntryType::HardLink;
                header.link.extend_from_slice(first);
                header.size = 0;
                return Ok(());
            }
            self.linked.insert(node, header.name.as_slice().into());
        }
        if attr.kind == Kind::Symlink {
            header.link.extend_from_slice(&self.tree.read_link(node)?);
        }
        self.tree.xattrs(node, &mut |name, value| {
            header.pax.insert([Header::XATTR, name].concat(), value.to_vec());
            ControlFlow::Continue(())
        })
    }
}

/// Reads the content of the current entry, as [`Entries::read_payload`] does.
impl<T: Tree + ?Sized> Read for Entries<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_payload(buf).map_err(io::Error::from)
    }
}

fn mtime_of(mtime: Mtime, options: &ExportOptions) -> Mtime {
    match options.mtime {
        ExportMtime::Clamp(secs) if mtime.secs >= secs => Mtime { secs, nanos: 0 },
        _ if options.nanos == ExportNanos::Truncate => Mtime { nanos: 0, ..mtime },
        _ => mtime,
    }
}
