//! Some consecutive streams, as one job for a worker.

use dunnage_digest::Digest;

use super::zeros::{Hashed, Zeros};
use crate::{Error, codec::Encoder, crc64::Crc64};

/// What a piece of content is of its file, or of its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    First,
    Middle,
    Last,
}

impl Part {
    /// The part between two ends, each of which may be reached.
    pub(super) const fn between(starts: bool, ends: bool) -> Self {
        match (starts, ends) {
            (true, true) => Self::Whole,
            (true, false) => Self::First,
            (false, false) => Self::Middle,
            (false, true) => Self::Last,
        }
    }

    pub(super) fn starts(self) -> bool {
        matches!(self, Self::Whole | Self::First)
    }

    pub(super) fn ends(self) -> bool {
        matches!(self, Self::Whole | Self::Last)
    }
}

/// A chunk's content within a batch, or a part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    /// The stream it lies in, counted within the batch.
    pub(super) stream: usize,
    /// Where in the batch it starts.
    pub(super) start: usize,
    pub(super) len: usize,
    /// What it is of its file.
    pub(super) part: Part,
    /// What it is of its chunk.
    pub(super) of_chunk: Part,
}

/// Consecutive bytes of the tar stream, cut into streams, with content in some places.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) data: Vec<u8>,
    /// Where in the batch each stream starts; it ends where the next one starts.
    pub(super) streams: Vec<usize>,
    pub(super) contents: Vec<Content>,
}

impl Batch {
    /// The bytes of each stream.
    fn streams(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.streams.iter().skip(1).copied().chain([self.data.len()]);
        self.streams.iter().zip(ends).map(|(&start, end)| self.data.get(start..end).unwrap_or_default())
    }

    /// Each piece of content with its bytes.
    pub(super) fn contents(&self) -> impl Iterator<Item = (&Content, &[u8])> {
        self.contents.iter().map(|content| {
            let end = content.start.saturating_add(content.len);
            (content, self.data.get(content.start..end).unwrap_or_default())
        })
    }

    /// Where in its stream a piece of content starts.
    pub(super) fn inner_offset(&self, content: &Content) -> usize {
        content.start.saturating_sub(self.streams.get(content.stream).copied().unwrap_or(0))
    }

    /// Bytes of the last stream.
    pub(super) fn open(&self) -> usize {
        self.streams.last().map_or(0, |start| self.data.len().saturating_sub(*start))
    }

    /// Bytes at the end, behind all content of the last stream.
    pub(super) fn tail(&self) -> usize {
        let content = self.contents.last().map_or(0, |last| last.start.saturating_add(last.len));
        self.open().min(self.data.len().saturating_sub(content))
    }

    pub(super) fn clear(&mut self) {
        self.data.clear();
        self.streams.clear();
        self.contents.clear();
    }
}

/// A batch after compression.
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// Compressed length of each stream.
    pub(super) streams: Vec<u64>,
    /// Hashes of each piece of content.
    pub(super) hashes: Vec<Hashed>,
}

impl Packed {
    /// The digest of a piece of content.
    pub(super) fn digest(&self, content: usize) -> Option<Digest> {
        self.hashes.get(content).map(|(digest, _)| *digest)
    }

    /// The checksum of a piece of content.
    pub(super) fn checksum(&self, content: usize) -> Crc64 {
        self.hashes.get(content).and_then(|(_, checksum)| *checksum).unwrap_or_default()
    }
}

/// The work of one worker on one batch.
pub(super) fn pack(batch: &Batch, encoder: &mut dyn Encoder, zeros: &Zeros) -> Result<Packed, Error> {
    let mut bytes = Vec::with_capacity(batch.data.len() / 2);
    let mut streams = Vec::with_capacity(batch.streams.len());
    for data in batch.streams() {
        let before = bytes.len();
        zeros.stream(data, encoder, &mut bytes)?;
        streams.push(bytes.len().saturating_sub(before) as u64);
    }
    let hashes = batch.contents().map(|(_, content)| zeros.hash(content)).collect();
    Ok(Packed { bytes, streams, hashes })
}
