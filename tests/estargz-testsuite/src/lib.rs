//! The reference's compression test suite, for any pair of [`Compressor`] and [`Decompressor`] that is to hold layers.
//!
//! The author of a compression describes it as a [`Controller`] and calls [`run`] from a test. A failure is a panic
//! that names the run and the expectation. The cases are those of the reference, by their names, in three parts:
//!
//! | part               | is                                                                                          |
//! |--------------------|---------------------------------------------------------------------------------------------|
//! | build              | a layer that was built holds the same tree and the same tar as one that a tar was appended to |
//! | digest and verify  | a layer verifies, and nothing that was changed in it does                                    |
//! | write and open     | a layer has its streams where its TOC says, and gives back what was put in                   |
//!
//! Each case runs with every format of the input tar, with four prefixes of names, and with inputs compressed in three
//! ways where that matters. A case that lets small files share streams runs with the size of streams before and after
//! compression; only the former if the compressor has no [gauge](Compressor::gauge).
//!
//! ```
//! use dunnage_estargz::codec::Codec;
//! use dunnage_estargz_testsuite::{self as testsuite, GzipController};
//!
//! let counts = testsuite::run(&[&GzipController::new(Codec::Zlib, 1)]);
//! assert!(counts.build >= 180 && counts.write_and_open >= 336);
//! ```
//!
//! Where the reference's suite and its register of defects differ, the register is followed: streams are really looked
//! for in the blob (Q20), and layers whose files share streams have to verify (Q16). Specification: eStargz, sections 11.3
//! to 11.5.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    reason = "a test suite: a failure is a panic, which ends the test"
)]

mod build;
mod checks;
mod controller;
mod entry;
mod layer;
mod open;
mod verify;

use std::{
    fmt,
    ops::Add,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use dunnage_digest::{Algorithm, DiffId, Digest};

pub use self::controller::{
    ExternalTocController, GzipController, ZstdController, check_gzip_has_streams, check_zstd_has_streams,
    gzip_diff_id_of, zstd_diff_id_of,
};
use self::entry::Format;
use dunnage_estargz::{
    codec::{Compressor, Decompressor},
    write::Streams,
};

/// A compression to be tested: the reference's `TestingController`.
pub trait Controller: Sync {
    /// What to call it in messages.
    fn name(&self) -> String;

    /// What compresses.
    fn compressor(&self) -> Arc<dyn Compressor>;

    /// What reads it. `external_toc` is the compressed TOC of the layer at hand, if the compressor gave one out instead of
    /// writing it into the blob.
    fn decompressor(&self, external_toc: Option<Vec<u8>>) -> Arc<dyn Decompressor>;

    /// Looks for the starts of streams in a blob, not with the decompressor. Panics unless one of them is at each of
    /// `offsets`: those of streams with content, that of the TOC if it is in the blob, and that of the footer.
    fn check_streams(&self, blob: &[u8], offsets: &[u64]);

    /// The tar stream of a blob as programs see it that know nothing of its TOC.
    fn tar_of(&self, blob: &[u8]) -> Vec<u8>;

    /// The digest of that stream.
    fn diff_id_of(&self, blob: &[u8]) -> DiffId {
        DiffId::new(sha256(&self.tar_of(blob)))
    }
}

/// How many runs there were, all of them passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Of the part "build".
    pub build: usize,
    /// Of the part "digest and verify".
    pub digest_and_verify: usize,
    /// Of the part "write and open".
    pub write_and_open: usize,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.build + self.digest_and_verify + self.write_and_open
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            build: self.build + other.build,
            digest_and_verify: self.digest_and_verify + other.digest_and_verify,
            write_and_open: self.write_and_open + other.write_and_open,
        }
    }
}

/// Runs all cases with each of the compressions, on all cores.
///
/// # Panics
///
/// If one of the runs fails.
#[must_use]
pub fn run(controllers: &[&dyn Controller]) -> Counts {
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for &controller in controllers {
        jobs.extend(open::jobs(controller));
        jobs.extend(verify::jobs(controller));
        jobs.extend(build::jobs(controller));
    }
    on_all_cores(&jobs)
}

/// Some runs, and how many they were.
type Job<'a> = Box<dyn Fn() -> Counts + Sync + 'a>;

fn on_all_cores(jobs: &[Job<'_>]) -> Counts {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut counts = Counts::default();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            counts = counts + job();
        }
        counts
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let done = threads.into_iter().map(|thread| thread.join().expect("a run failed: see its message"));
        done.fold(Counts::default(), Counts::add)
    })
}

/// The prefixes that names are given.
const PREFIXES: [&str; 4] = ["", "./", "/", "../"];

/// Each format of the input with each prefix.
fn forms() -> impl Iterator<Item = (Format, &'static str)> {
    Format::ALL.into_iter().flat_map(|format| PREFIXES.map(|prefix| (format, prefix)))
}

/// The ways to share streams that `min_chunk` stands for, a size that the reference measures after compression.
fn sharing(controller: &dyn Controller, min_chunk: u64) -> Vec<Streams> {
    if min_chunk == 0 {
        return vec![Streams::PerChunk];
    }
    let compressed = controller.compressor().gauge().unwrap().map(|_| Streams::CompressedAtLeast(min_chunk));
    compressed.into_iter().chain([Streams::AtLeast(min_chunk)]).collect()
}

/// Names the run that is going on, if it panics.
struct Running<'a>(fmt::Arguments<'a>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("failed: {}", self.0);
        }
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}
