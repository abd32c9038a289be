//! The layout as JSON, schema `dunnage.layout/1`. Lengths are in bytes, offsets from the start of the blob.

use std::collections::BTreeMap;

use dunnage_estargz::report::{FileFacts, Group, GroupShare, Segment, SegmentKind, SizeClass, StreamFacts, StreamKind};
use serde::Serialize;

use super::{
    Digests, Report,
    words::{landmark_name, plain},
};
use crate::print::{JsonName, schema};

#[derive(Serialize)]
pub(super) struct Layout<'r> {
    schema: String,
    source: &'r str,
    format: &'static str,
    size: u64,
    toc_digest: &'r str,
    digests: Option<&'r Digests>,
    annotations: &'r BTreeMap<&'static str, String>,
    parts: Parts,
    entries: Entries,
    /// Content of all files.
    content: u64,
    chunks: u64,
    streams: Streams,
    shared: Shared,
    payload: Payload,
    /// What streams cost as such, estimated.
    framing: u64,
    prefetch: Option<Prefetch>,
    measured: Option<Measured>,
    biggest: Vec<File>,
    file_sizes: Vec<Class>,
    stream_sizes: Vec<Class>,
    top_level: Vec<Share>,
    areas: Vec<Share>,
    segments: Vec<Piece>,
}

#[derive(Serialize)]
struct Parts {
    payload: u64,
    toc: u64,
    /// The TOC, decompressed.
    toc_json: u64,
    /// Tar headers kept apart.
    tar_split: u64,
    footer: u64,
}

#[derive(Serialize)]
struct Entries {
    toc: u64,
    directories: u64,
    files: u64,
    empty_files: u64,
    hard_links: u64,
    symlinks: u64,
    character_devices: u64,
    block_devices: u64,
    fifos: u64,
}

#[derive(Serialize)]
struct Streams {
    kind: &'static str,
    with_content: u64,
    header_stream: bool,
    mean: u64,
    smallest: Option<Stream>,
    median: Option<Stream>,
    largest: Option<Stream>,
}

#[derive(Serialize)]
struct Stream {
    offset: u64,
    size: u64,
    content: u64,
    files: u64,
    /// The file with the most content in it.
    #[serde(flatten)]
    path: JsonName,
}

#[derive(Serialize)]
struct Shared {
    streams: u64,
    files: u64,
    largest: Option<Stream>,
}

#[derive(Serialize)]
struct Payload {
    headers: u64,
    files: u64,
    landmarks: u64,
    replaced: u64,
}

#[derive(Serialize)]
struct Prefetch {
    landmark: &'static str,
    offset: u64,
    inner_offset: u64,
    size: u64,
    files: u64,
}

#[derive(Serialize)]
struct Measured {
    unpacked: u64,
    streams: Option<u64>,
    /// The ordinary stream that the layer is compared with.
    plain: u64,
    plain_kind: &'static str,
    plain_level: i32,
    /// Negative if the layer is the smaller of the two.
    overhead: i64,
}

#[derive(Serialize)]
struct File {
    #[serde(flatten)]
    path: JsonName,
    size: u64,
    stored: u64,
    chunks: u64,
    offset: u64,
    shared: bool,
}

#[derive(Serialize)]
struct Class {
    from: u64,
    to: u64,
    count: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Share {
    group: &'static str,
    #[serde(flatten)]
    path: Option<JsonName>,
    files: u64,
    content: u64,
    stored: u64,
}

#[derive(Serialize)]
struct Piece {
    offset: u64,
    size: u64,
    kind: &'static str,
    /// Place in `areas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    area: Option<usize>,
    shared: bool,
    prefetch: bool,
    files: u64,
    #[serde(flatten)]
    path: Option<JsonName>,
}

impl<'r> Layout<'r> {
    pub(super) fn of(report: &'r Report) -> Self {
        let layout = &report.layout;
        let (counts, payload) = (&layout.counts, &layout.payload);
        Self {
            schema: schema("layout"),
            source: &report.source,
            format: report.format,
            size: layout.blob_len,
            toc_digest: &report.toc_digest,
            digests: report.digests.as_ref(),
            annotations: &report.annotations,
            parts: Parts {
                payload: layout.payload_len,
                toc: layout.toc_len,
                toc_json: layout.toc_json_len,
                tar_split: layout.tar_split_len,
                footer: layout.footer_len,
            },
            entries: Entries {
                toc: layout.toc_entries,
                directories: counts.directories,
                files: counts.files,
                empty_files: counts.empty_files,
                hard_links: counts.hard_links,
                symlinks: counts.symlinks,
                character_devices: counts.char_devices,
                block_devices: counts.block_devices,
                fifos: counts.fifos,
            },
            content: layout.content_len,
            chunks: layout.chunks,
            streams: Streams {
                kind: match layout.stream_kind {
                    StreamKind::Gzip => "gzip",
                    StreamKind::Zstd => "zstd",
                    _ => "other",
                },
                with_content: layout.streams.with_content,
                header_stream: layout.streams.has_header_stream,
                mean: layout.streams.mean,
                smallest: layout.streams.smallest.as_ref().map(Stream::of),
                median: layout.streams.median.as_ref().map(Stream::of),
                largest: layout.streams.largest.as_ref().map(Stream::of),
            },
            shared: Shared {
                streams: layout.shared.streams,
                files: layout.shared.files,
                largest: layout.shared.largest.as_ref().map(Stream::of),
            },
            payload: Payload {
                headers: payload.headers,
                files: payload.files,
                landmarks: payload.landmarks,
                replaced: payload.replaced,
            },
            framing: layout.framing_len,
            prefetch: layout.prefetch.map(|prefetch| Prefetch {
                landmark: landmark_name(prefetch.kind),
                offset: prefetch.offset.get(),
                inner_offset: prefetch.inner_offset,
                size: prefetch.len,
                files: prefetch.files,
            }),
            measured: report.measured.map(|measured| Measured {
                unpacked: measured.uncompressed_len,
                streams: measured.streams,
                plain: measured.plain_len,
                plain_kind: plain(measured.plain).0,
                plain_level: plain(measured.plain).1,
                overhead: i64::try_from(measured.overhead(layout)).unwrap_or(i64::MAX),
            }),
            biggest: layout.biggest.iter().map(File::of).collect(),
            file_sizes: layout.file_sizes.iter().map(Class::of).collect(),
            stream_sizes: layout.stream_sizes.iter().map(Class::of).collect(),
            top_level: layout.top_level.iter().map(Share::of).collect(),
            areas: layout.areas.iter().map(Share::of).collect(),
            segments: layout.segments.iter().map(Piece::of).collect(),
        }
    }
}

fn name(path: &[u8]) -> JsonName {
    JsonName { key: "path", name: path.to_vec() }
}

impl Stream {
    fn of(stream: &StreamFacts) -> Self {
        Self {
            offset: stream.offset.get(),
            size: stream.len,
            content: stream.content_len,
            files: stream.files,
            path: name(&stream.path),
        }
    }
}

impl File {
    fn of(file: &FileFacts) -> Self {
        Self {
            path: name(&file.path),
            size: file.len,
            stored: file.stored,
            chunks: file.chunks,
            offset: file.offset.get(),
            shared: file.shared,
        }
    }
}

impl Class {
    const fn of(class: &SizeClass) -> Self {
        Self { from: class.from, to: class.to(), count: class.count, bytes: class.bytes }
    }
}

impl Share {
    fn of(share: &GroupShare) -> Self {
        let (group, path) = match &share.group {
            Group::Directory(path) => ("directory", Some(name(path))),
            Group::RestOf(path) => ("rest_of_directory", Some(name(path))),
            Group::RootFiles => ("root_files", None),
            _ => ("elsewhere", None),
        };
        Self { group, path, files: share.files, content: share.len, stored: share.stored }
    }
}

impl Piece {
    fn of(segment: &Segment) -> Self {
        Self {
            offset: segment.offset.get(),
            size: segment.len,
            kind: match segment.kind {
                SegmentKind::Headers => "headers",
                SegmentKind::Content => "content",
                SegmentKind::Landmark => "landmark",
                SegmentKind::Replaced => "replaced",
                SegmentKind::Toc => "toc",
                SegmentKind::TarSplit => "tar_split",
                SegmentKind::Footer => "footer",
                _ => "other",
            },
            area: segment.area,
            shared: segment.shared,
            prefetch: segment.prefetch,
            files: segment.files,
            path: (!segment.path.is_empty()).then(|| name(&segment.path)),
        }
    }
}
