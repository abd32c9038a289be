//! The layout report: exact figures for small blobs (tests/cases/estargz/layout.toml), and properties of any blob.

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::{
    io::{Read as _, Write as _},
    sync::Arc,
};

use dunnage_conformance::{
    case::{cases, fixture},
    generate::{Spec, some_names, tree},
    layer, stored,
    tarball::{Format, tarball},
};
use dunnage_digest::Cancel;
use dunnage_estargz::{
    Reader, WriteOptions,
    codec::{Level, ZstdCompressor, ZstdLevel},
    report::{
        Group, GroupShare, LandmarkKind, LayoutOptions, LayoutReport, MeasureOptions, Plain, SegmentKind, SizeClass,
        StreamFacts, StreamKind,
    },
    write::Streams,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

type Facts = (u64, u64, u64, u64);
type Named = (String, u64, u64, u64);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    input: Option<String>,
    /// Where the TOC is, if it is stored elsewhere.
    toc: Option<String>,
    #[serde(default = "gzip")]
    kind: String,
    /// Payload, TOC, tar headers kept apart, footer.
    parts: (u64, u64, u64, u64),
    toc_json: Option<u64>,
    payload: Facts,
    chunks: u64,
    #[serde(default)]
    directories: u64,
    #[serde(default)]
    files: u64,
    smallest: Option<Facts>,
    median: Option<Facts>,
    largest: Option<Facts>,
    shared: Option<Facts>,
    #[serde(default)]
    in_shared: (u64, u64),
    #[serde(default)]
    mean: u64,
    landmark: Option<(String, u64, u64, u64)>,
    #[serde(default)]
    biggest: Vec<Named>,
    #[serde(default)]
    file_sizes: Vec<(u64, u64)>,
    #[serde(default)]
    stream_sizes: Vec<(u64, u64)>,
    #[serde(default)]
    top_level: Vec<Named>,
    areas: Vec<Named>,
    segments: Vec<(String, u64, u64, String, u64, String)>,
    /// Bytes of the tar stream, and members.
    measured: (u64, u64),
}

fn gzip() -> String {
    "gzip".to_owned()
}

#[test]
fn small_blobs_have_the_layout_they_were_made_with() {
    let cases: Cases = cases("estargz/layout.toml");
    for case in &cases.case {
        let blob = match case.input.as_deref() {
            None => marked(),
            Some("storage") => storage(),
            Some(input) => fixture(input),
        };
        check(case, &blob);
    }
}

fn check(case: &Case, blob: &[u8]) {
    let what = &case.name;
    let toc = case.toc.as_ref().map(|toc| fixture(toc));
    let reader = layer::open_with(blob, toc.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let report = reader.layout(&LayoutOptions::default()).unwrap();
    let parts = (report.payload_len, report.toc_len, report.tar_split_len, report.footer_len);
    assert_eq!(parts, case.parts, "parts of {what}");
    assert_eq!(report.blob_len, blob.len() as u64, "{what}");
    let json = toc.as_deref().map_or_else(|| layer::toc_json(blob), layer::toc_member_json);
    assert_eq!(report.toc_json_len, json.len() as u64, "{what}");
    assert!(case.toc_json.is_none_or(|len| len == report.toc_json_len), "{what}");
    let kind = if report.stream_kind == StreamKind::Zstd { "zstd" } else { "gzip" };
    assert_eq!(kind, case.kind, "{what}");
    let payload = report.payload;
    let shares = (payload.headers, payload.files, payload.landmarks, payload.replaced);
    assert_eq!(shares, case.payload, "shares of {what}");
    assert_eq!(report.chunks, case.chunks, "{what}");
    assert_eq!((report.counts.directories, report.counts.files), (case.directories, case.files), "{what}");
    let facts = |stream: &Option<StreamFacts>| {
        stream.as_ref().map(|stream| (stream.offset.get(), stream.len, stream.content_len, stream.files))
    };
    let streams = &report.streams;
    assert_eq!(facts(&streams.smallest), case.smallest, "smallest stream of {what}");
    assert_eq!(facts(&streams.median), case.median, "median stream of {what}");
    assert_eq!(facts(&streams.largest), case.largest, "largest stream of {what}");
    assert_eq!(facts(&report.shared.largest), case.shared, "largest shared stream of {what}");
    assert_eq!((report.shared.streams, report.shared.files), case.in_shared, "shared streams of {what}");
    assert_eq!(streams.mean, case.mean, "mean stream of {what}");
    assert_eq!(report.framing_len, case.measured.1 * if kind == "zstd" { 13 } else { 20 }, "framing of {what}");
    let landmark = report.prefetch.map(|prefetch| {
        let kind = if prefetch.kind == LandmarkKind::Prefetch { "prefetch" } else { "none" };
        (kind.to_owned(), prefetch.offset.get(), prefetch.len, prefetch.files)
    });
    assert_eq!(landmark, case.landmark, "landmark of {what}");
    let biggest: Vec<Named> =
        report.biggest.iter().map(|file| (text(&file.path), file.len, file.stored, file.chunks)).collect();
    assert_eq!(biggest, case.biggest, "biggest files of {what}");
    let classes = |classes: &[SizeClass]| classes.iter().map(|class| (class.from, class.count)).collect::<Vec<_>>();
    assert_eq!(classes(&report.file_sizes), case.file_sizes, "file sizes of {what}");
    assert_eq!(classes(&report.stream_sizes), case.stream_sizes, "stream sizes of {what}");
    let groups = |shares: &[GroupShare]| {
        let named = |share: &GroupShare| (name(&share.group), share.files, share.len, share.stored);
        shares.iter().map(named).collect::<Vec<Named>>()
    };
    assert_eq!(groups(&report.top_level), case.top_level, "directories of {what}");
    assert_eq!(groups(&report.areas), case.areas, "areas of {what}");
    let segments: Vec<_> = report
        .segments
        .iter()
        .map(|segment| {
            let area = segment.area.map_or_else(String::new, |area| name(&report.areas[area].group));
            let flags = [(segment.shared, "shared"), (segment.prefetch, "prefetch")];
            let flags: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
            let kind = match segment.kind {
                SegmentKind::Headers => "headers",
                SegmentKind::Content => "content",
                SegmentKind::Landmark => "landmark",
                SegmentKind::Replaced => "replaced",
                SegmentKind::Toc => "toc",
                SegmentKind::TarSplit => "tar-split",
                SegmentKind::Footer => "footer",
                other => panic!("{other:?}"),
            };
            (kind.to_owned(), segment.offset.get(), segment.len, area, segment.files, flags.join(" "))
        })
        .collect();
    assert_eq!(segments, case.segments, "segments of {what}");
    let measured = reader.measure(&MeasureOptions::default(), &mut |_| ()).unwrap();
    assert_eq!((measured.uncompressed_len, measured.streams.unwrap()), case.measured, "{what}, measured");
    holds(what, &reader, blob);
}

fn text(path: &[u8]) -> String {
    String::from_utf8(path.to_vec()).unwrap()
}

fn name(group: &Group) -> String {
    match group {
        Group::Directory(path) => text(path),
        Group::RestOf(path) => format!("{}/~", text(path)),
        Group::RootFiles => "./".to_owned(),
        Group::Elsewhere => "~".to_owned(),
        other => panic!("{other:?}"),
    }
}

/// A blob with a landmark, a shared stream and a replaced file.
fn marked() -> Vec<u8> {
    let header = |name: &str, size| stored::header(name, size, 0o644);
    let members = [
        header("p", 5),
        [stored::padded(b"start"), header(".prefetch.landmark", 1)].concat(),
        [stored::padded(b"\x0f"), header("x", 3)].concat(),
        [stored::padded(b"old"), header("s/a", 4)].concat(),
        [stored::padded(b"aaaa"), header("s/b", 2), stored::padded(b"bb"), header("x", 4)].concat(),
        stored::padded(b"new!"),
    ];
    let payload: Vec<u8> = members.iter().flat_map(|data| stored::member(data)).collect();
    let entries = [
        ("p", 5, 535, 0),
        (".prefetch.landmark", 1, 1582, 0),
        ("x", 3, 2629, 0),
        ("s/a", 4, 3676, 0),
        ("s/b", 2, 3676, 1024),
        ("x", 4, 5747, 0),
    ];
    let entry = |(name, size, offset, inner): &(&str, u64, u64, u64)| {
        let inner = if *inner == 0 { String::new() } else { format!(r#","innerOffset":{inner}"#) };
        format!(r#"{{"name":"{name}","type":"reg","size":{size},"offset":{offset}{inner}}}"#)
    };
    let entries: Vec<String> = entries.iter().map(entry).collect();
    let json = format!(r#"{{"version":1,"entries":[{}]}}"#, entries.join(","));
    stored::blob(&payload, json.as_bytes())
}

/// A blob as containers/storage writes it, with tar headers behind the TOC.
fn storage() -> Vec<u8> {
    let payload = [stored::frame(&stored::header("a", 2, 0o644)), stored::frame(&stored::padded(b"aa"))].concat();
    let json = r#"{"version":1,"entries":[{"type":"reg","name":"a","size":2,"offset":522,"endOffset":1044}]}"#;
    let (toc, split) = (stored::frame(json.as_bytes()), stored::frame(b"tar headers"));
    let toc_at = payload.len() + 8;
    let split_at = toc_at + toc.len() + 8;
    let numbers = [toc_at, toc.len(), json.len(), 1, split_at, split.len(), 11];
    let numbers = numbers.map(|number| (number as u64).to_le_bytes()).concat();
    let footer = [numbers.as_slice(), b"GNUlInUx"].concat();
    [payload, stored::skippable(&toc), stored::skippable(&split), stored::skippable(&footer)].concat()
}

#[test]
fn generated_layers_add_up() {
    for seed in 0..6 {
        let spec = Spec {
            entries: 120 + 60 * seed,
            max_size: 20_000,
            format: Format::Pax,
            xattrs: true,
            odd_names: true,
            duplicates: seed % 2 == 1,
        };
        let entries = tree(seed, &spec);
        let tar = tarball(spec.format, &entries);
        for (name, codec) in layer::codecs() {
            let options = layer::options(codec, 6, 4096, 2).unwrap();
            let prioritized = if seed < 3 { some_names(&entries, seed) } else { Vec::new() };
            // Half of the layers have streams that files share.
            let streams = if seed % 2 == 0 { Streams::PerChunk } else { Streams::AtLeast(6000) };
            let options = WriteOptions { streams, ..options };
            let (blob, _) = layer::build(tar.as_slice(), &options, &prioritized).unwrap();
            holds_for(&format!("seed {seed}, {name}"), &blob);
        }
        let compressor = Arc::new(ZstdCompressor::new(ZstdLevel::FASTEST));
        let options = WriteOptions { compressor, ..layer::options(layer::codecs()[0].1, 6, 4096, 2).unwrap() };
        let (blob, _) = layer::build(tar.as_slice(), &options, &[]).unwrap();
        holds_for(&format!("seed {seed}, zstd"), &blob);
        match layer::append_lossless(tar.as_slice(), &layer::options(layer::codecs()[0].1, 1, 0, 2).unwrap()) {
            Ok((blob, _)) => holds_for(&format!("seed {seed}, lossless"), &blob),
            // A link of the tar means something that is replaced later, which no lossless layer can say.
            Err(error) => assert!(error.to_string().contains("at this point of the archive"), "seed {seed}: {error}"),
        }
    }
}

#[test]
fn fixtures_add_up() {
    for name in
        ["kinds-zlib", "kinds-libdeflate", "kinds-lossless", "small-level-0", "tree-libdeflate", "tree-lossless"]
    {
        holds_for(name, &fixture(&format!("estargz/{name}.esgz")));
    }
}

/// Checks the properties of any blob.
fn holds_for(what: &str, blob: &[u8]) {
    let reader = layer::open(blob).unwrap_or_else(|error| panic!("{what}: {error}"));
    holds(what, &reader, blob);
}

fn holds(what: &str, reader: &Reader<&[u8]>, blob: &[u8]) {
    let all = LayoutOptions { biggest: usize::MAX, directories: 3, areas: 5, segments: usize::MAX };
    let full = reader.layout(&all).unwrap();
    adds_up(what, &full, blob.len() as u64);
    for (areas, segments) in [(0, 0), (1, 16), (5, 40), (8, 1200)] {
        let options = LayoutOptions { biggest: 3, directories: areas, areas, segments };
        let report = reader.layout(&options).unwrap();
        assert_eq!(format!("{report:?}"), format!("{:?}", reader.layout(&options).unwrap()), "{what}");
        assert_eq!(report.biggest, full.biggest[..full.biggest.len().min(3)], "{what}");
        assert!(report.segments.len() <= segments.max(16), "{what}: {} segments", report.segments.len());
        assert!(report.areas.len() <= areas + 1, "{what}");
        adds_up_except_files(what, &report, blob.len() as u64);
    }
    measures(what, reader, blob);
}

fn adds_up(what: &str, report: &LayoutReport, blob_len: u64) {
    let stored: u64 = report.biggest.iter().map(|file| file.stored).sum();
    assert_eq!(stored, report.payload.files, "{what}: files");
    let content: u64 = report.biggest.iter().map(|file| file.len).sum();
    assert_eq!(content, report.content_len, "{what}: content");
    let with_content = report.counts.files - report.counts.empty_files;
    assert_eq!(report.biggest.len() as u64, with_content, "{what}: files with content");
    assert!(report.biggest.is_sorted_by(|a, b| a.stored >= b.stored), "{what}");
    adds_up_except_files(what, report, blob_len);
}

fn adds_up_except_files(what: &str, report: &LayoutReport, blob_len: u64) {
    let payload = report.payload;
    let shares = payload.headers + payload.files + payload.landmarks + payload.replaced;
    assert_eq!(shares, report.payload_len, "{what}: payload");
    let behind = report.toc_len + report.tar_split_len + report.footer_len;
    assert_eq!(report.payload_len + behind, blob_len, "{what}: blob");
    for groups in [&report.top_level, &report.areas] {
        let sums =
            groups.iter().fold((0, 0, 0), |sum, group| (sum.0 + group.files, sum.1 + group.len, sum.2 + group.stored));
        assert_eq!(sums, (report.counts.files, report.content_len, payload.files), "{what}: groups");
    }
    let counted =
        |classes: &[SizeClass]| classes.iter().fold((0, 0), |sum, class| (sum.0 + class.count, sum.1 + class.bytes));
    assert_eq!(counted(&report.file_sizes), (report.counts.files, report.content_len), "{what}: file sizes");
    let in_streams = report.payload_len - payload.headers;
    assert_eq!(counted(&report.stream_sizes), (report.streams.with_content, in_streams), "{what}: stream sizes");
    let mut at = 0;
    for segment in &report.segments {
        assert_eq!(segment.offset.get(), at, "{what}: a gap");
        assert!(segment.len > 0, "{what}: a piece of nothing");
        assert_eq!(segment.area.is_some(), segment.kind == SegmentKind::Content, "{what}");
        at += segment.len;
    }
    assert_eq!(at, blob_len, "{what}: the segments' end");
    let files: u64 = report.segments.iter().map(|segment| segment.files).sum();
    assert_eq!(files, report.counts.files - report.counts.empty_files, "{what}: files of segments");
    let prefetch: u64 = report.segments.iter().filter(|segment| segment.prefetch).map(|segment| segment.len).sum();
    if let Some(landmark) = report.prefetch.filter(|landmark| landmark.len > 0) {
        assert_eq!(prefetch + payload.headers, landmark.len, "{what}: the area to prefetch");
    } else {
        assert_eq!(prefetch, 0, "{what}");
    }
}

fn measures(what: &str, reader: &Reader<&[u8]>, blob: &[u8]) {
    let tar = layer::unpack(blob).unwrap();
    let mut told = Vec::new();
    let options =
        MeasureOptions { gzip: Level::new(1).unwrap(), zstd: ZstdLevel::new(1).unwrap(), ..MeasureOptions::default() };
    let measured = reader.measure(&options, &mut |done| told.push(done)).unwrap();
    assert_eq!(measured.uncompressed_len, tar.len() as u64, "{what}");
    let plain = match measured.plain {
        Plain::Gzip(_) => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&tar).unwrap();
            gzip.finish().unwrap()
        }
        Plain::Zstd(_) => zstd::encode_all(tar.as_slice(), 1).unwrap(),
        other => panic!("{other:?}"),
    };
    // Bytes may depend on how the tar is handed over, but hardly their number.
    let plain = plain.len() as u64;
    assert!(measured.plain_len.abs_diff(plain) <= 16 + plain / 200, "{what}: {} and {plain}", measured.plain_len);
    let report = reader.layout(&LayoutOptions::default()).unwrap();
    assert_eq!(measured.overhead(&report), i128::from(report.blob_len) - i128::from(measured.plain_len), "{what}");
    assert!(told.is_sorted() && told.last().is_none_or(|last| *last == report.payload_len), "{what}: {told:?}");
    let payload = &blob[..usize::try_from(report.payload_len).unwrap()];
    assert_eq!(measured.streams, Some(streams(measured.plain, payload)), "{what}");
}

fn streams(plain: Plain, mut payload: &[u8]) -> u64 {
    let mut streams = 0;
    while !payload.is_empty() {
        let len = match plain {
            Plain::Gzip(_) => {
                let mut member = flate2::bufread::GzDecoder::new(payload);
                member.read_to_end(&mut Vec::new()).unwrap();
                payload.len() - member.into_inner().len()
            }
            _ => zstd::zstd_safe::find_frame_compressed_size(payload).unwrap(),
        };
        payload = &payload[len..];
        streams += 1;
    }
    streams
}

#[test]
fn measuring_can_be_stopped_and_refuses_damage() {
    let blob = fixture("estargz/tree-libdeflate.esgz");
    let reader = layer::open(blob.as_slice()).unwrap();
    let options = MeasureOptions::default();
    options.cancel.cancel();
    assert_eq!(reader.measure(&options, &mut |_| ()).unwrap_err().to_string(), "cancelled by the caller");
    let options = MeasureOptions { cancel: Cancel::new(), ..options };
    let mut cancel_later = |_| options.cancel.cancel();
    assert_eq!(reader.measure(&options, &mut cancel_later).unwrap_err().to_string(), "cancelled by the caller");
    let options = MeasureOptions { gzip: Level::new(10).unwrap(), ..MeasureOptions::default() };
    let error = reader.measure(&options, &mut |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "one gzip stream at level 10: expected 0 to 9");
    let mut damaged = blob.clone();
    let stream = reader.layout(&LayoutOptions::default()).unwrap().streams.largest.unwrap();
    damaged[usize::try_from(stream.offset.get()).unwrap() + 20] ^= 0xff;
    let error = layer::open(damaged.as_slice()).unwrap().measure(&MeasureOptions::default(), &mut |_| ()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read the payload at offset {}", stream.offset));
    assert_eq!(error.kind(), dunnage_digest::ErrorKind::Malformed);
}
