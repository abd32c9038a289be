//! `dunnage_conformance::fuzz::gzip_members` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunnage_conformance::fuzz::gzip_members(data));
