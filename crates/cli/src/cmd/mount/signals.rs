//! What ends a mount: the first signal takes it off, the second ends everything.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use anyhow::{Context as _, Result};
use dunnage_tree::fuse::{Mount, Unmounted};
use nix::sys::signal::{SigSet, Signal};

use crate::context::Context;

/// Signals that wait for somebody to take them.
pub(super) struct Signals(SigSet);

impl Signals {
    /// Makes them wait, in this thread and in all that it starts from now on.
    pub(super) fn block() -> Result<Self> {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        set.thread_block().context("cannot block signals")?;
        Ok(Self(set))
    }

    /// Takes them, in a thread of its own.
    pub(super) fn take_off(self, context: &Context, mount: &Arc<Mount>) -> Result<Forced> {
        let (context, mount) = (context.clone(), Arc::clone(mount));
        let forced = Forced::default();
        let tell = forced.clone();
        let take = move || {
            if self.0.wait().is_err() {
                return;
            }
            match mount.unmount() {
                Ok(Unmounted::Gone | Unmounted::Already) => {}
                Ok(Unmounted::Detached) => {
                    context.note("still in use; ends with its last user, or with another signal")
                }
                Err(error) => context.note(&format!("{error}; another signal ends it all the same")),
            }
            if self.0.wait().is_ok() {
                // Said first: once the answers have ended, so does the main thread.
                tell.0.store(true, SeqCst);
                // Who still waits for an answer gets an error, now or when our descriptor is closed.
                mount.abort();
                process::exit(FORCED);
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(take).context("cannot start a thread")?;
        Ok(forced)
    }
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

/// Cut off, which is an I/O error for whoever used it.
const FORCED: i32 = 3;
