//! The dialects, and what each of them does with a body.
//!
//! | | since | deflate | none, unkeyed | none, keyed | header MAC |
//! |---|---|---|---|---|---|
//! | P | 2018-04 | MACs every 8 KiB | | | always |
//! | L | 2018-08 | chunks | | | always |
//! | A | 2023-08 | chunks | frames | frames, a MAC each | always |
//! | B | 2024-08 | chunks | raw | frames, a MAC each | always |
//! | C | 2024-09 | chunks | raw | frames, MACs chained | always |
//! | D | 2026-03 | chunks | raw | frames, MACs chained | with a key |
//!
//! No file says which one it is. Chunks have chained MACs when there is a key, in all of them.

use std::{fmt, str::FromStr};

use crate::{Compression, Error, error::shown};

/// One of the layouts that gVisor has written, oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a new layout is a decision for every reader")]
pub enum Dialect {
    /// 2018-04 to 2018-08, never released: recognised, not read.
    P,
    /// 2018-08 to 2023-08: deflate only, `compression` is not in the metadata.
    L,
    /// 2023-08 to 2024-08.
    A,
    /// 2024-08 to 2024-09.
    B,
    /// 2024-09 to 2026-03.
    C,
    /// Since 2026-03.
    #[default]
    D,
}

impl Dialect {
    /// All of them, oldest first.
    pub const ALL: [Self; 6] = [Self::P, Self::L, Self::A, Self::B, Self::C, Self::D];

    /// Its letter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P => "P",
            Self::L => "L",
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
        }
    }

    /// The gVisor releases that write it.
    #[must_use]
    pub const fn releases(self) -> &'static str {
        match self {
            Self::P => "none (2018-04-28 to 2018-08-24)",
            Self::L => "20190304.1 to 20230807.0",
            Self::A => "20230814.0 to 20240826.0",
            Self::B => "20240916.0",
            Self::C => "20240923.0 to 20260309.0",
            Self::D => "20260316.0 and later",
        }
    }

    /// What its writer takes when the caller names no compression.
    #[must_use]
    pub const fn default_compression(self) -> Compression {
        match self {
            Self::D => Compression::None,
            Self::P | Self::L | Self::A | Self::B | Self::C => Compression::FlateBestSpeed,
        }
    }

    /// Whether a file has a MAC behind the metadata.
    pub(crate) const fn has_header_mac(self, keyed: bool) -> bool {
        keyed || !matches!(self, Self::D)
    }

    /// How a body is laid out.
    pub(crate) const fn body(self, keyed: bool, compression: Compression) -> Body {
        match (compression, keyed, self) {
            (Compression::FlateBestSpeed, true, _) => Body::Chunks(Macs::Chained),
            (Compression::FlateBestSpeed, false, _) => Body::Chunks(Macs::None),
            (Compression::None, false, Self::P | Self::L | Self::A) => Body::Frames(Macs::None),
            (Compression::None, false, Self::B | Self::C | Self::D) => Body::Raw,
            (Compression::None, true, Self::P | Self::L | Self::A | Self::B) => Body::Frames(Macs::Single),
            (Compression::None, true, Self::C | Self::D) => Body::Frames(Macs::Chained),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Dialect {
    type Err = Error;

    /// The letter, in either case.
    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|dialect| text.eq_ignore_ascii_case(dialect.as_str()));
        found.ok_or_else(|| Error::Misuse(format!("unknown dialect `{}`: expected L, A, B, C or D", shown(text))))
    }
}

/// The MACs of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: all that gVisor has written")]
pub enum Macs {
    /// None: the body is not authenticated.
    None,
    /// One for each frame alone: frames can be reordered, repeated or left out unnoticed.
    Single,
    /// Each over its chunk or frame and the MAC before it.
    Chained,
}

/// How a body is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: all that gVisor has written")]
pub enum Body {
    /// The payload as it is.
    Raw,
    /// The payload cut into frames, each with its length in front.
    Frames(Macs),
    /// Deflate chunks, each with its length in front, behind their size.
    Chunks(Macs),
}

impl Body {
    /// Its MACs.
    #[must_use]
    pub const fn macs(self) -> Macs {
        match self {
            Self::Raw => Macs::None,
            Self::Frames(macs) | Self::Chunks(macs) => macs,
        }
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw payload",
            Self::Frames(Macs::None) => "frames",
            Self::Frames(Macs::Single) => "frames with unchained MACs",
            Self::Frames(Macs::Chained) => "frames with chained MACs",
            Self::Chunks(Macs::None) => "deflate chunks",
            Self::Chunks(Macs::Single | Macs::Chained) => "deflate chunks with chained MACs",
        })
    }
}
