//! The metadata key `compression`.

use std::{fmt, str::FromStr};

use crate::{Dialect, Error, Metadata};

/// The value of the metadata key `compression`: whether the body of a file is deflated.
///
/// Deflate costs time and gives random access by chunks; `none` is as fast as a copy. gVisor knows no other values and
/// neither does this crate. The bytes of a body also depend on dialect and key: see [`Body`](crate::Body).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: gVisor refuses every other value")]
pub enum Compression {
    /// `flate-best-speed`: chunks of 1 MiB, each a deflate stream of its own.
    FlateBestSpeed,
    /// `none`: the payload unchanged, or in frames if there are MACs.
    None,
}

impl Compression {
    /// The metadata key.
    pub const KEY: &'static str = "compression";

    /// The value in the metadata.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FlateBestSpeed => "flate-best-speed",
            Self::None => "none",
        }
    }

    /// The compression that `metadata` names, or the default of the dialect if the key is missing or empty.
    ///
    /// For writers only. A reader finds out from the bytes, since the default has changed between releases.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidFlags`] for any other value.
    pub fn from_metadata(metadata: &Metadata, dialect: Dialect) -> Result<Self, Error> {
        Ok(Self::named_in(metadata)?.unwrap_or_else(|| dialect.default_compression()))
    }

    /// Sets the metadata key and returns its former value.
    pub fn write_to_metadata(self, metadata: &mut Metadata) -> Option<String> {
        metadata.insert(Self::KEY, self.as_str())
    }

    /// The compression that `metadata` names; `None` if the key is missing or empty.
    pub(crate) fn named_in(metadata: &Metadata) -> Result<Option<Self>, Error> {
        match metadata.get(Self::KEY) {
            None | Some("") => Ok(None),
            Some(value) => value.parse().map(Some),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Compression {
    type Err = Error;

    /// Reads exactly one of the two names. The empty string is neither.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "flate-best-speed" => Ok(Self::FlateBestSpeed),
            "none" => Ok(Self::None),
            other => Err(Error::InvalidFlags { value: other.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        for compression in [Compression::FlateBestSpeed, Compression::None] {
            assert_eq!(compression.to_string().parse::<Compression>().unwrap(), compression);
        }
        for wrong in ["", "None", "NONE", "none ", "flate", "zstd"] {
            assert!(matches!(wrong.parse::<Compression>(), Err(Error::InvalidFlags { value }) if value == wrong));
        }
    }

    #[test]
    fn a_missing_name_is_the_default_of_the_dialect() {
        let mut metadata = Metadata::new();
        for value in [None, Some("")] {
            if let Some(value) = value {
                metadata.insert(Compression::KEY, value);
            }
            for (dialect, wanted) in [
                (Dialect::L, Compression::FlateBestSpeed),
                (Dialect::A, Compression::FlateBestSpeed),
                (Dialect::C, Compression::FlateBestSpeed),
                (Dialect::D, Compression::None),
            ] {
                assert_eq!(Compression::from_metadata(&metadata, dialect).unwrap(), wanted);
            }
        }
        assert_eq!(Compression::None.write_to_metadata(&mut metadata).as_deref(), Some(""));
        assert_eq!(Compression::from_metadata(&metadata, Dialect::A).unwrap(), Compression::None);
    }
}
