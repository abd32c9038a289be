//! Streams and contents of zeros, compressed and hashed once.
//!
//! An encoder makes the same bytes of the same input, so a stream of so many zeros is always the same, wherever a hole is. All
//! workers of a line share one [`Zeros`].

use std::sync::{Arc, Mutex, PoisonError};

use dunnage_digest::{Algorithm, Digest};

use crate::{Error, codec::Encoder, crc64::Crc64};

/// Shorter runs of zeros are not worth a look.
const LEAST: usize = 4096;
/// Lengths that are remembered. A layer has few: that of whole chunks, and those of the ends of holes.
const LENGTHS: usize = 8;
/// A longer result is not kept: the encoder does not compress.
const MAX_KEPT: usize = 512 << 10;

/// Results for zeros, by their length.
#[derive(Debug)]
pub(super) struct Zeros {
    /// Whether contents need checksums.
    checksums: bool,
    /// `None` where the result is too long to be kept.
    streams: Mutex<Kept<Option<Arc<[u8]>>>>,
    hashes: Mutex<Kept<Hashed>>,
}

/// The digest of a content, and its checksum if the form needs one.
pub(super) type Hashed = (Digest, Option<Crc64>);

/// The last few results, the oldest first.
#[derive(Debug)]
struct Kept<T>(Vec<(usize, T)>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Kept<T> {
    fn get(&self, len: usize) -> Option<T> {
        self.0.iter().find(|(kept, _)| *kept == len).map(|(_, result)| result.clone())
    }

    fn put(&mut self, len: usize, result: T) {
        if self.0.len() >= LENGTHS {
            self.0.remove(0);
        }
        self.0.push((len, result));
    }
}

impl Zeros {
    pub(super) fn new(checksums: bool) -> Self {
        Self { checksums, streams: Mutex::default(), hashes: Mutex::default() }
    }

    /// Appends the stream of `data`, which is compressed unless it is zeros and as many were compressed before. A worker waits
    /// while another one compresses zeros: as a rule it needs the same result.
    pub(super) fn stream(&self, data: &[u8], encoder: &mut dyn Encoder, out: &mut Vec<u8>) -> Result<(), Error> {
        if !is_zeros(data) {
            return encoder.encode(data, out);
        }
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        match streams.get(data.len()) {
            Some(Some(stream)) => out.extend_from_slice(&stream),
            Some(None) => {
                drop(streams);
                encoder.encode(data, out)?;
            }
            None => {
                let start = out.len();
                encoder.encode(data, out)?;
                let stream = out.get(start..).unwrap_or_default();
                streams.put(data.len(), (stream.len() <= MAX_KEPT).then(|| stream.into()));
            }
        }
        Ok(())
    }

    /// Hashes a content, unless it is zeros and as many were hashed before.
    pub(super) fn hash(&self, content: &[u8]) -> Hashed {
        let hash = || (Digest::of(Algorithm::Sha256, content), self.checksums.then(|| Crc64::of(content)));
        if !is_zeros(content) {
            return hash();
        }
        let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        hashes.get(content.len()).unwrap_or_else(|| {
            let hashed = hash();
            hashes.put(content.len(), hashed);
            hashed
        })
    }
}

/// Whether `data` is zeros, and many of them. Most other data differs in its first 64 bytes.
fn is_zeros(data: &[u8]) -> bool {
    let Some((first, rest)) = data.split_first_chunk::<64>() else { return false };
    data.len() >= LEAST && *first == [0; 64] && {
        // Equal to itself 64 bytes later, as a comparison of memory.
        let before = data.get(..rest.len()).unwrap_or_default();
        before == rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stores its input, and counts.
    struct Counting(u32);

    impl Encoder for Counting {
        fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
            self.0 += 1;
            out.extend_from_slice(&input[..input.len().min(100)]);
            Ok(())
        }
    }

    #[test]
    fn zeros_are_told_from_all_else() {
        for (at, len) in [(0, 4096), (63, 4096), (64, 4096), (4095, 4096), (70_000, 100_000)] {
            let mut data = vec![0; len];
            assert!(is_zeros(&data));
            data[at] = 1;
            assert!(!is_zeros(&data), "{at} of {len}");
        }
        assert!(!is_zeros(&[0; 100]), "too few to be worth it");
    }

    #[test]
    fn zeros_of_one_length_are_compressed_once() {
        let (zeros, mut encoder, mut out) = (Zeros::new(true), Counting(0), Vec::new());
        for len in [5000, 6000, 5000, 6000, 5000] {
            let data = vec![0; len];
            zeros.stream(&data, &mut encoder, &mut out).unwrap();
            assert_eq!(zeros.hash(&data), (Digest::of(Algorithm::Sha256, &data), Some(Crc64::of(&data))));
        }
        assert_eq!((encoder.0, out.len()), (2, 500));
        // Other data is compressed each time, and few lengths are kept.
        zeros.stream(&[1; 5000], &mut encoder, &mut out).unwrap();
        zeros.stream(&[1; 5000], &mut encoder, &mut out).unwrap();
        assert_eq!(encoder.0, 4);
        for len in 10_000..10_100 {
            zeros.stream(&vec![0; len], &mut encoder, &mut out).unwrap();
        }
        assert_eq!(zeros.streams.lock().unwrap().0.len(), LENGTHS);
        assert_eq!(Zeros::new(false).hash(&[0; 5000]).1, None);
    }
}
