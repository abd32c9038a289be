//! The order of entries in a built layer, for every packing, prefix and format (tests/cases/estargz/sort.toml).

use dunnage_conformance::{
    case::{PACKINGS, PREFIXES, cases, pack},
    layer, parallel,
    tarball::{Entry, Format, suite_tarball},
    tarview::entries,
};
use dunnage_estargz::{codec::Codec, compose::Missing};
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

/// Prioritized files come first, behind their directories. How many runs there were.
pub(crate) fn run() -> usize {
    let cases: Cases = cases("estargz/sort.toml");
    let mut runs = Vec::new();
    for case in &cases.case {
        for packing in PACKINGS {
            for log_prefix in PREFIXES {
                for prefix in PREFIXES {
                    runs.extend([Format::Pax, Format::Gnu].map(|format| (case, packing, log_prefix, prefix, format)));
                }
            }
        }
    }
    // Upstream has 17 cases, and leaves the format to its tar writer.
    assert!(runs.len() >= 2 * 816, "{} runs", runs.len());
    parallel::map(&runs, |&(case, packing, log_prefix, prefix, format)| {
        check(case, packing, log_prefix, prefix, format)
    });
    runs.len()
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
