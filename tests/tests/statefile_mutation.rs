//! State files changed in every small way: every byte by three masks, every truncation. No change in a keyed file is accepted, no
//! byte is handed out that no MAC covers, nothing panics, and all ways to read agree.

#![allow(clippy::tests_outside_test_module, clippy::print_stdout, clippy::arithmetic_side_effects, reason = "a test")]

use dunnage_conformance::{parallel, statefile::subjects};

#[test]
fn no_change_of_a_keyed_file_is_accepted() {
    let subjects = subjects();
    assert!(subjects.iter().filter(|subject| subject.is_keyed).count() >= 12);
    let (mut inputs, mut refused, mut wrong) = (0, 0, Vec::new());
    for result in parallel::map(&subjects, |subject| subject.judge_all()) {
        match result {
            Ok(tally) => {
                inputs += tally.inputs;
                refused += tally.refused;
            }
            Err(bad) => wrong.extend(bad),
        }
    }
    println!("figure statefile_mutated_files={}", subjects.len());
    println!("figure statefile_mutated_inputs={inputs}");
    println!("figure statefile_mutated_refused={refused}");
    wrong.truncate(50);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
