//! What a file is: compression, MACs, and the dialects that write such a file.

use std::fmt;

use crate::{Body, Compression, Dialect, Macs};

/// The dialects that a file can be of: those between two, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dialects {
    first: Dialect,
    last: Dialect,
}

impl Dialects {
    pub(crate) const fn new(first: Dialect, last: Dialect) -> Self {
        Self { first, last }
    }

    /// The oldest.
    #[must_use]
    pub const fn oldest(self) -> Dialect {
        self.first
    }

    /// The newest: to write such a file again is to write this one.
    #[must_use]
    pub const fn newest(self) -> Dialect {
        self.last
    }

    /// Whether this dialect is among them.
    #[must_use]
    pub fn contains(self, dialect: Dialect) -> bool {
        self.first <= dialect && dialect <= self.last
    }

    /// Each of them, oldest first.
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

/// What stands behind the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: all that gVisor has written")]
pub enum HeaderMac {
    /// Nothing.
    Absent,
    /// A MAC under a key of no length: a checksum that anyone can make, not authentication.
    Checksum,
    /// A MAC under the key.
    Keyed,
}

/// What the MACs of a body are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: all that gVisor has written")]
pub enum BodyMacs {
    /// There are none.
    None,
    /// A key of no length: checksums that anyone can make. Files of dialects L to C whose writer was given an empty key.
    Checksums,
    /// The key.
    Keyed,
}

/// What a file is, as far as its first bytes and the key tell.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoding {
    /// The dialects that write such a file; more than one where they do not differ.
    pub dialects: Dialects,
    /// How the body is stored.
    pub compression: Compression,
    /// Whether the metadata name the compression. If not, the bytes told.
    pub compression_is_named: bool,
    /// What stands behind the metadata.
    pub header_mac: HeaderMac,
    /// How the body is laid out.
    pub body: Body,
    /// What the MACs of the body are made with.
    pub body_macs: BodyMacs,
    /// Whether the bytes read well in another way too, which has been decided against.
    pub is_ambiguous: bool,
    /// Whether the dialect was named by the caller, and the bytes were not asked.
    pub is_pinned: bool,
    /// Whether the key is one that everybody has: zeros.
    pub key_is_weak: bool,
}

impl Encoding {
    /// Whether the header and every byte of the body are authenticated by a key, as far as the format goes.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.body_macs == BodyMacs::Keyed && !self.key_is_weak
    }

    /// What the MACs do not tell, as sentences for a person; empty if there is nothing to say but what holds for all files.
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
