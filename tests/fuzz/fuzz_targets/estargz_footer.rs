//! `dunnage_conformance::fuzz::estargz_footer` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunnage_conformance::fuzz::estargz_footer(data));
