//! The layout as a page: one file, nothing fetched from elsewhere, all there without the script.

use std::{fmt::Display, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunnage_digest::{Algorithm, Digest};
use dunnage_estargz::report::{FileFacts, GroupShare, LandmarkKind, LayoutReport, SegmentKind, SizeClass, StreamFacts};

use super::{
    Document, ImageReport, Report, Section,
    html::Html,
    svg,
    text::range,
    words::{group_name, landmark_name, plain},
};
use crate::print::{bytes, count, counted, percent, printable};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole page.
pub(super) fn page(document: &Document) -> String {
    let mut html = Html::default();
    let source = match document {
        Document::Layer(report) => &report.source,
        Document::Image(image) => &image.source,
    };
    let name = Path::new(source).file_name().unwrap_or_else(|| source.as_ref());
    let title = printable(name.as_encoded_bytes());
    html.markup("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.open("meta", &[("http-equiv", &"Content-Security-Policy"), ("content", &policy())]).markup("\n");
    html.markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.markup("<meta name=\"color-scheme\" content=\"light dark\">\n");
    html.element("title", &[], format_args!("{title}: layout")).markup("\n<style>\n").markup(STYLE);
    html.markup("</style>\n</head>\n<body>\n");
    match document {
        Document::Layer(report) => {
            headline(&mut html, report, "h1", &title);
            html.markup("<main>\n");
            body(&mut html, report);
            html.markup("</main>\n");
        }
        Document::Image(image) => {
            contents(&mut html, image, &title);
            html.markup("<main>\n");
            image.layers.iter().enumerate().for_each(|(at, layer)| section(&mut html, at, layer));
            html.markup("</main>\n");
        }
    }
    closing(&mut html);
    html.markup("<script>\n").markup(SCRIPT).markup("</script>\n</body>\n</html>\n");
    html.into_string()
}

/// The policy for browsers: apply the style and run the one script, whatever else got into the page.
fn policy() -> String {
    let digest = Digest::of(Algorithm::Sha256, format!("\n{SCRIPT}").as_bytes());
    let digest = STANDARD.encode(digest.as_sha256().map(<[u8; 32]>::as_slice).unwrap_or_default());
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
}

/// All of a layer but its headline.
fn body(html: &mut Html, report: &Report) {
    picture(html, &report.layout);
    holdings(html, &report.layout);
    figures(html, report);
    sizes(html, &report.layout);
    directories(html, report);
    files(html, &report.layout);
}

/// The head of an image's page: its digest, and its layers with links to their sections.
fn contents(html: &mut Html, image: &ImageReport, title: &str) {
    html.markup("<header>\n").element("p", &[("class", &"kind")], "OCI image").element("h1", &[], title);
    html.markup("\n<dl class=\"facts\">\n");
    fact(html, "Digest", |html| code(html, &image.digest));
    html.markup("</dl>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Layer</th>");
    html.markup("<th scope=\"col\">Platforms</th><th scope=\"col\">Format</th>");
    html.markup("<th scope=\"col\" class=\"n\">Size</th></tr></thead>\n<tbody>\n");
    for (at, layer) in image.layers.iter().enumerate() {
        html.markup("<tr><th scope=\"row\">");
        html.element("a", &[("href", &format_args!("#layer-{at}"))], &layer.name).markup("</th>");
        html.element("td", &[], layer.platforms.join(", ")).element("td", &[], &layer.format);
        number(html, "n", bytes(layer.size));
        html.markup("</tr>\n");
    }
    html.markup("</tbody></table></div>\n</header>\n");
}

/// A layer of an image.
fn section(html: &mut Html, at: usize, layer: &Section) {
    html.open("section", &[("id", &format_args!("layer-{at}"))]).markup("\n");
    if let Some(report) = &layer.layout {
        html.prefix = format!("layer-{at}-");
        headline(html, report, "h2", &layer.name);
        body(html, report);
        html.prefix.clear();
    } else {
        html.markup("<header>\n").element("p", &[("class", &"kind")], &layer.format);
        html.element("h2", &[], &layer.name).markup("\n<dl class=\"facts\">\n");
        fact(html, "Digest", |html| code(html, &layer.digest));
        html.markup("</dl>\n<p class=\"note\">It has no table of contents, so nothing is known of its bytes.</p>\n");
        html.markup("</header>\n");
    }
    html.markup("</section>\n");
}

fn headline(html: &mut Html, report: &Report, level: &'static str, title: &str) {
    html.markup("<header>\n").element("p", &[("class", &"kind")], report.format).element(level, &[], title);
    html.element("p", &[("class", &"lead")], lead(report)).markup("\n<dl class=\"facts\">\n");
    fact(html, "TOC digest", |html| code(html, &report.toc_digest));
    if let Some(digests) = &report.digests {
        fact(html, "Blob", |html| code(html, &digests.blob));
        fact(html, "Diff ID", |html| code(html, &digests.diff_id));
    }
    for (at, (name, value)) in report.annotations.iter().enumerate() {
        let label = if at == 0 { "Annotations" } else { "" };
        fact(html, label, |html| html.markup("<code>").text(name).markup("=<wbr>").text(value).markup("</code>"));
    }
    html.markup("</dl>\n</header>\n");
}

/// The layer in two or three sentences.
fn lead(report: &Report) -> String {
    let layout = &report.layout;
    let (one, many) = report.stream_words();
    let files = counted(layout.counts.files, "file", "files");
    let mut lead = match layout.streams.with_content {
        0 => format!("{} without any content.", bytes(layout.blob_len)),
        streams => format!(
            "{} for {files} with {} of content, in {} that can be fetched alone.",
            bytes(layout.blob_len),
            bytes(layout.content_len),
            counted(streams, one, many),
        ),
    };
    match layout.prefetch {
        None => lead.push_str(" It has no landmark."),
        Some(prefetch) if prefetch.kind == LandmarkKind::NoPrefetch => {
            lead.push_str(" Nothing is marked as worth fetching first.");
        }
        Some(prefetch) => lead.push_str(&format!(
            " The first {} ({}) are marked as worth fetching first: {}.",
            bytes(prefetch.len),
            percent(prefetch.len, layout.blob_len),
            counted(prefetch.files, "file", "files"),
        )),
    }
    if let Some(measured) = report.measured {
        let (kind, level) = plain(measured.plain);
        lead.push_str(&format!(" Compared with one ordinary {kind} stream at level {level}, {}.", report.overhead()));
    }
    lead
}

fn picture(html: &mut Html, layout: &LayoutReport) {
    html.markup("<h2>From the first byte to the last</h2>\n");
    svg::band(html, layout);
    html.markup("\n<p class=\"piece\" aria-live=\"polite\"></p>\n");
    let shared = layout.shared.streams > 0;
    if layout.prefetch.is_none() && !shared {
        return;
    }
    html.markup("<ul class=\"marks\">\n");
    if let Some(prefetch) = layout.prefetch {
        if prefetch.len > 0 {
            let text = format!("{} worth fetching first", bytes(prefetch.len));
            html.markup("<li><span class=\"key line prefetch\"></span>").text(text).markup("</li>\n");
        }
        html.markup("<li><span class=\"key pointer\"></span>");
        html.text(landmark_name(prefetch.kind)).text(" at ").text(prefetch.offset).markup("</li>\n");
    }
    if shared {
        let text = counted(layout.shared.streams, "stream", "streams");
        let text = format!("{text} with more than one file ({} in all)", count(layout.shared.files));
        html.markup("<li><span class=\"key line shared\"></span>").text(text).markup("</li>\n");
    }
    html.markup("</ul>\n");
}

/// A row of the table that explains the picture.
struct Holding {
    class: String,
    name: String,
    stored: u64,
    /// Content of files.
    plain: Option<u64>,
    files: Option<u64>,
}

fn holdings(html: &mut Html, layout: &LayoutReport) {
    let rows = all_holdings(layout);
    let most = rows.iter().map(|row| row.stored).max().unwrap_or(0);
    html.markup(
        "<div class=\"scroll\"><table class=\"parts\">\n<caption>What the blob holds, and the colours of the picture</caption>\n",
    );
    html.markup("<thead><tr><th scope=\"col\">Part</th><th class=\"bar\" aria-hidden=\"true\"></th>");
    html.markup("<th scope=\"col\" class=\"n\">In the blob</th><th scope=\"col\" class=\"n\">Share</th>");
    html.markup(
        "<th scope=\"col\" class=\"n wide\">Content</th><th scope=\"col\" class=\"n\">Files</th></tr></thead>\n",
    );
    html.markup("<tbody>\n");
    for row in &rows {
        let swatch = format!("swatch {}", row.class);
        html.markup("<tr><th scope=\"row\">").element("span", &[("class", &swatch)], "");
        html.breaking(&row.name).markup("</th>");
        bar(html, &row.class, row.stored, most);
        number(html, "n", bytes(row.stored));
        number(html, "n", percent(row.stored, layout.blob_len));
        number(html, "n wide", row.plain.map_or_else(String::new, |plain| bytes(plain).to_string()));
        number(html, "n", row.files.map_or_else(String::new, |files| count(files).to_string()));
        html.markup("</tr>\n");
    }
    html.markup("</tbody>\n<tfoot><tr><th scope=\"row\">Blob</th><td class=\"bar\" aria-hidden=\"true\"></td>");
    number(html, "n", bytes(layout.blob_len));
    number(html, "n", percent(layout.blob_len, layout.blob_len));
    number(html, "n wide", bytes(layout.content_len));
    number(html, "n", count(layout.counts.files));
    html.markup("</tr></tfoot>\n</table></div>\n");
}

/// All parts of the blob, each byte in one of them.
fn all_holdings(layout: &LayoutReport) -> Vec<Holding> {
    let of_area = |(at, share): (usize, &GroupShare)| Holding {
        class: svg::area_class(layout, at),
        name: svg::area_name(layout, share),
        stored: share.stored,
        plain: Some(share.len),
        files: Some(share.files),
    };
    let areas = layout.areas.iter().enumerate().filter(|(_, share)| share.files > 0).map(of_area);
    let other = |kind, name: &str, stored| Holding {
        class: svg::kind_class(kind).to_owned(),
        name: name.to_owned(),
        stored,
        plain: None,
        files: None,
    };
    let payload = &layout.payload;
    let others = [
        other(SegmentKind::Replaced, "content that a later entry replaces", payload.replaced),
        other(SegmentKind::Headers, "tar headers in front", payload.headers),
        other(SegmentKind::Landmark, "landmark", payload.landmarks),
        other(SegmentKind::Toc, "table of contents", layout.toc_len),
        other(SegmentKind::TarSplit, "tar headers kept apart", layout.tar_split_len),
        other(SegmentKind::Footer, "footer", layout.footer_len),
    ];
    areas.chain(others.into_iter().filter(|part| part.stored > 0)).collect()
}

fn figures(html: &mut Html, report: &Report) {
    let layout = &report.layout;
    if layout.streams.with_content > 0 {
        streams(html, report);
    }
    html.markup("<h2>What the format costs</h2>\n<dl class=\"facts\">\n");
    let (toc, json) = (bytes(layout.toc_len), bytes(layout.toc_json_len));
    let entries = counted(layout.toc_entries, "entry", "entries");
    fact(html, "Table of contents", |html| html.text(format_args!("{toc}; {entries}, {json} of JSON")));
    let framing = bytes(layout.framing_len);
    let each = layout.stream_kind.framing_len();
    fact(html, "Framing", |html| html.text(format_args!("about {framing}, {each} bytes a stream")));
    fact(html, "Footer", |html| html.text(counted(layout.footer_len, "byte", "bytes")));
    if let Some(measured) = report.measured {
        fact(html, "Tar stream", |html| html.text(report.unpacked(&measured)));
        let (kind, level) = plain(measured.plain);
        let (len, overhead) = (bytes(measured.plain_len), report.overhead());
        fact(html, format!("Plain {kind}"), |html| html.text(format_args!("{len} at level {level}: {overhead}")));
    }
    html.markup("</dl>\n");
}

fn streams(html: &mut Html, report: &Report) {
    let (layout, (one, many)) = (&report.layout, report.stream_words());
    let streams = &layout.streams;
    html.markup("<h2>Streams</h2>\n<dl class=\"facts\">\n");
    let number = counted(streams.with_content, one, many);
    fact(html, "With content", |html| {
        html.text(format_args!("{number}, {}", counted(layout.chunks, "chunk", "chunks")))
    });
    let some = [("Smallest", &streams.smallest), ("Median", &streams.median), ("Largest", &streams.largest)];
    for (label, stream) in some {
        if let Some(stream) = stream {
            fact(html, label, |html| of_stream(html, stream));
        }
        if label == "Median" && streams.with_content > 0 {
            fact(html, "Mean", |html| html.text(bytes(streams.mean)));
        }
    }
    if let Some(largest) = &layout.shared.largest {
        let in_all = counted(layout.shared.files, "file", "files");
        let shared = counted(layout.shared.streams, "stream", "streams");
        fact(html, "Shared", |html| html.text(format_args!("{shared} with {in_all}")));
        let content = bytes(largest.content_len);
        fact(html, "Largest shared", |html| of_stream(html.text(content).text(" of content: "), largest));
    }
    html.markup("</dl>\n");
}

fn of_stream<'h>(html: &'h mut Html, stream: &StreamFacts) -> &'h mut Html {
    html.text(format_args!("{} at {}, ", bytes(stream.len), stream.offset));
    match stream.files {
        0 => html.text("content that a later entry replaces"),
        1 => html.markup("<span class=\"path\">").path(&stream.path).markup("</span>"),
        files => {
            html.markup("<span class=\"path\">").path(&stream.path).markup("</span>");
            html.text(format_args!(" and {} more", count(files.saturating_sub(1))))
        }
    }
}

fn sizes(html: &mut Html, layout: &LayoutReport) {
    if layout.file_sizes.is_empty() {
        return;
    }
    html.markup("<h2>Sizes</h2>\n<p class=\"note\"><span class=\"key line number\"></span>Upwards how many, ");
    html.markup("<span class=\"key line bulk\"></span>downwards their bytes, in powers of two.</p>\n");
    html.markup("<div class=\"pair\">\n");
    distribution(html, "files", "Files, by size", "files", &layout.file_sizes);
    if !layout.stream_sizes.is_empty() {
        distribution(html, "streams", "Streams, by compressed size", "streams", &layout.stream_sizes);
    }
    html.markup("</div>\n");
}

fn distribution(html: &mut Html, id: &'static str, title: &str, what: &'static str, classes: &[SizeClass]) {
    html.markup("<figure>").element("figcaption", &[], title);
    svg::histogram(html, id, title, what, classes);
    html.markup("<details><summary>In numbers</summary><table>\n<thead><tr><th scope=\"col\" class=\"n\">Size</th>");
    html.open("th", &[("scope", &"col"), ("class", &"n")]).text(capital(what)).markup("</th>");
    html.markup("<th scope=\"col\" class=\"n\">Bytes</th></tr></thead>\n<tbody>\n");
    for class in classes {
        html.markup("<tr>");
        number(html, "n", range(class));
        number(html, "n", count(class.count));
        number(html, "n", bytes(class.bytes));
        html.markup("</tr>\n");
    }
    html.markup("</tbody></table></details></figure>\n");
}

/// The directories of the root, if the table of parts has others.
fn directories(html: &mut Html, report: &Report) {
    if !report.has_deeper_areas() {
        return;
    }
    let layout = &report.layout;
    let most = layout.top_level.iter().map(|share| share.stored).max().unwrap_or(0);
    html.markup("<h2>Directories of the root</h2>\n<div class=\"scroll\"><table class=\"shares\">\n<thead><tr>");
    html.markup("<th scope=\"col\">Directory</th><th class=\"bar\" aria-hidden=\"true\"></th>");
    html.markup("<th scope=\"col\" class=\"n\">In the blob</th><th scope=\"col\" class=\"n\">Share</th>");
    html.markup(
        "<th scope=\"col\" class=\"n wide\">Content</th><th scope=\"col\" class=\"n\">Files</th></tr></thead>\n",
    );
    html.markup("<tbody>\n");
    for share in &layout.top_level {
        html.markup("<tr><th scope=\"row\">").breaking(&group_name(&share.group)).markup("</th>");
        bar(html, "rest", share.stored, most);
        number(html, "n", bytes(share.stored));
        number(html, "n", percent(share.stored, layout.blob_len));
        number(html, "n wide", bytes(share.len));
        number(html, "n", count(share.files));
        html.markup("</tr>\n");
    }
    html.markup("</tbody></table></div>\n");
}

fn files(html: &mut Html, layout: &LayoutReport) {
    if layout.biggest.is_empty() {
        return;
    }
    html.markup("<h2>Largest files</h2>\n<div class=\"scroll\"><table class=\"sortable\">\n<thead><tr>");
    html.markup("<th scope=\"col\">File</th><th scope=\"col\" class=\"n\">In the blob</th>");
    html.markup("<th scope=\"col\" class=\"n wide\">Share</th><th scope=\"col\" class=\"n\">Content</th>");
    html.markup("<th scope=\"col\" class=\"n wide\">Chunks</th></tr></thead>\n<tbody>\n");
    for file in &layout.biggest {
        html.markup("<tr><th scope=\"row\" class=\"path\">").path(&file.path).markup("</th>");
        file_figures(html, file, layout);
        html.markup("</tr>\n");
    }
    html.markup("</tbody></table></div>\n");
}

fn file_figures(html: &mut Html, file: &FileFacts, layout: &LayoutReport) {
    let mut cell = |class: &'static str, value: u64, text: &dyn Display| {
        html.element("td", &[("class", &class), ("data-value", &value)], text);
    };
    cell("n", file.stored, &bytes(file.stored));
    cell("n wide", file.stored, &percent(file.stored, layout.blob_len));
    cell("n", file.len, &bytes(file.len));
    cell("n wide", file.chunks, &count(file.chunks));
}

fn closing(html: &mut Html) {
    html.markup("<footer class=\"note\"><p>\n");
    html.markup(
        "A stream’s compressed bytes count for the file in it, with the padding and the tar headers that follow; ",
    );
    html.markup("those of a stream with several files count for each in proportion to its content there. ");
    html.markup("Streams are taken to reach to the next one with content. ");
    html.markup("MB are millions of bytes, MiB are 1,048,576.</p></footer>\n");
}

fn fact(html: &mut Html, label: impl Display, value: impl FnOnce(&mut Html) -> &mut Html) {
    // A second value of the same has no label of its own.
    let label = label.to_string();
    if !label.is_empty() {
        html.element("dt", &[], label);
    }
    html.markup("<dd>");
    value(html);
    html.markup("</dd>\n");
}

fn code(html: &mut Html, text: impl Display) -> &mut Html {
    html.element("code", &[], text)
}

fn number(html: &mut Html, class: &'static str, text: impl Display) {
    html.element("td", &[("class", &class)], text);
}

/// A bar beside numbers that say the same.
fn bar(html: &mut Html, class: &str, part: u64, whole: u64) {
    let width = u128::from(part).saturating_mul(1000).checked_div(u128::from(whole)).unwrap_or(0);
    let style = format!("width:{}.{}%", width / 10, width % 10);
    html.markup("<td class=\"bar\" aria-hidden=\"true\">");
    html.element("span", &[("class", &class), ("style", &style)], "").markup("</td>");
}

/// The word with a capital.
fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
