//! The layout of a layer: which bytes of the blob hold what, in figures and as a picture.
//!
//! Everything here follows from the index; no byte of the blob is read. What only the payload can tell (its length, what
//! one ordinary gzip stream would have taken) is told by [`Reader::measure`].
//!
//! The index says where streams with content start, not where streams end. A stream is taken to reach to the next one, or
//! to the end of the payload, which is true of all layers but those whose writer also starts streams with nothing but tar
//! headers in them; these then count with the stream in front.

mod figures;
mod groups;
mod layout_report;
mod measure;
mod places;
mod segments;

use dunnage_digest::{Offset, ReadAt};

use self::{
    figures::Survey,
    groups::{Division, fold_upwards, largest_directories, top_level},
    places::Places,
};
pub use self::{
    layout_report::{
        FileFacts, Group, GroupShare, KindCounts, LandmarkKind, LayoutOptions, LayoutReport, PayloadShares,
        PrefetchArea, Segment, SegmentKind, SharedStreams, SizeClass, StreamFacts, StreamFigures, StreamKind,
    },
    measure::{MeasureOptions, Measured, Plain},
};
use crate::{
    Error, Reader,
    compose::{NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK},
    footer::{Footer, Format},
    read::index::{Index, NodeKind, ROOT, Row},
};

impl<R: ReadAt + Sync> Reader<R> {
    /// The layout of the layer, from its index alone.
    ///
    /// Takes about 40 bytes of memory a chunk and 20 an entry while it runs, and time for sorting the chunks if the TOC
    /// has them in another order than the blob. The result depends on the TOC, the length of the blob and the options;
    /// its size depends on the options.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] if the source does not tell its size.
    pub fn layout(&self, options: &LayoutOptions) -> Result<LayoutReport, Error> {
        let failed = |source| Error::Read { what: "the size of the blob", at: Offset::ZERO, source };
        let blob_len = self.source().size().map_err(failed)?;
        let parts = Parts::of(self.footer(), blob_len);
        let index = &self.index;
        let marks = Marks::of(index);
        let places = Places::of(index);
        let survey = Survey::of(index, &places, &marks);
        // Directories stand for all that is below them from here on; files keep their own share.
        let mut stored = survey.stored.clone();
        fold_upwards(index, &marks, &mut stored);
        let areas = Division::new(index, &largest_directories(index, &stored, parts.payload_len, options.areas));
        let tops = Division::new(index, &top_level(index, &stored, options.directories)).with_root_files(index);
        let segments = segments::cut(index, &places, &marks, &areas, &survey, &parts, options.segments);
        Ok(LayoutReport {
            blob_len,
            payload_len: parts.payload_len,
            toc_len: parts.toc_len,
            toc_json_len: self.toc_len(),
            tar_split_len: parts.tar_split_len,
            footer_len: parts.footer_len,
            stream_kind: parts.stream_kind,
            toc_entries: index.entries,
            counts: figures::counts(index, &marks),
            content_len: figures::content_len(index, &marks),
            chunks: index.data_chunks,
            streams: survey.stream_figures(index, &places),
            shared: survey.shared_streams(),
            payload: survey.payload_shares(&marks),
            framing_len: survey.streams().saturating_mul(parts.stream_kind.framing_len()),
            prefetch: marks.prefetch(index, blob_len),
            biggest: survey.biggest(index, &marks, options.biggest),
            file_sizes: figures::file_sizes(index, &marks),
            stream_sizes: survey.stream_sizes(),
            top_level: used(tops.shares(index, &survey.stored, &marks)),
            areas: areas.shares(index, &survey.stored, &marks),
            segments,
        })
    }
}

/// The parts of a blob. All that this module knows of footers is here.
#[derive(Clone, Copy, Debug)]
struct Parts {
    payload_len: u64,
    toc_len: u64,
    tar_split_len: u64,
    footer_len: u64,
    stream_kind: StreamKind,
}

impl Parts {
    /// Together they are the whole blob: what frames a part counts with it.
    fn of(footer: &Footer, blob_len: u64) -> Self {
        let payload_len = footer.payload_len.min(blob_len);
        let footer_len = footer.footer_len.min(blob_len.saturating_sub(payload_len));
        let between = blob_len.saturating_sub(payload_len).saturating_sub(footer_len);
        let toc_end = footer.toc_at().get().saturating_add(footer.toc_len());
        let toc_len = toc_end.saturating_sub(payload_len).min(between);
        Self {
            payload_len,
            toc_len,
            tar_split_len: between.saturating_sub(toc_len),
            footer_len,
            stream_kind: match footer.format {
                Format::Estargz | Format::Stargz | Format::ExternalToc => StreamKind::Gzip,
                Format::ZstdChunked | Format::StorageChunked => StreamKind::Zstd,
                Format::Other(_) => StreamKind::Other,
            },
        }
    }
}

/// The landmarks of a layer: regular files of these names in its root.
#[derive(Clone, Copy, Debug)]
struct Marks {
    prefetch: Option<Row>,
    no_prefetch: Option<Row>,
}

impl Marks {
    fn of(index: &Index) -> Self {
        let find = |name: &str| {
            let row = index.child(index.node(ROOT)?, name.as_bytes())?;
            index.node(row).filter(|node| node.kind == NodeKind::File).map(|_| row)
        };
        Self { prefetch: find(PREFETCH_LANDMARK), no_prefetch: find(NO_PREFETCH_LANDMARK) }
    }

    fn has(&self, row: Row) -> bool {
        self.prefetch == Some(row) || self.no_prefetch == Some(row)
    }

    /// Where the area to fetch first ends. If both landmarks are there, the one against it counts.
    fn prefetch_len(&self, index: &Index) -> u64 {
        let landmark = self.prefetch.filter(|_| self.no_prefetch.is_none());
        let node = landmark.and_then(|row| index.node(row));
        node.and_then(|node| index.locations(node).next()).map_or(0, |chunk| chunk.offset)
    }

    fn prefetch(&self, index: &Index, blob_len: u64) -> Option<PrefetchArea> {
        let (kind, row) = match (self.no_prefetch, self.prefetch) {
            (Some(row), _) => (LandmarkKind::NoPrefetch, row),
            (None, Some(row)) => (LandmarkKind::Prefetch, row),
            (None, None) => return None,
        };
        let place = index.node(row).and_then(|node| index.locations(node).next());
        let place = place.map_or((0, 0), |chunk| (chunk.offset, chunk.inner));
        let in_front = |row: Row| {
            let node = index.node(row).filter(|node| node.kind == NodeKind::File && !self.has(row))?;
            index.locations(node).next().filter(|chunk| (chunk.offset, chunk.inner) < place)
        };
        let rows = (0..).zip(&index.nodes).map(|(row, _)| row);
        Some(PrefetchArea {
            kind,
            offset: Offset::new(place.0),
            inner_offset: place.1,
            len: self.prefetch_len(index).min(blob_len),
            files: rows.filter(|&row| in_front(row).is_some()).count() as u64,
        })
    }
}

/// Groups with files in them.
fn used(mut shares: Vec<GroupShare>) -> Vec<GroupShare> {
    shares.retain(|share| share.files > 0);
    shares
}

/// The path of a row from the root, without a slash in front; empty for the root.
fn path(index: &Index, row: Row) -> Vec<u8> {
    let mut parts = Vec::new();
    let mut row = row;
    // Parents have lower numbers than their children, so this ends.
    while let Some(node) = index.node(row).filter(|_| row != ROOT) {
        parts.push(index.name(row));
        row = node.parent;
    }
    parts.reverse();
    parts.join(&b'/')
}

/// Place of a row in a table that has one for each.
fn at(row: Row) -> usize {
    usize::try_from(row).unwrap_or(usize::MAX)
}
