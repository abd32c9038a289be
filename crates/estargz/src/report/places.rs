//! The chunks of all files in the order of the blob, and whose the compressed bytes of a stream are.

use crate::read::index::{Index, Row};

/// A chunk of a file. The order is that of the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Where its stream starts.
    pub(super) offset: u64,
    /// Bytes of the stream before it.
    inner: u64,
    pub(super) row: Row,
    /// Whether the file starts with it.
    pub(super) is_first: bool,
    /// Its bytes, never none.
    pub(super) len: u64,
}

/// All chunks that a file refers to, in order.
#[derive(Debug)]
pub(super) struct Places(Vec<Place>);

impl Places {
    pub(super) fn of(index: &Index) -> Self {
        let mut places = Vec::with_capacity(usize::try_from(index.data_chunks).unwrap_or(0));
        for (row, node) in (0..).zip(&index.nodes) {
            places.extend(index.locations(node).map(|chunk| Place {
                offset: chunk.offset,
                inner: chunk.inner,
                row,
                is_first: chunk.at == 0,
                len: chunk.size,
            }));
        }
        if !places.is_sorted() {
            places.sort_unstable();
        }
        Self(places)
    }

    /// The streams with content, in order.
    pub(super) fn streams<'p>(&'p self, index: &'p Index) -> impl Iterator<Item = Stream<'p>> {
        let mut rest = self.0.as_slice();
        let ends = index.streams.iter().skip(1).copied().chain([index.payload_len]);
        index.streams.iter().zip(ends).map(move |(&start, end)| {
            let here = rest.iter().take_while(|place| place.offset <= start).count();
            let (places, after) = rest.split_at_checked(here).unwrap_or((rest, &[]));
            rest = after;
            Stream { start, len: end.saturating_sub(start), places }
        })
    }

    /// The stream that starts at `start`.
    pub(super) fn stream<'p>(&'p self, index: &Index, start: u64) -> Stream<'p> {
        let from = self.0.partition_point(|place| place.offset < start);
        let to = self.0.partition_point(|place| place.offset <= start);
        let places = self.0.get(from..to).unwrap_or_default();
        Stream { start, len: index.stream_end(start).saturating_sub(start), places }
    }
}

/// A stream with content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream<'p> {
    pub(super) start: u64,
    pub(super) len: u64,
    /// The chunks in it; none if they were replaced.
    pub(super) places: &'p [Place],
}

impl Stream<'_> {
    pub(super) fn content_len(&self) -> u64 {
        self.places.iter().fold(0, |sum, place| sum.saturating_add(place.len))
    }

    /// The compressed bytes that each chunk answers for. They add up to those of the stream, if there is a chunk at all.
    pub(super) fn shares(&self) -> impl Iterator<Item = (Row, u64)> {
        let (whole, all) = (u128::from(self.len), u128::from(self.content_len()));
        let (mut content, mut given) = (0_u128, 0_u64);
        self.places.iter().map(move |place| {
            content = content.saturating_add(u128::from(place.len)).min(all);
            // Rounding the sum so far, and not each share, loses nothing.
            let upto = whole.saturating_mul(content).checked_div(all).unwrap_or(0);
            let upto = u64::try_from(upto).unwrap_or(u64::MAX);
            let share = upto.saturating_sub(given);
            given = upto;
            (place.row, share)
        })
    }

    /// How many files have content in it.
    pub(super) fn files(&self) -> u64 {
        match self.places {
            [] => 0,
            [_] => 1,
            [first, others @ ..] if others.iter().all(|place| place.row == first.row) => 1,
            places => {
                let mut rows: Vec<Row> = places.iter().map(|place| place.row).collect();
                rows.sort_unstable();
                rows.dedup();
                rows.len() as u64
            }
        }
    }

    /// The file with the most content in one chunk of it, the first of several.
    pub(super) fn main_file(&self) -> Option<(u64, Row)> {
        let largest = self.places.iter().map(|place| place.len).max()?;
        self.places.iter().find(|place| place.len == largest).map(|place| (place.len, place.row))
    }
}
