//! Digests as values, and their text forms.
//!
//! | form       | example                          | read by               | written by                |
//! |------------|----------------------------------|-----------------------|---------------------------|
//! | OCI        | `sha256:2cf24dba…` (lower case)  | [`Digest::parse_oci`] | `Display`                 |
//! | named      | `sha512-256:53048e26…`           | `FromStr`             | `Display`                 |
//! | tagged hex | `0553048e2681…` (algorithm byte) | [`Digest::parse_tagged`] | [`Digest::to_tagged_hex`] |
//!
//! OCI documents carry the OCI form, which knows three algorithms. The named form is the same for all ten. The stemma
//! object store writes tagged hex.

use std::{cmp::Ordering, fmt, hash, str::FromStr};

use crate::{Algorithm, Hasher, HexError, decode_hex, decode_lower_hex, encode_hex};

/// The name of some content: an algorithm and a hash of its length. Parses and displays as `sha256:<64 hex digits>`.
///
/// It names bytes exactly as they are stored; [`DiffId`] names a layer before compression. It is a `Copy` value of 65
/// bytes and allocates only to make text. Comparison is not constant-time, since a digest is not a secret: compare MACs
/// elsewhere.
#[derive(Clone, Copy)]
pub struct Digest {
    algorithm: Algorithm,
    /// Invariant: zero beyond the length of the algorithm.
    bytes: [u8; 64],
}

impl Digest {
    /// The digest of this algorithm with these bytes.
    ///
    /// # Errors
    ///
    /// [`ParseDigestError::Length`] unless there are exactly [`Algorithm::len`] bytes.
    pub fn new(algorithm: Algorithm, hash: &[u8]) -> Result<Self, ParseDigestError> {
        let wrong = ParseDigestError::Length { algorithm, expected: algorithm.len(), got: hash.len() };
        if hash.len() != algorithm.len() {
            return Err(wrong);
        }
        let mut bytes = [0; 64];
        bytes.get_mut(..hash.len()).ok_or(wrong)?.copy_from_slice(hash);
        Ok(Self { algorithm, bytes })
    }

    /// The SHA-256 digest with these bytes.
    #[must_use]
    pub fn sha256(hash: [u8; 32]) -> Self {
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(hash) {
            *to = from;
        }
        Self { algorithm: Algorithm::Sha256, bytes }
    }

    /// Hashes `data` at once.
    #[must_use]
    pub fn of(algorithm: Algorithm, data: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(data);
        hasher.finish()
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hash, [`Algorithm::len`] bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.len()).unwrap_or(&self.bytes)
    }

    /// The 32 bytes of a SHA-256 digest; `None` for any other algorithm.
    #[must_use]
    pub fn as_sha256(&self) -> Option<&[u8; 32]> {
        match self.algorithm {
            Algorithm::Sha256 => self.bytes.first_chunk(),
            _ => None,
        }
    }

    /// The hash as lower-case hex, without the algorithm.
    #[must_use]
    pub fn to_hex(&self) -> String {
        encode_hex(self.as_bytes())
    }

    /// The object store's text form: hex of the algorithm byte and the hash, with no separator.
    #[must_use]
    pub fn to_tagged_hex(&self) -> String {
        let mut text = encode_hex(&[self.algorithm.id()]);
        text.push_str(&self.to_hex());
        text
    }

    /// Reads the form that OCI descriptors carry: `sha256`, `sha384` or `sha512`, a colon, lower-case hex.
    ///
    /// # Errors
    ///
    /// Those of [`FromStr`], and [`ParseDigestError::Algorithm`] for an algorithm that OCI does not register.
    pub fn parse_oci(text: &str) -> Result<Self, ParseDigestError> {
        let digest: Self = text.parse()?;
        if digest.algorithm.is_oci() {
            Ok(digest)
        } else {
            Err(ParseDigestError::Algorithm { got: digest.algorithm.name().to_owned() })
        }
    }

    /// Reads the object store's text form, in hex of either case.
    ///
    /// # Errors
    ///
    /// [`ParseDigestError::TaggedAlgorithm`] for an id that is not assigned, [`ParseDigestError::Length`] for a hash of
    /// the wrong length, [`ParseDigestError::Hex`] for an odd length and for a character that is not a hex digit.
    pub fn parse_tagged(text: &str) -> Result<Self, ParseDigestError> {
        let text = text.as_bytes();
        let too_short = HexError::Length { expected: 2, got: text.len() };
        let (id, rest) = text.split_first_chunk::<2>().ok_or(too_short)?;
        let mut tag = [0];
        decode_hex(id, &mut tag)?;
        let [tag] = tag;
        let algorithm = Algorithm::from_id(tag).ok_or(ParseDigestError::TaggedAlgorithm { got: tag })?;
        Self::from_hex(algorithm, rest, decode_hex)
    }

    fn from_hex(
        algorithm: Algorithm,
        text: &[u8],
        decode: fn(&[u8], &mut [u8]) -> Result<(), HexError>,
    ) -> Result<Self, ParseDigestError> {
        let expected = algorithm.len();
        let mut bytes = [0; 64];
        let length = ParseDigestError::Length { algorithm, expected, got: text.len() / 2 };
        if text.len().is_multiple_of(2) && text.len() / 2 != expected {
            return Err(length);
        }
        decode(text, bytes.get_mut(..expected).ok_or(length)?)?;
        Ok(Self { algorithm, bytes })
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    /// Reads `name:hex` with any [`Algorithm::name`] and lower-case hex.
    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let (name, hex) = text.split_once(':').ok_or(ParseDigestError::Separator)?;
        let algorithm = Algorithm::from_name(name)
            .ok_or_else(|| ParseDigestError::Algorithm { got: name.chars().take(32).collect() })?;
        Self::from_hex(algorithm, hex.as_bytes(), decode_lower_hex)
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.bytes == other.bytes
    }
}

impl Eq for Digest {}

impl hash::Hash for Digest {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.algorithm.hash(state);
        self.as_bytes().hash(state);
    }
}

impl PartialOrd for Digest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Orders by algorithm id, then by bytes, as the tagged form does.
impl Ord for Digest {
    fn cmp(&self, other: &Self) -> Ordering {
        self.algorithm.cmp(&other.algorithm).then_with(|| self.bytes.cmp(&other.bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Digest of a layer before compression.
///
/// A layer has two digests: this one names the tar, and the plain [`Digest`] names the blob as it is stored. They have
/// different types because both look alike, and an image with one in place of the other does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiffId(Digest);

impl DiffId {
    /// Declares that `digest` is the digest of uncompressed bytes.
    #[must_use]
    pub const fn new(digest: Digest) -> Self {
        Self(digest)
    }

    /// The digest, for code that treats both kinds alike.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DiffId {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        text.parse().map(Self)
    }
}

/// Why a text, or a slice of bytes, is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum ParseDigestError {
    /// No colon between algorithm and hash.
    #[error("expected `algorithm:hex`, got no colon")]
    Separator,
    /// The algorithm before the colon is not known.
    #[error("unknown digest algorithm `{got}`")]
    Algorithm { got: String },
    /// The algorithm byte of a tagged digest is not assigned.
    #[error("unknown digest algorithm id {got:#04x}")]
    TaggedAlgorithm { got: u8 },
    /// The hash does not have the length of its algorithm.
    #[error("expected {expected} bytes of {algorithm}, got {got}")]
    Length { algorithm: Algorithm, expected: usize, got: usize },
    /// The hash is not hexadecimal.
    #[error(transparent)]
    Hex(#[from] HexError),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tagged digests of `abc`: the hashes that FIPS 180-4 and FIPS 202 give for it, after the id.
    const ABC: [&str; 10] = [
        "0023097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
        "01ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "02cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        "03ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "044634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa",
        "0553048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
        "06e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf",
        "073a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
        "08ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
        "09b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
    ];

    #[test]
    fn all_ten_algorithms_hash_abc_as_published() {
        for (algorithm, wanted) in Algorithm::ALL.into_iter().zip(ABC) {
            let digest = Digest::of(algorithm, b"abc");
            assert_eq!(digest.to_tagged_hex(), wanted);
            assert_eq!(Digest::parse_tagged(wanted), Ok(digest));
            assert_eq!(Digest::parse_tagged(&wanted.to_uppercase()), Ok(digest));
            assert_eq!(digest.to_string().parse(), Ok(digest));
            assert_eq!(Digest::new(algorithm, digest.as_bytes()), Ok(digest));
            assert_eq!(Digest::parse_oci(&digest.to_string()).is_ok(), algorithm.is_oci());
        }
    }

    #[test]
    fn texts_that_are_no_digest_say_what_is_wrong() {
        let long = format!("sha256:{}", "0".repeat(66));
        for (text, wanted) in [
            ("", "expected `algorithm:hex`, got no colon"),
            ("md5:00", "unknown digest algorithm `md5`"),
            ("SHA256:00", "unknown digest algorithm `SHA256`"),
            ("sha256:", "expected 32 bytes of sha256, got 0"),
            ("sha256:abc", "expected 64 hex digits, got 3"),
            (long.as_str(), "expected 32 bytes of sha256, got 33"),
            (
                "sha256:zzf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
                "expected a hex digit at character 0, got byte 0x7a",
            ),
            (
                "sha256:2Cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
                "expected a hex digit at character 1, got byte 0x43",
            ),
        ] {
            assert_eq!(text.parse::<Digest>().unwrap_err().to_string(), wanted, "{text}");
        }
        for (text, wanted) in [
            ("", "expected 2 hex digits, got 0"),
            ("0", "expected 2 hex digits, got 1"),
            ("0x", "expected a hex digit at character 1, got byte 0x78"),
            ("0a00", "unknown digest algorithm id 0x0a"),
            ("0500", "expected 32 bytes of sha512-256, got 1"),
            ("05000", "expected 64 hex digits, got 3"),
        ] {
            assert_eq!(Digest::parse_tagged(text).unwrap_err().to_string(), wanted, "{text}");
        }
    }
}
