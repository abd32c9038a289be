//! Counts, sizes and extremes.

use std::{cmp::Reverse, collections::BinaryHeap};

use dunnage_digest::Offset;

use super::{
    FileFacts, KindCounts, Marks, PayloadShares, SharedStreams, SizeClass, StreamFacts, StreamFigures, at, path,
    places::{Places, Stream},
};
use crate::read::index::{Index, Node, NodeKind, Row};

/// The results of one walk over all streams.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Compressed bytes each row answers for.
    pub(super) stored: Vec<u64>,
    /// Rows with content in a stream that holds other files as well.
    shared: Vec<bool>,
    shared_streams: u64,
    /// The shared stream with the most content.
    largest_shared: Option<StreamFacts>,
    /// Compressed bytes and start of each stream.
    sizes: Vec<(u64, u64)>,
    /// Bytes before the first stream with content.
    headers: u64,
    replaced: u64,
}

impl Survey {
    pub(super) fn of(index: &Index, places: &Places, marks: &Marks) -> Self {
        let mut survey = Self {
            stored: vec![0; index.nodes.len()],
            shared: vec![false; index.nodes.len()],
            sizes: Vec::with_capacity(index.streams.len()),
            headers: index.streams.first().copied().unwrap_or(index.payload_len),
            ..Self::default()
        };
        for stream in places.streams(index) {
            survey.add(index, &stream);
        }
        for row in [marks.prefetch, marks.no_prefetch].into_iter().flatten() {
            if let Some(shared) = survey.shared.get_mut(at(row)) {
                *shared = false;
            }
        }
        survey
    }

    fn add(&mut self, index: &Index, stream: &Stream<'_>) {
        self.sizes.push((stream.len, stream.start));
        if stream.places.is_empty() {
            self.replaced = self.replaced.saturating_add(stream.len);
        }
        for (row, share) in stream.shares() {
            if let Some(stored) = self.stored.get_mut(at(row)) {
                *stored = stored.saturating_add(share);
            }
        }
        let files = stream.files();
        if files < 2 {
            return;
        }
        self.shared_streams = self.shared_streams.saturating_add(1);
        for place in stream.places {
            if let Some(shared) = self.shared.get_mut(at(place.row)) {
                *shared = true;
            }
        }
        let content_len = stream.content_len();
        if self.largest_shared.as_ref().is_none_or(|largest| largest.content_len < content_len) {
            self.largest_shared = Some(facts(index, stream));
        }
    }

    /// Known streams: those with content, and the one before them.
    pub(super) fn streams(&self) -> u64 {
        (self.sizes.len() as u64).saturating_add(u64::from(self.headers > 0))
    }

    pub(super) fn is_shared(&self, row: Row) -> bool {
        self.shared.get(at(row)).copied().unwrap_or(false)
    }

    pub(super) fn stored(&self, row: Row) -> u64 {
        self.stored.get(at(row)).copied().unwrap_or(0)
    }

    pub(super) fn stream_figures(&self, index: &Index, places: &Places) -> StreamFigures {
        let all = self.sizes.iter().fold(0_u64, |sum, (len, _)| sum.saturating_add(*len));
        let facts = |start: u64| facts(index, &places.stream(index, start));
        let mut sizes = self.sizes.clone();
        let middle = sizes.len().saturating_sub(1) / 2;
        let median = (!sizes.is_empty()).then(|| sizes.select_nth_unstable(middle).1.1);
        StreamFigures {
            with_content: self.sizes.len() as u64,
            has_header_stream: self.headers > 0,
            mean: all.checked_div(self.sizes.len() as u64).unwrap_or(0),
            smallest: self.sizes.iter().min().map(|(_, start)| facts(*start)),
            median: median.map(facts),
            largest: self
                .sizes
                .iter()
                .max_by_key(|(len, start)| (*len, Reverse(*start)))
                .map(|(_, start)| facts(*start)),
        }
    }

    pub(super) fn stream_sizes(&self) -> Vec<SizeClass> {
        classes(self.sizes.iter().map(|(len, _)| *len))
    }

    pub(super) fn shared_streams(&self) -> SharedStreams {
        SharedStreams {
            streams: self.shared_streams,
            files: self.shared.iter().filter(|shared| **shared).count() as u64,
            largest: self.largest_shared.clone(),
        }
    }

    pub(super) fn payload_shares(&self, marks: &Marks) -> PayloadShares {
        let all = self.stored.iter().fold(0_u64, |sum, stored| sum.saturating_add(*stored));
        let rows = [marks.prefetch, marks.no_prefetch].into_iter().flatten();
        let landmarks = rows.fold(0_u64, |sum, row| sum.saturating_add(self.stored(row)));
        let files = all.saturating_sub(landmarks);
        PayloadShares { headers: self.headers, files, landmarks, replaced: self.replaced }
    }

    /// The `most` files with the largest share.
    pub(super) fn biggest(&self, index: &Index, marks: &Marks, most: usize) -> Vec<FileFacts> {
        let mut heap = BinaryHeap::new();
        for (row, node) in files(index, marks).filter(|(_, node)| node.size > 0) {
            let offset = index.locations(node).next().map_or(0, |chunk| chunk.offset);
            // The smallest is on top: fewest bytes, and of those the last in the blob.
            heap.push(Reverse((self.stored(row), Reverse(offset), Reverse(row))));
            if heap.len() > most {
                heap.pop();
            }
        }
        let facts = |Reverse((stored, Reverse(offset), Reverse(row))): Reverse<(u64, Reverse<u64>, Reverse<Row>)>| {
            let node = index.node(row).copied().unwrap_or_default();
            FileFacts {
                path: path(index, row),
                len: node.size,
                stored,
                chunks: u64::from(node.count.max(1)),
                offset: Offset::new(offset),
                shared: self.is_shared(row),
            }
        };
        heap.into_sorted_vec().into_iter().map(facts).collect()
    }
}

/// The files of a layer, empty ones included, landmarks not.
pub(super) fn files<'i>(index: &'i Index, marks: &'i Marks) -> impl Iterator<Item = (Row, &'i Node)> {
    (0..).zip(&index.nodes).filter(|(row, node)| node.kind == NodeKind::File && !marks.has(*row))
}

pub(super) fn content_len(index: &Index, marks: &Marks) -> u64 {
    files(index, marks).fold(0, |sum, (_, node)| sum.saturating_add(node.size))
}

pub(super) fn file_sizes(index: &Index, marks: &Marks) -> Vec<SizeClass> {
    classes(files(index, marks).map(|(_, node)| node.size))
}

pub(super) fn counts(index: &Index, marks: &Marks) -> KindCounts {
    let mut counts = KindCounts::default();
    for (_, node) in (0..).zip(&index.nodes).skip(1).filter(|(row, _)| !marks.has(*row)) {
        let number = match node.kind {
            NodeKind::Directory => &mut counts.directories,
            NodeKind::File => &mut counts.files,
            NodeKind::Symlink => &mut counts.symlinks,
            NodeKind::HardLink => &mut counts.hard_links,
            NodeKind::Char => &mut counts.char_devices,
            NodeKind::Block => &mut counts.block_devices,
            NodeKind::Fifo => &mut counts.fifos,
        };
        *number = number.saturating_add(1);
        if node.kind == NodeKind::File && node.size == 0 {
            counts.empty_files = counts.empty_files.saturating_add(1);
        }
    }
    counts
}

fn facts(index: &Index, stream: &Stream<'_>) -> StreamFacts {
    StreamFacts {
        offset: Offset::new(stream.start),
        len: stream.len,
        content_len: stream.content_len(),
        files: stream.files(),
        path: stream.main_file().map_or_else(Vec::new, |(_, row)| path(index, row)),
    }
}

/// Sizes by the number of their bits.
fn classes(sizes: impl Iterator<Item = u64>) -> Vec<SizeClass> {
    let mut classes = [(0_u64, 0_u64); 65];
    for size in sizes {
        let bits = usize::try_from(u64::BITS.saturating_sub(size.leading_zeros())).unwrap_or(0);
        if let Some((count, bytes)) = classes.get_mut(bits) {
            (*count, *bytes) = (count.saturating_add(1), bytes.saturating_add(size));
        }
    }
    let from = |bits: u32| bits.checked_sub(1).map_or(0, |bits| 1_u64.checked_shl(bits).unwrap_or(0));
    let classes = (0..).zip(classes).map(|(bits, (count, bytes))| SizeClass { from: from(bits), count, bytes });
    let mut classes: Vec<_> = classes.skip_while(|class| class.count == 0).collect();
    let used = classes.iter().rposition(|class| class.count > 0).map_or(0, |last| last.saturating_add(1));
    classes.truncate(used);
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_put_into_powers_of_two() {
        let class = |from, count, bytes| SizeClass { from, count, bytes };
        for (sizes, wanted) in [
            (vec![], vec![]),
            (vec![0, 0], vec![class(0, 2, 0)]),
            (vec![1], vec![class(1, 1, 1)]),
            (vec![0, 2, 3, 8], vec![class(0, 1, 0), class(1, 0, 0), class(2, 2, 5), class(4, 0, 0), class(8, 1, 8)]),
            (vec![u64::MAX], vec![class(1 << 63, 1, u64::MAX)]),
        ] {
            assert_eq!(classes(sizes.iter().copied()), wanted, "{sizes:?}");
            for class in &wanted {
                assert!(class.count == 0 || sizes.iter().any(|size| (class.from..=class.to()).contains(size)));
            }
        }
    }
}
