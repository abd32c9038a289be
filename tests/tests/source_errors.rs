//! A source that fails keeps the kind of its error through every reader: the n-th read fails, for each n and each kind.

#![allow(
    clippy::tests_outside_test_module,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

use std::{
    cell::Cell,
    error::Error,
    io::{self, Read},
    sync::atomic::{AtomicUsize, Ordering},
};

use dunnage_digest::{ErrorKind, Offset, Progress, ReadAt, SourceError};
use dunnage_estargz::{OpenOptions, Reader, WriteOptions, Writer};
use dunnage_inputs::tarball::{Entry, Format, tarball};
use dunnage_tree::{
    CompareOptions, ExtractOptions, Limits, Tree, compare, extract,
    tar::{self, TarTree},
};

/// Bytes that can be read `good` times.
struct Failing<'b> {
    bytes: &'b [u8],
    good: AtomicUsize,
    kind: ErrorKind,
}

impl Failing<'_> {
    fn ask(&self) -> io::Result<()> {
        let take = |left: usize| left.checked_sub(1);
        match self.good.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(SourceError::new(self.kind, "the source fails").into()),
        }
    }
}

impl ReadAt for Failing<'_> {
    fn size(&self) -> io::Result<u64> {
        self.ask()?;
        self.bytes.size()
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        self.ask()?;
        self.bytes.read_exact_at(at, buf)
    }
}

/// The same as a stream of short reads.
struct Stream<'b, 'f>(&'f Failing<'b>, Cell<usize>);

impl Read for Stream<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.ask()?;
        let rest = self.0.bytes.get(self.1.get()..).unwrap_or_default();
        let len = rest.len().min(buf.len()).min(4096);
        buf[..len].copy_from_slice(&rest[..len]);
        self.1.set(self.1.get() + len);
        Ok(len)
    }
}

fn tar_bytes() -> Vec<u8> {
    let text = |len: usize| -> Vec<u8> { (0..len).map(|at| (at * 7 % 251) as u8).collect() };
    let entries =
        [Entry::dir("d/"), Entry::file("d/a", text(9000)), Entry::file("b", text(300)), Entry::symlink("l", "b")];
    tarball(Format::Pax, &entries)
}

fn blob() -> Vec<u8> {
    let options = WriteOptions { chunk_size: 4096, ..WriteOptions::default() };
    let mut writer = Writer::new(Vec::new(), &options).unwrap();
    writer.append_tar(&tar_bytes()[..]).unwrap();
    writer.finish().unwrap().0
}

type Outcome = Result<(), (ErrorKind, String)>;

fn of_tree(error: dunnage_tree::Error) -> (ErrorKind, String) {
    (error.kind(), with_causes(&error))
}

fn of_layer(error: dunnage_estargz::Error) -> (ErrorKind, String) {
    (error.kind(), with_causes(&error))
}

/// The message and those of all causes.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let (mut told, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        told = format!("{told}: {cause}");
        next = cause.source();
    }
    told
}

fn layer<'f, 'b>(source: &'f Failing<'b>) -> Result<Reader<&'f Failing<'b>>, (ErrorKind, String)> {
    Reader::open(source, &OpenOptions::default()).map_err(of_layer)
}

fn archive<'f, 'b>(source: &'f Failing<'b>) -> Result<TarTree<&'f Failing<'b>>, (ErrorKind, String)> {
    TarTree::open(source, &Limits::default()).map_err(of_tree)
}

fn extracted<T: Tree>(tree: &T) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    extract(tree, dir.path(), &ExtractOptions::default(), Progress::none()).map_err(of_tree).map(drop)
}

fn compared<T: Tree + Sync>(tree: &T) -> Outcome {
    let bytes = tar_bytes();
    let other = TarTree::open(&bytes[..], &Limits::default()).unwrap();
    compare(tree, &other, &CompareOptions::default(), Progress::none()).map_err(of_tree).map(drop)
}

fn entries(source: &Failing<'_>) -> Outcome {
    let mut reader = tar::Reader::new(Stream(source, Cell::new(0)), Limits::default());
    let mut header = tar::Header::default();
    let mut buf = [0; 1000];
    while reader.next_header(&mut header).map_err(of_tree)? {
        while reader.read_payload(&mut buf).map_err(of_tree)? > 0 {}
    }
    Ok(())
}

fn converted(source: &Failing<'_>) -> Outcome {
    let mut writer = Writer::new(Vec::new(), &WriteOptions::default()).map_err(of_layer)?;
    writer.append_tar(Stream(source, Cell::new(0))).map_err(of_layer)?;
    writer.finish().map_err(of_layer).map(drop)
}

type Way = (&'static str, fn() -> Vec<u8>, fn(&Failing<'_>) -> Outcome);

const WAYS: &[Way] = &[
    ("layer, extracted", blob, |source| extracted(&layer(source)?)),
    ("layer, compared", blob, |source| compared(&layer(source)?)),
    ("tar, extracted", tar_bytes, |source| extracted(&archive(source)?)),
    ("tar, compared", tar_bytes, |source| compared(&archive(source)?)),
    ("tar, entry by entry", tar_bytes, entries),
    ("tar, converted to a layer", tar_bytes, converted),
];

#[test]
fn every_kind_reaches_the_caller_whichever_read_fails() {
    for (name, bytes, way) in WAYS {
        let bytes = bytes();
        for &kind in ErrorKind::ALL {
            let mut failures = 0;
            for good in 0.. {
                match way(&Failing { bytes: &bytes, good: AtomicUsize::new(good), kind }) {
                    Ok(()) => break,
                    Err((got, message)) => {
                        assert_eq!(got, kind, "{name}, read {good}: {message}");
                        assert!(message.contains("the source fails"), "{name}, read {good}: {message}");
                    }
                }
                failures += 1;
            }
            assert!(failures > 2, "{name}: only {failures} reads");
        }
    }
}
