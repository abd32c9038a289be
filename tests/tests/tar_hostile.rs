//! Archives that a stranger made, plain and compressed: what listing, extraction and conversion make of each
//! (tests/cases/tar/hostile.toml). Whatever that is, nothing outside the destination changes.

#![allow(clippy::tests_outside_test_module, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use dunnage_conformance::{
    case::{cases, fixture, fixtures_in},
    hostile::{convert, keep, list, unpack},
    parallel,
};
use dunnage_tree::ExtractWhiteouts;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

/// What becomes of one archive: `ok`, or kind and words of the error.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// A fixture below tar/hostile/.
    name: String,
    /// The content of the archive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tree: Vec<String>,
    /// Why it cannot be listed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    list: String,
    extract: String,
    /// The same with names that begin with `.wh.` taken for whiteouts; left out if it is the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    whiteouts: String,
    convert: String,
    /// Converted bit for bit; left out if it is the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    keep: String,
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn hostile_archives_are_answered_in_these_words() {
    let cases: Cases = cases("tar/hostile.toml");
    let answers = parallel::map(&cases.case, |case| {
        let start = Instant::now();
        (Case::of(&case.name), start.elapsed())
    });
    let mut wrong = Vec::new();
    for (case, (now, took)) in cases.case.iter().zip(answers) {
        if *case != now {
            wrong.push(format!("[[case]]\n{}", toml::to_string(&now).unwrap_or_default()));
        }
        assert!(took < LONG, "`{}` took {took:?}", case.name);
    }
    println!("figure hostile_archives={}", cases.case.len());
    assert!(wrong.is_empty(), "{} cases are answered otherwise:\n\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_hostile_archive_has_a_case() {
    let cases: Cases = cases("tar/hostile.toml");
    let named: BTreeSet<String> = cases.case.iter().map(|case| case.name.clone()).collect();
    assert_eq!(named.len(), cases.case.len(), "a case comes up twice");
    assert_eq!(named, fixtures_in("tar/hostile"));
}

impl Case {
    /// What happens today.
    fn of(name: &str) -> Self {
        let input = fixture(&format!("tar/hostile/{name}"));
        let limits = dunnage_estargz::Limits::default();
        let listed = list(&input, &limits.tar);
        let unless_same = |answer: String, other: &str| if answer == other { String::new() } else { answer };
        let extract = unpack(&input, &limits.tar, ExtractWhiteouts::Keep);
        let whiteouts = unless_same(unpack(&input, &limits.tar, ExtractWhiteouts::Apply), &extract);
        let convert = convert(&input, &limits);
        let keep = unless_same(keep(&input, &limits), &convert);
        let name = name.to_owned();
        let (tree, list) = listed.map_or_else(|error| (Vec::new(), error), |tree| (tree, String::new()));
        Self { name, tree, list, extract, whiteouts, convert, keep }
    }
}
