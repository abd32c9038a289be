//! Digests of runs of zeros, for holes, which are checked without being read.

use std::sync::{Mutex, PoisonError};

use dunnage_digest::{Algorithm, Digest, Hasher};

/// Digests kept at most.
const KEPT: usize = 64;

/// Digests of zeros by their number, the one used last at the back: a hole that is read in small pieces is hashed once.
#[derive(Debug, Default)]
pub(crate) struct ZeroDigests(Mutex<Vec<(Algorithm, u64, Digest)>>);

impl ZeroDigests {
    /// The digest of `len` zeros.
    pub(crate) fn of(&self, algorithm: Algorithm, len: u64) -> Digest {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|&(known, size, _)| known == algorithm && size == len);
        if let Some(at) = found {
            let found = kept.remove(at);
            kept.push(found);
            return found.2;
        }
        // Others may hash in the meantime; at worst two do the same.
        drop(kept);
        let mut hasher = Hasher::new(algorithm);
        hash_zeros(&mut hasher, len);
        let digest = hasher.finish();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((algorithm, len, digest));
        digest
    }
}

/// Adds `len` zeros to a hash.
pub(crate) fn hash_zeros(hasher: &mut Hasher, len: u64) {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut left = len;
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        hasher.update(ZEROS.get(..step).unwrap_or_default());
        left = left.saturating_sub(step as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_have_the_digest_of_zeros() {
        let digests = ZeroDigests::default();
        for len in [0, 1, 1024, 65_536, 65_537, 200_000] {
            for _ in 0..2 {
                let wanted = Digest::of(Algorithm::Sha256, &vec![0; len]);
                assert_eq!(digests.of(Algorithm::Sha256, len as u64), wanted);
            }
        }
        for len in 0..200 {
            digests.of(Algorithm::Sha256, len);
        }
        assert_eq!(digests.0.lock().unwrap().len(), KEPT);
    }
}
