//! The small tables of upstream's tests (tests/cases/estargz/tables.toml).

use std::{io::Read as _, sync::Arc};

use dunnage_conformance::{
    case::cases,
    layer,
    random::Random,
    stored,
    tarball::{Entry, Format, tarball},
};
use dunnage_digest::{Cursor, Offset, ReadAt as _};
use dunnage_estargz::{
    Error, WriteOptions,
    codec::{Codec, Compressor, ExternalTocCompressor, GzipCompressor, Level, ZstdCompressor},
    footer::{
        EXTERNAL_FOOTER_LEN, FOOTER_LEN, LEGACY_FOOTER_LEN, TocPlace, ZSTD_FOOTER_LEN, footer_bytes, gzip_footer,
        parse_external_footer, parse_footer, parse_legacy_footer, parse_zstd_footer,
    },
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    footers: Footers,
    bad_extra: Vec<BadExtra>,
    chunk: Vec<ChunkCase>,
    position: Vec<PositionCase>,
    parallelism: Parallelism,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Footers {
    last: u64,
    step: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BadExtra {
    name: String,
    /// None: no extra field at all.
    extra: Option<Vec<u8>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChunkCase {
    name: String,
    size: u64,
    at: u64,
    want: Option<(u64, u64)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PositionCase {
    name: String,
    steps: Vec<Step>,
    want: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    Read(usize),
    Start(u64),
    Current(i64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parallelism {
    files: usize,
    bytes: usize,
    chunk_size: u64,
    threads: Vec<usize>,
}

/// All tables. How many cases there were.
pub(crate) fn run() -> usize {
    let tables: Tables = cases("estargz/tables.toml");
    tables.bad_extra.iter().for_each(bad_extra);
    tables.chunk.iter().for_each(chunk);
    tables.position.iter().for_each(position);
    let small = tables.bad_extra.len() + tables.chunk.len() + tables.position.len();
    footers(&tables.footers) + small + parallelism(&tables.parallelism)
}

fn footers(table: &Footers) -> usize {
    let mut count = 0;
    for at in (0..=table.last).step_by(table.step) {
        let place = |at, len, plain_len| TocPlace::Inside { at: Offset::new(at), len, plain_len };
        let bytes = gzip_footer(format!("SG\x16\0{at:016x}STARGZ").as_bytes()).unwrap();
        assert_eq!((bytes.len(), bytes.as_slice()), (FOOTER_LEN, footer_bytes(at.into()).as_slice()), "at {at}");
        let footer = parse_footer(&bytes, at + 100 + 51).unwrap();
        assert_eq!((footer.payload_len, footer.toc, footer.footer_len), (at, place(at, 100, None), 51));

        let bytes = gzip_footer(format!("{at:016x}STARGZ").as_bytes()).unwrap();
        assert_eq!(bytes.len(), LEGACY_FOOTER_LEN, "at {at}");
        let footer = parse_legacy_footer(&bytes, at + 100 + 47).unwrap();
        assert_eq!((footer.payload_len, footer.toc, footer.footer_len), (at, place(at, 100, None), 47));

        let bytes = gzip_footer(b"SG\x11\0STARGZEXTERNALTOC").unwrap();
        assert_eq!(bytes.len(), EXTERNAL_FOOTER_LEN);
        let footer = parse_external_footer(&bytes, at + 46).unwrap();
        assert_eq!((footer.payload_len, footer.toc, footer.footer_len), (at, TocPlace::Outside, 46));

        let (plain_len, len) = (table.last - at, (table.last - at) / 2);
        let content = stored::zstd_footer(at, len, plain_len);
        assert_eq!(content.len(), ZSTD_FOOTER_LEN, "at {at}");
        let footer = parse_zstd_footer(&stored::skippable(&content), at + len + 48);
        match at.checked_sub(8) {
            Some(payload) => {
                let footer = footer.unwrap();
                let got = (footer.payload_len, footer.toc, footer.footer_len);
                assert_eq!(got, (payload, place(at, len, Some(plain_len)), 48));
            }
            None => assert!(footer.is_err(), "a TOC at {at}"),
        }
        count += 4;
    }
    count
}

fn bad_extra(case: &BadExtra) {
    let mut bytes = match &case.extra {
        Some(extra) => stored::footer_with(extra),
        None => stored::member(b""),
    };
    bytes.resize(FOOTER_LEN, 0);
    for (len, parse) in [
        (FOOTER_LEN, parse_footer as fn(&[u8], u64) -> _),
        (LEGACY_FOOTER_LEN, parse_legacy_footer),
        (EXTERNAL_FOOTER_LEN, parse_external_footer),
    ] {
        let parsed: Result<_, Error> = parse(&bytes[..len], 1000);
        assert!(matches!(parsed, Err(Error::Malformed { .. })), "{}: {parsed:?}", case.name);
    }
}

fn chunk(case: &ChunkCase) {
    let tar = tarball(Format::Ustar, &[Entry::file("test", vec![b'x'; case.size as usize])]);
    let (blob, _) = layer::append(tar.as_slice(), &layer::options(Codec::Zlib, 1, 4, 1).unwrap()).unwrap();
    let reader = layer::open(blob.as_slice()).unwrap();
    let found = reader.chunk_for_offset("test", case.at);
    assert_eq!(found.map(|chunk| (chunk.chunk_offset, chunk.size)), case.want, "{}", case.name);
}

fn position(case: &PositionCase) {
    let mut reader = Cursor::new([0_u8; 100]).unwrap();
    for step in &case.steps {
        match *step {
            Step::Read(len) => reader.read_exact(&mut vec![0; len]).unwrap(),
            Step::Start(at) => reader.set_position(Offset::new(at)),
            Step::Current(by) => {
                let at = reader.position().get().checked_add_signed(by).unwrap();
                reader.set_position(Offset::new(at));
            }
        }
    }
    assert_eq!(reader.position().get(), case.want, "{}", case.name);
}

fn parallelism(table: &Parallelism) -> usize {
    let mut random = Random::new(7);
    let files: Vec<Entry> = (0..table.files)
        .map(|number| {
            let mut content = vec![0; table.bytes];
            random.fill(&mut content);
            Entry::file(&format!("file{number}"), content)
        })
        .collect();
    let tar = tarball(Format::Pax, &files);
    let gzip = GzipCompressor::new(Codec::Zlib, Level::DEFAULT);
    let mut compressors: Vec<Arc<dyn Compressor>> =
        vec![Arc::new(ExternalTocCompressor::new(gzip)), Arc::new(ZstdCompressor::default())];
    for (_, codec) in layer::codecs() {
        compressors.push(Arc::new(GzipCompressor::new(codec, Level::DEFAULT)));
    }
    for compressor in &compressors {
        let build = |threads| {
            let compressor = Arc::clone(compressor);
            let write = WriteOptions { chunk_size: table.chunk_size, compressor, threads, ..WriteOptions::default() };
            layer::build(tar.as_slice(), &write, &[]).unwrap()
        };
        let (blob, built) = build(table.threads[0]);
        for &threads in &table.threads[1..] {
            assert!(build(threads) == (blob.clone(), built.clone()), "{compressor:?} with {threads} threads");
        }
        let reader = layer::open_with(blob.as_slice(), built.summary.external_toc).unwrap();
        for file in &files {
            let mut content = vec![0; table.bytes];
            let opened = reader.open_file(std::str::from_utf8(&file.name).unwrap()).unwrap();
            opened.read_exact_at(Offset::ZERO, &mut content).unwrap();
            assert!(content == file.content, "{compressor:?}: {}", file.name.escape_ascii());
        }
    }
    compressors.len()
}
