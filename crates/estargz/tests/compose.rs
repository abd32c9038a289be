//! Layers built from every kind of input, into every kind of sink.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::{
    io::{Read, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use dunnage_digest::{Cancel, Offset, Progress, ReadAt};
use dunnage_estargz::{
    Build, Error, Input, OpenOptions, Reader, WriteOptions, Writer,
    codec::{
        Compressor, Encoder, End, ExternalTocCompressor, Form, GzipCompressor, StorageCompressor, TocWritten,
        ZstdCompressor,
    },
    compose::{Missing, Once, Pass},
    write::Streams,
};
use dunnage_inputs::{
    generate::{self, Spec},
    layout::packed,
    tarball::{Entry, EntryKind, Format, tarball},
};
use dunnage_tree::{
    DirTree, ExportMtime, ExportNanos, ExportOptions, ExportOwners, ExportRoot, TarExport, Tree,
    tar::{self, TarTree},
};

fn spec(duplicates: bool) -> Spec {
    Spec { entries: 60, max_size: 100_000, format: Format::Pax, xattrs: true, odd_names: true, duplicates }
}

/// The tar as it is, with gzip, with zstd.
fn packings(tar: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let of = |media_type: &str| packed(media_type, tar);
    vec![
        ("plain", tar.to_vec()),
        ("gzip", of("application/vnd.oci.image.layer.v1.tar+gzip")),
        ("zstd", of("application/vnd.oci.image.layer.v1.tar+zstd")),
    ]
}

fn compressors() -> Vec<(&'static str, Arc<dyn Compressor>)> {
    vec![
        ("estargz", Arc::new(GzipCompressor::default())),
        ("zstd:chunked", Arc::new(ZstdCompressor::default())),
        ("containers/storage", Arc::new(StorageCompressor::default())),
    ]
}

#[test]
fn a_layer_is_the_same_from_every_input_into_every_sink() {
    for repeats in [false, true] {
        let mut entries = vec![Entry::file("first", "1"), Entry::file("second", "2")];
        entries.extend(generate::tree(7, &spec(false)));
        if repeats {
            entries.push(Entry::file("./first", "the last one counts"));
        }
        let tar = tarball(Format::Pax, &entries);
        for prioritized in [vec![], vec!["second".to_owned()]] {
            let write = WriteOptions { threads: 2, chunk_size: 10_000, ..WriteOptions::default() };
            let build = Build { write, prioritized, missing: Missing::Refuse };
            let in_order = build.prioritized.is_empty();
            let (wanted, _) = build.from_source(&tar[..], Vec::new()).unwrap();
            for (packing, bytes) in packings(&tar) {
                let case = format!("{packing}, repeats {repeats}, prioritized {:?}", build.prioritized);
                let none = Progress::none;
                assert!(build.run(Input::File(&bytes), Vec::new(), none()).unwrap().0 == wanted, "{case}");
                assert!(build.run(Input::File(&bytes), Once(Vec::new()), none()).unwrap().0.0 == wanted, "{case}");
                let mut calls = 0;
                let mut read = |pass: Pass<'_>| {
                    calls += 1;
                    pass(&mut bytes.as_slice())
                };
                assert!(build.run(Input::Twice(&mut read), Vec::new(), none()).unwrap().0 == wanted, "{case}");
                let (once, _) = build.run(Input::Twice(&mut read), Once(Vec::new()), none()).unwrap();
                assert!(once.0 == wanted, "{case}");
                // Only a sink that can begin again is written to before all names are known.
                assert_eq!(calls, if repeats && in_order { 3 } else { 2 }, "{case}");
                let piped = build.run(Input::Stream(&mut bytes.as_slice()), Vec::new(), none());
                if repeats && in_order {
                    assert!(matches!(piped, Err(Error::Duplicate { name }) if name == "./first"), "{case}");
                } else {
                    assert!(piped.unwrap().0 == wanted, "{case}");
                }
            }
        }
    }
}

#[test]
fn a_pass_fails_with_the_error_of_its_input() {
    let build = Build::default();
    let nothing = build.run(Input::Twice(&mut |_| Ok(())), Vec::new(), Progress::none()).unwrap_err();
    assert_eq!(nothing.to_string(), "the function of the input did not call its argument");
    let tar = tarball(Format::Ustar, &[Entry::file("a", "1"), Entry::file("a", "2")]);
    for failing in [1, 2] {
        let mut calls = 0;
        let mut read = |pass: Pass<'_>| {
            calls += 1;
            pass(&mut tar.as_slice())?;
            if calls == failing { Err(Error::Misuse(format!("pass {calls}"))) } else { Ok(()) }
        };
        let error = build.run(Input::Twice(&mut read), Vec::new(), Progress::none()).unwrap_err();
        assert_eq!(error.to_string(), format!("pass {failing}"));
    }
}

#[test]
fn progress_counts_the_bytes_of_the_input_and_stops_the_build() {
    let entries = [Entry::file("a", vec![7; 300_000]), Entry::file("b", vec![8; 300_000])];
    let tar = tarball(Format::Ustar, &entries);
    let build = Build::default();
    for (packing, bytes) in packings(&tar) {
        for stop in [false, true] {
            let (seen, cancel) = (Mutex::new(Vec::new()), Cancel::new());
            let report = |read| {
                seen.lock().unwrap().push(read);
                if stop {
                    cancel.cancel();
                }
            };
            let progress = Progress::to(&report).cancelled_by(&cancel);
            let mut stream = bytes.as_slice();
            for input in [Input::Stream(&mut stream), Input::File(&bytes)] {
                let case = format!("{packing}, {input:?}");
                seen.lock().unwrap().clear();
                let result = build.run(input, Vec::new(), progress);
                let seen = seen.lock().unwrap();
                if stop {
                    assert!(matches!(result, Err(Error::Cancelled(_))), "{case}: {result:?}");
                } else {
                    result.unwrap();
                    assert!(seen.is_sorted(), "{case}");
                    assert_eq!(seen.last(), Some(&(bytes.len() as u64)), "{case}");
                }
            }
        }
    }
}

/// Counts how often zeros are compressed.
#[derive(Debug)]
struct Counting(Arc<dyn Compressor>, Arc<AtomicU64>);

impl Compressor for Counting {
    fn encoder(&self) -> Result<Box<dyn Encoder>, Error> {
        struct Counted(Box<dyn Encoder>, Arc<AtomicU64>);
        impl Encoder for Counted {
            fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
                if input.len() >= 4096 && input.iter().all(|&byte| byte == 0) {
                    self.1.fetch_add(1, Ordering::Relaxed);
                }
                self.0.encode(input, out)
            }
        }
        Ok(Box::new(Counted(self.0.encoder()?, Arc::clone(&self.1))))
    }

    fn write_toc_and_footer(
        &self,
        end: &End<'_>,
        diff: &mut dyn FnMut(&[u8]),
        out: &mut dyn Write,
    ) -> Result<TocWritten, Error> {
        self.0.write_toc_and_footer(end, diff, out)
    }

    fn form(&self) -> Form {
        self.0.form()
    }
}

#[test]
fn no_chunk_of_zeros_is_compressed_twice() {
    // Ten chunks of zeros, then one with the end of the file; the same again.
    let content = [vec![0; 10 << 20], b"end".to_vec()].concat();
    let tar = tarball(Format::Ustar, &[Entry::file("a", content.clone()), Entry::file("b", content.clone())]);
    for (name, compressor) in compressors() {
        for threads in [1, 4] {
            let count = Arc::new(AtomicU64::new(0));
            let counting = Arc::new(Counting(Arc::clone(&compressor), Arc::clone(&count)));
            let write = WriteOptions { chunk_size: 1 << 20, threads, compressor: counting, ..WriteOptions::default() };
            let (blob, _) = Build { write, ..Build::default() }.from_source(&tar[..], Vec::new()).unwrap();
            assert_eq!(count.load(Ordering::Relaxed), 1, "{name}, {threads} threads");
            // The streams are those that an encoder makes of zeros, all of them.
            let reader = Reader::open(&blob, &OpenOptions::default()).unwrap();
            let mut zeros = Vec::new();
            compressor.encoder().unwrap().encode(&vec![0; 1 << 20], &mut zeros).unwrap();
            assert_eq!(blob.windows(zeros.len()).filter(|window| *window == zeros).count(), 20, "{name}");
            for path in ["a", "b"] {
                let mut got = vec![1; content.len()];
                reader.open_file(path).unwrap().read_exact_at(Offset::ZERO, &mut got).unwrap();
                assert!(got == content, "{name}: {path}");
            }
        }
    }
}

/// Trees with everything that an export writes in more than one way.
fn trees(dir: &Path) -> Vec<(&'static str, Box<dyn Tree>)> {
    let of = |entries: &[Entry]| -> Box<dyn Tree> {
        Box::new(TarTree::open(tarball(Format::Pax, entries), &dunnage_tree::Limits::default()).unwrap())
    };
    std::fs::create_dir(dir.join("d")).unwrap();
    std::fs::write(dir.join("d/hello"), "hello").unwrap();
    std::fs::hard_link(dir.join("d/hello"), dir.join("d/again")).unwrap();
    std::os::unix::fs::symlink("hello", dir.join("d/link")).unwrap();
    let sparse = std::fs::File::create(dir.join("sparse")).unwrap();
    for at in [0, 300 << 10, (900 << 10) - 3] {
        sparse.write_all_at(b"abc", at).unwrap();
    }
    sparse.set_len(1200 << 10).unwrap();
    let long = "x".repeat(150);
    let made_by_builds = ["stargz.index.json", ".prefetch.landmark", "d/.prefetch.landmark"];
    vec![
        ("empty", of(&[])),
        ("assorted", of(&generate::tree(11, &spec(false)))),
        (
            "awkward",
            of(&[
                Entry::dir("d/"),
                Entry::file(&format!("d/{long}/{long}"), "long names").owner(3_000_000, -5, "user", "group"),
                Entry::file("d/nanos", "n").xattr("user.a", &[0, 255]),
                Entry { mtime: -7, nanos: 999_999_999, ..Entry::file("d/before", "1970") },
                Entry { mtime: 1 << 34, nanos: 5, ..Entry::file("d/late", "") },
                Entry::hardlink("d/second", "d/nanos"),
                Entry::symlink("d/far", &long),
                Entry::special(EntryKind::Char, "d/null", 1, 3),
                Entry::special(EntryKind::Fifo, "d/fifo", 0, 0),
                Entry::file("d/chunk", vec![1; 10_000]),
                Entry::file("d/chunks", vec![0; 30_000]),
            ]),
        ),
        ("of a build", of(&made_by_builds.map(|name| Entry::file(name, "old")))),
        ("directory", Box::new(DirTree::open(dir).unwrap())),
    ]
}

#[test]
fn a_tree_gives_the_layer_of_its_exported_tar() {
    let (nanos, root) = (ExportNanos::Keep, ExportRoot::Include);
    let exact = ExportOptions { nanos, root, prefix: b"./".to_vec(), ..ExportOptions::default() };
    let (mtime, owners) = (ExportMtime::Clamp(1000), ExportOwners::Fixed { uid: 1, gid: 2 });
    let fixed = ExportOptions { mtime, owners, ..ExportOptions::default() };
    let gnu = ExportOptions { format: tar::Format::Gnu, ..ExportOptions::default() };
    let external: (_, Arc<dyn Compressor>) =
        ("TOC outside", Arc::new(ExternalTocCompressor::new(GzipCompressor::default())));
    let shared: (_, Arc<dyn Compressor>) = ("shared streams", Arc::new(GzipCompressor::default()));
    let dir = tempfile::tempdir().unwrap();
    for (tree_name, tree) in trees(dir.path()) {
        for (how, options) in [
            ("plainly", ExportOptions::default()),
            ("exactly", exact.clone()),
            ("fixed", fixed.clone()),
            ("as GNU", gnu.clone()),
        ] {
            let mut exported = Vec::new();
            if TarExport::new(&*tree, options.clone()).read_to_end(&mut exported).is_err() {
                // The format has no place for some of these headers. The writer says so as well.
                let error = Build::default().run(Input::Tree(&*tree, &options), Vec::new(), Progress::none());
                assert!(matches!(error, Err(Error::Tar(dunnage_tree::Error::Header { .. }))), "{tree_name}, {how}");
                continue;
            }
            for (target, compressor) in compressors().into_iter().chain([external.clone(), shared.clone()]) {
                let case = format!("{tree_name}, {how}, {target}");
                let streams = if target == shared.0 { Streams::AtLeast(20_000) } else { Streams::PerChunk };
                let write =
                    WriteOptions { compressor, chunk_size: 10_000, streams, threads: 2, ..WriteOptions::default() };
                let mut refused = false;
                for prioritized in [vec![], vec!["d".to_owned()]] {
                    let build = Build { write: write.clone(), prioritized, missing: Missing::Report };
                    let wanted = build.from_source(&exported[..], Vec::new()).map_err(|error| error.to_string());
                    let got = build.run(Input::Tree(&*tree, &options), Vec::new(), Progress::none());
                    let got = got.map_err(|error| error.to_string());
                    assert!(got == wanted, "{case}: {:?} is not {:?}", got.map(|got| got.1), wanted.map(|got| got.1));
                    refused = got.is_err();
                }
                if refused {
                    assert_eq!((tree_name, target), ("assorted", "containers/storage"));
                    continue;
                }
                let appended = |append: &dyn Fn(&mut Writer<Vec<u8>>)| {
                    let mut writer = Writer::new(Vec::new(), &write).unwrap();
                    append(&mut writer);
                    writer.finish().unwrap().0
                };
                let got = appended(&|writer| assert!(writer.append_tree(&*tree, &options).unwrap().is_empty()));
                assert!(got == appended(&|writer| writer.append_tar(&exported[..]).unwrap()), "{case}");
                // Entries that are left out, and the end of a tar without entries, are only in a tar that is kept.
                if target == "containers/storage" && !["empty", "of a build"].contains(&tree_name) {
                    let lossless = appended(&|writer| writer.append_tar_lossless(&exported[..]).unwrap());
                    assert!(got == lossless, "{case}: bit for bit");
                }
            }
        }
    }
}

#[test]
fn sockets_are_left_out_and_listed() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let tree = DirTree::open(dir.path()).unwrap();
    for prioritized in [vec![], vec!["file".to_owned()]] {
        let build = Build { prioritized, ..Build::default() };
        let options = ExportOptions::default();
        let (_, built) = build.run(Input::Tree(&tree, &options), Vec::new(), Progress::none()).unwrap();
        assert_eq!(built.left_out, [b"socket"]);
    }
}
