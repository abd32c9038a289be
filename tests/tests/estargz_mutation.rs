//! Every byte of small blobs changed in three ways, and every truncation: refused, or read as if nothing had happened.
//!
//! A mutated blob is opened with the TOC digest of the original, verified, and every file read. A change that is not
//! noticed must not change anything that a reader sees: it then fell on bytes that no digest covers (framing of gzip,
//! headers and padding of the tar, which the TOC describes on its own). Where those lie is written down in
//! tests/golden/uncovered.toml, so that it cannot grow unnoticed.

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::catch_unwind,
    time::{Duration, Instant},
};

use dunnage_conformance::{
    case::{self, golden},
    dump::{Line, dump},
    layer, parallel,
};
use dunnage_digest::{Cancel, Digest};
use dunnage_estargz::Toc;

const BLOBS: [&str; 9] = [
    "two-chunks",
    "two-chunks-legacy",
    "shared-stream",
    "lossless",
    "kinds-zlib",
    "kinds-libdeflate",
    "kinds-lossless",
    "small-level-0",
    "tree-libdeflate",
];

const MASKS: [u8; 3] = [0x01, 0x80, 0xff];

/// What became of a mutated blob.
enum Outcome {
    Refused,
    /// Nothing that a reader sees has changed.
    Unnoticed,
    /// Something else was accepted.
    Changed(String),
    Panicked,
    Slow(Duration),
}

struct Original {
    name: &'static str,
    blob: Vec<u8>,
    digest: Digest,
    toc: Toc,
    lines: Vec<Line>,
}

#[test]
fn no_changed_byte_is_taken_for_content() {
    let originals: Vec<Original> = BLOBS.iter().map(|name| Original::new(name)).collect();
    let (mut inputs, mut unnoticed) = (0, BTreeMap::new());
    let mut wrong = Vec::new();
    for original in &originals {
        let bytes: Vec<usize> = (0..original.blob.len()).collect();
        let each = |&at: &usize| MASKS.map(|mask| (at, mask, original.outcome(&original.flipped(at, mask))));
        let outcomes: Vec<(usize, u8, Outcome)> = parallel::map(&bytes, each).into_iter().flatten().collect();
        inputs += outcomes.len();
        let mut places = BTreeMap::new();
        for (at, mask, outcome) in outcomes {
            match outcome {
                Outcome::Refused => {}
                Outcome::Unnoticed => *places.entry(original.place(at)).or_insert(0_u64) += 1,
                bad => wrong.push(format!("{} byte {at:#x} ^ {mask:#04x}: {}", original.name, bad.text())),
            }
        }
        unnoticed.insert(original.name.to_owned(), places);
    }
    println!("figure mutated_inputs={inputs}");
    assert!(wrong.is_empty(), "{} of {inputs}:\n{}", wrong.len(), wrong.join("\n"));

    let (known, path): (BTreeMap<String, BTreeMap<String, u64>>, _) = golden("uncovered.toml");
    let now = toml::to_string(&unnoticed).unwrap();
    assert_eq!(unnoticed, known, "changes that nobody notices, against `{}`; now:\n{now}", path.display());
}

#[test]
fn no_truncation_is_accepted() {
    let mut inputs = 0;
    for original in BLOBS.iter().map(|name| Original::new(name)) {
        let cut = |len: usize| original.outcome(&original.blob[..len]);
        let lens: Vec<usize> = (0..original.blob.len()).collect();
        let wrong: Vec<String> = parallel::map(&lens, |&len| (len, cut(len)))
            .into_iter()
            .filter(|(_, outcome)| !matches!(outcome, Outcome::Refused))
            .map(|(len, outcome)| format!("{} cut to {len}: {}", original.name, outcome.text()))
            .collect();
        inputs += original.blob.len();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    println!("figure truncated_inputs={inputs}");
}

impl Original {
    fn new(name: &'static str) -> Self {
        let blob = case::blob(name);
        let json = layer::toc_json(&blob);
        let toc = Toc::parse(&json, &dunnage_estargz::Limits::default()).unwrap();
        let lines = dump(&layer::open(blob.as_slice()).unwrap(), &toc, true).unwrap();
        Self { name, digest: layer::sha256(&json), blob, toc, lines }
    }

    fn flipped(&self, at: usize, mask: u8) -> Vec<u8> {
        let mut blob = self.blob.clone();
        blob[at] ^= mask;
        blob
    }

    fn outcome(&self, blob: &[u8]) -> Outcome {
        let start = Instant::now();
        let result = catch_unwind(|| self.read(blob));
        let took = start.elapsed();
        match result {
            Err(_) => Outcome::Panicked,
            Ok(_) if took > Duration::from_secs(1) => Outcome::Slow(took),
            Ok(None) => Outcome::Refused,
            Ok(Some(lines)) if lines == self.lines => Outcome::Unnoticed,
            Ok(Some(lines)) => {
                let difference = dunnage_conformance::dump::first_difference(&lines, &self.lines);
                Outcome::Changed(difference.unwrap_or_default())
            }
        }
    }

    /// Everything in the blob, if it is accepted as the original.
    fn read(&self, blob: &[u8]) -> Option<Vec<Line>> {
        let reader = layer::open(blob).ok()?;
        reader.verify_toc(&self.digest).ok()?;
        reader.verify(1, &Cancel::new(), &|_| {}).ok()?;
        // What is verified must be readable too.
        Some(dump(&reader, &self.toc, true).unwrap_or_default())
    }

    /// What part of the blob a position belongs to.
    fn place(&self, at: usize) -> String {
        let footer = self.blob.len() - layer::footer_len(&self.blob);
        let toc = layer::toc_offset(&self.blob);
        if at >= footer {
            return format!("footer byte {}", at - footer);
        }
        if at >= toc {
            return match at - toc {
                byte @ 0..10 => format!("TOC member, gzip header byte {byte}"),
                _ => "TOC member".to_owned(),
            };
        }
        let starts: BTreeSet<usize> = self
            .toc
            .entries
            .iter()
            .filter(|entry| entry.chunk_digest.is_some())
            .map(|entry| usize::try_from(entry.offset).unwrap())
            .collect();
        let Some(&start) = starts.range(..=at).next_back() else {
            return "headers before the first content".to_owned();
        };
        if at - start < 10 {
            "content member, gzip header".to_owned()
        } else {
            "content member, behind the content".to_owned()
        }
    }
}

impl Outcome {
    fn text(&self) -> String {
        match self {
            Self::Refused => "refused".to_owned(),
            Self::Unnoticed => "accepted, nothing changed".to_owned(),
            Self::Changed(difference) => format!("accepted, and changed: {difference}"),
            Self::Panicked => "a panic".to_owned(),
            Self::Slow(took) => format!("took {took:?}"),
        }
    }
}
