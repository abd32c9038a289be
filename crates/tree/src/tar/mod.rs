//! The tar format: the one reader of the workspace, header encoding, and trees of archives.

mod header;

pub use self::header::{EntryType, Format, Header};
