//! A tree as entries: the bytes of an export, holes, files that change meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::panic,
    reason = "tests"
)]

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::FileExt,
};

use dunnage_digest::{Algorithm, Hasher};
use dunnage_inputs::tarball::{Entry, EntryKind, Format, members, sparse_file};
use dunnage_tree::{
    DirTree, Entries, ExportMtime, ExportNanos, ExportOptions, ExportOwners, ExportRoot, Limits, Span, TarExport, Tree,
    tar::{self, EntryType, Header, Reader, TarTree},
};

const MIB: u64 = 1 << 20;

/// One of everything that a tar holds, parents without entries and a sparse file among them.
fn archive() -> Vec<u8> {
    let special = |kind, name, major, minor| Entry::special(kind, name, major, minor);
    let entries = [
        Entry::dir("etc/").owner(1, 2, "daemon", "bin"),
        Entry::file("etc/motd", "hello\n").xattr("user.one", b"1\0binary").xattr("security.capability", &[1, 0, 0, 2]),
        Entry::hardlink("etc/motd.link", "etc/motd"),
        Entry::symlink("etc/to", "../nowhere"),
        Entry { nanos: 123_456_789, ..Entry::file("usr/share/deep/file", vec![7; 1000]).mtime(1_700_000_000) },
        Entry::file(&format!("{}/{}", "n".repeat(120), "m".repeat(90)), "far").owner(-3, 1 << 40, "", "wheel"),
        special(EntryKind::Char, "dev/null", 1, 3),
        special(EntryKind::Block, "dev/loop", 7, 200),
        special(EntryKind::Fifo, "run/fifo", 0, 0),
        Entry::file("empty", "").mode(0o4755).mtime(-1),
        Entry::file("aa", vec![1; 512]),
    ];
    let mut archive = members(Format::Pax, &entries);
    archive.extend(sparse_file("sparse", 300_000, &[(70_000, vec![3; 700]), (299_999, vec![4])]));
    archive.extend_from_slice(&tar::END);
    archive
}

fn options() -> [(&'static str, ExportOptions); 4] {
    let exact = ExportOptions { nanos: ExportNanos::Keep, root: ExportRoot::Include, ..ExportOptions::default() };
    let prefixed = ExportOptions {
        prefix: b"./".to_vec(),
        root: ExportRoot::Include,
        owners: ExportOwners::Numeric,
        mtime: ExportMtime::Clamp(1_600_000_000),
        ..ExportOptions::default()
    };
    let fixed = ExportOptions {
        mtime: ExportMtime::Fixed(1),
        owners: ExportOwners::Fixed { uid: 5, gid: 6 },
        format: tar::Format::Pax,
        ..ExportOptions::default()
    };
    [("default", ExportOptions::default()), ("exact", exact), ("prefixed", prefixed), ("fixed", fixed)]
}

/// A tar put together from entries by hand, its content read span by span.
fn by_hand(tree: &dyn Tree, options: &ExportOptions) -> Vec<u8> {
    let mut entries = Entries::new(tree, options.clone());
    let (mut header, mut bytes) = (Header::default(), Vec::new());
    while entries.next_header(&mut header).unwrap() {
        tar::encode_header(&header, &mut bytes).unwrap();
        while let Some(span) = entries.next_span().unwrap() {
            let start = bytes.len();
            match span {
                Span::Hole(len) => bytes.resize(start + len as usize, 0),
                Span::Data(len) => {
                    bytes.resize(start + len as usize, 9);
                    assert_eq!(entries.read_payload(&mut bytes[start..]).unwrap() as u64, len);
                }
            }
        }
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    assert!(!entries.next_header(&mut header).unwrap(), "the end stays the end");
    bytes.extend_from_slice(&tar::END);
    bytes
}

#[test]
fn an_export_keeps_its_bytes() {
    let tree = TarTree::open(archive(), &Limits::default()).unwrap();
    let digests = [
        "sha256:f2bcd0daaf0e51f9a4397358e8fcacae2a42c6cd815117650d8102d0c3c5d674",
        "sha256:c255106ff9f4dcc2639d0531095d4b70a8a6b96d46786a4cec69d7270ccfacf5",
        "sha256:5c400d3250cf2514ae838e2c23bb3b26d2da7e1cd351a591cf0a093a54363665",
        "sha256:64797f8589d09adac1fe3cf84839ff7223e47125820ce355c7fd382662442600",
    ];
    for ((name, options), expected) in options().into_iter().zip(digests) {
        let mut bytes = Vec::new();
        TarExport::new(&tree, options.clone()).read_to_end(&mut bytes).unwrap();
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&bytes);
        assert_eq!(hasher.finish().to_string(), expected, "{name}");
        assert!(by_hand(&tree, &options) == bytes, "{name}: entries and their export differ");
    }
}

/// Spans of the only file of an archive, by both readers of it.
fn spans_of(archive: &[u8]) -> [Vec<Span>; 2] {
    let mut header = Header::default();
    let mut reader = Reader::new(archive, Limits::default());
    assert!(reader.next_header(&mut header).unwrap());
    let mut of_reader = Vec::new();
    while let Some(span) = reader.next_span().unwrap() {
        of_reader.push(span);
        if let Span::Data(len) = span {
            assert_eq!(reader.read_payload(&mut vec![0; len as usize]).unwrap() as u64, len);
        }
    }
    assert!(!reader.next_header(&mut header).unwrap());
    let tree = TarTree::open(archive, &Limits::default()).unwrap();
    let mut entries = Entries::new(&tree, ExportOptions::default());
    assert!(entries.next_header(&mut header).unwrap());
    let mut of_entries = Vec::new();
    while let Some(span) = entries.next_span().unwrap() {
        of_entries.push(span);
        if let Span::Data(len) = span {
            // In the middle of data, the rest of it is reported.
            assert_eq!(entries.read_payload(&mut vec![0; len as usize / 2]).unwrap() as u64, len / 2);
            assert_eq!(entries.next_span().unwrap(), Some(Span::Data(len - len / 2)));
            assert_eq!(entries.read_payload(&mut vec![0; (len - len / 2) as usize]).unwrap() as u64, len - len / 2);
        }
    }
    assert_eq!(entries.read_payload(&mut [0]).unwrap(), 0);
    [of_reader, of_entries]
}

#[test]
fn holes_are_spans() {
    let (data, hole) = (Span::Data, Span::Hole);
    let region = |at: u64, len: u64| (at, vec![1; len as usize]);
    for (name, size, regions, expected) in [
        ("hole first", MIB, vec![region(MIB - 512, 512)], vec![hole(MIB - 512), data(512)]),
        ("hole last", MIB, vec![region(0, 512), region(MIB, 0)], vec![data(512), hole(MIB - 512)]),
        ("middle", MIB, vec![region(0, 1), region(MIB - 1, 1)], vec![data(1), hole(MIB - 2), data(1)]),
        ("all", MIB + 1, vec![], vec![hole(MIB + 1)]),
        ("none", MIB, vec![region(0, MIB)], vec![data(MIB)]),
        (
            "odd",
            100_001,
            vec![region(7, 5), region(99_000, 11)],
            vec![hole(7), data(5), hole(98_988), data(11), hole(990)],
        ),
    ] {
        let archive = [sparse_file("file", size, &regions), tar::END.to_vec()].concat();
        let [of_reader, of_entries] = spans_of(&archive);
        assert_eq!(of_reader, expected, "{name}");
        assert_eq!(of_entries, expected, "{name}");
    }
    // A small file is data for the one, but its map is at hand for the other.
    let archive = [sparse_file("file", 600, &[region(10, 20)]), tar::END.to_vec()].concat();
    let [of_reader, of_entries] = spans_of(&archive);
    assert_eq!(of_reader, [hole(10), data(20), hole(570)]);
    assert_eq!(of_entries, [data(600)]);
}

#[test]
fn content_that_nobody_reads_is_passed_over() {
    let archive = archive();
    let tree = TarTree::open(&archive[..], &Limits::default()).unwrap();
    let names = |reads: usize| {
        let mut entries = Entries::new(&tree, ExportOptions::default());
        let (mut header, mut names) = (Header::default(), Vec::new());
        while entries.next_header(&mut header).unwrap() {
            entries.read_payload(&mut vec![0; reads]).unwrap();
            names.push(header.name.clone());
        }
        names
    };
    assert_eq!(names(0).len(), 18);
    assert_eq!(names(0), names(1));
    assert_eq!(names(0), names(1 << 20));
}

#[test]
fn headers_keep_nothing_of_the_entry_before() {
    let tree = TarTree::open(archive(), &Limits::default()).unwrap();
    let mut reused = Header {
        entry: EntryType::Other(b'q'),
        sparse: true,
        atime: Some(dunnage_tree::Mtime::default()),
        ctime: Some(dunnage_tree::Mtime::default()),
        ..Header::default()
    };
    let (mut one, mut other) =
        (Entries::new(&tree, ExportOptions::default()), Entries::new(&tree, ExportOptions::default()));
    loop {
        let mut fresh = Header::default();
        let more = one.next_header(&mut reused).unwrap();
        assert_eq!(other.next_header(&mut fresh).unwrap(), more);
        if !more {
            break;
        }
        assert_eq!(reused, fresh);
    }
}

#[test]
fn a_file_that_changes_after_its_header_is_an_error() {
    let size = 4 * MIB;
    // Data lies at the start of the file, and at its end where the second number is not 0.
    for (name, tail, becomes, expected) in [
        ("shrinks in a last hole", 0, 2 * MIB, "got 2097152: it shrank while it was read"),
        ("grows after a last hole", 0, size + 1, "got more: it grew while it was read"),
        ("shrinks to nothing", 100, 0, "got 0: it shrank while it was read"),
        ("loses its last byte", 100, size - 1, "got 4194303: it shrank while it was read"),
        ("grows after data", 100, size + 1, "got more: it grew while it was read"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("file")).unwrap();
        file.write_all_at(&[1; 5000], 0).unwrap();
        file.set_len(size).unwrap();
        file.write_all_at(&vec![2; tail], size - tail as u64).unwrap();
        let tree = DirTree::open(dir.path()).unwrap();
        let mut entries = Entries::new(&tree, ExportOptions::default());
        let mut header = Header::default();
        assert!(entries.next_header(&mut header).unwrap());
        file.set_len(becomes).unwrap();
        let mut buf = vec![0; MIB as usize];
        let error = loop {
            match entries.read_payload(&mut buf) {
                Ok(0) => panic!("{name}: not noticed"),
                Ok(_) => {}
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.starts_with("entry `file`: expected 4194304 bytes, got "), "{name}: {error}");
        assert!(error.ends_with(expected.strip_prefix("got ").unwrap()), "{name}: {error}");
        for failed in [entries.next_span().map(drop), entries.next_header(&mut header).map(drop)] {
            let text = failed.unwrap_err().to_string();
            assert_eq!(text, "cannot read entries of a tree at offset 0x1", "{name}");
        }
    }
    // The file shrinks once its last hole was handed out.
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("file")).unwrap();
    file.set_len(size).unwrap();
    let tree = DirTree::open(dir.path()).unwrap();
    let mut entries = Entries::new(&tree, ExportOptions::default());
    assert!(entries.next_header(&mut Header::default()).unwrap());
    assert_eq!(entries.next_span().unwrap(), Some(Span::Hole(size)));
    file.set_len(size - 1).unwrap();
    let error = entries.next_span().unwrap_err().to_string();
    assert_eq!(error, "entry `file`: expected 4194304 bytes, got fewer: it shrank while it was read");

    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), [1; 100]).unwrap();
    let tree = DirTree::open(dir.path()).unwrap();
    let mut entries = Entries::new(&tree, ExportOptions::default());
    assert!(entries.next_header(&mut Header::default()).unwrap());
    let mut content = Vec::new();
    entries.read_to_end(&mut content).unwrap();
    assert_eq!(content, [1; 100]);
}
