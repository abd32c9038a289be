//! TOC documents: an accepted document is equal after it is written and read again, and a layer opens only with one.

use std::sync::OnceLock;

use dunnage_digest::Progress;
use dunnage_estargz::{Limits, toc::Toc};
use dunnage_tree::Walk;

use crate::{case, layer, stored};

pub(super) const DICTIONARY: &[&[u8]] = &[
    b"\"version\": 1",
    b"\"entries\": [",
    b"\"name\": ",
    b"\"type\": \"reg\"",
    b"\"type\": \"chunk\"",
    b"\"type\": \"hardlink\"",
    b"\"type\": \"dir\"",
    b"\"size\": ",
    b"\"linkName\": ",
    b"\"offset\": ",
    b"\"innerOffset\": ",
    b"\"chunkOffset\": ",
    b"\"chunkSize\": ",
    b"\"chunkDigest\": \"sha256:",
    b"\"digest\": \"",
    b"\"xattrs\": {\"a\": \"AA==\"}",
    b"\"modtime\": \"2024-01-01T00:00:00Z\"",
    b"\"devMajor\": ",
    b"\\u0000",
    b"\\ud800\\udc00",
    b"\\ud800",
    b"../",
    b"null",
    b"},{",
    b"[[[[[[[[",
    b"\xff",
];

/// Any bytes as a TOC document.
pub fn toc_json(data: &[u8]) {
    static PAYLOAD: OnceLock<Vec<u8>> = OnceLock::new();
    let payload = PAYLOAD.get_or_init(|| {
        let blob = case::blob("two-chunks");
        blob[..layer::toc_offset(&blob)].to_vec()
    });
    let limits = Limits { depth: 64, entries: 2000, index: 4 << 20, ..Limits::small() };
    let parsed = Toc::parse(data, &limits);
    if let Ok(toc) = &parsed {
        let json = toc.to_json();
        let again = Toc::parse(&json, &Limits::default()).expect("what was written can be read");
        assert!(again == *toc, "written and read again, it says something else");
        assert!(again.to_json() == json, "written again, it is spelled otherwise");
    }
    let blob = stored::blob(payload, data);
    let Ok(reader) = layer::open_within(blob.as_slice(), None, &limits) else { return };
    let toc = parsed.expect("a layer opened whose TOC cannot be parsed");
    assert_eq!((toc.version, reader.entries()), (1, toc.entries.len() as u64));
    assert_eq!(*reader.toc_digest(), layer::sha256(data));
    // Whatever the tree is, it can be walked, and each of its nodes asked for.
    let walked = Walk::new(&reader).limits(limits.tar.clone()).take_while(Result::is_ok).count();
    assert!(walked as u64 <= limits.tar.entries + 1);
    for entry in &toc.entries {
        let Some(found) = reader.lookup(&entry.name) else { continue };
        let covered: u64 = found.chunks().map(|chunk| chunk.size).sum();
        assert!(
            covered == found.size() || found.kind() != dunnage_estargz::toc::TocType::Reg,
            "chunks do not cover a file"
        );
        for chunk in found.chunks() {
            assert!(chunk.offset.get() < payload.len() as u64 && chunk.stream_end.get() <= payload.len() as u64);
            assert!(chunk.offset < chunk.stream_end, "a stream of no bytes");
        }
    }
    if let Ok(verified) = reader.verify(1, Progress::none()) {
        assert!(reader.verifiers().is_ok(), "verified, though not covered");
        assert!(verified.chunks <= reader.chunks());
    }
}
