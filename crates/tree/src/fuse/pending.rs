//! Requests in progress; those whose caller was interrupted are given up.
//!
//! The library answers `FUSE_INTERRUPT` with "not implemented". From then on the kernel sends none, and a caller would sleep
//! until its answer comes, whatever signal it gets. So each thread keeps the reply of its request in a slot. The watcher
//! thread looks into the slots ten times a second. If a request takes long and a signal is pending for its caller, the watcher
//! takes the reply, answers `EINTR`, and raises the [`Cancel`] of the request, so that the source stops and the working thread
//! is free again. If a request takes longer than the deadline, the watcher does the same with `ETIMEDOUT`. The working thread
//! finds its slot empty and goes on to the next request.

use std::{
    cell::OnceCell,
    fs,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use dunnage_digest::Cancel;
use fuser::{
    Errno, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyXattr,
};

use rustix::process::{Pid, test_kill_process};

use super::metrics::Metrics;

/// A reply that is still owed.
#[derive(Debug)]
pub(super) enum Owed {
    Attr(ReplyAttr),
    Data(ReplyData),
    Directory(ReplyDirectory),
    DirectoryPlus(ReplyDirectoryPlus),
    Empty(ReplyEmpty),
    Entry(ReplyEntry),
    Lseek(ReplyLseek),
    Open(ReplyOpen),
    Statfs(ReplyStatfs),
    Xattr(ReplyXattr),
}

/// A reply of any sort, as slots keep it.
pub(super) trait Reply: Sized {
    fn into_owed(self) -> Owed;
    fn from_owed(owed: Owed) -> Option<Self>;
    fn in_owed(owed: &mut Owed) -> Option<&mut Self>;
    fn fail(self, errno: Errno);
}

macro_rules! replies {
    ($($name:ident($reply:ident)),* $(,)?) => {
        $(impl Reply for $reply {
            fn into_owed(self) -> Owed {
                Owed::$name(self)
            }

            fn from_owed(owed: Owed) -> Option<Self> {
                if let Owed::$name(reply) = owed { Some(reply) } else { None }
            }

            fn in_owed(owed: &mut Owed) -> Option<&mut Self> {
                if let Owed::$name(reply) = owed { Some(reply) } else { None }
            }

            fn fail(self, errno: Errno) {
                self.error(errno);
            }
        })*

        impl Owed {
            fn fail(self, errno: Errno) {
                match self {
                    $(Self::$name(reply) => reply.error(errno),)*
                }
            }
        }
    };
}

replies! {
    Attr(ReplyAttr),
    Data(ReplyData),
    Directory(ReplyDirectory),
    DirectoryPlus(ReplyDirectoryPlus),
    Empty(ReplyEmpty),
    Entry(ReplyEntry),
    Lseek(ReplyLseek),
    Open(ReplyOpen),
    Statfs(ReplyStatfs),
    Xattr(ReplyXattr),
}

/// Where a thread keeps the reply it owes.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<Option<Request>>);

#[derive(Debug)]
struct Request {
    since: Instant,
    /// The thread that waits, as the kernel numbers it.
    caller: u32,
    /// Stops the work on the request.
    cancel: Option<Cancel>,
    owed: Owed,
}

impl Request {
    fn cancel(&self) {
        if let Some(cancel) = &self.cancel {
            cancel.cancel();
        }
    }
}

impl Slot {
    fn put(&self, request: Request) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
    }

    /// Whether the reply is still owed.
    pub(super) fn is_owed(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The reply, unless it was given in the meantime.
    pub(super) fn take<R: Reply>(&self) -> Option<R> {
        let request = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        R::from_owed(request.owed)
    }

    /// Adds to a reply that is sent later, unless it was given in the meantime.
    pub(super) fn with<R: Reply, T>(&self, add: impl FnOnce(&mut R) -> T) -> Option<T> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.as_mut().and_then(|request| R::in_owed(&mut request.owed)).map(add)
    }

    /// Whether a request is in progress; the reply and the error if its caller should not have to wait for it.
    fn look(&self, deadline: Duration) -> (bool, Option<(Owed, Errno)>) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(request) = &*slot else { return (false, None) };
        let errno = match request.since.elapsed() {
            waited if waited > deadline => Errno::ETIMEDOUT,
            waited if waited > PATIENCE && is_interrupted(request.caller) => Errno::EINTR,
            _ => return (true, None),
        };
        let given_up = slot.take().map(|request| {
            request.cancel();
            (request.owed, errno)
        });
        (true, given_up)
    }

    /// Stops the work on the request, if there is one. Its reply is then the error of the work.
    fn cancel(&self) {
        if let Some(request) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            request.cancel();
        }
    }
}

/// A request as its caller made it.
pub(super) struct Asked {
    /// The thread that waits, as the kernel numbers it.
    pub(super) caller: u32,
    pub(super) since: Instant,
    /// Stops the work on the request.
    pub(super) cancel: Option<Cancel>,
}

/// The slots of all threads of a mount.
#[derive(Debug, Default)]
pub(super) struct Slots {
    all: Mutex<Vec<Arc<Slot>>>,
    watcher: OnceLock<Thread>,
    /// Whether the watcher sleeps until it is woken.
    sleeps: AtomicBool,
    ended: AtomicBool,
}

thread_local! {
    /// A thread that answers requests does so for one mount.
    static MINE: OnceCell<Arc<Slot>> = const { OnceCell::new() };
}

impl Slots {
    /// Keeps the reply of a request that this thread works on.
    pub(super) fn begin<R: Reply>(&self, asked: Asked, reply: R) -> Arc<Slot> {
        let slot = MINE.with(|mine| Arc::clone(mine.get_or_init(|| self.add())));
        self.fill(&slot, asked, reply);
        slot
    }

    /// Keeps the reply of a request that another thread will work on, until [`remove`](Self::remove).
    pub(super) fn begin_elsewhere<R: Reply>(&self, asked: Asked, reply: R) -> Arc<Slot> {
        let slot = self.add();
        self.fill(&slot, asked, reply);
        slot
    }

    fn fill<R: Reply>(&self, slot: &Slot, Asked { caller, since, cancel }: Asked, reply: R) {
        slot.put(Request { since, caller, cancel, owed: reply.into_owed() });
        if self.ended.load(SeqCst) {
            slot.cancel();
        }
        if self.sleeps.load(SeqCst) && self.sleeps.swap(false, SeqCst) {
            self.wake();
        }
    }

    pub(super) fn remove(&self, slot: &Arc<Slot>) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| !Arc::ptr_eq(known, slot));
    }

    fn add(&self) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&slot));
        slot
    }

    fn wake(&self) {
        if let Some(watcher) = self.watcher.get() {
            watcher.unpark();
        }
    }

    /// Watches the slots until [`end`](Self::end). Runs in a thread of its own.
    pub(super) fn watch(&self, metrics: &Metrics, deadline: Duration) {
        let _ = self.watcher.set(thread::current());
        let mut idle = 0_u32;
        while !self.ended.load(SeqCst) {
            if idle > IDLE_ROUNDS {
                self.sleeps.store(true, SeqCst);
                // A request that started before `sleeps` was set is seen by this round; one that starts later wakes us.
                if !self.round(metrics, deadline) && !self.ended.load(SeqCst) {
                    thread::park();
                }
                self.sleeps.store(false, SeqCst);
                idle = 0;
            } else {
                thread::park_timeout(INTERVAL);
                idle = if self.round(metrics, deadline) { 0 } else { idle.saturating_add(1) };
            }
        }
    }

    /// Looks into all slots once. Returns whether any request is in progress.
    fn round(&self, metrics: &Metrics, deadline: Duration) -> bool {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut busy = false;
        for slot in all {
            let (in_progress, given_up) = slot.look(deadline);
            busy |= in_progress;
            if let Some((owed, errno)) = given_up {
                if errno.code() == Errno::EINTR.code() {
                    metrics.interrupt();
                } else {
                    metrics.time_out();
                }
                owed.fail(errno);
            }
        }
        busy
    }

    /// Stops the work on all requests in progress, because the kernel takes no answers any more.
    pub(super) fn cancel_all(&self) {
        for slot in &*self.all.lock().unwrap_or_else(PoisonError::into_inner) {
            slot.cancel();
        }
    }

    pub(super) fn end(&self) {
        self.ended.store(true, SeqCst);
        self.cancel_all();
        self.wake();
    }
}

/// Whether a signal is pending for the thread that ends it, or asks it to end.
fn is_interrupted(thread: u32) -> bool {
    if thread == 0 {
        // The thread lives in a process namespace that this process cannot see.
        return false;
    }
    let Ok(status) = fs::read_to_string(format!("/proc/{thread}/status")) else {
        // The reader of a read ahead may be gone before the read is answered.
        return is_gone(thread);
    };
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default()
    };
    let waiting = (set("SigPnd:") | set("ShdPnd:")) & !set("SigBlk:") & !set("SigIgn:");
    // A program that catches other signals, of timers above all, or is stopped for a while, expects its reads to go on.
    waiting & ((!set("SigCgt:") & !HARMLESS) | ENDING) != 0
}

/// Whether there is no such thread any more. The status of a thread can be unreadable for other reasons.
fn is_gone(thread: u32) -> bool {
    let thread = i32::try_from(thread).ok().and_then(Pid::from_raw);
    thread.is_some_and(|thread| test_kill_process(thread) == Err(rustix::io::Errno::SRCH))
}

/// Signals that do not end a process that does not catch them: CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG and WINCH, 17 to 23 and 28.
const HARMLESS: u64 = 0x087f_0000;
/// Signals that ask for an end even if they are caught: HUP, INT, QUIT and TERM, 1 to 3 and 15.
const ENDING: u64 = 0x4007;

/// How long a request takes before the watcher looks at the signals of its caller.
const PATIENCE: Duration = Duration::from_millis(50);
/// Time between two looks into the slots.
const INTERVAL: Duration = Duration::from_millis(100);
/// Rounds without a request after which the watcher sleeps until there is one.
const IDLE_ROUNDS: u32 = 20;
