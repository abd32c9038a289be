//! The fuzz bodies without a fuzzer: all fixtures, then mutations of them from a seed.
//!
//! `DUNNAGE_SEED` sets the seed, `DUNNAGE_FUZZ_SECONDS` the time for each target.

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test"
)]

use std::time::Duration;

use dunnage_conformance::{
    fuzz::{TARGETS, Target, mutate_for, replay, seeds},
    parallel,
};

#[test]
fn every_target_holds_for_every_seed() {
    let failures: Vec<String> = parallel::map(&TARGETS, |target| match replay(target) {
        Ok(stats) => {
            assert!(stats.runs >= 20, "{} has {} seeds", target.name, stats.runs);
            println!("figure fuzz_seeds_{}={}", target.name, stats.runs);
            None
        }
        Err(failure) => Some(failure.to_string()),
    })
    .into_iter()
    .flatten()
    .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_target_holds_for_mutations() {
    let seed = number("DUNNAGE_SEED").unwrap_or(0x5eed_f022);
    let seconds = number("DUNNAGE_FUZZ_SECONDS").unwrap_or(1);
    println!("DUNNAGE_SEED={seed:#x}");
    let run = |target: &Target| mutate_for(target, seed, Duration::from_secs(seconds));
    let mut failures = Vec::new();
    for (target, result) in TARGETS.iter().zip(parallel::map(&TARGETS, run)) {
        match result {
            Ok(stats) => println!("figure fuzz_inputs_{}={}", target.name, stats.runs),
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn a_seed_gives_the_same_inputs_again() {
    let material = |seeds: &[Vec<u8>]| {
        let mut random = dunnage_conformance::random::Random::new(7);
        let dictionary = TARGETS[0].dictionary;
        let material = dunnage_conformance::mutate::Material { seeds, dictionary };
        (0..50).map(|_| dunnage_conformance::mutate::mutate(&mut random, &seeds[0], material)).collect::<Vec<_>>()
    };
    let seeds = seeds(&TARGETS[0]);
    assert_eq!(material(&seeds), material(&seeds));
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
    Some(number.unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}
