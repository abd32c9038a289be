//! Keys, and their MACs.
//!
//! HMAC-SHA-256 pads a short key with zeros, so it treats an empty key and a key of zeros alike. No key is `None`, an
//! empty [`Key`] cannot be made, and writers refuse a key of zeros.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::Error;

/// Length of a MAC, in bytes.
pub const MAC_LEN: usize = 32;

/// The bytes of a MAC.
pub(crate) type Tag = [u8; MAC_LEN];

/// The secret of a state file: at least one byte, better 32 random ones.
///
/// It authenticates a file and does not encrypt it. Its memory is wiped when it is dropped, and `Debug` does not print
/// it. `runsc` writes without a key; programs that embed gVisor choose one.
#[derive(Clone)]
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// A key of these bytes. A caller that keeps a copy has to wipe it itself.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyKey`] if `bytes` is empty.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let bytes = Zeroizing::new(bytes.into());
        if bytes.is_empty() { Err(Error::EmptyKey) } else { Ok(Self(bytes)) }
    }

    /// Whether HMAC treats this key as an empty one: at most 64 bytes, all zero.
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

/// HMAC-SHA-256 with one key. The key is hashed once; each MAC starts from a clone.
#[derive(Clone)]
pub(crate) struct Mac(Hmac<Sha256>);

impl Mac {
    pub(crate) fn new(key: &Key) -> Self {
        Self::of(&key.0)
    }

    /// With the empty key: the result is a checksum that anyone can compute.
    pub(crate) fn unkeyed() -> Self {
        Self::of(&[])
    }

    fn of(key: &[u8]) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        Self(Hmac::new_from_slice(key).expect("BUG: HMAC takes keys of any length"))
    }

    /// Starts a MAC with `bytes`; more bytes can follow.
    pub(crate) fn start(&self, bytes: &[u8]) -> Running {
        let mut running = Running(self.0.clone());
        running.update(bytes);
        running
    }

    /// The MAC of `bytes`.
    pub(crate) fn whole(&self, bytes: &[u8]) -> Tag {
        self.start(bytes).tag()
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mac(..)")
    }
}

/// A MAC that is not finished.
#[derive(Clone)]
pub(crate) struct Running(Hmac<Sha256>);

impl Running {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn tag(self) -> Tag {
        self.0.finalize().into_bytes().into()
    }

    /// Finishes the MAC and compares it with `tag` in constant time.
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
