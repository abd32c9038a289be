//! The order of entries in a built layer, for every packing, prefix and format (tests/cases/estargz/sort.toml).

#![allow(clippy::tests_outside_test_module, clippy::unwrap_used, clippy::panic, reason = "a test")]

use dunnage_conformance::{
    case::{PACKINGS, PREFIXES, cases, pack},
    layer,
    tarball::{Entry, Format, suite_tarball},
    tarview::entries,
};
use dunnage_estargz::{Codec, Missing};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    input: Vec<Entry>,
    log: Vec<String>,
    #[serde(default)]
    want: Vec<String>,
    #[serde(default)]
    missed: Vec<String>,
    error: Option<String>,
}

#[test]
fn prioritized_files_come_first_behind_their_directories() {
    let cases: Cases = cases("estargz/sort.toml");
    assert!(cases.case.len() >= 17);
    let mut runs = 0;
    for case in &cases.case {
        for packing in PACKINGS {
            for log_prefix in PREFIXES {
                for prefix in PREFIXES {
                    for format in [Format::Pax, Format::Gnu] {
                        check(case, packing, log_prefix, prefix, format);
                        runs += 1;
                    }
                }
            }
        }
    }
    println!("figure sort_runs={runs}");
}

fn check(case: &Case, packing: &str, log_prefix: &str, prefix: &str, format: Format) {
    let what = format!("{} packed {packing}, log prefix `{log_prefix}`, prefix `{prefix}`, {format:?}", case.name);
    let input: Vec<Entry> = case.input.iter().map(|entry| entry.clone().prefixed(prefix)).collect();
    let log: Vec<String> = case.log.iter().map(|name| format!("{log_prefix}{name}")).collect();
    let mut plan = layer::plan(&layer::options(Codec::Zlib, 1, 0, 1).unwrap(), &log);
    if !case.missed.is_empty() {
        plan.missing = Missing::Report;
    }
    let packed = pack(packing, &suite_tarball(format, &input));
    let built = plan.from_source(packed.as_slice(), Vec::new());
    if let Some(error) = &case.error {
        let got = built.map(|(_, built)| built).unwrap_err().to_string();
        assert_eq!(got, error.replace("{prefix}", log_prefix), "{what}");
        return;
    }
    let (blob, built) = built.unwrap_or_else(|error| panic!("{what}: {error}"));
    let missed: Vec<String> = case.missed.iter().map(|name| format!("{log_prefix}{name}")).collect();
    assert_eq!(built.missed, missed, "{what}");
    let landmark = |name: &str| Entry { mode: 0, ..Entry::file(name, [0x0f]) };
    let wanted = case.want.iter().map(|name| match name.as_str() {
        "LANDMARK" => landmark(".prefetch.landmark"),
        "NO-LANDMARK" => landmark(".no.prefetch.landmark"),
        name => {
            let full = format!("{prefix}{name}").into_bytes();
            input.iter().rev().find(|entry| entry.name == full).unwrap().clone()
        }
    });
    let got = entries(&layer::unpack(blob.as_slice()).unwrap());
    assert_eq!(got, wanted.collect::<Vec<_>>(), "{what}");
}
