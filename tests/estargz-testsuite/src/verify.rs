//! Part "digest and verify": what a layer's TOC says of digests is right, and whatever is changed is found out.
//!
//! The sizes of shared streams are those that the reference lists and then does not use, because its verification cannot
//! take such layers (Q16).

use std::collections::BTreeMap;

use dunnage_digest::{Digest, Offset, ReadAt};

use super::{
    Controller, Counts, Job, Running,
    entry::{Entry, Format, Kind, dir, file, hardlink, symlink, tarball},
    forms,
    layer::{Layer, Packed, clean, entries, options},
    sha256, sharing,
};
use dunnage_estargz::{
    Reader, WriteOptions,
    compose::{LANDMARK_CONTENT, NO_PREFETCH_LANDMARK},
    toc::{TOC_TAR_NAME, TocEntry, TocType},
    write::Streams,
};

struct Case {
    name: &'static str,
    min_chunks: &'static [u64],
    input: &'static [Entry],
    /// Another input, whose layer must not pass for that of the first.
    bad_blob: &'static [Entry],
    /// A file whose entries in the TOC are spoiled. Not for files of one chunk: their digest is also that of the chunk.
    bad_entry: Option<&'static str>,
    /// A file whose first chunk is spoiled.
    broken: Option<&'static str>,
}

/// Bytes of a chunk, in all cases.
const CHUNK: u64 = 3;

const CASES: &[Case] = &[
    Case {
        name: "no-regfile",
        min_chunks: &[0],
        input: &[dir("test/")],
        bad_blob: &[dir("test2/")],
        bad_entry: None,
        broken: None,
    },
    Case {
        name: "small-files",
        min_chunks: &[0, 64_000],
        input: &[file("baz.txt", ""), file("foo.txt", "a"), dir("test/"), file("test/bar.txt", "bbb")],
        bad_blob: &[file("baz.txt", ""), file("foo.txt", "M"), dir("test/"), file("test/bar.txt", "bbb")],
        bad_entry: None,
        broken: Some("foo.txt"),
    },
    Case {
        name: "big-files",
        min_chunks: &[0],
        input: &[
            file("baz.txt", "bazbazbazbazbazbazbaz"),
            file("foo.txt", "a"),
            dir("test/"),
            file("test/bar.txt", "testbartestbar"),
        ],
        bad_blob: &[
            file("baz.txt", "bazbazbazMMMbazbazbaz"),
            file("foo.txt", "a"),
            dir("test/"),
            file("test/bar.txt", "testbartestbar"),
        ],
        bad_entry: Some("test/bar.txt"),
        broken: Some("test/bar.txt"),
    },
    Case {
        name: "with-non-regfiles",
        min_chunks: &[0, 64_000],
        input: &[
            file("baz.txt", "bazbazbazbazbazbazbaz"),
            file("foo.txt", "a"),
            file("bar/foo2.txt", "b"),
            file("foo3.txt", "c"),
            symlink("barlink", "test/bar.txt"),
            dir("test/"),
            file("test/bar.txt", "testbartestbar"),
            dir("test2/"),
            hardlink("test2/bazlink", "baz.txt"),
        ],
        bad_blob: &[
            file("baz.txt", "bazbazbazbazbazbazbaz"),
            file("foo.txt", "a"),
            file("bar/foo2.txt", "b"),
            file("foo3.txt", "c"),
            symlink("barlink", "test/bar.txt"),
            dir("test/"),
            file("test/bar.txt", "testbartestbar"),
            dir("test2/"),
            hardlink("test2/bazlink", "foo.txt"),
        ],
        bad_entry: Some("test/bar.txt"),
        broken: Some("test/bar.txt"),
    },
];

pub(super) fn jobs(controller: &dyn Controller) -> impl Iterator<Item = Job<'_>> {
    CASES.iter().flat_map(move |case| {
        let ways = case.min_chunks.iter().flat_map(|&min_chunk| sharing(controller, min_chunk));
        ways.map(move |streams| -> Job<'_> { Box::new(move || check(controller, case, streams)) }).collect::<Vec<_>>()
    })
}

fn check(controller: &dyn Controller, case: &Case, streams: Streams) -> Counts {
    let mut counts = Counts::default();
    let write = options(controller, CHUNK, streams, 1);
    for (format, prefix) in forms() {
        for packed in Packed::ALL {
            let run =
                format_args!("{}, {}, {streams:?}, {format:?}, `{prefix}`, {packed:?}", controller.name(), case.name);
            let _running = Running(run);
            let layer = Layer::build(controller, &packed.pack(&tarball(case.input, prefix, format)), &write);
            let wanted = wanted_chunks(case.input);
            check_toc(&layer, &wanted);
            check_verifiers(&layer, &wanted);
            check_other_blob(&layer, controller, case, &write);
            if let Some(name) = case.bad_entry {
                check_bad_entry(&layer, name);
            }
            if let Some(name) = case.broken {
                check_broken(&layer, name);
                check_broken_blob(&layer, controller, case, &write, (format, prefix));
            }
            counts.digest_and_verify += 1;
        }
    }
    counts
}

/// Chunks by path and place in the file: length and digest.
type Chunks = BTreeMap<(String, u64), (u64, Digest)>;

/// The chunks that a layer of this input has to have, with that of the landmark.
fn wanted_chunks(input: &[Entry]) -> Chunks {
    let files = input.iter().filter(|entry| entry.kind == Kind::File).map(|entry| (entry.name, entry.content()));
    let mut chunks = Chunks::new();
    for (name, content) in files.chain([(NO_PREFETCH_LANDMARK, [LANDMARK_CONTENT].as_slice())]) {
        for (piece, at) in content.chunks(CHUNK as usize).zip((0..).step_by(CHUNK as usize)) {
            chunks.insert((name.to_owned(), at), (piece.len() as u64, sha256(piece)));
        }
    }
    chunks
}

/// Every name and every chunk of the tar is in the TOC, with the digest of the bytes in the tar.
fn check_toc(layer: &Layer<'_>, wanted: &Chunks) {
    let reader = layer.open().unwrap();
    assert_eq!(*reader.toc_digest(), layer.toc_digest, "TOC digest");
    let digests: BTreeMap<(u64, u64), Digest> = layer
        .toc()
        .entries
        .iter()
        .filter(|entry| matches!(entry.kind, TocType::Reg | TocType::Chunk) && entry.chunk_digest.is_some())
        .map(|entry| ((entry.offset, entry.inner_offset), entry.chunk_digest.unwrap()))
        .collect();
    let mut found = Chunks::new();
    for (header, content) in entries(&layer.whole()) {
        let name = String::from_utf8(header.name).unwrap();
        if name == TOC_TAR_NAME {
            assert_eq!(sha256(&content), layer.toc_digest, "digest of the TOC in the tar");
            continue;
        }
        assert!(reader.lookup(&name).is_some(), "`{name}` is in the tar, but not in the TOC");
        let mut at = 0;
        while at < content.len() as u64 {
            let chunk = reader.chunk_for_offset(&name, at).unwrap_or_else(|| panic!("`{name}` has no chunk at {at}"));
            let digest = sha256(&content[at as usize..][..chunk.size as usize]);
            assert_eq!(chunk.digest, Some(digest), "digest of `{name}` at {at}");
            let place = (chunk.offset.get(), chunk.inner_offset);
            assert_eq!(digests.get(&place), Some(&digest), "digest in the document of `{name}` at {at}");
            found.insert((clean(&name), at), (chunk.size, digest));
            at += chunk.size;
        }
    }
    assert_eq!(found, *wanted, "chunks");
}

/// The TOC verifies, and so does each chunk.
fn check_verifiers(layer: &Layer<'_>, wanted: &Chunks) {
    let reader = layer.open().unwrap();
    let verifiers = reader.verify_toc(&layer.toc_digest).unwrap();
    let mut found = 0;
    for (header, content) in
        entries(&layer.whole()).into_iter().filter(|(header, _)| header.name != TOC_TAR_NAME.as_bytes())
    {
        let name = String::from_utf8(header.name).unwrap();
        let mut rest = content.as_slice();
        while !rest.is_empty() {
            let at = (content.len() - rest.len()) as u64;
            let chunk = reader.chunk_for_offset(&name, at).unwrap();
            let (piece, after) = rest.split_at(chunk.size as usize);
            let mut verifier = verifiers.verifier(&name, at).unwrap();
            verifier.update(piece);
            verifier.finish().unwrap();
            rest = after;
            found += 1;
        }
    }
    assert_eq!(found, wanted.len(), "chunks with a verifier");
    layer.verify(&layer.toc_digest).unwrap();
}

/// Another layer is not this one.
fn check_other_blob(layer: &Layer<'_>, controller: &dyn Controller, case: &Case, write: &WriteOptions) {
    let other = Layer::build(controller, &tarball(case.bad_blob, "", Format::Ustar), write);
    let reader = other.open().unwrap();
    assert!(reader.verify_toc(&layer.toc_digest).is_err(), "the TOC of another layer passes");
}

/// A TOC without a chunk's digest, or with a place that is used twice, is refused though its own digest is right.
fn check_bad_entry(layer: &Layer<'_>, name: &str) {
    let toc = layer.toc();
    let is_data = |entry: &TocEntry| matches!(entry.kind, TocType::Reg | TocType::Chunk);
    let is_it = |entry: &TocEntry| is_data(entry) && clean(&entry.name) == name;
    let mut without = toc.clone();
    for entry in without.entries.iter_mut().filter(|entry| is_it(entry)) {
        assert!(entry.chunk_digest.take().is_some(), "`{name}` has no digest to lose");
    }
    refused("without the digest of a chunk", &layer.with_toc(&without));
    let mut twice = toc.clone();
    let other = toc.entries.iter().rfind(|entry| is_data(entry) && !is_it(entry)).unwrap();
    let entry = twice.entries.iter_mut().rfind(|entry| is_it(entry)).unwrap();
    (entry.offset, entry.inner_offset) = (other.offset, other.inner_offset);
    refused("with a place that is used twice", &layer.with_toc(&twice));
    // What was done to the TOC, and not its being written anew, is the reason.
    layer.with_toc(&toc).verify(&layer.toc_digest).unwrap();
}

fn refused(what: &str, layer: &Layer<'_>) {
    let Ok(reader) = layer.open() else { return };
    assert!(reader.verify_toc(&layer.toc_digest).is_err(), "a TOC {what} verifies");
}

/// A chunk with its first byte inverted does not verify.
fn check_broken(layer: &Layer<'_>, name: &str) {
    let reader = layer.open().unwrap();
    let verifiers = reader.verify_toc(&layer.toc_digest).unwrap();
    let chunk = reader.chunk_for_offset(name, 0).unwrap();
    let mut content = vec![0; chunk.size as usize];
    reader.open_file(name).unwrap().read_exact_at(Offset::new(chunk.chunk_offset), &mut content).unwrap();
    let mut verifier = verifiers.verifier(name, 0).unwrap();
    content[0] = !content[0];
    verifier.update(&content);
    assert!(verifier.finish().is_err(), "`{name}` verifies with its first byte inverted");
}

/// The same in the blob: well compressed, but not what the TOC says. It is not handed out either.
fn check_broken_blob(
    layer: &Layer<'_>,
    controller: &dyn Controller,
    case: &Case,
    write: &WriteOptions,
    (format, prefix): (Format, &str),
) {
    let Some(name) = case.broken else { return };
    let mut tar = tarball(case.input, prefix, format);
    let header = format!("{prefix}{name}\0");
    let at = tar.chunks(512).position(|block| block.starts_with(header.as_bytes())).unwrap() * 512 + 512;
    tar[at] = !tar[at];
    let spoiled = Layer::build(controller, &tar, write);
    let mut toc = spoiled.toc();
    for (entry, real) in toc.entries.iter_mut().zip(layer.toc().entries) {
        (entry.digest, entry.chunk_digest) = (real.digest, real.chunk_digest);
    }
    let broken = spoiled.with_toc(&toc);
    assert!(broken.verify(&broken.toc_digest).is_err(), "a blob in which `{name}` is broken verifies");
    let reader: Reader<&[u8]> = broken.open().unwrap();
    let read = reader.open_file(name).unwrap().read_exact_at(Offset::ZERO, &mut [0]);
    assert!(read.is_err(), "a broken `{name}` is handed out");
}
