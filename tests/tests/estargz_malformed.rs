//! Layers that a stranger made: those with one thing wrong, when they are refused and in which words
//! (tests/cases/estargz/malformed.toml), and those that only look wrong, with their contents
//! (tests/cases/estargz/odd.toml). Either may still be a tar, so what a conversion makes of it stands beside it.

#![allow(
    clippy::tests_outside_test_module,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test"
)]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use dunnage_conformance::{
    case::{self, blob, cases, fixture, fixtures_in},
    hostile::{Refusal, audit, convert, read_layer},
    layer, parallel, stored,
    tarball::{Entry, Format, tarball},
};
use dunnage_digest::{ErrorKind, Offset, ReadAt as _};
use dunnage_estargz::{Build, Limits};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize)]
struct Cases<C> {
    case: Vec<C>,
}

#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Malformed {
    /// A fixture below estargz/malformed/.
    name: String,
    /// The first step that refuses it: `open`, `verify_toc`, `verify`, `read`, `ls` or `extract`.
    at: String,
    /// Whose problem it is.
    kind: String,
    /// What it says, causes included.
    error: String,
    /// What a conversion of the tar inside says: `ok`, or kind and words. Left out for bombs, which are no small tars.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    convert: String,
}

#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Odd {
    /// A fixture below estargz/odd/.
    name: String,
    /// What a reader finds in it.
    tree: Vec<String>,
    /// What comparing the TOC with the tar says: `ok` with the DiffID, or kind and words.
    audit: String,
    convert: String,
}

/// No input of the size of a fixture may take longer, on a machine that has other things to do.
const LONG: Duration = Duration::from_secs(30);

#[test]
fn what_is_malformed_is_refused_in_these_words() {
    let cases: Cases<Malformed> = cases("estargz/malformed.toml");
    check(
        "malformed",
        &cases.case,
        |case| &case.name,
        |case, blob| match read_layer(blob, &Limits::default()) {
            Ok(_) => panic!("`{}` is refused by nobody", case.name),
            Err(Refusal { at, kind, error }) => {
                let is_bomb = case.name.contains("bomb");
                let convert = if is_bomb { String::new() } else { convert(blob, &Limits::default()) };
                Malformed { name: case.name.clone(), at: at.into(), kind, error, convert }
            }
        },
    );
}

#[test]
fn what_only_looks_wrong_is_read() {
    let cases: Cases<Odd> = cases("estargz/odd.toml");
    check(
        "odd",
        &cases.case,
        |case| &case.name,
        |case, blob| {
            let tree = read_layer(blob, &Limits::default());
            let tree = tree.unwrap_or_else(|refusal| panic!("`{}` is refused: {refusal:?}", case.name));
            let audit = audit(blob, &Limits::default());
            Odd { name: case.name.clone(), tree, audit, convert: convert(blob, &Limits::default()) }
        },
    );
}

#[test]
fn a_toc_of_another_layer_is_refused() {
    let (blob, toc) = (blob("external-toc"), fixture("estargz/external-toc.esgz.toc"));
    let right = layer::sha256(&layer::toc_member_json(&toc));
    // The TOC of a layer with other files, for the same blob, as a hostile provider would give it.
    let other = case::blob("two-chunks-legacy");
    let other = stored::member(&stored::toc_tar(&[layer::toc_json(&other), b"\n".to_vec()].concat()));
    let open = |toc: &[u8]| layer::open_with(blob.as_slice(), Some(toc.to_vec()));
    let trusted = |toc: &[u8]| open(toc).and_then(|reader| reader.trusted(&right));
    assert!(trusted(&toc).is_ok());
    // It opens, and describes itself; only the digest tells that it is not the one.
    assert!(open(&other).is_ok());
    let error = trusted(&other).map(drop).map_err(|error| (error.kind(), error.to_string()));
    let words = "the TOC is not the one that was asked for".to_owned();
    assert_eq!(error, Err((ErrorKind::Integrity, words)));
    for (toc, kind) in
        [(&b""[..], ErrorKind::NotFound), (b"no member", ErrorKind::Malformed), (&toc[..99], ErrorKind::Malformed)]
    {
        assert_eq!(trusted(toc).map(drop).map_err(|error| error.kind()), Err(kind), "{}", toc.escape_ascii());
    }
}

#[test]
fn bytes_that_matched_one_digest_are_not_given_for_another() {
    let file = |name: &str, content: u8| Entry::file(name, vec![content; 100_000]);
    let tar = tarball(Format::Pax, &[file("one", b'1'), file("other", b'2')]);
    let (blob, _) = Build::default().from_source(tar, Vec::new()).unwrap();
    let mut toc: Value = serde_json::from_slice(&layer::toc_json(&blob)).unwrap();
    let entries = toc["entries"].as_array_mut().unwrap();
    let at = |name: &str, entries: &[Value]| entries.iter().position(|entry| entry["name"] == name).unwrap();
    let (one, other) = (at("one", entries), at("other", entries));
    // The second file now lies where the first one lies, with its own digest.
    entries[other]["offset"] = entries[one]["offset"].clone();
    let forged = layer::with_toc(&blob, toc.to_string().as_bytes());
    let reader = layer::open(forged.as_slice()).unwrap();
    // A read of a part is kept for the next one.
    let mut part = [0; 10];
    reader.open_file("one").unwrap().read_exact_at(Offset::ZERO, &mut part).unwrap();
    assert_eq!(part, [b'1'; 10]);
    let error = reader.open_file("other").unwrap().read_exact_at(Offset::ZERO, &mut part).unwrap_err();
    assert!(error.to_string().contains("chunk at 0 of `other`"), "{error}");
}

/// Compares each case with what happens, and the cases with the fixtures there are.
fn check<C>(dir: &str, cases: &[C], name: impl Fn(&C) -> &String + Sync, run: impl Fn(&C, &[u8]) -> C + Sync)
where
    C: Serialize + Eq + Sync + Send,
{
    let answers = parallel::map(cases, |case| {
        let blob = blob(&format!("{dir}/{}", name(case)));
        let start = Instant::now();
        (run(case, &blob), start.elapsed())
    });
    let mut wrong = Vec::new();
    for (case, (now, took)) in cases.iter().zip(answers) {
        if *case != now {
            wrong.push(format!("[[case]]\n{}", toml::to_string(&now).unwrap_or_default()));
        }
        assert!(took < LONG, "`{}` took {took:?}", name(case));
    }
    println!("figure {dir}_cases={}", cases.len());
    assert!(wrong.is_empty(), "{} cases are answered otherwise:\n\n{}", wrong.len(), wrong.join("\n"));
    let named: BTreeSet<String> = cases.iter().map(|case| format!("{}.esgz", name(case))).collect();
    assert_eq!(named.len(), cases.len(), "a case comes up twice");
    assert_eq!(named, fixtures_in(&format!("estargz/{dir}")), "each fixture has a case");
}
