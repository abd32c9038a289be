//! `dunnage_conformance::fuzz::verify_never_accepts_mutant` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunnage_conformance::fuzz::verify_never_accepts_mutant(data));
