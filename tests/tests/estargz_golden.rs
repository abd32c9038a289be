//! The bytes we write, pinned: for each codec and level (tests/golden/estargz.toml), and the same whatever the threads,
//! the packing of the input, and whether it comes from a file or a pipe.

#![allow(clippy::tests_outside_test_module, clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;

use dunnage_conformance::{
    case::{PACKINGS, fixture, golden, pack},
    layer,
    tarball::FORMATS,
};

const TARS: [&str; 3] = ["kinds", "small", "tree"];

#[test]
fn the_bytes_are_the_golden_ones() {
    let mut now: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (name, codec) in layer::codecs() {
        for tar in TARS {
            let input = fixture(&format!("estargz/{tar}.tar"));
            let digests = now.entry(format!("{name}-{tar}")).or_default();
            for level in 0..=9 {
                let options = layer::options(codec, level, 0, 2).unwrap();
                let (_, built) = layer::build(input.as_slice(), &options, &[]).unwrap();
                digests.insert(format!("level-{level}"), built.summary.blob.to_hex());
            }
            for chunk in [1, 100, 4096] {
                let options = layer::options(codec, 6, chunk, 2).unwrap();
                let (_, summary) = layer::append_lossless(input.as_slice(), &options).unwrap();
                digests.insert(format!("level-6-lossless-chunk-{chunk}"), summary.blob.to_hex());
            }
        }
    }
    let (golden, path): (BTreeMap<String, BTreeMap<String, String>>, _) = golden("estargz.toml");
    let text = toml::to_string(&now).unwrap();
    assert!(now == golden, "output has changed: a release note is due. `{}` would be:\n{text}\n", path.display());
}

#[test]
fn the_bytes_do_not_depend_on_how_they_are_made() {
    let mut comparisons = 0;
    for (name, codec) in layer::codecs() {
        for tar in TARS {
            let input = fixture(&format!("estargz/{tar}.tar"));
            for chunk in [0, 100] {
                let options = |threads| layer::options(codec, 6, chunk, threads).unwrap();
                let (blob, built) = layer::build(input.as_slice(), &options(1), &[]).unwrap();
                let mut same = |how: &str, other: Vec<u8>| {
                    assert!(other == blob, "{name} {tar} chunk {chunk}: other bytes {how}");
                    comparisons += 1;
                };
                for threads in [2, 3, 8] {
                    same("with more threads", layer::build(input.as_slice(), &options(threads), &[]).unwrap().0);
                }
                for packing in PACKINGS {
                    let packed = pack(packing, &input);
                    same(packing, layer::build(packed.as_slice(), &options(2), &[]).unwrap().0);
                    let plan = layer::plan(&options(2), &[]);
                    same("from a pipe", plan.from_stream(packed.as_slice(), Vec::new()).unwrap().0);
                }
                // A layer built from a layer is the same layer: landmark and TOC are made anew.
                same("from itself", layer::build(blob.as_slice(), &options(2), &[]).unwrap().0);
                assert_eq!(layer::sha256(&blob), built.summary.blob);
            }
        }
    }
    println!("figure determinism_comparisons={comparisons}");
}

#[test]
fn a_prioritized_build_is_a_fixed_point() {
    let input = fixture("estargz/tree.tar");
    for (_, codec) in layer::codecs() {
        let options = layer::options(codec, 6, 512, 2).unwrap();
        let toc = layer::toc(&layer::build(input.as_slice(), &options, &[]).unwrap().0).unwrap();
        let names = toc.entries.iter().skip(1).rev().step_by(3).map(|entry| entry.name.clone());
        let names: Vec<String> = names.collect();
        let (once, _) = layer::build(input.as_slice(), &options, &names).unwrap();
        let (twice, _) = layer::build(once.as_slice(), &options, &names).unwrap();
        assert!(once == twice, "a prioritized layer built from itself has other bytes");
    }
}

#[test]
fn empty_inputs_make_empty_layers() {
    for (_, codec) in layer::codecs() {
        for format in FORMATS {
            let options = layer::options(codec, 6, 0, 2).unwrap();
            let (blob, summary) =
                layer::append(dunnage_conformance::tarball::tarball(format, &[]).as_slice(), &options).unwrap();
            assert_eq!(summary.entries, 0);
            assert_eq!(layer::toc_json(&blob), b"{\n\t\"version\": 1,\n\t\"entries\": null\n}");
            let diff_id = "sha256:363a4f7eed910f0e08673e75152b09ed81e8e78004285aebdd6fb4f56d93ef6c";
            assert_eq!(summary.diff_id.to_string(), diff_id, "what the reference gives for an empty tar");
            let (blob, _) = layer::build([].as_slice(), &options, &[]).unwrap();
            assert_eq!(layer::toc(&blob).unwrap().entries.len(), 1, "the landmark alone");
        }
    }
}
