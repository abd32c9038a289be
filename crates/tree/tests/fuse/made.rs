//! Trees that exist nowhere: large, slow, blocked, broken.

use std::{
    borrow::Cow,
    ops::{ControlFlow, Range},
    os::fd::OwnedFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use dunnage_digest::{ErrorKind, Offset, Purpose, ReadRequest, SourceError};
use dunnage_tree::{Attr, DirEntry, DirVisitor, Error, Kind, NodeId, Tree, XattrVisitor};

/// What reading a file does.
#[derive(Debug)]
pub(crate) enum Reads {
    /// Zeros, at once.
    Zeros,
    /// Zeros, after a while.
    After(Duration),
    /// Nothing, until the gate is opened.
    Blocked(Gate),
    /// Nothing, until the request ends. Counts the reads that wait.
    Never(Arc<AtomicUsize>),
    /// An error, of the kind whose place in the list of kinds is the number of the file.
    Failing,
    /// A panic.
    Panic,
}

/// Holds readers up.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Whether it is open, and how many wait.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, (bool, usize)> {
        self.state.lock().unwrap()
    }

    fn pass(&self) {
        let mut state = self.lock();
        state.1 += 1;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.0).unwrap());
    }

    pub(crate) fn open(&self) {
        self.lock().0 = true;
        self.changed.notify_all();
    }

    /// Waits until a reader has come to the gate.
    pub(crate) fn wait_for_readers(&self) {
        let (state, timeout) =
            self.changed.wait_timeout_while(self.lock(), Duration::from_secs(10), |state| state.1 == 0).unwrap();
        drop(state);
        assert!(!timeout.timed_out(), "no reader comes");
    }
}

/// One directory of files `000000`, `000001` and so on. The root is not node 1, and node 1 is a file.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) files: u64,
    pub(crate) size: u64,
    pub(crate) reads: Reads,
}

const ROOT: u64 = 1_000_000_007;

impl Made {
    fn is_file(&self, node: NodeId) -> bool {
        node.get() < self.files
    }
}

impl Tree for Made {
    fn root(&self) -> NodeId {
        NodeId::new(ROOT)
    }

    fn attr(&self, node: NodeId) -> Result<Attr, Error> {
        let root = node == self.root();
        if !root && !self.is_file(node) {
            return Err(Error::NoNode(node.get()));
        }
        Ok(Attr {
            kind: if root { Kind::Directory } else { Kind::File },
            mode: if root { 0o755 } else { 0o644 },
            uid: i64::from(rustix::process::geteuid().as_raw()),
            gid: 0,
            size: if root { 0 } else { self.size },
            mtime: None,
            links: 1,
            device: (0, 0),
            is_implied: false,
        })
    }

    fn lookup(&self, _: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error> {
        let number = std::str::from_utf8(name).ok().filter(|name| name.len() == 6).and_then(|name| name.parse().ok());
        Ok(number.filter(|&number| number < self.files).map(NodeId::new))
    }

    fn read_dir(&self, _: NodeId, from: u64, visit: DirVisitor<'_>) -> Result<(), Error> {
        for number in from..self.files {
            let name = format!("{number:06}");
            let entry =
                DirEntry { name: name.as_bytes(), node: NodeId::new(number), kind: Kind::File, next: number + 1 };
            if let ControlFlow::Break(()) = visit(entry) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self, _: NodeId) -> Result<Cow<'_, [u8]>, Error> {
        Err(Error::WrongKind { expected: Kind::Symlink, got: Kind::File })
    }

    fn xattrs(&self, _: NodeId, _: XattrVisitor<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn read_at_for(&self, node: NodeId, at: u64, buf: &mut [u8], request: &ReadRequest<'_>) -> Result<usize, Error> {
        let failed = |source| Error::Read { what: "content of a file", at: Offset::new(at), source };
        match &self.reads {
            Reads::Zeros => {}
            Reads::After(time) => std::thread::sleep(*time),
            Reads::Blocked(gate) => gate.pass(),
            Reads::Never(waiting) => {
                waiting.fetch_add(1, SeqCst);
                let ended = loop {
                    match request.check() {
                        Ok(()) => std::thread::sleep(Duration::from_millis(10)),
                        Err(error) => break error,
                    }
                };
                waiting.fetch_sub(1, SeqCst);
                return Err(failed(ended));
            }
            Reads::Failing => {
                let kind = ErrorKind::ALL[node.get() as usize];
                return Err(failed(SourceError::new(kind, "this tree fails").into()));
            }
            Reads::Panic => panic!("this tree panics"),
        }
        let len = buf.len().min(self.size.saturating_sub(at) as usize);
        buf[..len].fill(0);
        Ok(len)
    }
}

/// A method that answers as the files underneath do.
macro_rules! as_made {
    ($name:ident($($argument:ident: $type:ty),*) -> $answer:ty) => {
        fn $name(&self, $($argument: $type),*) -> $answer {
            self.made.$name($($argument),*)
        }
    };
}

/// The same files, which are unpacked in pieces; remembers which places were prepared.
#[derive(Debug)]
pub(crate) struct Pieces {
    pub(crate) made: Made,
    pub(crate) piece: u64,
    pub(crate) prepared: Mutex<Vec<u64>>,
}

impl Tree for Pieces {
    as_made!(root() -> NodeId);
    as_made!(attr(node: NodeId) -> Result<Attr, Error>);
    as_made!(lookup(dir: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error>);
    as_made!(read_dir(dir: NodeId, from: u64, visit: DirVisitor<'_>) -> Result<(), Error>);
    as_made!(read_link(node: NodeId) -> Result<Cow<'_, [u8]>, Error>);
    as_made!(xattrs(node: NodeId, visit: XattrVisitor<'_>) -> Result<(), Error>);

    fn read_at_for(&self, node: NodeId, at: u64, buf: &mut [u8], request: &ReadRequest<'_>) -> Result<usize, Error> {
        self.made.read_at_for(node, at, buf, request)
    }

    fn prepare(&self, _: NodeId, at: u64, request: &ReadRequest<'_>) -> Result<(), Error> {
        assert_eq!(request.purpose, Purpose::Ahead);
        self.prepared.lock().unwrap().push(at);
        assert_ne!(at, 3 * self.piece, "this piece panics");
        Ok(())
    }

    fn piece_end(&self, _: NodeId, at: u64) -> Result<Option<u64>, Error> {
        assert_ne!(self.piece, 0, "these pieces panic");
        Ok((at < self.made.size).then(|| ((at / self.piece + 1) * self.piece).min(self.made.size)))
    }
}

/// The same files, whose holes are known: everything outside of `data`.
#[derive(Debug)]
pub(crate) struct Sparse {
    pub(crate) made: Made,
    pub(crate) data: Vec<Range<u64>>,
}

impl Tree for Sparse {
    as_made!(root() -> NodeId);
    as_made!(attr(node: NodeId) -> Result<Attr, Error>);
    as_made!(lookup(dir: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error>);
    as_made!(read_dir(dir: NodeId, from: u64, visit: DirVisitor<'_>) -> Result<(), Error>);
    as_made!(read_link(node: NodeId) -> Result<Cow<'_, [u8]>, Error>);
    as_made!(xattrs(node: NodeId, visit: XattrVisitor<'_>) -> Result<(), Error>);
    as_made!(read_at_for(node: NodeId, at: u64, buf: &mut [u8], request: &ReadRequest<'_>) -> Result<usize, Error>);

    fn data_from(&self, _: NodeId, at: u64) -> Result<Option<Range<u64>>, Error> {
        let next = self.data.iter().find(|data| data.end > at);
        Ok(next.map(|data| data.start.max(at)..data.end))
    }
}

/// The same files, but while the gate is shut the tree answers no lookup of `000003`, no opening of `000004`, and no listing.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) made: Made,
    pub(crate) gate: Gate,
}

impl Tree for Held {
    as_made!(root() -> NodeId);
    as_made!(attr(node: NodeId) -> Result<Attr, Error>);

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error> {
        if name == b"000003" {
            self.gate.pass();
        }
        self.made.lookup(dir, name)
    }

    fn read_dir(&self, dir: NodeId, from: u64, visit: DirVisitor<'_>) -> Result<(), Error> {
        self.gate.pass();
        self.made.read_dir(dir, from, visit)
    }

    as_made!(read_link(node: NodeId) -> Result<Cow<'_, [u8]>, Error>);
    as_made!(xattrs(node: NodeId, visit: XattrVisitor<'_>) -> Result<(), Error>);
    as_made!(read_at_for(node: NodeId, at: u64, buf: &mut [u8], request: &ReadRequest<'_>) -> Result<usize, Error>);

    fn host_file(&self, node: NodeId) -> Result<Option<OwnedFd>, Error> {
        if node.get() == 4 {
            self.gate.pass();
        }
        Ok(None)
    }
}
