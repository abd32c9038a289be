//! The reference vectors of the specification (section 14): what a reader finds in them (tests/cases/estargz/vectors.toml).

#![allow(clippy::tests_outside_test_module, clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;

use dunnage_conformance::{
    case::{cases, fixture},
    dump::{dump, sum},
    layer,
};
use dunnage_digest::Progress;
use dunnage_estargz::{Limits, read::find_footer, toc::Toc};
use dunnage_tree::{Follow, Tree as _, resolve};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    input: String,
    /// Where the compressed TOC is stored, if not in the blob.
    external: Option<String>,
    format: String,
    toc_offset: u64,
    footer_len: u64,
    toc_digest: String,
    diff_id: String,
    /// Digest of what `unpack` gives.
    unpacked: String,
    /// Paths, their content and link counts.
    #[serde(default)]
    nodes: BTreeMap<String, Node>,
    /// Path, offset in it, and where the chunk there starts in the file; none if there is none.
    #[serde(default)]
    chunks: Vec<ChunkFact>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    content: Option<String>,
    links: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChunkFact {
    path: String,
    at: u64,
    chunk: Option<u64>,
}

#[test]
fn vectors_are_read_as_the_specification_says() {
    let cases: Cases = cases("estargz/vectors.toml");
    for case in &cases.case {
        let what = &case.name;
        let blob = fixture(&case.input);
        let footer = find_footer(&blob).unwrap();
        assert_eq!(footer.format.name(), case.format, "{what}");
        assert_eq!(footer.toc_at().get(), case.toc_offset, "{what}");
        assert_eq!(footer.footer_len, case.footer_len, "{what}");

        let external = case.external.as_deref().map(fixture);
        let reader =
            layer::open_with(blob.as_slice(), external.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(reader.toc_digest().to_string(), case.toc_digest, "{what}");
        reader.verify_toc(&case.toc_digest.parse().unwrap()).unwrap();
        reader.verify(2, Progress::none()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(layer::sha256(&layer::inflate(blob.as_slice()).unwrap()).to_string(), case.diff_id, "{what}");
        assert_eq!(layer::sha256(&layer::unpack(blob.as_slice()).unwrap()).to_string(), case.unpacked, "{what}");

        let json = match &external {
            Some(toc) => layer::toc_member_json(toc),
            None => layer::toc_json(&blob),
        };
        let toc = Toc::parse(&json, &Limits::default()).unwrap();
        assert_eq!(toc.to_json(), json, "TOC of {what}, encoded again");
        dump(&reader, &toc, true).unwrap();

        for (path, node) in &case.nodes {
            let id = resolve(&reader, path.as_bytes(), Follow::Never).unwrap();
            assert_eq!(reader.attr(id).unwrap().links, node.links, "links of `{path}` in {what}");
            if let Some(content) = &node.content {
                let digest = layer::sha256(content.as_bytes()).to_hex();
                assert_eq!(sum(&reader, id, &mut [0; 3]).unwrap(), digest, "`{path}` in {what}");
            }
        }
        for fact in &case.chunks {
            let chunk = reader.chunk_for_offset(&fact.path, fact.at).map(|chunk| chunk.chunk_offset);
            assert_eq!(chunk, fact.chunk, "chunk of `{}` at {} in {what}", fact.path, fact.at);
        }
    }
}

#[test]
fn the_lossless_vector_gives_its_input_back() {
    assert_eq!(layer::unpack(fixture("estargz/lossless.esgz")).unwrap(), fixture("estargz/lossless.tar"));
}
