//! `dunnage_conformance::fuzz::roundtrip_estargz` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dunnage_conformance::fuzz::roundtrip_estargz(data));
