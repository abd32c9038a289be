//! One mount, from the first answer to the last.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
};

use fuser::{Config, Session, SessionACL};

use super::{
    MountOptions, Unmounted,
    attach::{self, Device, failed},
    filesystem::Requests,
    metrics::Metrics,
    pending::Slots,
    server::Server,
};
use crate::{Error, Tree};

/// A mounted tree. Keep it as long as the mount shall last: dropping it unmounts, lazily if a program still uses the mount.
///
/// Use it to give a [`Tree`] to programs that know only paths. To read a tree in this process, call the tree.
pub struct Mount {
    path: PathBuf,
    device: Device,
    metrics: Arc<Metrics>,
    slots: Arc<Slots>,
    served: Arc<Served>,
}

/// How serving went, once it has ended.
#[derive(Default)]
struct Served {
    /// The place of the mount, once it is known.
    place: OnceLock<(PathBuf, Device)>,
    state: Mutex<Option<Ended>>,
    ended: Condvar,
}

struct Ended {
    outcome: io::Result<()>,
    /// Whether the mount was still in the table, as it is after an abort. Once it was not, its device number may be
    /// another mount's.
    is_left: bool,
}

impl Served {
    fn state(&self) -> MutexGuard<'_, Option<Ended>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, outcome: io::Result<()>) {
        let is_left = self.place.get().is_some_and(|(path, device)| attach::is_left(path, *device));
        *self.state() = Some(Ended { outcome, is_left });
        self.ended.notify_all();
    }
}

impl Mount {
    /// Mounts `tree` on the directory `path`. When this returns, the mount answers.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is no such directory, no `/dev/fuse`, or no right to mount there.
    pub fn new(tree: Arc<dyn Tree>, path: &Path, options: &MountOptions) -> Result<Self, Error> {
        let path = path.canonicalize().map_err(|source| failed("mount on", path, source))?;
        let (metrics, slots) = (Arc::new(Metrics::default()), Arc::new(Slots::default()));
        let server = Server::new(tree, options, Arc::clone(&metrics), Arc::clone(&slots));
        let descriptor = attach::mount(&path, options)?;
        let served = Arc::new(Served::default());
        let started = start(server, descriptor, options, &slots, &metrics, &served);
        // Without a server the descriptor is closed by now, and the mount answers everything with an error.
        started.map_err(|source| {
            let _ = attach::unmount(&path);
            failed("serve", &path, source)
        })?;
        let root = fs::symlink_metadata(&path).map_err(|source| {
            let _ = attach::unmount(&path);
            failed("look at", &path, source)
        })?;
        let device = (rustix::fs::major(root.dev()), rustix::fs::minor(root.dev()));
        // Set once, here.
        let _ = served.place.set((path.clone(), device));
        attach::read_ahead(device, options.read_ahead);
        Ok(Self { path, device, metrics, slots, served })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its counters, still counting.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Takes it out of the mount table. Programs with open files are served until they close them; [`wait`](Self::wait) returns
    /// after the last one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the kernel, or `fusermount3`, refuses.
    pub fn unmount(&self) -> Result<Unmounted, Error> {
        let mut state = self.served.state();
        match &mut *state {
            Some(Ended { is_left: false, .. }) => return Ok(Unmounted::Already),
            Some(Ended { is_left, .. }) => *is_left = false,
            None => {}
        }
        drop(state);
        attach::unmount_device(&self.path, self.device)
    }

    /// Ends all answers: every program that still waits for one gets an error, and reads in progress are cancelled. Returns
    /// whether the kernel allowed it; if not, the same happens when the process ends.
    pub fn abort(&self) -> bool {
        let is_aborted = self.served.state().is_none() && attach::abort(self.device);
        if is_aborted {
            self.slots.cancel_all();
        }
        is_aborted
    }

    /// Waits until the last program has closed its files and the mount is off, whichever process took it off.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if serving ended for another reason.
    pub fn wait(&self) -> Result<(), Error> {
        let mut state = self.served.state();
        loop {
            if let Some(Ended { outcome, .. }) = &*state {
                let again = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
                return outcome.as_ref().copied().map_err(|error| failed("serve", &self.path, again(error)));
            }
            state = self.served.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Starts the threads that answer. They end with the connection.
fn start(
    server: Server,
    descriptor: std::os::fd::OwnedFd,
    options: &MountOptions,
    slots: &Arc<Slots>,
    metrics: &Arc<Metrics>,
    served: &Arc<Served>,
) -> io::Result<()> {
    let mut config = Config::default();
    config.n_threads = Some(options.threads());
    config.clone_fd = attach::can_have_more_descriptors();
    // The kernel already knows which users it lets in.
    let (overflow, ahead) = (Arc::clone(&server.overflow), Arc::clone(&server.ahead));
    let session = Session::from_fd(Requests(Arc::new(server)), descriptor, SessionACL::All, config)?;
    let (watching, counting, deadline) = (Arc::clone(slots), Arc::clone(metrics), options.deadline);
    let watch = move || watching.watch(&counting, deadline);
    let watcher = thread::Builder::new().name("fuse-watch".to_owned()).spawn(watch)?;
    let (in_progress, served) = (Arc::clone(slots), Arc::clone(served));
    let serve = move || {
        let ended = catch_unwind(AssertUnwindSafe(|| session.run()));
        in_progress.end();
        ahead.end();
        overflow.end();
        // It has nothing to panic about.
        let _ = watcher.join();
        served.end(ended.unwrap_or_else(|_| Err(io::Error::other("the server panicked"))));
    };
    let started = thread::Builder::new().name("fuse".to_owned()).spawn(serve);
    if started.is_err() {
        slots.end();
    }
    started.map(drop)
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A caller that wants the error calls `unmount` first. There is no waiting here: a program may use the mount for long.
        let _ = self.unmount();
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").field("path", &self.path).finish_non_exhaustive()
    }
}
