//! What upstream's suite leaves out, for every compression and every way to share streams: several tars in one layer,
//! repeated names, hard links, files in front without their directories, layers without content, global headers, sparse
//! files, names that are not UTF-8, tars that end too early. (TOCs made to harm are in estargz_malformed.rs and
//! estargz_mutation.rs.) Specification: section 11.6.

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::panic,
    reason = "a test"
)]

use std::{io::Read as _, sync::Arc};

use dunnage_conformance::{
    generate::letters,
    layer, parallel,
    tarball::{Entry, EntryKind, Format, checksum, file_header, members, octal, pad, tarball},
};
use dunnage_digest::{Offset, Progress, ReadAt as _};
use dunnage_estargz::{
    Build, Error, Limits, OpenOptions, Reader, Summary, WriteOptions, Writer,
    codec::{Codec, ZstdLevel},
    compose::Missing,
    toc::{Toc, TocType},
    unpack,
    write::{NonUtf8, Streams},
};
use dunnage_estargz_testsuite::{Controller, ExternalTocController, GzipController, ZstdController};

const STREAMS: [Streams; 4] =
    [Streams::PerChunk, Streams::AtLeast(2000), Streams::AtLeast(1 << 20), Streams::CompressedAtLeast(1000)];

/// One compression and one way to share streams.
struct Way {
    controller: Box<dyn Controller + Send>,
    streams: Streams,
}

fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for streams in STREAMS {
        let mut add = |controller| ways.push(Way { controller, streams });
        for (_, codec) in layer::codecs() {
            add(Box::new(GzipController::new(codec, 6)));
        }
        add(Box::new(ExternalTocController::new(Codec::Zlib, 6)));
        add(Box::new(ZstdController::new(ZstdLevel::DEFAULT)));
    }
    ways
}

/// `check` in every way.
fn each(check: impl Fn(&Way) + Sync) {
    parallel::map(&ways(), |way| {
        let what = format!("{}, {:?}", way.controller.name(), way.streams);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(way)));
        assert!(done.is_ok(), "the check above failed with {what}");
    });
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Lossy,
    Lossless,
}

const MODES: [Mode; 2] = [Mode::Lossy, Mode::Lossless];

/// A layer that was written, and everything that is said about it.
struct Layer {
    blob: Vec<u8>,
    summary: Summary,
    options: OpenOptions,
}

impl Layer {
    fn reader(&self) -> Reader<&[u8]> {
        Reader::open(self.blob.as_slice(), &self.options).unwrap()
    }

    /// The content of a file, all of it verified.
    fn content(&self, path: &str) -> Vec<u8> {
        let reader = self.reader();
        let file = reader.open_file(path).unwrap_or_else(|error| panic!("`{path}`: {error}"));
        let mut content = vec![0; file.size().unwrap() as usize];
        file.read_exact_at(Offset::ZERO, &mut content).unwrap();
        content
    }

    fn toc(&self) -> Toc {
        let json = match &self.summary.external_toc {
            Some(toc) => layer::toc_member_json(toc),
            None => layer::toc_json(&self.blob),
        };
        Toc::parse(&json, &Limits::default()).unwrap()
    }

    /// The files that unpacking gives.
    fn unpacked(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        unpack(self.blob.as_slice()).unwrap().read_to_end(&mut tar).unwrap();
        tar
    }
}

impl Way {
    fn options(&self) -> WriteOptions {
        let (streams, compressor) = (self.streams, self.controller.compressor());
        WriteOptions { chunk_size: 1000, streams, compressor, threads: 1, ..WriteOptions::default() }
    }

    /// Everything that holds for every layer: it verifies, its streams are where it says, its DiffID is right.
    fn layer(&self, blob: Vec<u8>, summary: Summary) -> Layer {
        let decompressors = vec![self.controller.decompressor(summary.external_toc.clone())];
        let layer = Layer { blob, summary, options: OpenOptions { decompressors, ..OpenOptions::default() } };
        let reader = layer.reader();
        reader.verify_toc(&layer.summary.toc_digest).unwrap();
        reader.verify(1, Progress::none()).unwrap();
        let offsets: Vec<u64> = layer.toc().entries.iter().map(|entry| entry.offset).collect();
        self.controller.check_streams(&layer.blob, &offsets);
        assert_eq!(self.controller.diff_id_of(&layer.blob), layer.summary.diff_id);
        drop(reader);
        layer
    }

    fn try_append(&self, options: &WriteOptions, tars: &[&[u8]], mode: Mode) -> Result<Layer, Error> {
        let mut writer = Writer::new(Vec::new(), options)?;
        for tar in tars {
            match mode {
                Mode::Lossy => writer.append_tar(*tar)?,
                Mode::Lossless => writer.append_tar_lossless(*tar)?,
            }
        }
        let (blob, summary) = writer.finish()?;
        Ok(self.layer(blob, summary))
    }

    fn append(&self, tars: &[&[u8]], mode: Mode) -> Layer {
        self.try_append(&self.options(), tars, mode).unwrap()
    }

    fn try_build(&self, tar: &[u8], prioritized: &[&str]) -> Result<Layer, Error> {
        let prioritized = prioritized.iter().map(|&path| path.to_owned()).collect();
        let build = Build { write: self.options(), prioritized, missing: Missing::Refuse };
        let (blob, built) = build.from_source(tar, Vec::new())?;
        Ok(self.layer(blob, built.summary))
    }
}

fn names(layer: &Layer) -> Vec<String> {
    let entries = layer.toc().entries.into_iter().filter(|entry| entry.kind != TocType::Chunk);
    entries.map(|entry| entry.name).collect()
}

#[test]
fn two_tars_can_be_appended_to_one_writer() {
    let (long, other) = (letters(1, 5300), letters(2, 3000));
    let first = [Entry::file("a", long.as_slice()), Entry::file("b", "b"), Entry::dir("d/")];
    let second = [Entry::file("d/c", "cc"), Entry::file("d/e", other.as_slice()), Entry::file("d/f", "")];
    let tars = [tarball(Format::Pax, &first), members(Format::Gnu, &second)];
    each(|way| {
        for modes in [[Mode::Lossy; 2], [Mode::Lossless; 2], [Mode::Lossless, Mode::Lossy]] {
            let mut writer = Writer::new(Vec::new(), &way.options()).unwrap();
            for (tar, mode) in tars.iter().zip(modes) {
                match mode {
                    Mode::Lossy => writer.append_tar(tar.as_slice()).unwrap(),
                    Mode::Lossless => writer.append_tar_lossless(tar.as_slice()).unwrap(),
                }
            }
            let (blob, summary) = writer.finish().unwrap();
            let layer = way.layer(blob, summary);
            assert_eq!(names(&layer), ["a", "b", "d/", "d/c", "d/e", "d/f"]);
            for entry in first.iter().chain(&second).filter(|entry| entry.kind == EntryKind::File) {
                let path = std::str::from_utf8(&entry.name).unwrap();
                assert!(layer.content(path) == entry.content, "{path}");
            }
            let reader = layer.reader();
            let last = reader.lookup("b").unwrap().chunks().last().unwrap();
            let next = reader.lookup("d/c").unwrap().chunks().next().unwrap();
            assert!(last.offset < next.offset, "the second tar goes on in a stream of the first");
        }
    });
}

#[test]
fn of_a_repeated_name_the_last_entry_and_its_chunks_count() {
    let (long, short, other) = (letters(1, 3500), letters(2, 10), letters(3, 2500));
    for contents in [[&long, &short], [&short, &long], [&long, &other]] {
        let [before, after] = contents.map(|content| Entry::file("a", content.as_slice()));
        let tar = tarball(Format::Ustar, &[before, Entry::file("b", "b"), after.clone(), Entry::hardlink("l", "a")]);
        each(|way| {
            for mode in MODES {
                let layer = way.append(&[&tar], mode);
                assert_eq!(names(&layer), ["a", "b", "a", "l"]);
                for name in ["a", "./a", "l"] {
                    assert!(layer.content(name) == after.content, "{name}");
                    let reader = layer.reader();
                    let chunks: Vec<_> = reader.lookup(name).unwrap().chunks().map(|chunk| chunk.size).collect();
                    let wanted: Vec<_> = after.content.chunks(1000).map(|chunk| chunk.len() as u64).collect();
                    assert_eq!(chunks, wanted, "{name}");
                }
            }
            let built = way.try_build(&tar, &[]).unwrap();
            assert_eq!(names(&built)[1..], ["b", "a", "l"]);
            assert!(built.content("l") == after.content);
        });
    }
}

#[test]
fn chunks_and_neighbours_are_found_through_hard_links() {
    let long = letters(1, 3500);
    let entries = [
        Entry::file("before", "before"),
        Entry::file("a", long.as_slice()),
        Entry::hardlink("l", "a"),
        Entry::hardlink("m", "l"),
        Entry::file("after", "after"),
    ];
    let tar = tarball(Format::Ustar, &entries);
    each(|way| {
        let layer = way.append(&[&tar], Mode::Lossy);
        let reader = layer.reader();
        for name in ["l", "m"] {
            for at in 0..=3500 {
                let chunk = reader.chunk_for_offset(name, at);
                assert_eq!(chunk, reader.chunk_for_offset("a", at), "{name} at {at}");
                assert_eq!(chunk.map(|chunk| chunk.chunk_offset), (at < 3500).then_some(at / 1000 * 1000));
            }
            let come_along = |path, len| {
                let mut seen = Vec::new();
                let visit = |pre: &dunnage_estargz::read::PreRead<'_>| {
                    seen.push((pre.entry.path(), pre.chunk.chunk_offset));
                    Ok(())
                };
                let mut content = vec![0; len];
                let mut file = reader.open_file_with_pre_reader(path, visit).unwrap();
                assert_eq!(file.read_at(0, &mut content).unwrap(), len);
                assert!(content == long[..len], "{path}");
                seen
            };
            assert_eq!(come_along(name, 3500), come_along("a", 3500));
            assert_eq!(come_along(name, 3500).is_empty(), way.streams == Streams::PerChunk);
            if way.streams == Streams::AtLeast(1 << 20) {
                // The file's own other chunks are neighbours as well.
                let wanted = [("before", 0), ("a", 1000), ("a", 2000), ("a", 3000), ("after", 0)];
                assert_eq!(come_along(name, 10), wanted.map(|(path, at)| (path.to_owned(), at)));
            }
        }
    });
}

#[test]
fn chunks_that_share_bytes_of_a_stream_do_not_verify() {
    let entries =
        [Entry::file("a", letters(1, 300)), Entry::file("b", letters(2, 300)), Entry::file("c", letters(3, 300))];
    let tar = tarball(Format::Ustar, &entries);
    let gzip = Way { controller: Box::new(GzipController::new(Codec::Zlib, 6)), streams: Streams::AtLeast(1 << 20) };
    let layer = gzip.append(&[&tar], Mode::Lossy);
    let toc = layer.toc();
    for (of, at) in [(1, 0), (1, 1), (1, 299), (2, 0), (2, 299)] {
        let mut changed = toc.clone();
        changed.entries[of].inner_offset = toc.entries[0].inner_offset + at;
        let json = changed.to_json();
        let blob = layer::with_toc(&layer.blob, &json);
        let error = layer::open(blob.as_slice()).unwrap().verify_toc(&layer::sha256(&json)).map(drop).unwrap_err();
        assert!(matches!(error, Error::Inconsistent { .. }), "{error}");
    }
}

#[test]
fn files_can_be_put_in_front_without_their_directories() {
    let entries = [
        Entry::file("top", "top"),
        Entry::dir("x/"),
        // Neither x/y/ nor anything above `deep` has an entry.
        Entry::file("x/y/z", letters(1, 1500)),
        Entry::file("deep/er/file", "deep"),
        Entry::hardlink("link/to", "deep/er/file"),
    ];
    let tar = tarball(Format::Pax, &entries);
    each(|way| {
        let layer = way.try_build(&tar, &["/x/y/z", "../link/to"]).unwrap();
        assert_eq!(names(&layer), ["x/", "x/y/z", "deep/er/file", "link/to", ".prefetch.landmark", "top"]);
        assert_eq!(layer.content("link/to"), b"deep");
        // The landmark starts a stream, or it would not say how far to prefetch.
        let reader = layer.reader();
        let mark = reader.chunk_for_offset(".prefetch.landmark", 0).unwrap();
        let front = reader.lookup("deep/er/file").unwrap().chunks().last().unwrap();
        assert_eq!((mark.inner_offset, mark.offset), (0, front.stream_end));
        let error = way.try_build(&tar, &["x/y"]).map(drop).unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    });
}

#[test]
fn layers_without_any_content() {
    let dirs: Vec<Entry> = (0..50).map(|number| Entry::dir(&format!("d{number}/"))).collect();
    let empty: Vec<Entry> = (0..50).map(|number| Entry::file(&format!("f{number}"), "")).collect();
    let odd = vec![
        Entry::symlink("s", "nowhere"),
        Entry::file("e", ""),
        Entry::hardlink("h", "e"),
        Entry::special(EntryKind::Char, "c", 1, 3),
        Entry::special(EntryKind::Fifo, "p", 0, 0),
    ];
    for entries in [Vec::new(), dirs, empty, odd] {
        let tar = tarball(Format::Ustar, &entries);
        for tar in [tar.as_slice(), &tar[..tar.len() - 1024]] {
            each(|way| {
                for mode in MODES {
                    let layer = way.append(&[tar], mode);
                    let reader = layer.reader();
                    assert_eq!((reader.chunks(), reader.streams()), (0, 0));
                    assert_eq!(reader.lookup("").unwrap().children().count(), entries.len());
                    assert!(layer.toc().entries.iter().all(|entry| (entry.offset, entry.inner_offset) == (0, 0)));
                    if matches!(mode, Mode::Lossless) {
                        assert!(layer.unpacked() == tar);
                    }
                }
                let built = way.try_build(tar, &[]).unwrap();
                assert_eq!(built.reader().streams(), 1, "the landmark's");
                assert!(built.blob.len() < 4000, "{} bytes", built.blob.len());
            });
        }
    }
}

/// An extension member.
fn meta(flag: u8, records: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let len = (rest..).find(|len| rest + len.to_string().len() == *len).unwrap();
        body.extend_from_slice(format!("{len} {key}={value}\n").as_bytes());
    }
    let mut block = file_header("pax_header", body.len() as u64, 0);
    block[156] = flag;
    checksum(&mut block);
    let mut member = [block.as_slice(), &body].concat();
    pad(&mut member);
    member
}

#[test]
fn global_headers_are_kept_bit_for_bit_or_dropped() {
    let global = meta(b'g', &[("comment", "0123456789abcdef0123456789abcdef01234567")]);
    let file = |name: &str| members(Format::Ustar, &[Entry::file(name, letters(1, 1200))]);
    let tar =
        [global.clone(), file("a"), global.clone(), global.clone(), file("b"), global.clone(), vec![0; 1024]].concat();
    each(|way| {
        let kept = way.append(&[&tar], Mode::Lossless);
        assert!(kept.unpacked() == tar);
        assert!(kept.summary.input.is_some());
        let dropped = way.append(&[&tar], Mode::Lossy);
        assert!(dropped.unpacked() == [file("a"), file("b")].concat());
        let built = way.try_build(&tar, &["b"]).unwrap();
        assert_eq!(names(&built), ["b", ".prefetch.landmark", "a"]);
        for layer in [kept, dropped] {
            assert_eq!(names(&layer), ["a", "b"]);
            assert!(layer.content("b") == letters(1, 1200));
        }
    });
}

#[test]
fn sparse_files_are_filled_up_or_refused() {
    let (data, size) = (letters(1, 1500), 5000_u64);
    let full = [&[0; 1000], data.as_slice(), &[0; 2500]].concat();
    // PAX 1.0: the map stands before the stored bytes.
    let mut stored = b"1\n1000\n1500\n".to_vec();
    pad(&mut stored);
    stored.extend_from_slice(&data);
    let records = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "sp"),
        ("GNU.sparse.realsize", "5000"),
    ];
    let mut pax = meta(b'x', &records);
    pax.extend_from_slice(&file_header("GNUSparseFile.0/sp", stored.len() as u64, 0));
    pax.extend_from_slice(&stored);
    pad(&mut pax);
    // GNU: the map is in the header.
    let mut block = file_header("sp", data.len() as u64, 0);
    block[156] = b'S';
    block[257..265].copy_from_slice(b"ustar  \0");
    for (at, number) in [(386, 1000), (398, 1500), (483, size)] {
        octal(&mut block, at, 12, number);
    }
    checksum(&mut block);
    let mut gnu = [block.as_slice(), &data].concat();
    pad(&mut gnu);
    for sparse in [pax, gnu] {
        let tar = [sparse, tarball(Format::Ustar, &[Entry::file("after", "after")])].concat();
        each(|way| {
            let layers = [way.append(&[&tar], Mode::Lossy), way.try_build(&tar, &["sp"]).unwrap()];
            for layer in layers {
                assert!(layer.content("sp") == full);
                assert_eq!(layer.content("after"), b"after");
            }
            let error = way.try_append(&way.options(), &[&tar], Mode::Lossless).map(drop).unwrap_err();
            let wanted = "unsupported input entry `sp`: a sparse file cannot be kept bit for bit";
            assert_eq!(error.to_string(), wanted);
        });
    }
}

#[test]
fn names_that_are_not_utf8_are_refused_or_replaced() {
    let mut entry = Entry::file("x", letters(1, 1200));
    entry.name = b"d/\xff\xfe".to_vec();
    let mut link = Entry::hardlink("l", "x");
    link.target.clone_from(&entry.name);
    let tar = tarball(Format::Gnu, &[entry, link]);
    each(|way| {
        for mode in MODES {
            let error = way.try_append(&way.options(), &[&tar], mode).map(drop).unwrap_err();
            let wanted =
                r"unsupported input entry `d/\xff\xfe`: `d/\xff\xfe` is not UTF-8, and a TOC can hold nothing else";
            assert_eq!(error.to_string(), wanted);
            let options = WriteOptions { non_utf8: NonUtf8::Replace, ..way.options() };
            let layer = way.try_append(&options, &[&tar], mode).unwrap();
            assert!(layer.content("d/\u{fffd}\u{fffd}") == letters(1, 1200));
            assert!(layer.content("l") == letters(1, 1200));
            // The tar inside keeps the name as it was.
            assert!(layer.unpacked().windows(4).any(|bytes| bytes == b"d/\xff\xfe"));
            if matches!(mode, Mode::Lossless) {
                assert!(layer.unpacked() == tar);
            }
        }
    });
}

#[test]
fn tars_that_end_too_early_are_never_silently_shortened() {
    let entries = [Entry::file("a", letters(1, 1200)), Entry::dir("d/"), Entry::file("d/b", letters(2, 100))];
    let parts: Vec<Vec<u8>> = entries.iter().map(|entry| members(Format::Ustar, std::slice::from_ref(entry))).collect();
    let mut ends = vec![0];
    ends.extend(parts.iter().scan(0, |end, part| {
        *end += part.len();
        Some(*end)
    }));
    let end = *ends.last().unwrap();
    let tar = [parts.concat(), vec![0; 1024]].concat();
    let gzip = Way { controller: Box::new(GzipController::new(Codec::Zlib, 1)), streams: Streams::PerChunk };
    let zstd = Way { controller: Box::new(ZstdController::new(ZstdLevel::FASTEST)), streams: Streams::AtLeast(5000) };
    let ways = [Arc::new(gzip), Arc::new(zstd)];
    let cuts: Vec<usize> = (0..tar.len()).step_by(37).chain(ends.iter().copied()).chain(end - 600..=end).collect();
    parallel::map(&cuts, |&cut| {
        let tar = &tar[..cut];
        let whole = ends.iter().filter(|&&end| end <= cut && end > 0).count();
        for way in &ways {
            let lossy = way.try_append(&way.options(), &[tar], Mode::Lossy);
            let built = way.try_build(tar, &[]);
            let lossless = way.try_append(&way.options(), &[tar], Mode::Lossless);
            if cut < end && !ends.contains(&cut) {
                assert!(lossy.is_err() && built.is_err() && lossless.is_err(), "cut at {cut}, inside an entry");
                continue;
            }
            // Between entries there is nothing that is missing but the end marker.
            if cut <= end {
                assert!(lossy.is_ok() && built.is_ok() && lossless.is_ok(), "cut at {cut}, between entries");
            }
            if let Ok(layer) = lossy {
                assert_eq!(names(&layer).len(), whole, "cut at {cut}");
            }
            if let Ok(layer) = built {
                assert_eq!(names(&layer).len(), whole + 1, "cut at {cut}");
            }
            if let Ok(layer) = lossless {
                assert!(layer.unpacked() == tar, "cut at {cut}: not what was put in");
                assert_eq!(layer.summary.input.map_or(0, |proof| proof.len), cut as u64);
            }
        }
    });
}
