//! Signals that end a mount: the first takes it off, the second ends everything.

use std::{
    fs, process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use dunnage_tree::fuse::Mount;
use nix::sys::signal::{SigSet, Signal};

use crate::context::Context;

/// Signals that wait for somebody to take them.
pub(super) struct Signals(SigSet);

impl Signals {
    /// Makes them wait, in this thread and in all that it starts from now on. One that was to be ignored when we were
    /// started, as `nohup` has it, still is.
    pub(super) fn block() -> Result<Self> {
        let ignored = ignored();
        let counts = |signal: &Signal| ignored & 1_u64.wrapping_shl(*signal as u32).wrapping_shr(1) == 0;
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().filter(counts).collect();
        set.thread_block().context("cannot block signals")?;
        Ok(Self(set))
    }

    /// Takes them, in a thread of its own.
    pub(super) fn take_off(self, context: &Context, mount: &Arc<Mount>) -> Result<Forced> {
        // Held by the main thread alone: whichever way that ends, the mount comes off.
        let (context, mount) = (context.clone(), Arc::downgrade(mount));
        let forced = Forced::default();
        let tell = forced.clone();
        let take = move || {
            if self.0.wait().is_err() {
                return;
            }
            match mount.upgrade().map(|mount| mount.unmount()) {
                Some(Err(error)) => context.note(&format!("{error}; another signal ends it all the same")),
                _ => tell_if_it_goes_on(&context),
            }
            if self.0.wait().is_ok() {
                // Set first: once the answers have ended, the main thread ends too.
                tell.0.store(true, SeqCst);
                // Callers that still wait for an answer get an error, now or when our descriptor is closed.
                if let Some(mount) = mount.upgrade() {
                    mount.abort();
                }
                process::exit(FORCED);
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(take).context("cannot start a thread")?;
        Ok(forced)
    }
}

/// Prints a note if the mount is still used after it was taken off: a file is open, or it is mounted elsewhere too.
fn tell_if_it_goes_on(context: &Context) {
    let context = context.clone();
    let tell = move || {
        // With the last user the process ends, and this thread with it.
        thread::sleep(SOON);
        context.note("still in use; ends with its last user, or with another signal");
    };
    // Without a thread, nothing is lost but the note.
    let _ = thread::Builder::new().name("note".to_owned()).spawn(tell);
}

/// Signals to be ignored, the lowest bit for signal 1.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Whether a second signal has ended everything.
#[derive(Clone, Default)]
pub(super) struct Forced(Arc<AtomicBool>);

impl Forced {
    /// If so, the answers have ended because of that.
    pub(super) fn is_so(&self) -> bool {
        self.0.load(SeqCst)
    }
}

/// The mount was cut off: an I/O error for every process that used it.
const FORCED: i32 = 3;
/// How long a mount that nobody uses may take to end.
const SOON: Duration = Duration::from_secs(1);
