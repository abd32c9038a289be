//! The pictures. Places are percentages, so that a picture fills whatever width there is without its text being stretched.

use std::fmt::Display;

use dunnage_estargz::report::{GroupShare, LayoutReport, Segment, SegmentKind, SizeClass};

use super::{
    html::Html,
    text::binary,
    words::{group_name, shown},
};
use crate::print::{bytes, count, counted, percent};

/// What an area is called. The only one needs no other word.
pub(super) fn area_name(layout: &LayoutReport, share: &GroupShare) -> String {
    if layout.areas.len() > 1 { group_name(&share.group) } else { "files".to_owned() }
}

/// The class of an area, which gives it its colour; the last one has none of its own.
pub(super) fn area_class(layout: &LayoutReport, area: usize) -> String {
    if area.saturating_add(1) < layout.areas.len() { format!("a{area}") } else { "rest".to_owned() }
}

fn segment_class(layout: &LayoutReport, segment: &Segment) -> String {
    match segment.kind {
        SegmentKind::Content => area_class(layout, segment.area.unwrap_or(usize::MAX)),
        kind => kind_class(kind).to_owned(),
    }
}

/// The class of a segment without content.
pub(super) const fn kind_class(kind: SegmentKind) -> &'static str {
    match kind {
        SegmentKind::Headers => "headers",
        SegmentKind::Landmark => "landmark",
        SegmentKind::Replaced => "replaced",
        SegmentKind::Toc => "toc",
        SegmentKind::TarSplit => "split",
        SegmentKind::Footer => "footer",
        _ => "rest",
    }
}

/// A part of a whole for a place in a picture: percent with three digits.
fn place(part: u64, whole: u64) -> String {
    let thousandths = u128::from(part).saturating_mul(100_000).checked_div(u128::from(whole)).unwrap_or(0);
    format!("{}.{:03}%", thousandths / 1000, thousandths % 1000)
}

/// The blob from its first byte to its last: a band of segments, a line above the part to fetch first, a line below
/// streams that several files share, and a scale.
pub(super) fn band(html: &mut Html, layout: &LayoutReport) {
    let whole = layout.blob_len;
    let (title_id, desc_id) = (html.id("band-title"), html.id("band-desc"));
    let labelled = format!("{title_id} {desc_id}");
    html.open("svg", &[("class", &"band"), ("role", &"img"), ("aria-labelledby", &labelled)]);
    html.element("title", &[("id", &title_id)], "The blob in its order");
    html.element("desc", &[("id", &desc_id)], description(layout));
    html.markup("<g class=\"segments\">");
    for segment in &layout.segments {
        let class = segment_class(layout, segment);
        let (x, width) = (place(segment.offset.get(), whole), place(segment.len, whole));
        html.open("rect", &[("class", &class), ("x", &x), ("y", &BAND), ("width", &width), ("height", &HEIGHT)]);
        html.element("title", &[], label(layout, segment)).close("rect");
    }
    html.markup("</g>");
    // A hair between pieces that are wide enough to be told apart.
    let wide = |segment: &&Segment| segment.offset.get() > 0 && segment.len >= (whole / 250).max(1);
    for segment in layout.segments.iter().filter(wide) {
        let x = place(segment.offset.get(), whole);
        let class = if segment.len < whole / 80 { "hair fine" } else { "hair" };
        html.open("line", &[("class", &class), ("x1", &x), ("x2", &x), ("y1", &BAND), ("y2", &BAND_END)]).close("line");
    }
    for (start, len) in runs(&layout.segments, |segment| segment.shared) {
        let (x, width) = (place(start, whole), place(len, whole));
        html.open("rect", &[("class", &"shared"), ("x", &x), ("y", &BELOW), ("width", &width), ("height", &4)])
            .close("rect");
    }
    if let Some(prefetch) = layout.prefetch {
        let x = place(prefetch.len, whole);
        if prefetch.len > 0 {
            html.open("rect", &[("class", &"prefetch"), ("x", &0), ("y", &ABOVE), ("width", &x), ("height", &4)])
                .close("rect");
        }
        // The landmark: a mark that points at where the area to fetch first ends.
        let x = place(prefetch.offset.get(), whole);
        html.open("svg", &[("class", &"mark"), ("x", &x), ("y", &MARK), ("overflow", &"visible")]);
        html.markup("<path d=\"M-5 0h10L0 9z\"/></svg>");
    }
    for tick in ticks(whole) {
        let x = place(tick, whole);
        html.open("line", &[("class", &"tick"), ("x1", &x), ("x2", &x), ("y1", &TICK), ("y2", &TICK_END)])
            .close("line");
        // A label close to an end must not stick out.
        let anchor = match u128::from(tick).saturating_mul(100).checked_div(u128::from(whole)) {
            None | Some(0..5) => "start",
            Some(5..98) => "middle",
            Some(_) => "end",
        };
        html.element("text", &[("x", &x), ("y", &TEXT), ("text-anchor", &anchor)], scale_label(tick));
    }
    html.markup("</svg>");
}

const MARK: u32 = 0;
const ABOVE: u32 = 10;
const BAND: u32 = 16;
const HEIGHT: u32 = 56;
const BAND_END: u32 = 72;
const BELOW: u32 = 74;
const TICK: u32 = 80;
const TICK_END: u32 = 85;
const TEXT: u32 = 98;

/// What the picture shows, in words.
fn description(layout: &LayoutReport) -> String {
    let part = |len| percent(len, layout.blob_len);
    let mut text = format!("Payload {}, table of contents {}", part(layout.payload_len), part(layout.toc_len));
    if let Some(prefetch) = layout.prefetch.filter(|prefetch| prefetch.len > 0) {
        text.push_str(&format!("; the first {} are worth fetching first", part(prefetch.len)));
    }
    for share in layout.areas.iter().filter(|share| share.stored > 0) {
        text.push_str(&format!("; {} {}", area_name(layout, share), part(share.stored)));
    }
    text.push_str(". The table below has all of it.");
    text
}

/// The text that is shown while the pointer is on a segment.
fn label(layout: &LayoutReport, segment: &Segment) -> String {
    let what = match segment.kind {
        SegmentKind::Headers => "tar headers".to_owned(),
        SegmentKind::Landmark => "landmark".to_owned(),
        SegmentKind::Replaced => "content that a later entry replaces".to_owned(),
        SegmentKind::Toc => "table of contents".to_owned(),
        SegmentKind::TarSplit => "tar headers kept apart".to_owned(),
        SegmentKind::Footer => "footer".to_owned(),
        _ => match segment.files {
            0 | 1 => shown(&segment.path),
            files => format!("{} and {} more", shown(&segment.path), count(files.saturating_sub(1))),
        },
    };
    let mut label = format!("{what} · {} at {}", bytes(segment.len), segment.offset);
    if segment.shared {
        label.push_str(" · shared stream");
    }
    if segment.prefetch {
        label.push_str(" · fetched first");
    }
    if layout.areas.len() > 1 && segment.kind == SegmentKind::Content {
        let area = segment.area.and_then(|area| layout.areas.get(area));
        label.push_str(&area.map_or_else(String::new, |share| format!(" · {}", group_name(&share.group))));
    }
    label
}

/// Runs of segments of which something is true: where each starts, and its length.
fn runs(segments: &[Segment], is: impl Fn(&Segment) -> bool) -> Vec<(u64, u64)> {
    let runs = segments.chunk_by(|a, b| is(a) == is(b)).filter(|run| run.first().is_some_and(&is));
    let sum = |run: &[Segment]| run.iter().fold(0_u64, |sum, segment| sum.saturating_add(segment.len));
    runs.map(|run| (run.first().map_or(0, |first| first.offset.get()), sum(run))).collect()
}

/// Three to eight round numbers up to a length, the first one 0.
fn ticks(whole: u64) -> Vec<u64> {
    let steps = (0..20_u32).filter_map(|power| 10_u64.checked_pow(power));
    let steps = steps.flat_map(|power| [1, 2, 5].map(|times| power.saturating_mul(times)));
    let step =
        steps.into_iter().find(|step| whole.checked_div(*step).is_some_and(|steps| steps < 8)).unwrap_or(u64::MAX);
    (0..8_u64).map(|number| step.saturating_mul(number)).take_while(|tick| *tick <= whole).collect()
}

/// A round number of bytes: `20 MB`.
fn scale_label(size: u64) -> String {
    // In tenths of a unit: steps are 1, 2 or 5 times a power of ten, so there is at most one digit behind the point.
    let (tenths, name) = match size {
        0..1000 => return size.to_string(),
        1000..1_000_000 => (size / 100, "kB"),
        1_000_000..1_000_000_000 => (size / 100_000, "MB"),
        1_000_000_000..1_000_000_000_000 => (size / 100_000_000, "GB"),
        _ => (size / 100_000_000_000, "TB"),
    };
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        tenth => format!("{}.{tenth} {name}", tenths / 10),
    }
}

/// Sizes in powers of two: how many as bars upwards, their bytes as bars downwards.
pub(super) fn histogram(html: &mut Html, id: &'static str, title: &str, what: &str, classes: &[SizeClass]) {
    let most = classes.iter().map(|class| class.count).max().unwrap_or(0);
    let bulk = classes.iter().map(|class| class.bytes).max().unwrap_or(0);
    let (title_id, desc_id) = (html.id(format_args!("{id}-title")), html.id(format_args!("{id}-desc")));
    let labelled = format!("{title_id} {desc_id}");
    html.open("svg", &[("class", &"histogram"), ("role", &"img"), ("aria-labelledby", &labelled)]);
    html.element("title", &[("id", &title_id)], title);
    let all = classes.iter().fold(0_u64, |sum, class| sum.saturating_add(class.count));
    let sizes = counted(classes.len() as u64, "class", "classes");
    let desc = format!("{} in {sizes} of size. The table below has all of it.", counted_as(all, what));
    html.element("desc", &[("id", &desc_id)], desc);
    let number = classes.len().max(8) as u64;
    let every = number.div_ceil(9).max(1);
    let (mut counted_once, mut bulk_once) = (false, false);
    for (at, class) in (0_u64..).zip(classes) {
        let x = place(at, number);
        let width = place(4, number.saturating_mul(5));
        let (up, down) = (bar(class.count, most), bar(class.bytes, bulk));
        let middle = place(at.saturating_mul(5).saturating_add(2), number.saturating_mul(5));
        let (y, above) = (UP.saturating_sub(up), UP.saturating_sub(up).saturating_sub(4));
        html.open("rect", &[("class", &"number"), ("x", &x), ("y", &y), ("width", &width), ("height", &up)])
            .close("rect");
        html.open("rect", &[("class", &"bulk"), ("x", &x), ("y", &DOWN), ("width", &width), ("height", &down)])
            .close("rect");
        let anchor = match at.saturating_mul(6).checked_div(number) {
            Some(0) => "start",
            Some(5..) => "end",
            _ => "middle",
        };
        if class.count == most && !std::mem::replace(&mut counted_once, true) {
            html.element(
                "text",
                &[("x", &middle), ("y", &above), ("text-anchor", &anchor)],
                counted_as(class.count, what),
            );
        }
        if class.bytes == bulk && bulk > 0 && !std::mem::replace(&mut bulk_once, true) {
            let below = DOWN.saturating_add(down).saturating_add(13);
            html.element("text", &[("x", &middle), ("y", &below), ("text-anchor", &anchor)], bytes(class.bytes));
        }
        if at.checked_rem(every) == Some(0) {
            let (size, unit) = binary(class.from);
            let label = if size == 0 { "0".to_owned() } else { format!("{size} {unit}") };
            let class = [("class", &"size" as &dyn Display), ("x", &middle), ("y", &SIZES), ("text-anchor", &"middle")];
            html.element("text", &class, label);
        }
    }
    html.markup("</svg>");
}

/// Where bars upwards start, where those downwards do, how long either is, and the line of the labels between them.
const UP: u64 = 92;
const DOWN: u64 = 110;
const BAR: u64 = 72;
const SIZES: u64 = 105;

/// The length of a bar; never none for something.
fn bar(part: u64, whole: u64) -> u64 {
    let length = u128::from(part).saturating_mul(u128::from(BAR)).checked_div(u128::from(whole)).unwrap_or(0);
    u64::try_from(length).unwrap_or(BAR).max(u64::from(part > 0))
}

fn counted_as(number: u64, what: &str) -> String {
    counted(number, what.strip_suffix('s').unwrap_or(what), what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_have_few_round_numbers() {
        for (whole, wanted) in [
            (0, vec!["0"]),
            (1, vec!["0", "1"]),
            (51, vec!["0", "10", "20", "30", "40", "50"]),
            (4239, vec!["0", "1 kB", "2 kB", "3 kB", "4 kB"]),
            (64_050_454, vec!["0", "10 MB", "20 MB", "30 MB", "40 MB", "50 MB", "60 MB"]),
            (2_500_000_000, vec!["0", "500 MB", "1 GB", "1.5 GB", "2 GB", "2.5 GB"]),
        ] {
            let labels: Vec<String> = ticks(whole).into_iter().map(scale_label).collect();
            assert_eq!(labels, wanted, "{whole}");
        }
        assert!(ticks(u64::MAX).len() <= 8);
    }

    #[test]
    fn places_are_exact_to_a_thousandth() {
        for (part, whole, wanted) in
            [(0, 0, "0.000%"), (1, 3, "33.333%"), (u64::MAX, u64::MAX, "100.000%"), (5, 4, "125.000%")]
        {
            assert_eq!(place(part, whole), wanted);
        }
    }
}
