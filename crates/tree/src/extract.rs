//! Unpacking into a directory, and nowhere else.
//!
//! This is the one place of the workspace where it is decided which names may touch a host file system:
//!
//! - Every call is relative to the open destination. A parent that is a symlink is refused, no matter which process made it.
//! - A later entry replaces an earlier one by unlinking it; no write goes through a node that exists already. Only a
//!   directory replaces a directory that is not empty.
//! - A hard link leads to a regular file of the same run, or is refused.
//! - Files are made exclusively with mode 0600. Owners, attributes, modes and times are set through the descriptor that
//!   was just opened, those of directories at the very end, deepest first.
//! - Owners, set-id bits, devices and privileged attributes are left out unless the options ask for them, and reported.

mod destination;
mod meta;
mod options;
mod summary;
mod tar;
mod unpack;
mod whiteouts;

use std::ops::ControlFlow;

use dunnage_digest::Progress;
use hashbrown::HashMap;

pub use self::{
    destination::Destination,
    options::{Existing, ExtractDevices, ExtractOptions, ExtractOwners, ExtractSetId, ExtractWhiteouts, ExtractXattrs},
    summary::{Dropped, DroppedPart, Extracted},
    tar::extract_tar,
};
use self::{meta::Meta, unpack::Unpacker};
use crate::{Error, Kind, NodeId, SafePath, Tree, Walk, content::Content, name::display};

/// Unpacks `tree` into `destination`, which is created if it does not exist.
///
/// Use it for a tree that is open; [`extract_tar`] unpacks a tar while it arrives. Holes of files become holes. `progress`
/// receives the bytes of content written so far, holes included. Files written so far stay if an error ends the run.
///
/// # Errors
///
/// [`Error::Refused`] and [`Error::Name`] for entries that would reach outside, [`Error::Io`] with the path if the host
/// refuses a call, [`Error::Limit`] beyond the limits, [`Error::Cancelled`], [`Error::Inconsistent`] for a file shorter than
/// its attributes say, and those of the tree.
pub fn extract<T: Tree + ?Sized>(
    tree: &T,
    destination: impl Into<Destination>,
    options: &ExtractOptions,
    progress: Progress<'_>,
) -> Result<Extracted, Error> {
    let mut unpacker = Unpacker::new(destination.into(), options, progress)?;
    let mut walk = Walk::new(tree).limits(options.limits.clone());
    // First path of each file that has several.
    let mut linked: HashMap<NodeId, SafePath> = HashMap::new();
    while let Some(visit) = walk.advance()? {
        let (node, attr) = (visit.node, visit.attr);
        let path = SafePath::new(visit.path)?;
        if path.as_bytes() != visit.path {
            let reason = "a name in it is empty or `.`".to_owned();
            return Err(Error::Refused { path: display(visit.path), reason });
        }
        if !matches!(attr.kind, Kind::Directory | Kind::Socket) && attr.links > 1 {
            if let Some(first) = linked.get(&node) {
                unpacker.hard_link(&path, first)?;
                continue;
            }
            linked.insert(node, path.clone());
        }
        let mut xattrs = Vec::new();
        tree.xattrs(node, &mut |name, value| {
            xattrs.push((name.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        let meta = Meta { mode: attr.mode, uid: attr.uid, gid: attr.gid, mtime: attr.mtime, xattrs };
        match attr.kind {
            Kind::File => {
                let mut content = Content::new(tree, node, attr.size);
                unpacker.file(&path, &meta, attr.size, &mut content)?;
            }
            Kind::Directory => unpacker.directory(&path, meta)?,
            Kind::Symlink => unpacker.symlink(&path, &meta, &tree.read_link(node)?)?,
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                unpacker.special(&path, &meta, attr.kind, attr.device)?
            }
            Kind::Socket => unpacker.socket(&path),
        }
    }
    unpacker.finish()
}
