//! Open files, where opening needs an answer: trees that can change, and files that the kernel reads without us.
//!
//! The kernel insists that all open descriptors of a file agree: either all read through us or none does, and those that
//! do not have to name the same backing. So all get the backing of the first one until the last one is closed.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use fuser::{BackingId, FileHandle, FopenFlags, ReplyOpen};
use rustix::io::Errno;

use crate::{NodeId, Tree};

/// Files that are open, by node.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    open: Mutex<HashMap<NodeId, Open>>,
    /// Whether the kernel takes backings from us at all.
    usable: AtomicBool,
}

#[derive(Debug)]
struct Open {
    backing: Option<BackingId>,
    descriptors: u64,
}

impl OpenFiles {
    pub(super) fn use_passthrough(&self) {
        self.usable.store(true, Relaxed);
    }

    /// The host file of a node that no program has open, if the kernel may read it itself. The tree can take long to answer, so
    /// this runs before the open is answered, and without the lock: other opens go on.
    pub(super) fn of_host(&self, tree: &dyn Tree, node: NodeId) -> Option<OwnedFd> {
        if !self.usable.load(Relaxed) || self.open().contains_key(&node) {
            return None;
        }
        // Errors are ignored here: the read of the file reports them.
        tree.host_file(node).ok()?
    }

    /// Answers an open. Returns whether the kernel reads the file itself. If another open of the node came first, its backing counts.
    pub(super) fn answer(&self, node: NodeId, file: Option<OwnedFd>, flags: FopenFlags, reply: ReplyOpen) -> bool {
        let mut open = self.open();
        let file = open
            .entry(node)
            .or_insert_with(|| Open { backing: file.and_then(|file| self.backing(file, &reply)), descriptors: 0 });
        file.descriptors = file.descriptors.saturating_add(1);
        match &file.backing {
            Some(backing) => reply.opened_passthrough(FileHandle(0), FopenFlags::empty(), backing),
            None => reply.opened(FileHandle(0), flags),
        }
        file.backing.is_some()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<NodeId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backing(&self, file: OwnedFd, reply: &ReplyOpen) -> Option<BackingId> {
        match reply.open_backing(file) {
            Ok(backing) => Some(backing),
            Err(error) => {
                // Without the privilege every attempt fails. A file on another stacked file system is refused too, but the
                // next one may lie elsewhere.
                if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) {
                    self.usable.store(false, Relaxed);
                }
                None
            }
        }
    }

    pub(super) fn release(&self, node: NodeId) {
        let mut open = self.open();
        let Some(file) = open.get_mut(&node) else { return };
        file.descriptors = file.descriptors.saturating_sub(1);
        if file.descriptors == 0 {
            drop(open.remove(&node));
        }
    }
}
