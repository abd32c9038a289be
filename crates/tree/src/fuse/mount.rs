//! One mount, from the first answer to the last.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use fuser::{Config, Session, SessionACL};

use super::{
    MountOptions, Unmounted,
    attach::{self, Device, failed},
    filesystem::Requests,
    metrics::Metrics,
    server::Server,
    slot::Slots,
};
use crate::{Error, Tree};

/// A tree that is mounted. It is taken off when this is dropped, lazily if somebody uses it.
pub struct Mount {
    path: PathBuf,
    device: Device,
    metrics: Arc<Metrics>,
    serving: Mutex<Option<JoinHandle<std::io::Result<()>>>>,
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
        let started = start(server, descriptor, options, &slots, &metrics);
        // Without a server the descriptor is closed by now, and the mount answers everything with an error.
        let serving = started.map_err(|source| {
            let _ = attach::unmount(&path);
            failed("serve", &path, source)
        })?;
        let root = fs::symlink_metadata(&path).map_err(|source| {
            let _ = attach::unmount(&path);
            failed("look at", &path, source)
        })?;
        let device = (rustix::fs::major(root.dev()), rustix::fs::minor(root.dev()));
        attach::read_ahead(device, options.read_ahead);
        Ok(Self { path, device, metrics, serving: Mutex::new(Some(serving)) })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it has counted, still counting.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Takes it out of the mount table. Those who have files open are served until they close them; [`wait`](Self::wait)
    /// returns when nobody is left.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the kernel, or `fusermount3`, refuses.
    pub fn unmount(&self) -> Result<Unmounted, Error> {
        attach::unmount_device(&self.path, self.device)
    }

    /// Ends all answers: whoever still waits for one gets an error. Whether the kernel allowed it; if not, the same
    /// happens when the process ends.
    pub fn abort(&self) -> bool {
        attach::abort(self.device)
    }

    /// Waits until the last user of the mount is gone, or somebody else has taken it off.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if serving ended for another reason.
    pub fn wait(&self) -> Result<(), Error> {
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(serving) = serving else { return Ok(()) };
        let ended = serving.join().unwrap_or_else(|_| Err(std::io::Error::other("the server panicked")));
        ended.map_err(|source| failed("serve", &self.path, source))
    }
}

/// Starts the threads that answer. They end with the connection.
fn start(
    server: Server,
    descriptor: std::os::fd::OwnedFd,
    options: &MountOptions,
    slots: &Arc<Slots>,
    metrics: &Arc<Metrics>,
) -> std::io::Result<JoinHandle<std::io::Result<()>>> {
    let mut config = Config::default();
    config.n_threads = Some(options.threads());
    config.clone_fd = attach::can_have_more_descriptors();
    // Who may ask has been settled with the kernel.
    let overflow = Arc::clone(&server.overflow);
    let session = Session::from_fd(Requests(Arc::new(server)), descriptor, SessionACL::All, config)?;
    let (watching, counting) = (Arc::clone(slots), Arc::clone(metrics));
    let watcher = thread::Builder::new().name("fuse-watch".to_owned()).spawn(move || watching.watch(&counting))?;
    let slots = Arc::clone(slots);
    thread::Builder::new().name("fuse".to_owned()).spawn(move || {
        let ended = session.run();
        slots.end();
        overflow.end();
        // It has nothing to panic about.
        let _ = watcher.join();
        ended
    })
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Whoever cares has asked before.
        if matches!(self.unmount(), Ok(Unmounted::Gone)) {
            let _ = self.wait();
        }
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").field("path", &self.path).finish_non_exhaustive()
    }
}
