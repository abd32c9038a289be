//! Properties of any bytes at all: plain functions, for a coverage-guided fuzzer (tests/fuzz), for the replay of all
//! fixtures and for the seeded mutator under `cargo test`.
//!
//! A body panics if something that must hold does not. None touches the file system.

mod chunks;
mod drive;
mod footer;
mod layer;
mod script;
mod seeds;
mod tar;
mod toc;

pub use self::{
    chunks::{gzip_members, zstd_frames},
    drive::{Failure, Stats, mutate_for, replay},
    footer::estargz_footer,
    layer::{roundtrip_estargz, toc_vs_tar_consistency, verify_never_accepts_mutant},
    seeds::seeds,
    tar::tar_stream,
    toc::toc_json,
};

/// A body and what the mutator needs to feed it.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a row of the table below")]
pub struct Target {
    /// As in tests/fuzz.
    pub name: &'static str,
    /// The body.
    pub body: fn(&[u8]),
    /// Makes changed bytes likely to get past the first check: checksums are set right again.
    pub repair: Option<fn(&mut [u8])>,
    /// Magic numbers, keys and values.
    pub dictionary: &'static [&'static [u8]],
}

/// All bodies.
pub const TARGETS: [Target; 8] = [
    Target { name: "estargz_footer", body: estargz_footer, repair: None, dictionary: footer::DICTIONARY },
    Target { name: "toc_json", body: toc_json, repair: None, dictionary: toc::DICTIONARY },
    Target { name: "gzip_members", body: gzip_members, repair: None, dictionary: chunks::GZIP },
    Target { name: "zstd_frames", body: zstd_frames, repair: None, dictionary: chunks::ZSTD },
    Target { name: "tar_stream", body: tar_stream, repair: Some(tar::seal_all), dictionary: tar::DICTIONARY },
    Target { name: "toc_vs_tar_consistency", body: toc_vs_tar_consistency, repair: None, dictionary: &[] },
    Target { name: "roundtrip_estargz", body: roundtrip_estargz, repair: None, dictionary: &[] },
    Target { name: "verify_never_accepts_mutant", body: verify_never_accepts_mutant, repair: None, dictionary: &[] },
];

/// A target by its name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
