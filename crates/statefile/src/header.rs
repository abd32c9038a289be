//! The header of a file: magic, length of the metadata, metadata.
//!
//! | at | bytes | field |
//! |----|-------|-------|
//! | 0  | 8     | magic `gVisorSF` |
//! | 8  | 8     | N, big endian, at most 16 MiB |
//! | 16 | N     | metadata: a JSON object of strings |
//!
//! Then come 32 bytes of header MAC, which not every file has, and the body: docs/formats/statefile.md, "Header".

use std::io::Read;

use dunnage_digest::Offset;

use crate::{Error, Limits, MAX_METADATA_LEN, Metadata, Mode, Part, metadata, source::Source};

/// The first eight bytes of every state file.
pub const MAGIC: [u8; 8] = *b"gVisorSF";

/// Offset of the metadata document.
pub(crate) const DOCUMENT_AT: u64 = 16;

/// Magic, length and metadata, byte for byte.
#[derive(Clone, Debug)]
pub(crate) struct Header(Vec<u8>);

impl Header {
    /// A header with this document.
    pub(crate) fn new(document: &[u8], limits: &Limits) -> Result<Self, Error> {
        let (got, cap) = (document.len() as u64, cap(limits));
        if got > cap {
            return Err(Error::InvalidMetadataLength { got, cap });
        }
        Ok(Self([&MAGIC, got.to_be_bytes().as_slice(), document].concat()))
    }

    /// Reads a header and no byte after it. Does not parse the document.
    pub(crate) fn read<R: Read>(source: &mut Source<R>, limits: &Limits) -> Result<Self, Error> {
        let mut magic = [0; 8];
        match source.read_full(&mut magic, Part::Magic)? {
            0 => return Err(truncated(Part::Magic, 0, 8, 0)),
            got if magic != MAGIC || got < magic.len() => {
                return Err(Error::BadMagic { got: magic.get(..got).unwrap_or_default().to_vec() });
            }
            _ => {}
        }
        let mut len = [0; 8];
        let got = source.read_full(&mut len, Part::MetadataLength)?;
        if got < len.len() {
            return Err(truncated(Part::MetadataLength, 8, 8, got as u64));
        }
        let (wanted, cap) = (u64::from_be_bytes(len), cap(limits));
        let fits = usize::try_from(wanted).ok().filter(|_| wanted <= cap);
        let fits = fits.ok_or(Error::InvalidMetadataLength { got: wanted, cap })?;
        let mut bytes = [magic, len].concat();
        let used = bytes.len();
        let got = source.read_into(&mut bytes, used, fits, Part::Metadata)?;
        if got < fits {
            return Err(truncated(Part::Metadata, DOCUMENT_AT, wanted, got as u64));
        }
        Ok(Self(bytes))
    }

    /// The bytes of the header.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Offset of the first byte after the header.
    pub(crate) fn end(&self) -> u64 {
        self.0.len() as u64
    }

    pub(crate) fn metadata(&self, mode: Mode, limits: &Limits) -> Result<Metadata, Error> {
        let document = self.0.get(16..).unwrap_or_default();
        metadata::parse(document, DOCUMENT_AT, mode, limits)
    }
}

/// Reads the metadata, and leaves `source` at the first byte after them. (gVisor: `MetadataUnsafe`.)
///
/// Use it to list files without their keys. It reads the header only. It verifies nothing: anyone can have written the
/// result. [`Reader::open`](crate::Reader::open) and [`File::open`](crate::File::open) compare the header MAC.
///
/// # Errors
///
/// [`Error::BadMagic`], [`Error::InvalidMetadataLength`], [`Error::Metadata`], [`Error::Truncated`], [`Error::Read`].
pub fn metadata_unverified<R: Read>(source: &mut R, mode: Mode, limits: &Limits) -> Result<Metadata, Error> {
    Header::read(&mut Source::exact(source), limits)?.metadata(mode, limits)
}

/// Whether `start`, the first bytes of a file, are those of a state file. Compares the eight bytes of [`MAGIC`] and no
/// more.
#[must_use]
pub fn is_statefile(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

pub(crate) const fn truncated(part: Part, at: u64, expected: u64, got: u64) -> Error {
    Error::Truncated { part, at: Offset::new(at), expected, got }
}

fn cap(limits: &Limits) -> u64 {
    limits.metadata.min(MAX_METADATA_LEN)
}
