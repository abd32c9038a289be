//! Requests in progress; those whose caller was interrupted are given up.
//!
//! The library answers the kernel's own word about interrupts with "not implemented", and from then on a caller would wait
//! for its answer whatever signal it gets, in a sleep that nothing ends. So each thread keeps the reply of the request it
//! works on in a slot. One more thread looks into the slots a few times a second, and where a request takes long and a
//! signal is waiting for its caller, it takes the reply and answers `EINTR`; where one takes longer than any may, it answers
//! `ETIMEDOUT`. The one who worked on it finds its slot empty and goes on to the next request.

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

use fuser::{
    Errno, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyXattr,
};

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
    Open(ReplyOpen),
    Statfs(ReplyStatfs),
    Xattr(ReplyXattr),
}

/// What all replies have in common.
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
    owed: Owed,
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
        (true, slot.take().map(|request| (request.owed, errno)))
    }
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
    pub(super) fn begin<R: Reply>(&self, caller: u32, since: Instant, reply: R) -> Arc<Slot> {
        let slot = MINE.with(|mine| Arc::clone(mine.get_or_init(|| self.add())));
        self.fill(&slot, caller, since, reply);
        slot
    }

    /// Keeps the reply of a request that another thread will work on, until [`remove`](Self::remove).
    pub(super) fn begin_elsewhere<R: Reply>(&self, caller: u32, since: Instant, reply: R) -> Arc<Slot> {
        let slot = self.add();
        self.fill(&slot, caller, since, reply);
        slot
    }

    fn fill<R: Reply>(&self, slot: &Slot, caller: u32, since: Instant, reply: R) {
        slot.put(Request { since, caller, owed: reply.into_owed() });
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
                // Who began before it was said has been seen in this round, who begins after it wakes us.
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

    /// Looks into all slots once; whether there was anything.
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

    pub(super) fn end(&self) {
        self.ended.store(true, SeqCst);
        self.wake();
    }
}

/// Whether a signal waits for the thread that ends it, or asks it to end.
fn is_interrupted(thread: u32) -> bool {
    if thread == 0 {
        // It lives where we cannot see it.
        return false;
    }
    let Ok(status) = fs::read_to_string(format!("/proc/{thread}/status")) else { return false };
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default()
    };
    let waiting = (set("SigPnd:") | set("ShdPnd:")) & !set("SigBlk:") & !set("SigIgn:");
    // What else a program catches, timers above all, is no reason to fail its reads; nor is being stopped for a while.
    waiting & ((!set("SigCgt:") & !HARMLESS) | ENDING) != 0
}

/// Signals that end nobody if they are not caught: CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG and WINCH, 17 to 23 and 28.
const HARMLESS: u64 = 0x087f_0000;
/// Signals that ask for an end even if they are caught: HUP, INT, QUIT and TERM, 1 to 3 and 15.
const ENDING: u64 = 0x4007;

/// How long a request may take before anybody asks for its caller.
const PATIENCE: Duration = Duration::from_millis(50);
/// How often the slots are looked into.
const INTERVAL: Duration = Duration::from_millis(100);
/// After how many rounds without a request the watcher sleeps until there is one.
const IDLE_ROUNDS: u32 = 20;
