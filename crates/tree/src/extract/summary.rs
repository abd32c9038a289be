//! The result of an extraction.

use std::fmt;

use crate::name::display;

/// The result of an extraction: how much was made, and which parts were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extracted {
    /// Regular files.
    pub files: u64,
    /// Directories that had an entry.
    pub directories: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Hard links.
    pub hard_links: u64,
    /// Character and block devices.
    pub devices: u64,
    /// FIFOs.
    pub fifos: u64,
    /// Whiteouts that were applied.
    pub whiteouts: u64,
    /// Bytes of content, holes included.
    pub bytes: u64,
    /// Entries whose owner is not the caller, which were given to the caller.
    pub owners_dropped: u64,
    /// The first thousand parts that were left out.
    pub dropped: Vec<Dropped>,
    /// All parts that were left out, owners not counted.
    pub dropped_total: u64,
    /// Bytes after the end of a tar that are not zero: a reader that goes on there sees other files.
    pub trailing: u64,
}

impl Extracted {
    pub(super) fn drop_part(&mut self, path: &[u8], part: DroppedPart, reason: &'static str) {
        self.dropped_total = self.dropped_total.saturating_add(1);
        if self.dropped.len() < 1000 {
            self.dropped.push(Dropped { path: path.to_vec(), part, reason });
        }
    }
}

/// Part of an entry that was left out. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// Path of the entry.
    pub path: Vec<u8>,
    /// The part.
    pub part: DroppedPart,
    /// Why.
    pub reason: &'static str,
}

/// The part of an entry that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DroppedPart {
    /// Its set-user-id and set-group-id bits.
    SetId,
    /// All of it: a device node.
    Device,
    /// All of it: a socket.
    Socket,
    /// The extended attribute of this name.
    Xattr(Vec<u8>),
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", display(&self.path))?;
        match &self.part {
            DroppedPart::SetId => f.write_str("set-id bits")?,
            DroppedPart::Device => f.write_str("device")?,
            DroppedPart::Socket => f.write_str("socket")?,
            DroppedPart::Xattr(name) => write!(f, "xattr {}", display(name))?,
        }
        write!(f, " left out: {}", self.reason)
    }
}
