//! That no row of the lists of hostile inputs goes without a case, and no case that a row names is missing
//! (tests/cases/hostile_rows.toml).

#![allow(clippy::tests_outside_test_module, clippy::print_stdout, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};

use dunnage_conformance::case::{cases, fixtures_in, sources};
use serde::Deserialize;

#[derive(Deserialize)]
struct Rows {
    rows: BTreeMap<String, Vec<String>>,
}

/// Attacks on layers and tars that every reader has to survive.
const NAMED: [&str; 38] = [
    "toc/hardlink-to-self",
    "toc/hardlink-cycle-2",
    "toc/hardlink-to-directory",
    "toc/size-2^62-chunk-1",
    "toc/chunk-size-negative",
    "toc/chunk-gap",
    "toc/chunk-overlap",
    "toc/offset-beyond-blob",
    "toc/offset-twice",
    "toc/missing-chunk-digest",
    "toc/empty-footer-extra",
    "toc/footer-offset-max",
    "toc/footer-shorter-than-magic",
    "toc/trailing-junk-1",
    "toc/trailing-junk-100",
    "toc/trailing-junk-100000",
    "toc/plain-size-lie",
    "toc/bomb-toc",
    "toc/a-million-empty-members",
    "toc/zstd-window-2GiB",
    "toc/skippable-frame-between",
    "toc/tar-extra-entry",
    "toc/tar-mode-differs",
    "toc/tar-order-differs",
    "toc/diffid-claim-of-other-layer",
    "tar/ustar-0-pax-N",
    "tar/ustar-N-pax-M",
    "tar/pax-malformed",
    "tar/pax-orphan",
    "tar/gnu-long-over-limit",
    "tar/sparse-old-million",
    "tar/sparse-pax-million",
    "tar/symlink-then-dir-chmod",
    "tar/symlink-root-dot",
    "tar/hardlink-outside",
    "tar/whiteout-of-dotdot",
    "tar/device-node",
    "tar/nested-tar-smuggle",
];

#[test]
fn every_row_has_a_case() {
    let rows: Rows = cases("hostile_rows.toml");
    let numbered = (1..=32).map(|number| format!("H{number}"));
    let wanted: BTreeSet<String> = numbered.chain(NAMED.map(str::to_owned)).collect();
    let missing: Vec<_> = wanted.iter().filter(|row| rows.rows.get(*row).is_none_or(Vec::is_empty)).collect();
    assert!(missing.is_empty(), "rows without a case: {missing:?}");

    let known = |dir: &str, below: &str, end: &str| {
        let names = fixtures_in(dir).into_iter().filter_map(|name| name.strip_suffix(end).map(str::to_owned));
        names.map(|name| format!("{below}/{name}")).collect::<Vec<_>>()
    };
    let mut all: BTreeSet<String> = known("estargz/malformed", "malformed", ".esgz").into_iter().collect();
    all.extend(known("estargz/odd", "odd", ".esgz"));
    all.extend(known("tar/hostile", "tar", ""));
    let tests = sources().join("\n");
    let is_known = |case: &String| match case.strip_prefix("test/") {
        Some(name) => tests.contains(&format!("#[test]\nfn {name}()")),
        None => all.contains(case),
    };
    let unknown: Vec<_> = rows.rows.values().flatten().filter(|case| !is_known(case)).collect();
    assert!(unknown.is_empty(), "cases that are not there: {unknown:?}");
    println!("figure hostile_rows={}", rows.rows.len());
    println!("figure negative_fixtures={}", all.len());
}
