//! Layers in the form of containers/storage: all shapes of entries, holes, every way to write, what cannot be held.

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, reason = "a test")]

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
    os::unix::fs::MetadataExt,
    sync::Arc,
};

use dunnage_digest::{Algorithm, Cancel, Digest, Offset, Progress, ReadAt};
use dunnage_estargz::{
    Build, Error, Limits, OpenOptions, Reader, Summary, WriteOptions, Writer,
    annotations::{STORAGE_CHECKSUM_ANNOTATION, STORAGE_POSITION_ANNOTATION, STORAGE_TAR_SPLIT_ANNOTATION},
    codec::{StorageCompressor, ZstdLevel},
    footer::Format,
    toc::{ChunkType, Toc, TocType},
    trust::AnnotatedToc,
    unpack,
    write::Streams,
};
use dunnage_tree::{
    CompareOptions, DirTree, Mtime, Tree,
    tar::{self, EntryType, Header},
};

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(step).collect()
}

fn contents() -> Vec<(&'static str, Vec<u8>)> {
    let text = |n: usize| (0..n).flat_map(|n| format!("line {n}\n").into_bytes()).collect::<Vec<u8>>();
    vec![
        ("d/empty", Vec::new()),
        ("d/one", vec![7]),
        ("d/zero", vec![0]),
        ("d/512", noise(1, 512)),
        ("d/short-zeros", vec![0; 1023]),
        ("d/hole", vec![0; 1024]),
        ("d/hole-before", [vec![0; 5000], text(10)].concat()),
        ("d/hole-behind", [text(10), vec![0; 5000]].concat()),
        ("d/holes", [noise(2, 3000), vec![0; 2000], noise(3, 10), vec![0; 70_000], noise(4, 1)].concat()),
        ("d/long-hole", [noise(5, 100), vec![0; 9 << 20], noise(6, 100)].concat()),
        ("d/long-hole-behind", [text(10), vec![0; 9 << 20]].concat()),
        ("d/only-a-long-hole", vec![0; 9 << 20]),
        ("d/same-byte", vec![0xff; 9 << 20]),
        ("d/text", text(100_000)),
        ("d/noise", noise(7, 1 << 20)),
    ]
}

fn file(name: &str, size: usize) -> Header {
    Header { name: name.into(), entry: EntryType::File, size: size as u64, mode: 0o644, ..Header::default() }
}

/// Entries of every type, with everything that a header can say.
fn headers() -> Vec<Header> {
    let mtime = |secs, nanos| Some(Mtime { secs, nanos });
    let node = |name: &str, entry| Header { name: name.into(), entry, mode: 0o755, ..Header::default() };
    let xattrs: BTreeMap<_, _> =
        [("user.b", &b"\0\xff"[..]), ("user.a", b""), ("security.capability", b"\x01\0\0\x02")]
            .map(|(name, value)| ([Header::XATTR, name.as_bytes()].concat(), value.to_vec()))
            .into();
    vec![
        Header { mtime: mtime(1_700_000_000, 0), ..node("./", EntryType::Directory) },
        node("d/", EntryType::Directory),
        Header { link: b"d/text".into(), ..node("d/link", EntryType::HardLink) },
        Header { link: b"../\xc3\xa9<&>".into(), ..node("d/sym", EntryType::Symlink) },
        Header { device: (4, 64), ..node("d/tty", EntryType::CharDevice) },
        Header { device: (259, 1), ..node("d/disk", EntryType::BlockDevice) },
        node("d/fifo", EntryType::Fifo),
        Header {
            mtime: mtime(1_700_000_000, 123_456_789),
            atime: mtime(1_700_000_001, 500_000_000),
            ctime: mtime(-5, 0),
            format: tar::Format::Pax,
            ..file("d/times", 0)
        },
        Header { mtime: mtime(-86_400, 0), uid: 3_000_000, gid: -5, format: tar::Format::Gnu, ..file("d/gnu", 0) },
        Header { user: b"\xff".into(), pax: xattrs, format: tar::Format::Pax, ..file("d/x", 0) },
        Header { format: tar::Format::Gnu, ..file(&format!("d/{}", "l".repeat(300)), 0) },
        Header { format: tar::Format::Pax, ..file(&format!("d/{}", "p".repeat(300)), 0) },
        Header { mode: 0o104_755, ..file("d/set-id", 0) },
    ]
}

fn put(header: &Header, content: &[u8], tar: &mut Vec<u8>) {
    tar::encode_header(header, tar).unwrap();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

fn tarball() -> Vec<u8> {
    let mut tar = Vec::new();
    for header in headers().iter().take(2) {
        put(header, &[], &mut tar);
    }
    for (name, content) in contents() {
        put(&file(name, content.len()), &content, &mut tar);
    }
    for header in headers().iter().skip(2) {
        put(header, &[], &mut tar);
    }
    tar.extend_from_slice(&tar::END);
    tar.extend_from_slice(&[0; 200_000]);
    tar
}

fn options(threads: usize) -> WriteOptions {
    let compressor = Arc::new(StorageCompressor::new(ZstdLevel::FASTEST));
    WriteOptions { compressor, threads, ..WriteOptions::default() }
}

fn lossless(tar: &[u8], options: &WriteOptions) -> Result<(Vec<u8>, Summary), Error> {
    let mut writer = Writer::new(Vec::new(), options)?;
    writer.append_tar_lossless(tar)?;
    writer.finish()
}

/// The TOC document as it is in the blob.
fn document(blob: &[u8]) -> Vec<u8> {
    let reader = Reader::open(blob, &OpenOptions::default()).unwrap();
    let (at, len) = (reader.footer().toc_at().get() as usize, reader.footer().toc_len() as usize);
    zstd::decode_all(&blob[at..at + len]).unwrap()
}

/// Everything that can be asked of a layer, which has to unpack to `tar`.
fn check(what: &str, tar: &[u8], blob: &[u8], summary: &Summary) {
    let mut unpacked = Vec::new();
    unpack(blob).unwrap().read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == tar, "{what}: unpacked");
    let digest = Digest::of(Algorithm::Sha256, tar);
    assert_eq!(*summary.diff_id.digest(), digest, "{what}");
    let names: Vec<_> = summary.annotations.keys().copied().collect();
    let wanted = [STORAGE_CHECKSUM_ANNOTATION, STORAGE_POSITION_ANNOTATION, STORAGE_TAR_SPLIT_ANNOTATION];
    assert_eq!(names, wanted, "{what}: these annotations and no others");
    let reader = Reader::open(blob, &OpenOptions::default()).unwrap();
    assert_eq!(reader.footer().format, Format::StorageChunked, "{what}");
    let annotated = AnnotatedToc::from_annotations(|name| summary.annotations.get(name).map(String::as_str));
    reader.verify_annotated(&annotated.unwrap().unwrap()).unwrap();
    assert_eq!(*reader.toc_digest(), summary.toc_digest, "{what}");
    reader.verify(2, Progress::none()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let audit = reader.audit(Progress::none()).unwrap().agreed();
    assert_eq!(*audit.unwrap_or_else(|error| panic!("{what}: {error}")).diff_id.digest(), digest, "{what}");
    let mut again = Vec::new();
    let reassembled = reader.reassemble(&mut again, &Cancel::new()).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(again == tar, "{what}: reassembled");
    assert_eq!((reassembled.diff_id, reassembled.len), (summary.diff_id, tar.len() as u64), "{what}");
    let json = document(blob);
    let toc = Toc::parse(&json, &Limits::default()).unwrap();
    assert!(toc.to_storage_json() == json, "{what}: the document is written as it was");
    assert_eq!(toc.tar_split_digest.as_ref(), reader.tar_split_digest(), "{what}");
    // Content ends where the TOC says: behind its last chunk, and in front of the next file's.
    let mut end = 0;
    for entry in toc.entries.iter().filter(|entry| entry.kind == TocType::Reg && entry.size > 0) {
        assert!(end <= entry.offset && entry.offset < entry.end_offset, "{what}: {entry:?}");
        end = entry.end_offset;
        let last = reader.chunk_for_offset(&entry.name, entry.size - 1).unwrap();
        assert_eq!(last.stream_end.get(), end, "{what}: {}", entry.name);
    }
    assert!(end <= summary.payload_len, "{what}");
    let nodes = toc.entries.iter().filter(|entry| entry.kind != TocType::Chunk).count() as u64;
    assert_eq!(reassembled.entries, nodes, "{what}");
}

#[test]
fn every_shape_comes_back_bit_for_bit_on_any_number_of_threads() {
    let tar = tarball();
    for chunk_size in [0, 100_000, 4 << 20] {
        let options = |threads| WriteOptions { chunk_size, ..options(threads) };
        let (blob, summary) = lossless(&tar, &options(1)).unwrap();
        for threads in [2, 8] {
            assert!(lossless(&tar, &options(threads)).unwrap() == (blob.clone(), summary.clone()), "{threads} threads");
        }
        check(&format!("chunks of {chunk_size}"), &tar, &blob, &summary);
        assert_eq!(summary.input.unwrap().len, tar.len() as u64);
        let reader = Reader::open(blob, &OpenOptions::default()).unwrap();
        for (name, content) in contents() {
            let file = reader.open_file(name).unwrap();
            let mut got = vec![1; content.len()];
            file.read_exact_at(Offset::ZERO, &mut got).unwrap();
            assert!(got == content, "{name}");
            // Pieces from anywhere, over the ends of chunks and holes.
            for at in (0..content.len()).step_by(content.len() / 50 + 1) {
                let len = (content.len() - at).min(700);
                file.read_exact_at(Offset::new(at as u64), &mut got[..len]).unwrap();
                assert!(got[..len] == content[at..at + len], "{name} at {at}");
            }
        }
    }
}

#[test]
fn headers_are_described_in_full() {
    let (blob, _) = lossless(&tarball(), &options(0)).unwrap();
    let text = String::from_utf8(document(&blob)).unwrap();
    for wanted in [
        r#"{"type":"dir","name":"./","mode":493,"modtime":"2023-11-14T22:13:20Z"}"#,
        r#"{"type":"reg","name":"d/empty","mode":420,"modtime":"1970-01-01T00:00:00Z"}"#,
        r#"{"type":"hardlink","name":"d/link","linkName":"d/text","mode":493,"modtime":"1970-01-01T00:00:00Z"}"#,
        r#"{"type":"symlink","name":"d/sym","linkName":"../é\u003c\u0026\u003e","mode":493,"modtime":"1970-01-01T00:00:00Z"}"#,
        r#"{"type":"char","name":"d/tty","mode":493,"modtime":"1970-01-01T00:00:00Z","devMajor":4,"devMinor":64}"#,
        r#"{"type":"reg","name":"d/times","mode":420,"modtime":"2023-11-14T22:13:20.123456789Z","accesstime":"2023-11-14T22:13:21.5Z","changetime":"1969-12-31T23:59:55Z"}"#,
        r#"{"type":"reg","name":"d/gnu","mode":420,"uid":3000000,"gid":-5,"modtime":"1969-12-31T00:00:00Z"}"#,
        r#""xattrs":{"security.capability":"AQAAAg==","user.a":"","user.b":"AP8="}}"#,
        r#"{"type":"reg","name":"d/set-id","mode":35309,"modtime":"1970-01-01T00:00:00Z"}"#,
    ] {
        assert!(text.contains(wanted), "{wanted}\n{}", &text[..2000]);
    }
    let reader = Reader::open(blob, &OpenOptions::default()).unwrap();
    let dir = Tree::lookup(&reader, reader.root(), b"d").unwrap().unwrap();
    let times = Tree::lookup(&reader, dir, b"times").unwrap().unwrap();
    assert_eq!(reader.attr(times).unwrap().mtime, Some(Mtime { secs: 1_700_000_000, nanos: 123_456_789 }));
}

#[test]
fn holes_are_chunks_that_need_no_stream() {
    let (blob, _) = lossless(&tarball(), &options(0)).unwrap();
    let chunks = |blob: &[u8], name: &str| -> Vec<(u64, u64, bool)> {
        let reader = Reader::open(blob, &OpenOptions::default()).unwrap();
        let entry = Reader::lookup(&reader, name).unwrap();
        entry.chunks().map(|chunk| (chunk.chunk_offset, chunk.size, chunk.chunk_type == ChunkType::Zeros)).collect()
    };
    assert_eq!(chunks(&blob, "d/hole-before"), [(0, 5000, true), (5000, 70, false)]);
    assert_eq!(chunks(&blob, "d/hole-behind"), [(0, 70, false), (70, 5000, true)]);
    // Of a file that is one hole, the TOC does not say so.
    assert_eq!(chunks(&blob, "d/hole"), [(0, 1024, false)]);
    let wanted = [(0, 3000, false), (3000, 2000, true), (5000, 10, false), (5010, 70_000, true), (75_010, 1, false)];
    assert_eq!(chunks(&blob, "d/holes"), wanted);
    assert_eq!(chunks(&blob, "d/long-hole")[1], (100, 9 << 20, true));
    // The stream of a hole is not read: whatever it holds, the content stays the same. An audit does read it.
    let reader = Reader::open(&blob, &OpenOptions::default()).unwrap();
    let hole = reader.chunk_for_offset("d/hole-before", 0).unwrap();
    let mut damaged = blob.clone();
    let (from, to) = (hole.offset.get() as usize, hole.stream_end.get() as usize);
    damaged[from + 4..to].fill(0xff);
    let reader = Reader::open(&damaged, &OpenOptions::default()).unwrap();
    let mut got = [1; 5000];
    reader.open_file("d/hole-before").unwrap().read_exact_at(Offset::ZERO, &mut got).unwrap();
    assert_eq!(got, [0; 5000]);
    reader.verify(1, Progress::none()).unwrap();
    assert!(reader.audit(Progress::none()).and_then(dunnage_estargz::audit::Audit::agreed).is_err());
}

/// Chunks of zeros are neither read nor written to disk: a hole of 64 MiB takes a block or two.
#[test]
fn holes_are_extracted_as_holes() {
    let mut files = contents();
    files.push(("d/64-mib", [noise(8, 100), vec![0; 64 << 20], noise(9, 100)].concat()));
    let mut tar = Vec::new();
    for (name, content) in &files {
        tar::encode_header(&file(name, content.len()), &mut tar).unwrap();
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.extend_from_slice(&tar::END);
    let (blob, _) = lossless(&tar, &options(0)).unwrap();
    let reader = Reader::open(&blob, &OpenOptions::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    dunnage_tree::extract(&reader, &out, &dunnage_tree::ExtractOptions::default(), Progress::none()).unwrap();
    for (name, content) in &files {
        assert!(std::fs::read(out.join(name)).unwrap() == *content, "{name}");
    }
    for name in ["d/64-mib", "d/long-hole", "d/long-hole-behind"] {
        let taken = std::fs::metadata(out.join(name)).unwrap().blocks() * 512;
        assert!(taken <= 64 << 10, "{name}: {taken} bytes on disk");
    }
    let written = DirTree::open(&out).unwrap();
    let options = CompareOptions {
        mtime: dunnage_tree::CompareMtime::Ignore,
        owners: dunnage_tree::CompareOwners::Ignore,
        ..CompareOptions::default()
    };
    let found = dunnage_tree::compare(&reader, &written, &options, Progress::none()).unwrap();
    assert!(found.iter().all(|difference| difference.path.is_empty() || difference.path == b"d"), "{found:?}");
}

/// The blob with another TOC document.
fn with_document(blob: &[u8], json: &[u8]) -> Vec<u8> {
    let reader = Reader::open(blob, &OpenOptions::default()).unwrap();
    let payload = reader.footer().payload_len as usize;
    let old_end = payload + 8 + reader.footer().toc_len() as usize;
    let footer = &blob[blob.len() - 64..];
    let number = |at: usize| u64::from_le_bytes(footer[at * 8..at * 8 + 8].try_into().unwrap());
    let toc = zstd::bulk::compress(json, 3).unwrap();
    let skippable =
        |content: &[u8]| [&[0x50, 0x2a, 0x4d, 0x18], (content.len() as u32).to_le_bytes().as_slice(), content].concat();
    let shift = (payload + 8 + toc.len()) as u64;
    let numbers = [payload as u64 + 8, toc.len() as u64, json.len() as u64, 1, shift + 8, number(5), number(6)];
    let footer = [&numbers.map(u64::to_le_bytes).concat(), b"GNUlInUx".as_slice()].concat();
    [&blob[..payload], &skippable(&toc), &blob[old_end..blob.len() - 72], &skippable(&footer)].concat()
}

#[test]
fn an_audit_compares_all_that_the_document_says() {
    let (blob, _) = lossless(&tarball(), &options(0)).unwrap();
    let json = String::from_utf8(document(&blob)).unwrap();
    for (from, to, wanted) in [
        ("", "", ""),
        (
            "22:13:20.123456789Z",
            "22:13:20.123456788Z",
            "time: the TOC says 2023-11-14T22:13:20.123456788Z, the tar 2023-11-14T22:13:20.123456789Z",
        ),
        (
            ",\"accesstime\":\"2023-11-14T22:13:21.5Z\"",
            "",
            "time of last access: the TOC says none, the tar 2023-11-14T22:13:21.5Z",
        ),
        (
            "\"changetime\":\"1969-12-31T23:59:55Z\"",
            "\"changetime\":\"1969-12-31T23:59:56Z\"",
            "time of last status change: the TOC says 1969-12-31T23:59:56Z, the tar 1969-12-31T23:59:55Z",
        ),
        ("\"name\":\"d/gnu\",", "\"name\":\"d/gnu\",\"linkName\":\"x\",", "link target: the TOC says x, the tar "),
        (
            "\"gid\":-5,\"modtime\":\"1969-12-31T00:00:00Z\"",
            "\"gid\":-5,\"modtime\":\"1969-12-31T00:00:00Z\",\"devMajor\":1",
            "device: the TOC says 1:0, the tar 0:0",
        ),
    ] {
        assert!(json.contains(from), "{from}");
        let changed = with_document(&blob, json.replacen(from, to, 1).as_bytes());
        let reader = Reader::open(&changed, &OpenOptions::default()).unwrap();
        reader.verify(1, Progress::none()).unwrap();
        let audit = reader.audit(Progress::none()).unwrap();
        let told: Vec<_> = audit.differences.iter().map(ToString::to_string).collect();
        match wanted {
            "" => assert_eq!(audit.total, 0, "{told:?}"),
            wanted => assert!(told.len() == 1 && told[0].ends_with(wanted), "{told:?}"),
        }
        // What unpacks is still the tar: the headers are kept apart.
        reader.reassemble(std::io::sink(), &Cancel::new()).unwrap();
    }
}

#[test]
fn a_hole_is_compared_with_its_digest_before_it_is_handed_out() {
    let (blob, _) = lossless(&tarball(), &options(0)).unwrap();
    let json = String::from_utf8(document(&blob)).unwrap();
    let hole = Digest::of(Algorithm::Sha256, &[0; 5000]).to_string();
    let changed = with_document(&blob, json.replace(&hole, &format!("sha256:{}", "ab".repeat(32))).as_bytes());
    let reader = Reader::open(&changed, &OpenOptions::default()).unwrap();
    let mut got = [1; 5];
    let file = reader.open_file("d/hole-before").unwrap();
    // Twice: that zeros were hashed before does not make theirs the right digest.
    for _ in 0..2 {
        let error = file.read_exact_at(Offset::new(100), &mut got).unwrap_err();
        assert!(error.to_string().starts_with("chunk at 0 of `d/hole-before`, stored at offset"), "{error}");
        assert_eq!(got, [1; 5]);
    }
    file.read_exact_at(Offset::new(5000), &mut got).unwrap();
    assert_eq!(&got, b"line ");
}

#[test]
fn what_is_described_is_the_header_that_was_written() {
    // Not everything that such a header says goes into a tar: fractions of seconds, times besides the last change.
    let mut writer = Writer::new(Vec::new(), &options(1)).unwrap();
    let time = |secs, nanos| Some(Mtime { secs, nanos });
    let formats = [tar::Format::Unknown, tar::Format::Ustar, tar::Format::Pax, tar::Format::Gnu];
    for (number, format) in formats.into_iter().enumerate() {
        for (kind, mtime) in [("none", None), ("exact", time(5, 0)), ("fraction", time(1_700_000_000, 600_000_000))] {
            let (atime, ctime) = match format {
                tar::Format::Ustar => (None, None),
                _ => (time(7, 0), time(8, 500_000_000)),
            };
            let header = Header { mtime, atime, ctime, format, ..file(&format!("{number}/{kind}"), 3) };
            writer.append_entry(&header, &mut Cursor::new(b"abc")).unwrap();
        }
    }
    let (blob, summary) = writer.finish().unwrap();
    let mut unpacked = Vec::new();
    unpack(blob.as_slice()).unwrap().read_to_end(&mut unpacked).unwrap();
    check("written anew", &unpacked, &blob, &summary);
    // The same as if that tar had been kept bit for bit.
    let (again, _) = lossless(&unpacked, &options(1)).unwrap();
    assert_eq!(String::from_utf8(document(&blob)), String::from_utf8(document(&again)));
}

#[test]
fn headers_written_anew_are_the_ones_that_are_kept() {
    let tar = tarball();
    let mut writer = Writer::new(Vec::new(), &options(0)).unwrap();
    writer.append_tar(tar.as_slice()).unwrap();
    writer.append_entry(&file("last", 3), &mut Cursor::new(b"end")).unwrap();
    let (blob, summary) = writer.finish().unwrap();
    let mut unpacked = Vec::new();
    unpack(blob.as_slice()).unwrap().read_to_end(&mut unpacked).unwrap();
    assert!(unpacked.ends_with(&tar::END), "the tar has an end");
    assert_eq!(summary.input, None);
    check("written anew", &unpacked, &blob, &summary);
}

#[test]
fn a_build_puts_files_in_front_without_landmarks() {
    let build = Build { write: options(0), prioritized: vec!["d/text".into(), "d/link".into()], ..Build::default() };
    let (blob, built) = build.from_source(tarball(), Vec::new()).unwrap();
    let mut unpacked = Vec::new();
    unpack(blob.as_slice()).unwrap().read_to_end(&mut unpacked).unwrap();
    check("built", &unpacked, &blob, &built.summary);
    let toc = Toc::parse(&document(&blob), &Limits::default()).unwrap();
    let names: Vec<_> =
        toc.entries.iter().filter(|entry| entry.kind != TocType::Chunk).map(|entry| entry.name.as_str()).collect();
    assert_eq!(names[..5], ["./", "d/", "d/text", "d/link", "d/empty"]);
    assert!(!names.iter().any(|name| name.contains("landmark")));
    let build = Build { write: options(0), ..Build::default() };
    let (streamed, _) = build.from_stream(tarball().as_slice(), Vec::new()).unwrap();
    let (sourced, _) = build.from_source(tarball(), Vec::new()).unwrap();
    assert!(streamed == sourced);
}

#[test]
fn layers_without_content_are_layers() {
    let long: Vec<u8> = vec![0; 300_000];
    let mut no_end = Vec::new();
    put(&file("a", 5), b"hello", &mut no_end);
    for (what, tar) in [
        ("nothing at all", &[][..]),
        ("one block", &long[..512]),
        ("an end", &tar::END),
        ("zeros", &long),
        ("no end", &no_end),
    ] {
        let (blob, summary) = lossless(tar, &options(2)).unwrap();
        check(what, tar, &blob, &summary);
    }
    let (blob, summary) = Writer::new(Vec::new(), &options(1)).unwrap().finish().unwrap();
    check("nothing appended", &[], &blob, &summary);
    assert!(summary.payload_len > 0, "there is a frame, if an empty one");
}

#[test]
fn what_would_be_put_together_differently_is_refused() {
    let tar_of = |headers: &[Header]| {
        let mut tar = Vec::new();
        headers.iter().for_each(|header| put(header, &vec![1; header.size as usize], &mut tar));
        tar.extend_from_slice(&tar::END);
        tar
    };
    let global = {
        let pax = [(b"comment".to_vec(), b"x".to_vec())].into();
        let entry = EntryType::GlobalExtension;
        Header { entry, pax, format: tar::Format::Pax, ..Header::default() }
    };
    let xattr = [([Header::XATTR, b"user.\xff"].concat(), b"v".to_vec())].into();
    let far = Some(Mtime { secs: 253_402_300_800, nanos: 0 });
    let link = Header { entry: EntryType::Symlink, link: b"\xff".into(), format: tar::Format::Gnu, ..file("s", 0) };
    let cases = [
        (vec![file("a", 1), file("./a", 2)], "`./a` appears twice, and the earlier entry has already been written"),
        (
            vec![Header { name: b"\xff".into(), format: tar::Format::Gnu, ..Header::default() }],
            r"unsupported input entry `\xff`: `\xff` is not UTF-8, and a TOC can hold nothing else",
        ),
        (vec![link], r"unsupported input entry `s`: `\xff` is not UTF-8, and a TOC can hold nothing else"),
        (
            vec![Header { pax: xattr, format: tar::Format::Pax, ..file("a", 0) }],
            r"unsupported input entry `a`: `user.\xff` is not UTF-8, and a TOC can hold nothing else",
        ),
        (vec![global], "unsupported input entry `GlobalHead.0.0`: a PAX global header"),
        (vec![Header { entry: EntryType::Other(b'Z'), ..file("a", 0) }], "unsupported input entry `a`: type flag `Z`"),
        (
            vec![Header { mtime: far, format: tar::Format::Pax, ..file("a", 0) }],
            "unsupported input entry `a`: last changed 253402300800 seconds from 1970, beyond the years 0 to 9999",
        ),
    ];
    for (headers, wanted) in cases {
        let tar = tar_of(&headers);
        let replace = WriteOptions { non_utf8: dunnage_estargz::write::NonUtf8::Replace, ..options(1) };
        for options in [options(1), replace] {
            assert_eq!(lossless(&tar, &options).unwrap_err().to_string(), wanted);
        }
    }
    // Behind the end of a tar nothing can be appended.
    let mut writer = Writer::new(Vec::new(), &options(1)).unwrap();
    writer.append_tar_lossless(tar::END.as_slice()).unwrap();
    let wanted = "a tar that is kept bit for bit has an end, and nothing can be appended after it";
    assert_eq!(writer.append_tar(tar::END.as_slice()).unwrap_err().to_string(), wanted);
    assert_eq!(writer.append_entry(&file("a", 0), &mut std::io::empty()).unwrap_err().to_string(), wanted);
    // Chunks share no streams.
    let shared = WriteOptions { streams: Streams::AtLeast(1000), ..options(1) };
    let wanted = "layers in the form of containers/storage have a stream for each chunk: they cannot be shared";
    assert_eq!(Writer::new(Vec::new(), &shared).unwrap_err().to_string(), wanted);
}

#[test]
fn the_index_stays_small() {
    let mut tar = Vec::new();
    let files = 20_000;
    for n in 0..files {
        put(&file(&format!("d/{n:05}"), 1), b"x", &mut tar);
    }
    let (blob, _) = lossless(&tar, &options(0)).unwrap();
    let reader = Reader::open(blob, &OpenOptions::default()).unwrap();
    let names = 5 * files + 1;
    let bytes = (reader.index_bytes() - names) / files;
    assert!(bytes <= 150, "{bytes} bytes an entry");
}
