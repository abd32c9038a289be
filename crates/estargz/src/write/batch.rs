//! Some consecutive streams, as one job for a worker.

use dunnage_digest::{Algorithm, Digest};

use crate::{Encoder, Error};

/// What a stream's payload is of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The stream starts with headers, not with content.
    None,
    Whole,
    First,
    Middle,
    Last,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    /// Where in the batch it starts; it ends where the next one starts.
    pub(super) start: usize,
    /// Bytes of content at its start; what follows is padding and headers.
    pub(super) payload: usize,
    pub(super) part: Part,
}

/// Consecutive bytes of the tar stream, cut into streams.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) data: Vec<u8>,
    pub(super) streams: Vec<Stream>,
}

impl Batch {
    /// Each stream with its bytes.
    pub(super) fn streams(&self) -> impl Iterator<Item = (Stream, &[u8])> {
        let ends = self.streams.iter().skip(1).map(|next| next.start).chain([self.data.len()]);
        let bytes = |(stream, end): (&Stream, usize)| (*stream, self.data.get(stream.start..end).unwrap_or_default());
        self.streams.iter().zip(ends).map(bytes)
    }

    /// Bytes behind the content of the last stream.
    pub(super) fn tail(&self) -> usize {
        self.streams.last().map_or(0, |last| self.data.len().saturating_sub(last.start).saturating_sub(last.payload))
    }
}

/// A batch after compression.
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// Of each stream: its compressed length, and the digest of its content if it has some.
    pub(super) streams: Vec<(u64, Option<Digest>)>,
}

/// The work of one worker on one batch.
pub(super) fn pack(batch: &Batch, encoder: &mut dyn Encoder) -> Result<Packed, Error> {
    let mut bytes = Vec::with_capacity(batch.data.len() / 2);
    let mut streams = Vec::with_capacity(batch.streams.len());
    for (stream, data) in batch.streams() {
        let before = bytes.len();
        encoder.encode(data, &mut bytes)?;
        let content = data.get(..stream.payload).filter(|_| stream.part != Part::None);
        let digest = content.map(|content| Digest::of(Algorithm::Sha256, content));
        streams.push((bytes.len().saturating_sub(before) as u64, digest));
    }
    Ok(Packed { bytes, streams })
}
