//! Keys, and the MACs that are made with them.
//!
//! HMAC-SHA-256 pads a short key with zeros, so no key, an empty key and a key of zeros are the same. The first is `None`,
//! the second cannot be made, and the third is refused for writing.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::Error;

/// Bytes of a MAC.
pub const MAC_LEN: usize = 32;

/// A MAC as it is stored.
pub(crate) type Tag = [u8; MAC_LEN];

/// A secret: at least one byte, wiped from memory when dropped, never printed.
#[derive(Clone)]
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// A key of these bytes. The caller's own copy, if there is one, is the caller's to wipe.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyKey`] if there are none.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let bytes = Zeroizing::new(bytes.into());
        if bytes.is_empty() { Err(Error::EmptyKey) } else { Ok(Self(bytes)) }
    }

    /// Whether HMAC takes this key for an empty one: at most 64 bytes, all zero.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        const BLOCK: usize = 64;
        self.0.len() <= BLOCK && self.0.iter().all(|&byte| byte == 0)
    }

    pub(crate) fn for_writing(&self) -> Result<&Self, Error> {
        if self.is_weak() { Err(Error::WeakKey) } else { Ok(self) }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl TryFrom<&[u8]> for Key {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self, Error> {
        Self::new(bytes)
    }
}

/// HMAC-SHA-256 under one key, with the key schedule done: cloned for each MAC.
#[derive(Clone)]
pub(crate) struct Mac(Hmac<Sha256>);

impl Mac {
    pub(crate) fn new(key: &Key) -> Self {
        Self::of(&key.0)
    }

    /// Under the key of zero length: a checksum that anyone can make.
    pub(crate) fn unkeyed() -> Self {
        Self::of(&[])
    }

    fn of(key: &[u8]) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        Self(Hmac::new_from_slice(key).expect("BUG: HMAC takes keys of any length"))
    }

    /// A MAC over `bytes`, to be gone on with.
    pub(crate) fn start(&self, bytes: &[u8]) -> Running {
        let mut running = Running(self.0.clone());
        running.update(bytes);
        running
    }

    /// The MAC over `bytes` alone.
    pub(crate) fn whole(&self, bytes: &[u8]) -> Tag {
        self.start(bytes).tag()
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mac(..)")
    }
}

/// A MAC that is being made.
#[derive(Clone)]
pub(crate) struct Running(Hmac<Sha256>);

impl Running {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn tag(self) -> Tag {
        self.0.finalize().into_bytes().into()
    }

    /// Compares in constant time.
    pub(crate) fn matches(self, tag: &[u8]) -> bool {
        self.0.verify_slice(tag).is_ok()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_bytes_and_does_not_show_them() {
        assert!(matches!(Key::new(Vec::new()), Err(Error::EmptyKey)));
        let key = Key::new(b"hunter2".to_vec()).unwrap();
        assert_eq!(format!("{key:?}{:?}", Mac::new(&key)), "Key(..)Mac(..)");
        assert!(!key.is_weak());
    }

    #[test]
    fn zeros_are_no_key_up_to_a_block() {
        for (len, weak) in [(1, true), (64, true), (65, false)] {
            let key = Key::new(vec![0; len]).unwrap();
            assert_eq!(key.is_weak(), weak, "{len} bytes");
            assert_eq!(Mac::new(&key).whole(b"x") == Mac::unkeyed().whole(b"x"), weak, "{len} bytes");
            assert_eq!(key.for_writing().is_err(), weak);
        }
    }
}
