//! The half of a form that runs before compression: where streams start, and how content is cut into chunks.

use std::io::Read;

use dunnage_tree::tar::{EntryType, Header};

use super::line::AnyLine;
use crate::{Error, toc::TocType};

/// Cuts the tar stream of one layer. [`estargz`](super::estargz) and [`storage`](super::storage) implement it.
///
/// For each entry the writer calls [`bytes`](Self::bytes) or [`header`](Self::header), then [`entry`](Self::entry), and after a
/// header that was written anew [`pad`](Self::pad).
pub(super) trait Cutter: Send {
    /// Adds bytes that are no content: headers and padding as they were read, bytes after the end of a tar.
    fn bytes(&mut self, bytes: &[u8], line: &mut AnyLine<'_>) -> Result<(), Error>;

    /// Adds a header written anew. If readers compare the TOC with the tar, the header as they will read it.
    fn header(&mut self, header: &Header, line: &mut AnyLine<'_>) -> Result<Option<Header>, Error>;

    /// Adds the TOC entry and the content of `header`, whose own bytes are in the stream already. `is_repeated`: an earlier
    /// entry has the same name.
    fn entry(
        &mut self,
        header: &Header,
        is_repeated: bool,
        content: &mut dyn Read,
        line: &mut AnyLine<'_>,
    ) -> Result<(), Error>;

    /// Ends an entry whose header was written anew: its content needs so many zeros after it.
    fn pad(&mut self, zeros: usize, line: &mut AnyLine<'_>);

    /// Ends the tar stream.
    fn end(&mut self, line: &mut AnyLine<'_>) -> Result<(), Error>;

    /// Makes the next content start a stream of its own.
    fn start_fresh(&mut self) {}

    /// A tar was kept bit for bit, with its end.
    fn tar_was_kept(&mut self) {}

    /// Returns an error if nothing more can be appended.
    fn check_open(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// The type of the TOC entry for a header.
pub(super) fn kind_of(header: &Header) -> Result<TocType, Error> {
    let unsupported = |reason: String| Err(Error::Unsupported { name: header.name.escape_ascii().to_string(), reason });
    Ok(match header.entry {
        EntryType::File => TocType::Reg,
        EntryType::HardLink => TocType::Hardlink,
        EntryType::Symlink => TocType::Symlink,
        EntryType::CharDevice => TocType::Char,
        EntryType::BlockDevice => TocType::Block,
        EntryType::Directory => TocType::Dir,
        EntryType::Fifo => TocType::Fifo,
        EntryType::GlobalExtension => return unsupported("a PAX global header".to_owned()),
        EntryType::Other(flag) => return unsupported(format!("type flag `{}`", flag.escape_ascii())),
    })
}
