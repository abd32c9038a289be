//! The blob in its order, cut into pieces that can be drawn.
//!
//! Streams next to each other that would look the same are one piece, except that a file large enough to be seen stays a
//! piece of its own. If these are still too many, pieces that start in the same part of the payload are put together, and
//! look like the kind with the most bytes among them. Cuts are always between streams.

use dunnage_digest::Offset;

use super::{
    Marks, Parts, Segment, SegmentKind,
    figures::Survey,
    groups::Division,
    path,
    places::{Places, Stream},
};
use crate::read::index::{Index, Row};

/// Pieces that are never put together with others: the landmark and its surroundings, the ends of the blob.
const FIXED: usize = 8;

/// A file is large enough to be seen with this part of the blob.
const VISIBLE: u64 = 256;

pub(super) fn cut(
    index: &Index,
    places: &Places,
    marks: &Marks,
    areas: &Division,
    survey: &Survey,
    parts: &Parts,
    most: usize,
) -> Vec<Segment> {
    let prefetch = marks.prefetch_len(index);
    let mut pieces = Pieces::default();
    pieces.add(Piece::plain(SegmentKind::Headers, 0, index.streams.first().copied().unwrap_or(parts.payload_len)));
    let visible = (parts.payload_len / VISIBLE).max(1);
    for stream in places.streams(index) {
        let large = |row: &Row| stream.places.len() == 1 && survey.stored(*row) >= visible;
        let mut piece = piece(&stream, marks, areas);
        piece.look.prefetch = stream.start < prefetch;
        piece.alone = stream.places.first().map(|place| place.row).filter(large);
        pieces.add(piece);
    }
    let most = most.max(2 * FIXED);
    let mut pieces = pieces.0;
    if pieces.len() > most.saturating_sub(FIXED) {
        pieces = thin_out(&pieces, parts.payload_len, most.saturating_sub(FIXED));
    }
    let toc_end = parts.payload_len.saturating_add(parts.toc_len);
    let mut ends = Pieces(pieces);
    ends.add(Piece::plain(SegmentKind::Toc, parts.payload_len, parts.toc_len));
    ends.add(Piece::plain(SegmentKind::TarSplit, toc_end, parts.tar_split_len));
    let footer = toc_end.saturating_add(parts.tar_split_len);
    ends.add(Piece::plain(SegmentKind::Footer, footer, parts.footer_len));
    ends.0.into_iter().map(|piece| piece.into_segment(index)).collect()
}

/// How a piece looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Look {
    kind: SegmentKind,
    area: Option<usize>,
    shared: bool,
    prefetch: bool,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u64,
    len: u64,
    look: Look,
    files: u64,
    /// Bytes of the largest file, and its row.
    main: Option<(u64, Row)>,
    /// The file that is large enough to stay alone.
    alone: Option<Row>,
}

impl Piece {
    const fn plain(kind: SegmentKind, start: u64, len: u64) -> Self {
        let look = Look { kind, area: None, shared: false, prefetch: false };
        Self { start, len, look, files: 0, main: None, alone: None }
    }

    fn take(&mut self, next: &Self) {
        self.len = self.len.saturating_add(next.len);
        self.files = self.files.saturating_add(next.files);
        self.main = match (self.main, next.main) {
            (Some(mine), Some(its)) if its.0 <= mine.0 => Some(mine),
            (mine, its) => its.or(mine),
        };
    }

    fn into_segment(self, index: &Index) -> Segment {
        Segment {
            offset: Offset::new(self.start),
            len: self.len,
            kind: self.look.kind,
            area: self.look.area,
            shared: self.look.shared,
            prefetch: self.look.prefetch,
            files: self.files,
            path: self.main.map_or_else(Vec::new, |(_, row)| path(index, row)),
        }
    }
}

fn piece(stream: &Stream<'_>, marks: &Marks, areas: &Division) -> Piece {
    let mut piece = Piece::plain(SegmentKind::Content, stream.start, stream.len);
    let files = stream.files();
    let Some(main) = stream.main_file() else {
        piece.look.kind = SegmentKind::Replaced;
        return piece;
    };
    if files == 1 && marks.has(main.1) {
        piece.look.kind = SegmentKind::Landmark;
        return piece;
    }
    let mut by_area: Vec<(usize, u64)> = Vec::new();
    for place in stream.places.iter().filter(|place| !marks.has(place.row)) {
        add_to(&mut by_area, areas.of(place.row), place.len);
        piece.files = piece.files.saturating_add(u64::from(place.is_first));
    }
    piece.main = Some(main);
    piece.look.area = most(&by_area);
    piece.look.shared = files > 1;
    piece
}

#[derive(Debug, Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    /// Adds what follows, to the last piece if it looks the same.
    fn add(&mut self, next: Piece) {
        if next.len == 0 {
            return;
        }
        match self.0.last_mut() {
            Some(last) if last.look == next.look && last.alone == next.alone => last.take(&next),
            _ => self.0.push(next),
        }
    }
}

/// Puts together what starts in the same of `parts` parts of the payload.
fn thin_out(pieces: &[Piece], payload_len: u64, parts: usize) -> Vec<Piece> {
    let part = |piece: &Piece| {
        let at = u128::from(piece.start).saturating_mul(parts as u128);
        at.checked_div(u128::from(payload_len)).unwrap_or(0)
    };
    let fixed = |piece: &Piece| matches!(piece.look.kind, SegmentKind::Headers | SegmentKind::Landmark);
    let together =
        |a: &Piece, b: &Piece| part(a) == part(b) && a.look.prefetch == b.look.prefetch && !fixed(a) && !fixed(b);
    let joined = pieces.chunk_by(together).filter_map(|run| {
        let (first, others) = run.split_first()?;
        let mut joined = *first;
        let mut looks = vec![(first.look, first.len)];
        for piece in others {
            joined.take(piece);
            add_to(&mut looks, piece.look, piece.len);
        }
        joined.look = most(&looks).unwrap_or(first.look);
        Some(joined)
    });
    joined.collect()
}

/// Adds to a sum by a key that takes few values.
fn add_to<K: PartialEq>(sums: &mut Vec<(K, u64)>, key: K, more: u64) {
    match sums.iter_mut().find(|(known, _)| *known == key) {
        Some((_, sum)) => *sum = sum.saturating_add(more),
        None => sums.push((key, more)),
    }
}

/// The key with the largest sum, the first of several.
fn most<K: Copy>(sums: &[(K, u64)]) -> Option<K> {
    let largest = sums.iter().map(|(_, sum)| *sum).max()?;
    sums.iter().find(|(_, sum)| *sum == largest).map(|(key, _)| *key)
}
