//! Answers requests from the tree.

use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use dunnage_digest::{Cancel, Purpose, ReadRequest};
use fuser::{AccessFlags, Errno, FileAttr, INodeNo, Request};

use super::{
    MountOptions,
    buffers::Buffers,
    convert::{Numbers, attributes, content_errno, errno, nameless},
    listeners::Listeners,
    metrics::{Metrics, Op},
    options::{Content, Report},
    overflow::Overflow,
    passthrough::OpenFiles,
    pending::{Asked, Reply, Slot, Slots},
    readahead::ReadAhead,
};
use crate::{Attr, DirEntry, Error, Kind, Tree, Usage};

/// Answers the requests of the kernel for one mount.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) tree: Arc<dyn Tree>,
    pub(super) numbers: Numbers,
    pub(super) lifetime: Duration,
    pub(super) options: MountOptions,
    pub(super) files: OpenFiles,
    /// Whether opening a file, or a directory, may be answered once for all.
    pub(super) skips_open: bool,
    pub(super) skips_opendir: bool,
    pub(super) metrics: Arc<Metrics>,
    pub(super) slots: Arc<Slots>,
    /// Threads that listen to the kernel, and those that work at the moment.
    listeners: usize,
    working: AtomicUsize,
    pub(super) overflow: Arc<Overflow>,
    pub(super) ahead: Arc<ReadAhead>,
    turns: Listeners,
    pub(super) buffers: Buffers,
    /// How much a tree holds that cannot change.
    usage: OnceLock<Option<Usage>>,
}

/// An entry of a directory as it goes out.
pub(super) struct Listed<'e> {
    pub(super) name: &'e [u8],
    pub(super) kind: Kind,
    pub(super) ino: INodeNo,
    /// Where listing goes on after it.
    pub(super) next: u64,
}

impl Server {
    pub(super) fn new(tree: Arc<dyn Tree>, options: &MountOptions, metrics: Arc<Metrics>, slots: Arc<Slots>) -> Self {
        Self {
            numbers: Numbers::new(tree.root()),
            tree,
            lifetime: options.lifetime(),
            options: options.clone(),
            files: OpenFiles::default(),
            skips_open: false,
            skips_opendir: false,
            metrics,
            slots,
            listeners: options.threads(),
            working: AtomicUsize::new(0),
            overflow: Arc::default(),
            ahead: Arc::new(ReadAhead::new()),
            turns: Listeners::new(options.threads()),
            buffers: Buffers::default(),
            usage: OnceLock::new(),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.options.content == Content::Live
    }

    /// Works on a request and sends the result, unless the caller has given up by then. Works in this thread, unless the work
    /// can take long and no other thread would be left to listen.
    pub(super) fn serve<R: Reply + Send + 'static, T>(
        self: &Arc<Self>,
        op: Op,
        request: &Request,
        reply: R,
        work: impl FnOnce(&Self, &Slot) -> Result<T, Errno> + Send + 'static,
        send: impl FnOnce(&Self, R, T) + Send + 'static,
    ) {
        self.serve_until(op, request, None, reply, work, send);
    }

    /// Does the same for work that stops when `cancel` is raised. The watcher raises it when the caller gives up.
    pub(super) fn serve_until<R: Reply + Send + 'static, T>(
        self: &Arc<Self>,
        op: Op,
        request: &Request,
        cancel: Option<Cancel>,
        reply: R,
        work: impl FnOnce(&Self, &Slot) -> Result<T, Errno> + Send + 'static,
        send: impl FnOnce(&Self, R, T) + Send + 'static,
    ) {
        let since = self.begin();
        let asked = Asked { caller: request.pid(), since, cancel };
        let working = self.working.fetch_add(1, Relaxed).saturating_add(1);
        if working < self.listeners || !self.can_take_long(op) {
            let slot = self.slots.begin(asked, reply);
            self.finish(op, since, &slot, work, send);
            self.working.fetch_sub(1, Relaxed);
            self.turns.end();
            return;
        }
        self.working.fetch_sub(1, Relaxed);
        let slot = self.slots.begin_elsewhere(asked, reply);
        let own = Arc::clone(self);
        self.overflow.run(Box::new(move || {
            if slot.is_owed() {
                own.finish(op, since, &slot, work, send);
            } else {
                own.metrics.end(op, since.elapsed(), true);
            }
            own.slots.remove(&slot);
        }));
        self.turns.end();
    }

    /// Whether the tree may have to wait: always for content, and for everything else only if the tree can change. The names
    /// and attributes of a fixed tree are in memory.
    fn can_take_long(&self, op: Op) -> bool {
        matches!(op, Op::Read | Op::Lseek) || self.is_live()
    }

    /// A request has come, at the time that is returned.
    fn begin(&self) -> Instant {
        let now = Instant::now();
        self.turns.begin(now);
        self.metrics.begin();
        now
    }

    fn finish<R: Reply, T>(
        &self,
        op: Op,
        since: Instant,
        slot: &Slot,
        work: impl FnOnce(&Self, &Slot) -> Result<T, Errno>,
        send: impl FnOnce(&Self, R, T),
    ) {
        let outcome = self.guard(|| work(self, slot));
        let failed = outcome.is_err();
        if let Some(reply) = slot.take::<R>() {
            match outcome {
                Ok(answer) => send(self, reply, answer),
                Err(errno) => reply.fail(errno),
            }
        }
        self.metrics.end(op, since.elapsed(), failed);
    }

    /// Turns a panic into an error.
    pub(super) fn guard<T>(&self, work: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            self.metrics.panicked();
            let text =
                panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(|text| &**text));
            self.report().tell(|| format!("a request failed inside: {}", text.unwrap_or("no reason given")));
            Err(Errno::EIO)
        })
    }

    pub(super) const fn report(&self) -> &Report {
        &self.options.report
    }

    /// Reports the whole error if the caller gets no more than `EIO`.
    fn failed(&self, error: &Error, errno: Errno) -> Errno {
        if errno.code() == Errno::EIO.code() {
            self.report().tell(|| crate::error::chain(error));
        }
        errno
    }

    pub(super) fn ask<T>(&self, outcome: Result<T, Error>) -> Result<T, Errno> {
        outcome.map_err(|error| self.failed(&error, errno(&error)))
    }

    /// The same for a call that reads content.
    fn ask_content<T>(&self, outcome: Result<T, Error>) -> Result<T, Errno> {
        outcome.map_err(|error| {
            let errno = content_errno(&error);
            if errno.code() == Errno::ETIMEDOUT.code() {
                self.metrics.time_out();
            }
            self.failed(&error, errno)
        })
    }

    pub(super) fn attr(&self, ino: INodeNo) -> Result<Attr, Errno> {
        self.ask(self.tree.attr(self.numbers.node(ino)))
    }

    pub(super) fn attributes(&self, ino: INodeNo) -> Result<FileAttr, Errno> {
        Ok(attributes(ino, &self.attr(ino)?))
    }

    /// The attributes of a name's node; `None` for a name that is not there.
    pub(super) fn find(&self, parent: INodeNo, name: &[u8]) -> Result<Option<FileAttr>, Errno> {
        let found = self.ask(self.tree.lookup(self.numbers.node(parent), name))?;
        found.map(|node| self.attributes(self.numbers.inode(node))).transpose()
    }

    pub(super) fn read_link(&self, ino: INodeNo) -> Result<Vec<u8>, Errno> {
        Ok(self.ask(self.tree.read_link(self.numbers.node(ino)))?.into_owned())
    }

    /// Called before a read: has the pieces after it unpacked, if a program reads the file from front to back.
    pub(super) fn unpack_ahead(self: &Arc<Self>, ino: INodeNo, at: u64, len: u32) {
        let node = self.numbers.node(ino);
        let piece_end = |at| self.tree.piece_end(node, at).ok().flatten();
        let note = || Ok(self.ahead.note(node, at, u64::from(len), piece_end));
        if !self.guard(note).unwrap_or(false) {
            return;
        }
        let own = Arc::clone(self);
        self.overflow.run(Box::new(move || {
            while let Some((node, at)) = own.ahead.next() {
                let (purpose, deadline) = (Purpose::Ahead, own.deadline());
                let request = ReadRequest { purpose, deadline, cancel: Some(own.ahead.cancel()) };
                // Errors are ignored here: the read that reaches this piece reports them.
                let unpack = || own.tree.prepare(node, at, &request).map_err(|_| Errno::EIO);
                if own.guard(unpack).is_ok() {
                    own.metrics.unpack_ahead();
                }
            }
        }));
    }

    /// When a request that comes now has taken too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.options.deadline)
    }

    /// Reads into the start of `buffer`, at most `len` bytes.
    pub(super) fn read(
        &self,
        ino: INodeNo,
        at: u64,
        len: u32,
        buffer: &mut Vec<u8>,
        request: &ReadRequest<'_>,
    ) -> Result<usize, Errno> {
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(READ_MAX);
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let to = buffer.get_mut(..len).unwrap_or_default();
        let read = self.ask_content(self.tree.read_at_for(self.numbers.node(ino), at, to, request))?;
        self.metrics.read(read);
        Ok(read.min(len))
    }

    /// The next data or the next hole of a file at or after `at`, as `SEEK_DATA` and `SEEK_HOLE` ask for them. The end of the
    /// file counts as a hole.
    pub(super) fn seek(&self, ino: INodeNo, at: u64, seek: Seek) -> Result<u64, Errno> {
        let node = self.numbers.node(ino);
        let size = self.attr(ino)?.size;
        if at >= size {
            return Err(Errno::ENXIO);
        }
        let mut at = at;
        loop {
            let next = self.ask_content(self.tree.data_from(node, at))?;
            match (seek, next) {
                (Seek::Data, Some(data)) => return Ok(data.start.max(at)),
                (Seek::Data, None) => return Err(Errno::ENXIO),
                (Seek::Hole, Some(data)) if data.start <= at && data.end > at && data.end < size => at = data.end,
                (Seek::Hole, Some(data)) if data.start <= at => return Ok(size),
                (Seek::Hole, _) => return Ok(at),
            }
        }
    }

    /// How much the tree holds. A tree that cannot change is asked once.
    pub(super) fn usage(&self) -> Usage {
        let usage = if self.is_live() { self.tree.usage() } else { *self.usage.get_or_init(|| self.tree.usage()) };
        usage.unwrap_or_default()
    }

    /// Lists `ino` from the offset that the kernel got last, until `visit` breaks.
    ///
    /// Offsets are those of the tree, shifted by the two names that it does not list.
    pub(super) fn list(
        &self,
        ino: INodeNo,
        from: u64,
        visit: &mut dyn FnMut(Listed<'_>) -> ControlFlow<()>,
    ) -> Result<(), Errno> {
        let above = if ino == INodeNo::ROOT { ino } else { UNKNOWN };
        for (next, name, ino) in [(1, b".".as_slice(), ino), (OWN, b"..", above)] {
            if from < next && visit(Listed { name, kind: Kind::Directory, ino, next }).is_break() {
                return Ok(());
            }
        }
        self.ask(self.tree.read_dir(self.numbers.node(ino), from.saturating_sub(OWN), &mut |entry: DirEntry<'_>| {
            // One such name would make the kernel refuse the whole listing.
            if entry.name.is_empty()
                || entry.name.len() > NAME_MAX
                || entry.name.iter().any(|&byte| byte == b'/' || byte == 0)
            {
                return ControlFlow::Continue(());
            }
            visit(Listed {
                name: entry.name,
                kind: entry.kind,
                ino: self.numbers.inode(entry.node),
                next: entry.next.saturating_add(OWN),
            })
        }))
    }

    /// Attributes for a listing, and how long they hold: no time at all if the tree could not tell them.
    pub(super) fn listed(&self, entry: &Listed<'_>) -> (FileAttr, Duration) {
        if matches!(entry.name, b"." | b"..") {
            return (nameless(entry.ino, entry.kind), Duration::ZERO);
        }
        match self.attributes(entry.ino) {
            Ok(attr) => (attr, self.lifetime),
            Err(_) => (nameless(entry.ino, entry.kind), Duration::ZERO),
        }
    }

    /// The value of an attribute; `None` for one that is not there.
    pub(super) fn xattr(&self, ino: INodeNo, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        let mut found = None;
        self.ask(self.tree.xattrs(self.numbers.node(ino), &mut |known, value| {
            if known != name {
                return ControlFlow::Continue(());
            }
            found = Some(value.to_vec());
            ControlFlow::Break(())
        }))?;
        Ok(found)
    }

    /// The names of all attributes, each ended by a NUL.
    pub(super) fn xattr_names(&self, ino: INodeNo) -> Result<Vec<u8>, Errno> {
        let mut names = Vec::new();
        self.ask(self.tree.xattrs(self.numbers.node(ino), &mut |name, _| {
            if !name.is_empty() && !name.contains(&0) {
                names.extend_from_slice(name);
                names.push(0);
            }
            ControlFlow::Continue(())
        }))?;
        Ok(names)
    }

    /// Asked only where the kernel does not check permissions itself, which is where the mounter alone may look.
    pub(super) fn permit(&self, ino: INodeNo, mask: AccessFlags) -> Result<(), Errno> {
        if mask.contains(AccessFlags::W_OK) {
            return Err(Errno::EROFS);
        }
        let attr = self.attr(ino)?;
        let is_refused = mask.contains(AccessFlags::X_OK) && attr.kind == Kind::File && attr.mode & 0o111 == 0;
        if is_refused { Err(Errno::EACCES) } else { Ok(()) }
    }
}

/// The two questions about holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seek {
    Data,
    Hole,
}

/// Names that every directory has and no tree lists.
const OWN: u64 = 2;

/// Inode number of a parent directory in a listing: the kernel does not use it, and a tree does not know it.
const UNKNOWN: INodeNo = INodeNo(0xffff_ffff);

/// Longest name that the kernel takes from a listing.
const NAME_MAX: usize = 1024;

/// More than the kernel ever asks for at once.
const READ_MAX: usize = 16 << 20;
