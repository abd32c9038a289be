//! How a file is encoded: its dialects, compression, body and MACs.

use std::fmt;

use crate::{Body, Compression, Dialect, Macs};

/// The dialects that write the same bytes as a file: all from an oldest to a newest.
///
/// Dialects differ only in some combinations of compression and key, so a file often fits several of them. It reads the
/// same in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dialects {
    first: Dialect,
    last: Dialect,
}

impl Dialects {
    pub(crate) const fn new(first: Dialect, last: Dialect) -> Self {
        Self { first, last }
    }

    /// The oldest dialect.
    #[must_use]
    pub const fn oldest(self) -> Dialect {
        self.first
    }

    /// The newest dialect. Write this one to make such a file again.
    #[must_use]
    pub const fn newest(self) -> Dialect {
        self.last
    }

    /// Whether `dialect` is one of them.
    #[must_use]
    pub fn contains(self, dialect: Dialect) -> bool {
        self.first <= dialect && dialect <= self.last
    }

    /// All of them, oldest first.
    pub fn iter(self) -> impl Iterator<Item = Dialect> {
        Dialect::ALL.into_iter().filter(move |dialect| self.contains(*dialect))
    }
}

impl fmt::Display for Dialects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if first == last { write!(f, "{first}") } else { write!(f, "{first} to {last}") }
    }
}

/// Which MAC follows the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: all that gVisor has written")]
pub enum HeaderMac {
    /// None.
    Absent,
    /// A MAC with an empty key: a checksum that anyone can compute. It authenticates nothing.
    Checksum,
    /// A MAC with the caller's key.
    Keyed,
}

/// Which key made the MACs of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: all that gVisor has written")]
pub enum BodyMacs {
    /// There are no MACs.
    None,
    /// An empty key: the MACs are checksums that anyone can compute. Writers of dialects L to C make them from an empty
    /// key.
    Checksums,
    /// The caller's key.
    Keyed,
}

/// How a file is encoded: dialects, compression, body and MACs.
///
/// Opening a file finds it out from the header, the key and the start of the body. It says how far the content is
/// authenticated, not whether the file is undamaged: [`File::verify`](crate::File::verify) does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoding {
    /// The dialects that write such a file. There are several if they write the same bytes.
    pub dialects: Dialects,
    /// The compression of the body.
    pub compression: Compression,
    /// Whether the metadata name the compression. If not, the first bytes of the body decided.
    pub compression_is_named: bool,
    /// The MAC after the metadata.
    pub header_mac: HeaderMac,
    /// The structure of the body.
    pub body: Body,
    /// The key of the MACs in the body.
    pub body_macs: BodyMacs,
    /// Whether the bytes also fit another dialect, with another payload.
    pub is_ambiguous: bool,
    /// Whether the caller named the dialect, so that the bytes did not decide.
    pub is_pinned: bool,
    /// Whether the key has zero bytes only. HMAC treats it as an empty key.
    pub key_is_weak: bool,
}

impl Encoding {
    /// Whether MACs with a real key cover the header and every byte of the body.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.body_macs == BodyMacs::Keyed && !self.key_is_weak
    }

    /// Warnings about what the MACs of this file do not protect, for people. Empty for a file with chained MACs and a
    /// real key.
    #[must_use]
    pub fn cautions(&self) -> Vec<&'static str> {
        let mut cautions = Vec::new();
        match (self.header_mac, self.body_macs) {
            (HeaderMac::Checksum, BodyMacs::None) => {
                cautions.push("only the header has a checksum, which anyone can compute: nothing is authenticated");
            }
            (HeaderMac::Checksum, _) => cautions.push("anyone can compute the checksums: nothing is authenticated"),
            (HeaderMac::Absent, _) => cautions.push("no key: nothing is authenticated"),
            (HeaderMac::Keyed, _) => {}
        }
        if self.key_is_weak {
            cautions.push("the key has zero bytes only, like no key: nothing is authenticated");
        }
        if self.body.macs() == Macs::Single {
            cautions.push("frames are not chained: reordered, repeated or missing frames are not noticed");
        }
        if self.is_ambiguous {
            cautions.push("the bytes also fit another dialect");
        }
        cautions
    }
}
