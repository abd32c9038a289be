//! Upstream's compression test suite, as far as the gzip profile goes: both codecs, five levels, three formats, four
//! prefixes (tests/cases/estargz/{build,verify,write_and_open}.toml).

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::panic,
    reason = "a test"
)]

use std::{collections::BTreeMap, ops::ControlFlow};

use dunnage_conformance::{
    case::{PACKINGS, PREFIXES, cases, pack},
    dump::{Line, clean, dump},
    layer, parallel,
    tarball::{Entry, EntryKind, FORMATS, Format, suite_tarball},
    tarview::entries,
};
use dunnage_estargz::{Codec, Reader, TocType, WriteOptions};
use dunnage_tree::{Follow, Kind, Tree, resolve};
use serde::Deserialize;

const LEVELS: [i32; 5] = [0, 1, 9, -1, -2];

/// One way to write and name things.
#[derive(Clone, Copy, Debug)]
struct Run {
    codec: Codec,
    level: i32,
    format: Format,
    prefix: &'static str,
}

impl Run {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (_, codec) in layer::codecs() {
            for level in LEVELS {
                for format in FORMATS {
                    all.extend(PREFIXES.map(|prefix| Self { codec, level, format, prefix }));
                }
            }
        }
        all
    }

    fn options(&self, chunk_size: u64) -> WriteOptions {
        layer::options(self.codec, self.level, chunk_size, 1).unwrap()
    }

    fn tar(&self, input: &[Entry]) -> Vec<u8> {
        let named: Vec<Entry> = input.iter().map(|entry| entry.clone().prefixed(self.prefix)).collect();
        suite_tarball(self.format, &named)
    }
}

fn each<C: Sync>(cases: &[C], check: impl Fn(&C, Run) + Sync) -> usize {
    let runs = Run::all();
    let pairs: Vec<(&C, Run)> = cases.iter().flat_map(|case| runs.iter().map(move |run| (case, *run))).collect();
    parallel::map(&pairs, |(case, run)| check(case, *run));
    pairs.len()
}

#[derive(Deserialize)]
struct Cases<C> {
    case: Vec<C>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BuildCase {
    name: String,
    chunk_size: u64,
    input: Vec<Entry>,
}

#[test]
fn a_build_and_an_append_give_the_same_tree() {
    let cases: Cases<BuildCase> = cases("estargz/build.toml");
    let runs = each(&cases.case, |case, run| {
        let what = format!("{}, {run:?}", case.name);
        let (tar, options) = (run.tar(&case.input), run.options(case.chunk_size));
        let (appended, _) = layer::append(tar.as_slice(), &options).unwrap();
        for packing in PACKINGS {
            let (built, report) = layer::build(pack(packing, &tar).as_slice(), &options, &[]).unwrap();
            let whole = layer::inflate(built.as_slice()).unwrap();
            assert_eq!(layer::sha256(&whole), *report.summary.diff_id.digest(), "DiffID of {what}");
            assert_eq!(whole.len() as u64, report.summary.uncompressed_len, "{what}");
            assert_eq!(tree(&built), tree(&appended), "tree of {what}");
            assert_eq!(tar_entries(&built), tar_entries(&appended), "tar stream of {what}");
        }
    });
    println!("figure build_runs={}", runs * PACKINGS.len());
}

/// A layer's names, without landmarks.
fn tree(blob: &[u8]) -> Vec<Line> {
    let lines = dump(&layer::open(blob).unwrap(), &layer::toc(blob).unwrap(), true).unwrap();
    lines.into_iter().filter(|line| !line.path.ends_with("prefetch.landmark")).collect()
}

/// The entries of a layer's tar, without landmarks.
fn tar_entries(blob: &[u8]) -> Vec<Entry> {
    let all = entries(&layer::unpack(blob).unwrap());
    all.into_iter().filter(|entry| !entry.name.ends_with(b"prefetch.landmark")).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyCase {
    name: String,
    input: Vec<Entry>,
    bad: Vec<Entry>,
    entry: Option<String>,
    broken: Option<String>,
}

#[test]
fn what_is_changed_does_not_verify() {
    let cases: Cases<VerifyCase> = cases("estargz/verify.toml");
    let runs = each(&cases.case, |case, run| {
        let what = format!("{}, {run:?}", case.name);
        let options = run.options(3);
        let tar = run.tar(&case.input);
        let (blob, built) = layer::build(tar.as_slice(), &options, &[]).unwrap();
        let digest = built.summary.toc_digest;
        check_toc(&what, case, &blob);

        // VERIFY: all of it, through the reader that checks.
        let verified = layer::verify(blob.as_slice(), &digest, 1).unwrap_or_else(|error| panic!("{what}: {error}"));
        let chunks: usize = case.input.iter().map(|entry| entry.content.len().div_ceil(3)).sum();
        assert_eq!(verified.chunks, chunks as u64 + 1, "chunks of {what}, with the landmark's");

        // BADBLOB: another layer is not this one.
        let (bad, _) = layer::build(run.tar(&case.bad).as_slice(), &options, &[]).unwrap();
        assert!(layer::verify(bad.as_slice(), &digest, 1).is_err(), "another blob passes for {what}");

        // BADENTRY: a TOC without a chunk's digest, or with a place used twice, is refused even with its own digest.
        if let Some(name) = &case.entry {
            let toc = layer::toc(&blob).unwrap();
            let mut without = toc.clone();
            let ours = |entry_name: &str| clean(entry_name.as_bytes()) == name.as_bytes();
            for entry in without.entries.iter_mut().filter(|entry| ours(&entry.name)) {
                entry.chunk_digest = None;
            }
            refused(&format!("{what} without a digest"), &blob, &without.to_json());
            let mut twice = toc.clone();
            let other = toc.entries.iter().find(|entry| entry.offset > 0 && !ours(&entry.name)).unwrap().offset;
            twice.entries.iter_mut().rfind(|entry| entry.offset > 0 && ours(&entry.name)).unwrap().offset = other;
            refused(&format!("{what} with a place used twice"), &blob, &twice.to_json());
        }

        // BROKEN: content with its first byte inverted, well compressed, in the place of the real one.
        if let Some(name) = &case.broken {
            let content = &case.input.iter().find(|entry| entry.name == name.as_bytes()).unwrap().content;
            let mut spoiled: Vec<Entry> = case.input.clone();
            for entry in spoiled.iter_mut().filter(|entry| entry.name == name.as_bytes()) {
                entry.content[0] = !content[0];
            }
            let (other, _) = layer::build(run.tar(&spoiled).as_slice(), &options, &[]).unwrap();
            // The spoiled payload, indexed by a TOC with its offsets and the digests of the real content.
            let mut toc = layer::toc(&other).unwrap();
            for (entry, real) in toc.entries.iter_mut().zip(layer::toc(&blob).unwrap().entries) {
                (entry.digest, entry.chunk_digest) = (real.digest, real.chunk_digest);
            }
            let json = toc.to_json();
            let broken = layer::with_toc(&other, &json);
            let verified = layer::verify(broken.as_slice(), &layer::sha256(&json), 1);
            assert!(verified.is_err(), "broken content of {what} verifies");
            let reader = layer::open(broken.as_slice()).unwrap();
            let node = resolve(&reader, name.as_bytes(), Follow::Never).unwrap();
            assert!(reader.read_at(node, 0, &mut [0; 1]).is_err(), "broken content of {what} is handed out");
        }
    });
    println!("figure verify_runs={runs}");
}

fn check_toc(what: &str, case: &VerifyCase, blob: &[u8]) {
    let whole = entries(&layer::inflate(blob).unwrap());
    let json = &whole.last().unwrap().content;
    let reader = layer::open(blob).unwrap();
    assert_eq!(layer::sha256(json), *reader.toc_digest(), "{what}");
    for entry in &whole[..whole.len() - 1] {
        resolve(&reader, &clean(&entry.name), Follow::Never).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let mut found: BTreeMap<(Vec<u8>, u64), (u64, String)> = BTreeMap::new();
    let toc = layer::toc(blob).unwrap();
    let mut size = 0;
    for entry in toc.entries.iter().filter(|entry| matches!(entry.kind, TocType::Reg | TocType::Chunk)) {
        size = if entry.kind == TocType::Reg { entry.size } else { size };
        if size > 0 {
            let len = if entry.chunk_size == 0 { size - entry.chunk_offset } else { entry.chunk_size };
            let digest = entry.chunk_digest.unwrap().to_string();
            found.insert((clean(entry.name.as_bytes()), entry.chunk_offset), (len, digest));
        }
    }
    let mut wanted = BTreeMap::new();
    wanted.insert((b".no.prefetch.landmark".to_vec(), 0), (1, layer::sha256(&[0x0f]).to_string()));
    for entry in case.input.iter().filter(|entry| entry.kind == EntryKind::File) {
        for (index, piece) in entry.content.chunks(3).enumerate() {
            let place = (clean(&entry.name), index as u64 * 3);
            wanted.insert(place, (piece.len() as u64, layer::sha256(piece).to_string()));
        }
    }
    assert_eq!(found, wanted, "chunks of {what}");
}

/// A payload under another TOC must not verify, though the TOC's digest is right.
fn refused(what: &str, blob: &[u8], json: &[u8]) {
    let changed = layer::with_toc(blob, json);
    assert!(layer::verify(changed.as_slice(), &layer::sha256(json), 1).is_err(), "{what} verifies");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenCase {
    name: String,
    #[serde(default)]
    chunk_size: u64,
    input: Vec<Entry>,
    streams: usize,
    entries: Option<usize>,
    #[serde(default)]
    children: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    links: BTreeMap<String, u32>,
    #[serde(default)]
    same: Vec<(String, String)>,
    #[serde(default)]
    lossless_fails: bool,
}

#[test]
fn what_is_written_can_be_opened() {
    let cases: Cases<OpenCase> = cases("estargz/write_and_open.toml");
    let runs = each(&cases.case, |case, run| {
        for lossless in [false, true] {
            let what = format!("{}, {run:?}, lossless: {lossless}", case.name);
            let (tar, options) = (run.tar(&case.input), run.options(case.chunk_size));
            let written = if lossless {
                layer::append_lossless(tar.as_slice(), &options)
            } else {
                layer::append(tar.as_slice(), &options)
            };
            if lossless && case.lossless_fails {
                assert!(written.is_err(), "{what} was written");
                continue;
            }
            let (blob, summary) = written.unwrap_or_else(|error| panic!("{what}: {error}"));
            if lossless {
                assert_eq!(layer::unpack(blob.as_slice()).unwrap(), tar, "{what}");
            }
            let whole = layer::inflate(blob.as_slice()).unwrap();
            assert_eq!(layer::sha256(&whole), *summary.diff_id.digest(), "DiffID of {what}");
            check_streams(&what, case, &blob);
            check_nodes(&what, case, &layer::open(blob.as_slice()).unwrap());
        }
    });
    println!("figure write_and_open_runs={}", runs * 2);
}

fn check_streams(what: &str, case: &OpenCase, blob: &[u8]) {
    let toc = layer::toc(blob).unwrap();
    assert_eq!(toc.version, 1, "{what}");
    if let Some(entries) = case.entries {
        assert_eq!(toc.entries.len(), entries, "TOC entries of {what}");
    }
    let mut starts = Vec::new();
    for entry in &toc.entries {
        if starts.last().is_none_or(|&last| entry.offset > last) {
            starts.push(entry.offset);
        }
    }
    starts.extend([layer::toc_offset(blob) as u64, blob.len() as u64 - 51]);
    assert_eq!(starts.len(), case.streams, "streams of {what}: {starts:?}");
    for at in starts {
        assert!(layer::is_member_start(blob, at), "{what}: no gzip member starts at {at}");
    }
}

fn check_nodes(what: &str, case: &OpenCase, reader: &Reader<&[u8]>) {
    let node = |path: &str| {
        resolve(reader, path.as_bytes(), Follow::Never).unwrap_or_else(|error| panic!("{what}: `{path}`: {error}"))
    };
    assert_eq!(node(""), reader.root(), "{what}");
    for entry in case.input.iter().filter(|entry| entry.name != b"stargz.index.json") {
        let path = String::from_utf8(clean(&entry.name)).unwrap();
        let what = format!("{what}: `{path}`");
        let id = node(&path);
        let attr = reader.attr(id).unwrap();
        let kind = match entry.kind {
            EntryKind::File | EntryKind::Hardlink => Kind::File,
            EntryKind::Dir => Kind::Directory,
            EntryKind::Symlink => Kind::Symlink,
            EntryKind::Char => Kind::CharDevice,
            EntryKind::Block => Kind::BlockDevice,
            EntryKind::Fifo => Kind::Fifo,
        };
        assert_eq!(attr.kind, kind, "{what}");
        if entry.kind == EntryKind::Hardlink {
            continue;
        }
        assert_eq!(u64::from(attr.mode), entry.mode, "mode of {what}");
        assert_eq!((attr.uid, attr.gid), (entry.uid, entry.gid), "owner of {what}");
        assert_eq!(attr.device, entry.device, "device of {what}");
        let mut xattrs = BTreeMap::new();
        let mut keep = |name: &[u8], value: &[u8]| {
            xattrs.insert(String::from_utf8(name.to_vec()).unwrap(), value.to_vec());
            ControlFlow::Continue(())
        };
        reader.xattrs(id, &mut keep).unwrap();
        assert_eq!(xattrs, entry.xattrs, "attributes of {what}");
        if kind == Kind::Symlink {
            assert_eq!(reader.read_link(id).unwrap(), entry.target, "target of {what}");
        }
        if kind == Kind::File {
            assert_eq!(attr.size, entry.content.len() as u64, "size of {what}");
            for at in 0..=entry.content.len() {
                let mut buf = vec![0; entry.content.len() + 10];
                let got = reader.read_at(id, at as u64, &mut buf).unwrap();
                assert_eq!(buf[..got], entry.content[at..], "{what} read from {at}");
            }
        }
    }
    for (dir, wanted) in &case.children {
        let mut names = Vec::new();
        let mut keep = |entry: dunnage_tree::DirEntry<'_>| {
            names.push(String::from_utf8(entry.name.to_vec()).unwrap());
            ControlFlow::Continue(())
        };
        reader.read_dir(node(dir), 0, &mut keep).unwrap();
        assert_eq!(names, *wanted, "children of `{dir}` in {what}");
    }
    for (path, links) in &case.links {
        assert_eq!(reader.attr(node(path)).unwrap().links, *links, "links of `{path}` in {what}");
    }
    for (a, b) in &case.same {
        assert_eq!(node(a), node(b), "{what}");
    }
}
