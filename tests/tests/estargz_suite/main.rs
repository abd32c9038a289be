//! All of upstream's test cases: the compression suite over every compression, the order of builds, and the small tables.

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test"
)]

mod sort;
mod tables;

use dunnage_conformance::layer;
use dunnage_estargz::codec::{Codec, ZstdLevel};
use dunnage_estargz_testsuite::{Controller, Counts, ExternalTocController, GzipController, ZstdController, run};

/// No compression, fastest, best, default, Huffman coding only.
const LEVELS: [i32; 5] = [0, 1, 9, -1, -2];
const ZSTD_LEVELS: [ZstdLevel; 4] = [ZstdLevel::FASTEST, ZstdLevel::DEFAULT, ZstdLevel::BETTER, ZstdLevel::BEST];

/// Runs that upstream makes for each of its compressions.
const UPSTREAM: [usize; 3] = [180, 216, 336];

#[test]
fn every_case_of_upstream() {
    let mut controllers: Vec<Box<dyn Controller>> = Vec::new();
    for level in LEVELS {
        controllers.push(Box::new(ExternalTocController::new(Codec::Zlib, level)));
        controllers.extend(gzip(level));
    }
    // The highest level that libdeflate has; zlib stops at 9.
    controllers.extend(gzip(12).skip(1));
    controllers.extend(ZSTD_LEVELS.map(|level| -> Box<dyn Controller> { Box::new(ZstdController::new(level)) }));
    let all: Vec<&dyn Controller> = controllers.iter().map(AsRef::as_ref).collect();
    let counts: Counts = run(&all);
    for (made, least) in [counts.build, counts.digest_and_verify, counts.write_and_open].into_iter().zip(UPSTREAM) {
        assert!(made >= least * all.len(), "{made} runs of {} compressions, upstream makes {least} of each", all.len());
    }
    let (sorted, small) = (sort::run(), tables::run());
    println!("figure compressions={}", all.len());
    println!("figure build_runs={}", counts.build);
    println!("figure verify_runs={}", counts.digest_and_verify);
    println!("figure write_and_open_runs={}", counts.write_and_open);
    println!("figure sort_runs={sorted}");
    println!("figure table_cases={small}");
    println!("figure upstream_cases={}", counts.total() + sorted + small);
}

fn gzip(level: i32) -> impl Iterator<Item = Box<dyn Controller>> {
    let codecs = layer::codecs().into_iter();
    codecs.map(move |(_, codec)| -> Box<dyn Controller> { Box::new(GzipController::new(codec, level)) })
}
