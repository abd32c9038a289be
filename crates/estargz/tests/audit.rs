//! Layers whose TOC and tar say different things, one thing at a time; and layers of every format that agree.

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]
#![allow(clippy::arithmetic_side_effects, reason = "a test")]

use std::{io::Write, sync::Arc};

use dunnage_digest::{Cancel, Digest, Progress};
use dunnage_estargz::{
    Build, Error, Limits, OpenOptions, Reader, WriteOptions, Writer,
    audit::Audit,
    codec::{Compressor, ExternalTocCompressor, ExternalTocDecompressor, ZstdCompressor},
    footer::footer_bytes,
    read::find_footer,
    toc::{Toc, TocEntry},
    write::Streams,
};
use dunnage_tree::{
    Mtime,
    tar::{self, EntryType, Header},
};

fn tarball() -> Vec<u8> {
    let mut tar = Vec::new();
    let mut add = |header: Header, content: &[u8]| {
        let header = Header { size: content.len() as u64, ..header };
        tar::encode_header(&header, &mut tar).unwrap();
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    };
    let named = |name: &str, entry| Header {
        name: name.as_bytes().into(),
        entry,
        mode: 0o644,
        uid: 7,
        gid: 8,
        user: b"ann".into(),
        group: b"staff".into(),
        mtime: Some(Mtime { secs: 1_700_000_000, nanos: 0 }),
        ..Header::default()
    };
    add(named("d/", EntryType::Directory), b"");
    add(named("d/long", EntryType::File), b"ten bytes!");
    add(named("d/empty", EntryType::File), b"");
    add(Header { link: b"long".into(), ..named("d/sym", EntryType::Symlink) }, b"");
    add(Header { link: b"d/long".into(), ..named("d/hard", EntryType::HardLink) }, b"");
    add(Header { device: (1, 3), ..named("d/null", EntryType::CharDevice) }, b"");
    add(named("d/short", EntryType::File), b"ab");
    tar.extend_from_slice(&tar::END);
    tar
}

fn written(options: &WriteOptions) -> (Vec<u8>, Option<Vec<u8>>) {
    let (blob, built) =
        Build { write: options.clone(), ..Build::default() }.from_source(tarball(), Vec::new()).unwrap();
    (blob, built.summary.external_toc)
}

fn audit(blob: &[u8], external: Option<Vec<u8>>) -> Result<Audit, Error> {
    let mut options = OpenOptions::default();
    if let Some(toc) = external {
        options.decompressors.push(Arc::new(ExternalTocDecompressor::new(move || Ok(toc.clone()))));
    }
    Reader::open(blob, &options)?.audit(Progress::none())
}

#[test]
fn layers_of_every_format_agree_with_themselves() {
    let compressors: [Arc<dyn Compressor>; 3] = [
        Arc::new(dunnage_estargz::codec::GzipCompressor::default()),
        Arc::new(ExternalTocCompressor::default()),
        Arc::new(ZstdCompressor::default()),
    ];
    for compressor in compressors {
        for streams in [Streams::PerChunk, Streams::AtLeast(600), Streams::AtLeast(1 << 20)] {
            let options =
                WriteOptions { chunk_size: 4, streams, compressor: Arc::clone(&compressor), ..WriteOptions::default() };
            let (blob, external) = written(&options);
            let found = audit(&blob, external.clone()).unwrap();
            assert_eq!((found.entries, found.total, &found.differences[..]), (8, 0, &[][..]), "{options:?}");
            let mut writer = Writer::new(Vec::new(), &options).unwrap();
            writer.append_tar_lossless(tarball().as_slice()).unwrap();
            let (blob, summary) = writer.finish().unwrap();
            let found = audit(&blob, summary.external_toc.clone()).unwrap().agreed().unwrap();
            assert_eq!((found.entries, found.diff_id), (7, summary.diff_id), "{options:?}");
            assert_eq!(found.uncompressed_len, summary.uncompressed_len, "{options:?}");
            assert_eq!(found.tar, summary.input.unwrap().digest, "{options:?}");
        }
    }
}

/// A change to the TOC, and the report of it.
type Case = (&'static str, fn(&mut Vec<TocEntry>), &'static [&'static str]);

const CASES: &[Case] = &[
    ("nothing", |_| (), &[]),
    ("mode", |toc| toc[1].mode = 0o4755, &["entry 1 (`d/`): mode: the TOC says 0o4755, the tar 0o644"]),
    (
        "uid",
        |toc| toc[2].uid = 0,
        &["entry 2 (`d/long`): uid: the TOC says 0, the tar 7", "entry 2 (`d/long`): user: the TOC says , the tar ann"],
    ),
    (
        "group",
        |toc| toc[1].group_name = "root".into(),
        &[
            "entry 1 (`d/`): group: the TOC says root, the tar staff",
            "entry 2 (`d/long`): group: the TOC says root, the tar staff",
            "entry 3 (`d/empty`): group: the TOC says root, the tar staff",
            "entry 4 (`d/sym`): group: the TOC says root, the tar staff",
            "entry 5 (`d/hard`): group: the TOC says root, the tar staff",
            "entry 6 (`d/null`): group: the TOC says root, the tar staff",
            "entry 7 (`d/short`): group: the TOC says root, the tar staff",
        ],
    ),
    (
        "time",
        |toc| toc[1].modtime = "2023-11-14T22:13:21Z".into(),
        &["entry 1 (`d/`): time: the TOC says 1700000001, the tar 1700000000"],
    ),
    (
        "symlink",
        |toc| toc[6].link_name = "/etc".into(),
        &["entry 4 (`d/sym`): link target: the TOC says /etc, the tar long"],
    ),
    ("device", |toc| toc[8].dev_minor = 5, &["entry 6 (`d/null`): device: the TOC says 1:5, the tar 1:3"]),
    (
        "attributes",
        |toc| drop(toc[1].xattrs.insert("user.a".into(), b"x".to_vec())),
        &["entry 1 (`d/`): attributes: the TOC says user.a=x, the tar none"],
    ),
    (
        "type",
        |toc| toc[5].kind = dunnage_estargz::toc::TocType::Fifo,
        &["entry 3 (`d/empty`): type: the TOC says fifo, the tar reg"],
    ),
    ("order", |toc| toc.swap(6, 7), &["entry 4 (`d/sym`): name: the TOC says `d/hard`, the tar `d/sym`"]),
    ("left out", |toc| drop(toc.pop()), &["entry 7 (`d/short`): presence: the TOC says nothing, the tar it is there"]),
    (
        "one more",
        |toc| toc.push(TocEntry { name: "x".into(), kind: dunnage_estargz::toc::TocType::Dir, ..TocEntry::default() }),
        &["entry 8 (`x`): presence: the TOC says it is there, the tar nothing"],
    ),
    (
        "digest",
        |toc| toc[9].digest = toc[2].digest,
        &[
            "entry 7 (`d/short`): digest of the file: the TOC says sha256:0425074d7748edc4faa98177678ef8e16a493504dfa15ca02bcdc56a848aca99, the tar sha256:fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603",
        ],
    ),
    (
        "chunk digest",
        |toc| toc[3].chunk_digest = toc[2].chunk_digest,
        &[
            "entry 2 (`d/long`): digest of a chunk: the TOC says sha256:6ca1a3dea5cc2b619302017a82a17ca4cf1c2ca0eaabf98ecf4d81b2d21a62ea, the tar sha256:1c31626f568a075d2fd6934828ba678fe64655ef4e78e42c49367cbbfcaf42f5",
        ],
    ),
    (
        "content of another file",
        |toc| toc[9].offset = toc[2].offset,
        &[
            "entry 7 (`d/short`): place: the TOC says offset 0xd1, 0 bytes into its stream, the tar 3072 bytes into that stream",
        ],
    ),
];

#[test]
fn each_difference_is_told_in_these_words() {
    let options = WriteOptions { chunk_size: 4, ..WriteOptions::default() };
    let (blob, _) = written(&options);
    let mut wrong = String::new();
    for (name, change, wanted) in CASES {
        let changed = with_toc(&blob, *change);
        let found = audit(&changed, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        let told: Vec<String> = found.differences.iter().map(ToString::to_string).collect();
        if told != *wanted {
            wrong.push_str(&format!("{name}: {told:#?}\n"));
        }
        assert_eq!(found.agreed().is_err(), !wanted.is_empty(), "{name}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn ten_differences_are_listed_and_all_are_counted() {
    let options = WriteOptions { chunk_size: 4, ..WriteOptions::default() };
    let (blob, _) = written(&options);
    let changed = with_toc(&blob, |toc| {
        toc.iter_mut().filter(|entry| entry.kind != dunnage_estargz::toc::TocType::Chunk).for_each(|entry| {
            entry.mode += 1;
            entry.gid += 1;
        });
    });
    let found = audit(&changed, None).unwrap();
    assert_eq!((found.differences.len(), found.total), (10, 16));
    let error = found.agreed().unwrap_err();
    assert_eq!(error.kind(), dunnage_digest::ErrorKind::Inconsistent);
    let text = error.to_string();
    assert!(text.starts_with("the TOC and the tar disagree in 16 place(s): entry 0 ("), "{text}");
    assert!(text.ends_with("; and more"), "{text}");
}

/// The same payload with a changed TOC.
fn with_toc(blob: &[u8], change: impl Fn(&mut Vec<TocEntry>)) -> Vec<u8> {
    let footer = find_footer(&blob).unwrap();
    let payload = &blob[..usize::try_from(footer.payload_len).unwrap()];
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::bufread::GzDecoder::new(&blob[payload.len()..]), &mut tar).unwrap();
    let mut entries = tar::Reader::new(tar.as_slice(), dunnage_tree::Limits::default());
    let mut header = Header::default();
    entries.next_header(&mut header).unwrap();
    let mut json = Vec::new();
    std::io::Read::read_to_end(&mut entries, &mut json).unwrap();
    let mut toc = Toc::parse(&json, &Limits::default()).unwrap();
    change(&mut toc.entries);
    let json = toc.to_json();
    let mut tar = Vec::new();
    tar::encode_header(&Header { size: json.len() as u64, ..header }, &mut tar).unwrap();
    tar.extend_from_slice(&json);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    let mut gzip = flate2::write::GzEncoder::new(payload.to_vec(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let mut out = gzip.finish().unwrap();
    out.extend_from_slice(&footer_bytes(footer.payload_len.into()));
    out
}

#[test]
fn a_toc_that_changed_since_is_noticed() {
    let (blob, _) = written(&WriteOptions::default());
    let reader = Reader::open(&blob, &OpenOptions::default()).unwrap();
    let other: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    assert!(reader.verify_toc(&other).is_err());
    reader.audit(Progress::none()).unwrap().agreed().unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    assert!(matches!(reader.audit(Progress::none().cancelled_by(&cancel)), Err(Error::Cancelled(_))));
}

#[test]
fn a_time_in_the_first_second_is_none_in_the_toc_and_may_be_rounded_in_the_tar() {
    let mut tar = Vec::new();
    // A PAX header with bytes beyond ASCII in its main block counts as of no known format, and is rounded.
    let header = Header {
        name: "sep\u{2028}".into(),
        entry: EntryType::File,
        mtime: Some(Mtime { secs: 0, nanos: 700_000_000 }),
        format: tar::Format::Pax,
        ..Header::default()
    };
    tar::encode_header(&header, &mut tar).unwrap();
    let at = tar.len() - 512;
    tar[at + 265] = 0xe9;
    let block = &mut tar[at..];
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&tar::END);
    let options = WriteOptions { non_utf8: dunnage_estargz::write::NonUtf8::Replace, ..WriteOptions::default() };
    let mut writer = Writer::new(Vec::new(), &options).unwrap();
    writer.append_tar(tar.as_slice()).unwrap();
    let (blob, _) = writer.finish().unwrap();
    let audited = audit(&blob, None).unwrap();
    assert_eq!(audited.differences, []);
}
