//! The hash algorithms that a digest can name.
//!
//! | id   | name         | bytes | OCI name |
//! |------|--------------|-------|----------|
//! | 0x00 | `SHA224`     | 28    |          |
//! | 0x01 | `SHA256`     | 32    | `sha256` |
//! | 0x02 | `SHA384`     | 48    | `sha384` |
//! | 0x03 | `SHA512`     | 64    | `sha512` |
//! | 0x04 | `SHA512_224` | 28    |          |
//! | 0x05 | `SHA512_256` | 32    |          |
//! | 0x06 | `SHA3_224`   | 28    |          |
//! | 0x07 | `SHA3_256`   | 32    |          |
//! | 0x08 | `SHA3_384`   | 48    |          |
//! | 0x09 | `SHA3_512`   | 64    |          |
//!
//! The stemma object store writes the id in front of a hash and prints the name of the second column. OCI documents use
//! the OCI name. `SHA512_224` and `SHA512_256` are the functions of FIPS 180-4, which have initial values of their own:
//! they are not SHA-512 cut short.

use std::fmt;

/// A hash algorithm of a [`Digest`](crate::Digest).
///
/// Nearly every image uses SHA-256. [`is_oci`](Self::is_oci) tells which algorithms an OCI descriptor may name. The
/// discriminant is the id in the object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
#[expect(missing_docs, reason = "the variants are the names of FIPS 180-4 and FIPS 202")]
pub enum Algorithm {
    Sha224 = 0x00,
    Sha256 = 0x01,
    Sha384 = 0x02,
    Sha512 = 0x03,
    Sha512_224 = 0x04,
    Sha512_256 = 0x05,
    Sha3_224 = 0x06,
    Sha3_256 = 0x07,
    Sha3_384 = 0x08,
    Sha3_512 = 0x09,
}

impl Algorithm {
    /// Every algorithm, in the order of their ids.
    pub const ALL: [Self; 10] = [
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Sha512_224,
        Self::Sha512_256,
        Self::Sha3_224,
        Self::Sha3_256,
        Self::Sha3_384,
        Self::Sha3_512,
    ];

    /// The byte that a tagged digest starts with.
    #[must_use]
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The algorithm with this id; `None` for an id that is not assigned.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// Length of the hash, in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a hash is never empty")]
    pub const fn len(self) -> usize {
        match self {
            Self::Sha224 | Self::Sha512_224 | Self::Sha3_224 => 28,
            Self::Sha256 | Self::Sha512_256 | Self::Sha3_256 => 32,
            Self::Sha384 | Self::Sha3_384 => 48,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }

    /// The name before the colon in `sha256:…`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Sha512_224 => "sha512-224",
            Self::Sha512_256 => "sha512-256",
            Self::Sha3_224 => "sha3-224",
            Self::Sha3_256 => "sha3-256",
            Self::Sha3_384 => "sha3-384",
            Self::Sha3_512 => "sha3-512",
        }
    }

    /// The algorithm with this [`name`](Self::name); names are lower case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Whether an OCI descriptor may use this algorithm.
    #[must_use]
    pub const fn is_oci(self) -> bool {
        matches!(self, Self::Sha256 | Self::Sha384 | Self::Sha512)
    }

    /// The name that the object store prints, for example `SHA512_256`.
    #[must_use]
    pub const fn store_name(self) -> &'static str {
        match self {
            Self::Sha224 => "SHA224",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
            Self::Sha512_224 => "SHA512_224",
            Self::Sha512_256 => "SHA512_256",
            Self::Sha3_224 => "SHA3_224",
            Self::Sha3_256 => "SHA3_256",
            Self::Sha3_384 => "SHA3_384",
            Self::Sha3_512 => "SHA3_512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_lead_back_to_the_algorithm() {
        for (at, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(algorithm.id()), at);
            assert_eq!(Algorithm::from_id(algorithm.id()), Some(algorithm));
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
        }
        assert_eq!(Algorithm::from_id(0x0a), None);
        assert_eq!(Algorithm::from_id(0xff), None);
        assert_eq!(Algorithm::from_name("SHA256"), None);
    }
}
