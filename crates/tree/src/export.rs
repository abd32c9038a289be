//! A tree as a tar stream.
//!
//! The stream is a function of the tree and the options: no clock, no host name, no order but that of the walk. Memory
//! stays constant, but for the names of files that have hard links.

use std::{
    io::{self, Read},
    ops::ControlFlow,
};

use hashbrown::HashMap;

use crate::{
    Attr, Error, Kind, Limits, Mtime, NodeId, Owner, Tree, Walk,
    name::display,
    tar::{self, EntryType, Format, Header},
};

/// What an export writes where there is a choice.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ExportOptions {
    /// Times of last change. Default: as they are.
    pub mtime: ExportMtime,
    /// Parts of a second. Default: left out, so that most headers need no PAX records.
    pub nanos: ExportNanos,
    /// Owners. Default: as they are.
    pub owners: ExportOwners,
    /// Put in front of every name: empty or `./`, for example. Default: empty.
    pub prefix: Vec<u8>,
    /// The root directory. Default: no entry.
    pub root: ExportRoot,
    /// Variant of tar. Default: [`Format::Unknown`], the smallest that holds each header.
    pub format: Format,
    /// Ceilings of the walk.
    pub limits: Limits,
}

/// Which times of last change are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportMtime {
    /// Those of the tree; zero where it has none.
    #[default]
    Keep,
    /// Those of the tree, later ones replaced by this second after 1970, as `SOURCE_DATE_EPOCH` asks for.
    Clamp(i64),
    /// This second after 1970, everywhere.
    Fixed(i64),
}

/// Whether parts of a second are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: kept or not")]
pub enum ExportNanos {
    /// Whole seconds, the part cut off.
    #[default]
    Truncate,
    /// As they are, in a PAX record where there is a part.
    Keep,
}

/// Which owners are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportOwners {
    /// Numbers, and names where the tree has them.
    #[default]
    Keep,
    /// Numbers without names.
    Numeric,
    /// These numbers, everywhere.
    Fixed {
        /// Owner.
        uid: i64,
        /// Group.
        gid: i64,
    },
}

/// Whether the root directory has an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: there or not")]
pub enum ExportRoot {
    /// No entry.
    #[default]
    Omit,
    /// An entry named by [`ExportOptions::prefix`], or `./` if that is empty.
    Include,
}

/// The tar stream of a tree, to be read.
///
/// Large buffers are filled by the tree directly. Reading fails with an [`io::Error`] that holds a
/// [`SourceError`](dunnage_digest::SourceError) around an [`Error`]; it stays failed.
#[derive(Debug)]
pub struct TarExport<'t, T: Tree + ?Sized> {
    tree: &'t T,
    options: ExportOptions,
    walk: Walk<'t, T>,
    /// Header or padding that is being handed out, and how much of it is.
    block: Vec<u8>,
    block_at: usize,
    /// The file that is being handed out.
    file: Option<Content>,
    header: Header,
    /// First name of each file that has several.
    linked: HashMap<NodeId, Box<[u8]>>,
    skipped: Vec<Vec<u8>>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Entries,
    /// The two zero blocks are in `block`.
    End,
    Failed,
}

/// Content of a file on its way.
#[derive(Debug)]
struct Content {
    node: NodeId,
    at: u64,
    size: u64,
}

impl<'t, T: Tree + ?Sized> TarExport<'t, T> {
    /// The stream of `tree`.
    #[must_use]
    pub fn new(tree: &'t T, options: ExportOptions) -> Self {
        Self {
            tree,
            walk: Walk::new(tree).limits(options.limits.clone()),
            options,
            block: Vec::with_capacity(4 * BLOCK),
            block_at: 0,
            file: None,
            header: Header::default(),
            linked: HashMap::new(),
            skipped: Vec::new(),
            state: State::Entries,
        }
    }

    /// Paths of the sockets met so far, which tar cannot hold.
    #[must_use]
    pub fn skipped(&self) -> &[Vec<u8>] {
        &self.skipped
    }

    /// Reads into `buf` until it is full or the stream ends; the number of bytes read.
    ///
    /// # Errors
    ///
    /// [`Error::Inconsistent`] if a file is not as long as its attributes said, [`Error::Header`] for what the chosen
    /// format cannot express, those of the tree. After an error, the stream stays at its end.
    pub fn fill(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let mut filled: usize = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.some(rest) {
                Ok(0) => break,
                Ok(read) => filled = filled.saturating_add(read),
                Err(error) => {
                    self.state = State::Failed;
                    return Err(error);
                }
            }
        }
        Ok(filled)
    }

    /// At least one byte, unless the stream ends.
    fn some(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        loop {
            if self.state == State::Failed {
                return Ok(0);
            }
            if let Some(block) = self.block.get(self.block_at..).filter(|block| !block.is_empty()) {
                let len = block.len().min(buf.len());
                if let (Some(from), Some(to)) = (block.get(..len), buf.get_mut(..len)) {
                    to.copy_from_slice(from);
                }
                self.block_at = self.block_at.saturating_add(len);
                return Ok(len);
            }
            self.block.clear();
            self.block_at = 0;
            if let Some(read) = self.content(buf)? {
                return Ok(read);
            }
            match self.state {
                State::Entries if self.block.is_empty() => self.entry()?,
                State::Entries => {}
                State::End | State::Failed => return Ok(0),
            }
        }
    }

    /// Bytes of the file on its way; `None` if there is none, or if it just ended and its padding is in `block`.
    fn content(&mut self, buf: &mut [u8]) -> Result<Option<usize>, Error> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let rest = file.size.saturating_sub(file.at);
        let len = usize::try_from(rest).unwrap_or(usize::MAX).min(buf.len());
        if let Some(buf) = buf.get_mut(..len).filter(|buf| !buf.is_empty()) {
            let read = self.tree.read_at(file.node, file.at, buf)?;
            if read == 0 {
                let (expected, got) =
                    (format!("{} bytes", file.size), format!("{}: it shrank while it was read", file.at));
                return Err(Error::Inconsistent { path: display(&self.header.name), expected, got });
            }
            file.at = file.at.saturating_add(read as u64);
            return Ok(Some(read));
        }
        if self.tree.read_at(file.node, file.size, &mut [0])? > 0 {
            let (expected, got) = (format!("{} bytes", file.size), "more: it grew while it was read".to_owned());
            return Err(Error::Inconsistent { path: display(&self.header.name), expected, got });
        }
        let padding = usize::try_from(tar::padding(file.size)).unwrap_or_default();
        self.block.resize(padding, 0);
        self.file = None;
        Ok(None)
    }

    /// Puts the next header, or the end, into `block`.
    fn entry(&mut self) -> Result<(), Error> {
        let Some(visit) = self.walk.advance()? else {
            self.state = State::End;
            self.block.resize(2 * BLOCK, 0);
            return Ok(());
        };
        let (node, attr) = (visit.node, visit.attr);
        let header = &mut self.header;
        header.name.clear();
        header.name.extend_from_slice(&self.options.prefix);
        if visit.path.is_empty() {
            if self.options.root == ExportRoot::Omit {
                return Ok(());
            }
            if header.name.is_empty() {
                header.name.extend_from_slice(b"./");
            }
        } else {
            header.name.extend_from_slice(visit.path);
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
                return Ok(());
            }
        };
        if attr.kind == Kind::Directory && !header.name.ends_with(b"/") {
            header.name.push(b'/');
        }
        self.describe(node, &attr)?;
        if self.header.entry == EntryType::File && attr.size > 0 {
            self.file = Some(Content { node, at: 0, size: attr.size });
        }
        tar::encode_header(&self.header, &mut self.block).map(drop)
    }

    /// Fills the header but for its name.
    fn describe(&mut self, node: NodeId, attr: &Attr) -> Result<(), Error> {
        let (header, options) = (&mut self.header, &self.options);
        header.link.clear();
        header.pax.clear();
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
        if attr.kind == Kind::Symlink {
            header.link.extend_from_slice(&self.tree.read_link(node)?);
        }
        if attr.kind == Kind::File && attr.links > 1 {
            if let Some(first) = self.linked.get(&node) {
                header.entry = EntryType::HardLink;
                header.link.extend_from_slice(first);
                header.size = 0;
                return Ok(());
            }
            self.linked.insert(node, header.name.as_slice().into());
        }
        self.tree.xattrs(node, &mut |name, value| {
            header.pax.insert([Header::XATTR, name].concat(), value.to_vec());
            ControlFlow::Continue(())
        })
    }
}

impl<T: Tree + ?Sized> Read for TarExport<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.state == State::Failed {
            return Err(io::Error::other("the export failed before"));
        }
        self.fill(buf).map_err(io::Error::from)
    }
}

fn mtime_of(mtime: Mtime, options: &ExportOptions) -> Mtime {
    match options.mtime {
        ExportMtime::Clamp(secs) if mtime.secs >= secs => Mtime { secs, nanos: 0 },
        _ if options.nanos == ExportNanos::Truncate => Mtime { nanos: 0, ..mtime },
        _ => mtime,
    }
}

/// What tar counts in.
const BLOCK: usize = 512;
