//! `dunnage_conformance::fuzz::zstd_frames` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunnage_conformance::fuzz::zstd_frames(data));
