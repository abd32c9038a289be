//! `dunnage_conformance::fuzz::toc_vs_tar_consistency` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunnage_conformance::fuzz::toc_vs_tar_consistency(data));
