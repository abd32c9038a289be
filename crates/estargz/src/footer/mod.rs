//! The last bytes of a blob: which format it is in, and where its parts lie.

mod gzip;
mod zstd;

use std::fmt;

use dunnage_digest::Offset;

pub(crate) use self::zstd::{
    Part, SKIPPABLE_HEADER, skippable_header, storage_footer_bytes, storage_parts, zstd_footer_bytes,
};
pub use self::{
    gzip::{
        EXTERNAL_FOOTER_LEN, FOOTER_LEN, LEGACY_FOOTER_LEN, external_footer_bytes, footer_bytes, gzip_footer,
        parse_external_footer, parse_footer, parse_legacy_footer,
    },
    zstd::{STORAGE_FOOTER_LEN, ZSTD_FOOTER_LEN, parse_storage_footer, parse_zstd_footer},
};
use crate::Error;

/// The formats of one family: streams of a tar, a TOC, a footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// gzip members, the TOC as the last of them.
    Estargz,
    /// The same before eStargz: chunks mostly without digests.
    Stargz,
    /// gzip members, the TOC stored elsewhere.
    ExternalToc,
    /// zstd frames, the TOC in a skippable one, as the reference writes it.
    ZstdChunked,
    /// zstd frames as containers/storage writes them, with the tar headers kept apart.
    StorageChunked,
    /// Somebody else's.
    Other(&'static str),
}

impl Format {
    /// A name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Estargz => "eStargz",
            Self::Stargz => "stargz",
            Self::ExternalToc => "eStargz with an external TOC",
            Self::ZstdChunked => "zstd:chunked",
            Self::StorageChunked => "zstd:chunked of containers/storage",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a compressed TOC is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: it is here or it is not")]
pub enum TocPlace {
    /// In the blob.
    Inside {
        /// Its first byte.
        at: Offset,
        /// Its bytes.
        len: u64,
        /// Bytes of the document, where the footer says so.
        plain_len: Option<u64>,
    },
    /// Stored elsewhere.
    Outside,
}

/// Where the parts of a blob lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "third-party decompressors build it")]
pub struct Footer {
    /// Which format the blob is in.
    pub format: Format,
    /// Bytes of compressed tar stream, from the start of the blob on.
    pub payload_len: u64,
    /// Where the compressed TOC is.
    pub toc: TocPlace,
    /// Bytes of the footer itself.
    pub footer_len: u64,
}

impl Footer {
    /// Bytes of the compressed TOC in the blob; 0 if it is elsewhere.
    #[must_use]
    pub const fn toc_len(&self) -> u64 {
        match self.toc {
            TocPlace::Inside { len, .. } => len,
            TocPlace::Outside => 0,
        }
    }

    /// Bytes of the TOC document, where the footer says so.
    #[must_use]
    pub const fn toc_plain_len(&self) -> Option<u64> {
        match self.toc {
            TocPlace::Inside { plain_len, .. } => plain_len,
            TocPlace::Outside => None,
        }
    }

    /// Where the compressed TOC starts; where the payload ends if it is elsewhere.
    #[must_use]
    pub const fn toc_at(&self) -> Offset {
        match self.toc {
            TocPlace::Inside { at, .. } => at,
            TocPlace::Outside => Offset::new(self.payload_len),
        }
    }
}

/// The fields of a footer, one after the other.
struct Fields<'a> {
    rest: &'a [u8],
    at: u64,
}

impl<'a> Fields<'a> {
    /// The last `len` bytes of a blob.
    fn new(bytes: &'a [u8], blob_len: u64, len: usize) -> Result<Self, Error> {
        let expected = len as u64;
        let at = blob_len.checked_sub(expected).filter(|_| bytes.len() == len);
        let at = at.ok_or(Error::TooSmall { expected, got: blob_len.min(bytes.len() as u64) })?;
        Ok(Self { rest: bytes, at })
    }

    fn u64(&mut self) -> u64 {
        self.take(8).first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        (self.rest, self.at) = (rest, self.at.saturating_add(len as u64));
        head
    }

    fn fixed(&mut self, part: &'static str, wanted: &[u8]) -> Result<(), Error> {
        let at = Offset::new(self.at);
        let got = self.take(wanted.len());
        if got == wanted {
            return Ok(());
        }
        let text = |bytes: &[u8]| format!("`{}`", bytes.escape_ascii());
        Err(Error::Malformed { part, at, expected: text(wanted), got: text(got) })
    }
}
