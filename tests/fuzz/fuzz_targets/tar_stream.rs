//! `dunnage_conformance::fuzz::tar_stream` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunnage_conformance::fuzz::tar_stream(data));
