//! Footers: the position of an accepted footer lies inside the blob, and it is written again byte for byte.

use dunnage_estargz::{
    Error,
    footer::{
        EXTERNAL_FOOTER_LEN, FOOTER_LEN, Footer, LEGACY_FOOTER_LEN, STORAGE_FOOTER_LEN, TocPlace, ZSTD_FOOTER_LEN,
        external_footer_bytes, footer_bytes, parse_external_footer, parse_footer, parse_legacy_footer,
        parse_storage_footer, parse_zstd_footer,
    },
    read::{find_footer, open_footer},
};

pub(super) const DICTIONARY: &[&[u8]] = &[
    b"STARGZ",
    b"STARGZEXTERNALTOC",
    b"SG\x16\x00",
    b"SG\x11\x00",
    b"GnUlInUx",
    b"GNUlInUx",
    b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff",
    b"\x50\x2a\x4d\x18\x28\x00\x00\x00",
    b"\x50\x2a\x4d\x18\x40\x00\x00\x00",
    b"\x01\x00\x00\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00",
    b"ffffffffffffffff",
    b"7fffffffffffffff",
    b"+000000000000001",
];

type Parse = fn(&[u8], u64) -> Result<Footer, Error>;

/// Any bytes as the end of a blob, of the length they have and of others.
pub fn estargz_footer(data: &[u8]) {
    let forms: [(usize, Parse); 5] = [
        (FOOTER_LEN, parse_footer),
        (LEGACY_FOOTER_LEN, parse_legacy_footer),
        (EXTERNAL_FOOTER_LEN, parse_external_footer),
        (8 + ZSTD_FOOTER_LEN, parse_zstd_footer),
        (8 + STORAGE_FOOTER_LEN, parse_storage_footer),
    ];
    let len = data.len() as u64;
    let mut here = Vec::new();
    for (footer_len, parse) in forms {
        let tail = &data[data.len() - footer_len.min(data.len())..];
        for blob_len in [len, len + 100_000, i64::MAX as u64, u64::MAX, 0] {
            let Ok(footer) = parse(tail, blob_len) else { continue };
            check(&footer, tail, blob_len);
            if blob_len == len {
                here.push(footer);
            }
        }
        // Of another length it is another thing.
        assert!(
            parse(&data[data.len() - (footer_len + 1).min(data.len())..], len).is_err() || data.len() <= footer_len
        );
    }
    match find_footer(&data) {
        Ok(found) => assert!(here.contains(&found), "{found:?} is none of {here:?}"),
        Err(_) => assert!(here.is_empty(), "nothing is found, though {here:?} fit"),
    }
    if let Ok(found) = open_footer(data) {
        assert!(here.contains(&found), "{found:?} is none of {here:?}");
    }
}

fn check(footer: &Footer, tail: &[u8], blob_len: u64) {
    assert_eq!(footer.footer_len, tail.len() as u64);
    let end = blob_len - footer.footer_len;
    assert!(footer.payload_len <= end, "{footer:?} in a blob of {blob_len}");
    match footer.toc {
        TocPlace::Inside { at, len, .. } => {
            let toc_end = at.get().checked_add(len).expect("a TOC that does not wrap");
            assert!(at.get() >= footer.payload_len && toc_end <= end, "{footer:?} in a blob of {blob_len}");
            if tail.len() == FOOTER_LEN {
                let again = footer_bytes(at);
                assert!(again.eq_ignore_ascii_case(tail), "written again, it is another footer");
            }
        }
        TocPlace::Outside => assert_eq!(tail, external_footer_bytes(), "written again, it is another footer"),
    }
}
