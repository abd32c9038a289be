//! `dunnage_conformance::fuzz::toc_json` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunnage_conformance::fuzz::toc_json(data));
