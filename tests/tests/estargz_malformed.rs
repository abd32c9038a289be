//! Blobs with one thing wrong: when they are refused, and in which words (tests/cases/estargz/malformed.toml).

#![allow(clippy::tests_outside_test_module, clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};

use dunnage_conformance::{
    case::{blob, cases, fixtures_in},
    dump::sum,
    layer,
};
use dunnage_digest::Cancel;
use dunnage_tree::{Kind, Walk};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// A fixture below estargz/malformed/.
    name: String,
    /// The first step that refuses it: `open`, `verify_toc`, `verify` or `read`.
    at: String,
    /// What it says, causes included.
    error: String,
}

#[test]
fn what_is_malformed_is_refused_in_these_words() {
    let cases: Cases = cases("estargz/malformed.toml");
    let mut wrong = Vec::new();
    for case in &cases.case {
        let (at, error) = refusal(&blob(&format!("malformed/{}", case.name)));
        if (at, error.as_str()) != (case.at.as_str(), case.error.as_str()) {
            let error = toml::Value::String(error);
            wrong.push(format!("[[case]]\nname  = \"{}\"\nat    = \"{at}\"\nerror = {error}\n", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} cases are answered otherwise:\n\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_malformed_fixture_has_a_case() {
    let cases: Cases = cases("estargz/malformed.toml");
    let named: BTreeSet<String> = cases.case.iter().map(|case| format!("{}.esgz", case.name)).collect();
    assert_eq!(named, fixtures_in("estargz/malformed"));
}

/// The first step that fails, and its message.
fn refusal(blob: &[u8]) -> (&'static str, String) {
    let reader = match layer::open(blob) {
        Ok(reader) => reader,
        Err(error) => return ("open", words(&error)),
    };
    if let Err(error) = reader.verify_toc(reader.toc_digest()) {
        return ("verify_toc", words(&error));
    }
    let verified = reader.verify(1, &Cancel::new(), &|_| {});
    let mut read = BTreeMap::new();
    for visited in Walk::new(&reader).map(Result::unwrap).filter(|visited| visited.attr.kind == Kind::File) {
        let path = String::from_utf8_lossy(&visited.path).into_owned();
        read.insert(path, sum(&reader, visited.node, &mut [0; 4096]));
    }
    let unread = read.into_values().find_map(Result::err);
    match (verified, unread) {
        (Err(error), _) => ("verify", words(&error)),
        (Ok(_), Some(error)) => ("read", words(&error)),
        (Ok(_), None) => ("never", String::new()),
    }
}

fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
