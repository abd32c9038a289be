//! The dialects of the format, and the body that each one writes.
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
//! No field of a file names its dialect. Chunks have chained MACs in all dialects if there is a key. The whole
//! description is in docs/formats/statefile.md.

use std::{fmt, str::FromStr};

use crate::{Compression, Error, error::shown};

/// One of the six versions of the format that gVisor has written, oldest first.
///
/// Readers find the dialect from the bytes; name one in [`ReadOptions::dialect`](crate::ReadOptions::dialect) only if
/// the bytes are ambiguous. Writers write `D`, the dialect of today's gVisor, unless the file is for an older release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: a new dialect concerns every reader")]
pub enum Dialect {
    /// 2018-04 to 2018-08, never released. This crate recognises it and does not read it.
    P,
    /// 2018-08 to 2023-08: deflate only, and no `compression` in the metadata. This crate reads it and does not write
    /// it.
    L,
    /// 2023-08 to 2024-08: adds uncompressed bodies, always in frames.
    A,
    /// 2024-08 to 2024-09: without a key, an uncompressed body is the payload itself.
    B,
    /// 2024-09 to 2026-03: the MAC of a frame also covers the MAC before it.
    C,
    /// Since 2026-03: without a key, there is no header MAC.
    #[default]
    D,
}

impl Dialect {
    /// All dialects, oldest first.
    pub const ALL: [Self; 6] = [Self::P, Self::L, Self::A, Self::B, Self::C, Self::D];

    /// The letter of the dialect.
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

    /// The gVisor releases that write this dialect.
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

    /// The compression that gVisor's writer uses if its caller names none.
    #[must_use]
    pub const fn default_compression(self) -> Compression {
        match self {
            Self::D => Compression::None,
            Self::P | Self::L | Self::A | Self::B | Self::C => Compression::FlateBestSpeed,
        }
    }

    /// Whether a MAC follows the metadata.
    pub(crate) const fn has_header_mac(self, keyed: bool) -> bool {
        keyed || !matches!(self, Self::D)
    }

    /// The body of a file of this dialect.
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

    /// Reads the letter, in either case.
    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|dialect| text.eq_ignore_ascii_case(dialect.as_str()));
        found.ok_or_else(|| Error::Misuse(format!("unknown dialect `{}`: expected L, A, B, C or D", shown(text))))
    }
}

/// Which MACs protect the chunks or frames of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: all that gVisor has written")]
pub enum Macs {
    /// No MACs: the body is not authenticated.
    None,
    /// Each MAC covers one frame alone. Reordered, repeated and missing frames go unnoticed.
    Single,
    /// Each MAC covers its chunk or frame and the MAC before it.
    Chained,
}

/// The structure of a body: the payload itself, frames, or deflate chunks.
///
/// It follows from dialect, compression and key. [`Encoding::body`](crate::Encoding::body) holds it for a file that was
/// opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: all that gVisor has written")]
pub enum Body {
    /// The payload, unchanged. Nothing in it can be verified but its length.
    Raw,
    /// Frames: each is a length, data, and a MAC if there are MACs.
    Frames(Macs),
    /// The chunk size, then deflate chunks: each is a length, data, and a MAC if there are MACs.
    Chunks(Macs),
}

impl Body {
    /// The MACs of the body.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_in_either_case_and_others_are_named() {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.to_string().parse::<Dialect>().unwrap(), dialect);
            assert_eq!(dialect.to_string().to_lowercase().parse::<Dialect>().unwrap(), dialect);
        }
        let error = "e\n".parse::<Dialect>().unwrap_err();
        assert_eq!(error.to_string(), "unknown dialect `e\\n`: expected L, A, B, C or D");
    }
}
