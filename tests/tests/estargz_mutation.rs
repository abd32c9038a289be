//! Small blobs in every format, changed in every small way: refused, or read as if nothing had happened.
//!
//! All bytes, all truncations and all swaps of streams, and a share of the windows; `cargo xtask mutate` runs the rest.
//! Where changes go unnoticed is written down in tests/golden/uncovered.toml, so that it cannot grow unnoticed.

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test"
)]

use std::collections::BTreeMap;

use dunnage_conformance::{
    case::golden,
    mutation::{Depth, Mutation, Outcome, SUBJECTS, Subject},
    parallel,
};

#[test]
fn no_changed_blob_is_taken_for_another() {
    let subjects: Vec<Subject> = parallel::map(&SUBJECTS, |name| Subject::new(name));
    let (mut inputs, mut refused, mut unnoticed) = (0_u64, 0_u64, BTreeMap::new());
    let mut wrong = Vec::new();
    for subject in &subjects {
        let mutations: Vec<Mutation> = subject.mutations(Depth::Share).collect();
        let outcomes = parallel::map(&mutations, |&mutation| (mutation, subject.outcome(mutation)));
        let mut places = BTreeMap::new();
        for (mutation, outcome) in outcomes {
            let Some(outcome) = outcome else { continue };
            inputs += 1;
            match (outcome, mutation) {
                (Outcome::Refused, _) => refused += 1,
                (Outcome::Unnoticed, Mutation::Flip { at, .. }) => {
                    *places.entry(subject.place(at)).or_insert(0_u64) += 1;
                }
                (Outcome::Unnoticed, _) => {}
                (bad, _) => wrong.push(format!("{}: {mutation}: {bad}", subject.name())),
            }
        }
        unnoticed.insert(subject.name().to_owned(), places);
    }
    println!("figure mutated_blobs={}", subjects.len());
    println!("figure mutated_inputs={inputs}");
    println!("figure mutated_inputs_refused={refused}");
    assert!(wrong.is_empty(), "{} of {inputs}:\n{}", wrong.len(), wrong.join("\n"));

    let (known, path): (BTreeMap<String, BTreeMap<String, u64>>, _) = golden("uncovered.toml");
    let now = toml::to_string(&unnoticed).unwrap();
    assert!(unnoticed == known, "changes that nobody notices are not those of `{}`; now:\n{now}", path.display());
}
