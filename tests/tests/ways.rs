//! Every way to the files of an archive leads to the same files, or says why it does not.
//!
//! Random archives in which names come again, links lead everywhere and directories come late or not at all. Reading ways agree
//! exactly or refuse alike: the tree of the archive, and its extraction as the kernel shows it. A writing way gives that tree, or
//! refuses the archive. The audit of a layer agrees exactly when a comparison of its tree with the tree of its tar finds
//! nothing.

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::arithmetic_side_effects,
    reason = "a test"
)]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use dunnage_digest::Progress;
use dunnage_estargz::{
    Build, OpenOptions, Reader, WriteOptions, Writer,
    audit::Audit,
    codec::{Compressor, GzipCompressor, StorageCompressor, ZstdCompressor, ZstdLevel},
    unpack,
};
use dunnage_inputs::{
    random::Random,
    tarball::{Entry, EntryKind, Format, tarball},
};
use dunnage_tree::{
    CompareMtime, CompareOptions, CompareOwners, DirTree, ExtractOptions, Limits, TarExport, Tree, compare,
    extract_tar, tar::TarTree,
};

/// How many archives are tried; `WAYS` in the environment asks for others.
const ARCHIVES: u64 = 20_000;
/// Of how many archives each is extracted as well, which takes the kernel.
const EXTRACTED: u64 = 4;

const NAMES: [&str; 12] = ["a", "b", "\u{e9}", "d", "d/a", "d/b", "d/e", "d/e/f", "./a", "g/h", "g", LONG];
/// No header has a place for it.
const LONG: &str = "d/a-name-that-is-longer-than-the-hundred-bytes-that-a-header-has-for-it-and-that-has-no-slash-to-cut-it-at-anywhere";

/// A few entries whose names and targets are drawn from few names.
fn archive(random: &mut Random) -> Vec<Entry> {
    let count = 1 + random.below(8);
    let entry = |number: u64, before: &[Vec<u8>], random: &mut Random| {
        let name = random.pick(&NAMES).as_bytes().to_vec();
        // Most links lead to something that is there.
        let earlier = before.get(random.below(before.len() as u64) as usize).filter(|_| random.below(8) > 0);
        let target = earlier.cloned().unwrap_or_else(|| random.pick(&NAMES).as_bytes().to_vec());
        let kind = *random.pick(&[
            EntryKind::File,
            EntryKind::File,
            EntryKind::Dir,
            EntryKind::Hardlink,
            EntryKind::Hardlink,
            EntryKind::Symlink,
            EntryKind::Fifo,
        ]);
        let is_link = matches!(kind, EntryKind::Hardlink | EntryKind::Symlink);
        Entry {
            kind,
            name,
            content: if kind == EntryKind::File { format!("content {number}").into_bytes() } else { Vec::new() },
            target: if is_link { target } else { Vec::new() },
            mode: 0o700 + random.below(8),
            mtime: 1_000_000_000 + number as i64,
            ..Entry::default()
        }
    };
    let (mut entries, mut before): (Vec<Entry>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
    for number in 0..count {
        let new = entry(number, &before, random);
        if new.kind != EntryKind::Dir {
            before.push(new.name.clone());
        }
        entries.push(new);
    }
    entries
}

/// Everything of two trees but the attributes of the root, of which an archive need not say anything.
fn differences<A: Tree + ?Sized, B: Tree + ?Sized>(a: &A, b: &B, mtime: CompareMtime) -> Vec<String> {
    let options = CompareOptions { mtime, owners: CompareOwners::Ignore, ..CompareOptions::default() };
    let all = compare(a, b, &options, Progress::none()).unwrap();
    all.iter().map(ToString::to_string).filter(|difference| !difference.starts_with("/:")).collect()
}

fn options(compressor: impl Compressor + 'static) -> WriteOptions {
    WriteOptions { compressor: Arc::new(compressor), threads: 1, chunk_size: 4, ..WriteOptions::default() }
}

type Made = Result<Vec<u8>, dunnage_estargz::Error>;

fn build(tar: &[u8], write: WriteOptions) -> Made {
    Build { write, ..Build::default() }.from_source(tar, Vec::new()).map(|(blob, _)| blob)
}

fn written(tar: &[u8], write: &WriteOptions, is_lossless: bool) -> Made {
    let mut writer = Writer::new(Vec::new(), write)?;
    if is_lossless {
        writer.append_tar_lossless(tar)?
    } else {
        writer.append_tar(tar)?
    };
    writer.finish().map(|(blob, _)| blob)
}

fn zstd() -> ZstdLevel {
    ZstdLevel::new(1).unwrap()
}

/// The ways that make a layer.
fn layers(tar: &[u8]) -> [(&'static str, Made); 8] {
    let gzip = options(GzipCompressor::default());
    let first = Build { write: gzip.clone(), prioritized: vec!["d/a".to_owned(), "b".to_owned()], ..Build::default() };
    let first = Build { missing: dunnage_estargz::compose::Missing::Report, ..first };
    [
        ("build", build(tar, gzip.clone())),
        ("build, some first", first.from_source(tar, Vec::new()).map(|(blob, _)| blob)),
        (
            "build from a pipe",
            Build { write: gzip.clone(), ..Build::default() }.from_stream(tar, Vec::new()).map(|(blob, _)| blob),
        ),
        ("build, zstd:chunked", build(tar, options(ZstdCompressor::new(zstd())))),
        ("keep", written(tar, &gzip, false)),
        ("lossless", written(tar, &gzip, true)),
        ("lossless, zstd:chunked", written(tar, &options(ZstdCompressor::new(zstd())), true)),
        ("lossless, containers/storage", written(tar, &options(StorageCompressor::new(zstd())), true)),
    ]
}

/// What each way did with the archives.
#[derive(Default)]
struct Tally(BTreeMap<(&'static str, String), u64>);

impl Tally {
    fn count(&mut self, way: &'static str, outcome: &str) {
        *self.0.entry((way, outcome.to_owned())).or_default() += 1;
    }
}

#[test]
fn every_way_to_the_files_leads_to_the_same_files() {
    let archives = std::env::var("WAYS").ok().and_then(|count| count.parse().ok()).unwrap_or(ARCHIVES);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let all = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for first in 0..threads {
            let all = &all;
            scope.spawn(move || {
                let tally = tried((first..archives).step_by(threads as usize));
                let mut all = all.lock().unwrap();
                tally.0.into_iter().for_each(|(way, count)| *all.0.entry(way).or_default() += count);
            });
        }
    });
    for ((way, outcome), count) in &all.into_inner().unwrap().0 {
        println!("{way}: {outcome}: {count}");
    }
}

/// Tries the archives of these numbers.
fn tried(numbers: impl Iterator<Item = u64>) -> Tally {
    let mut tally = Tally::default();
    for number in numbers {
        let mut random = Random::new(number);
        let entries = archive(&mut random);
        // Long names and others than ASCII have no place in USTAR.
        let is_plain = |text: &[u8]| text.is_ascii() && text.len() <= 100;
        let fits = entries.iter().all(|entry| is_plain(&entry.name) && is_plain(&entry.target));
        let formats: &[Format] = if fits { &[Format::Ustar] } else { &[Format::Pax, Format::Gnu] };
        let tar = tarball(*random.pick(formats), &entries);
        let wrong = |way: &str, what: &dyn std::fmt::Debug| -> ! {
            let shown: Vec<String> = entries
                .iter()
                .map(|e| format!("{:?} {} -> {}", e.kind, e.name.escape_ascii(), e.target.escape_ascii()))
                .collect();
            panic!("archive {number}, {way}: {what:?}\n{}", shown.join("\n"))
        };
        let tree = TarTree::open(tar.as_slice(), &Limits::default());
        if number % EXTRACTED == 0 {
            let dir = tempfile::tempdir().unwrap();
            let made = extract_tar(
                tar.as_slice(),
                dir.path(),
                &ExtractOptions { existing: dunnage_tree::Existing::Extend, ..ExtractOptions::default() },
                Progress::none(),
            );
            match (&tree, made) {
                (Ok(tree), Ok(_)) => same_as_extracted(tree, dir.path(), &|what| wrong("extract", what)),
                (Err(_), Err(_)) => {}
                (tree, made) => wrong("extract", &(tree.as_ref().err(), made)),
            }
            tally.count("extract", "agrees");
        }
        for (way, made) in layers(&tar) {
            let (tree, blob) = match (&tree, made) {
                (Err(_), Err(_)) => {
                    tally.count(way, "refused as by every way");
                    continue;
                }
                (Ok(_), Err(error)) => {
                    let reason = error.to_string();
                    let reason = reason.rsplit('`').next().unwrap_or_default();
                    tally.count(way, &format!("refused:{reason}"));
                    // Builds from a file find a way for every archive.
                    if way.starts_with("build") && way != "build from a pipe" {
                        wrong(way, &error);
                    }
                    continue;
                }
                (Err(error), Ok(_)) => wrong(way, error),
                (Ok(tree), Ok(blob)) => (tree, blob),
            };
            let reader = Reader::open(blob.as_slice(), &OpenOptions::default()).unwrap();
            reader.verify(1, Progress::none()).unwrap();
            let found = differences(tree, &reader, CompareMtime::Seconds);
            if !found.is_empty() {
                wrong(way, &found);
            }
            let agreed = reader.audit(Progress::none()).and_then(Audit::agreed);
            if let Err(error) = agreed {
                wrong(way, &error);
            }
            // A runtime that unpacks the layer sees the same.
            let mut plain = Vec::new();
            std::io::Read::read_to_end(&mut unpack(blob.as_slice()).unwrap(), &mut plain).unwrap();
            let unpacked = TarTree::open(plain, &Limits::default()).unwrap();
            let found: Vec<String> = differences(tree, &unpacked, CompareMtime::Seconds)
                .into_iter()
                .filter(|found| !found.starts_with("stargz.index.json") && !found.contains("prefetch.landmark"))
                .collect();
            if !found.is_empty() {
                wrong(way, &found);
            }
            tally.count(way, "agrees");
        }
        if let Ok(tree) = &tree {
            let mut again = Vec::new();
            std::io::Read::read_to_end(&mut TarExport::new(tree, Default::default()), &mut again).unwrap();
            let again = TarTree::open(again, &Limits::default()).unwrap();
            let found = differences(tree, &again, CompareMtime::Exact);
            if !found.is_empty() {
                wrong("export", &found);
            }
            tally.count("export", "agrees");
        }
    }
    tally
}

fn same_as_extracted(tree: &dyn Tree, dir: &Path, wrong: &dyn Fn(&dyn std::fmt::Debug)) {
    let found = differences(tree, &DirTree::open(dir).unwrap(), CompareMtime::Seconds);
    if !found.is_empty() {
        wrong(&found);
    }
}
