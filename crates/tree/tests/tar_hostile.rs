//! Damaged archives: every truncation and every changed byte of a small one, and many changes of larger ones.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a panic is how a test fails"
)]

mod tar_support;

use dunnage_digest::ErrorKind;
use dunnage_tree::{
    Limits,
    tar::{END, Header, Reader},
};
use tar_support::{
    Random, append, checksum, gnu, gnu_member, member, padded, pax, put, random_entry, read_all, read_bytes,
};

fn limits() -> Limits {
    Limits { unpacked: 1 << 20, tar_extension: 1 << 16, sparse_regions: 64, ..Limits::default() }
}

/// One entry of every sort: records, long names, sparse files of all forms, a global header.
fn small() -> Vec<u8> {
    let v10 =
        [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "40"), ("GNU.sparse.name", "s")];
    let v01 = [("GNU.sparse.size", "40"), ("GNU.sparse.numblocks", "2"), ("GNU.sparse.map", "3,1,10,2")];
    let old = gnu(|b| {
        b[156] = b'S';
        put(b, 124, "00000000003\0");
        put(b, 386, "00000000003\x0000000000001\0");
        b[482] = 1;
        put(b, 483, "00000000050\0");
    });
    let mut more = [0; 512];
    put(&mut more, 0, "00000000012\x0000000000002\0");
    [
        pax(&[("path", "p"), ("mtime", "-1.5"), ("SCHILY.xattr.user.a", "v")]),
        member(b'0', "f", b"content"),
        member(b'g', "g", b"13 comment=c\n"),
        gnu_member(b'K', "k", b"link\0"),
        gnu_member(b'L', "l", b"name\0"),
        gnu_member(b'2', "n", b""),
        old,
        more.to_vec(),
        padded(b"abc"),
        pax(&v01),
        member(b'0', "s", b"abc"),
        pax(&v10),
        member(b'0', "s", &[&padded(b"1\n3\n3\n")[..], b"abc"].concat()),
        END.to_vec(),
    ]
    .concat()
}

/// Reads `bytes` in every way there is, and compares them: all see the same, or all fail alike.
fn check(bytes: &[u8]) {
    let seen = read_all(Reader::new(bytes, limits()));
    let over = read_all(Reader::over(bytes, limits()).unwrap());
    let raw = read_all(Reader::new(bytes, limits()).keep_raw(true));
    for other in [over, raw] {
        match (&seen, other) {
            (Ok(seen), Ok(other)) => assert!(*seen == other),
            (Err(seen), Err(other)) => assert_eq!(seen.to_string(), other.to_string()),
            (seen, other) => panic!("{seen:?}, but also {other:?}"),
        }
    }
    let mut scan = Reader::over(bytes, limits()).unwrap();
    let mut header = Header::default();
    let mut names = Vec::new();
    let end = loop {
        match scan.next_header(&mut header) {
            Ok(true) => names.push(header.clone()),
            Ok(false) => break Ok(()),
            Err(error) => break Err(error.to_string()),
        }
    };
    match (seen, end) {
        (Ok(seen), Ok(())) => assert!(seen.into_iter().map(|(header, _)| header).eq(names)),
        (Err(error), Err(end)) => assert_eq!(error.to_string(), end),
        (seen, end) => panic!("{seen:?}, but scanning {end:?}"),
    }
}

/// Headers whose checksum fits.
fn headers(bytes: &[u8]) -> Vec<usize> {
    let blocks = bytes.chunks_exact(512).enumerate();
    let fits = blocks.filter(|(_, block)| {
        let mut sealed: [u8; 512] = (*block).try_into().unwrap();
        checksum(&mut sealed);
        sealed == **block
    });
    fits.map(|(index, _)| index * 512).collect()
}

#[test]
fn no_truncation_is_taken_for_the_whole() {
    let bytes = small();
    let whole = read_bytes(&bytes).unwrap();
    for len in 0..bytes.len() {
        check(&bytes[..len]);
        match read_bytes(&bytes[..len]) {
            // Between two entries, and after one or no block of zeros, a cut looks like the end.
            Ok(entries) => assert!(len % 512 == 0 && whole.starts_with(&entries), "at {len}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Malformed, "at {len}"),
        }
    }
}

#[test]
fn no_changed_byte_makes_the_reader_panic() {
    let bytes = small();
    let headers = headers(&bytes);
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= mask;
            check(&changed);
            // Once more with a checksum that fits.
            let header = at - at % 512;
            if headers.contains(&header) {
                checksum(changed[header..].first_chunk_mut().unwrap());
                check(&changed);
            }
        }
    }
}

#[test]
fn no_heap_of_changes_makes_the_reader_panic() {
    let mut random = Random::new(0x5eed_0001);
    let mut fields = vec![(0, 100), (100, 8), (108, 8), (124, 12), (136, 12), (156, 1), (257, 8), (329, 16)];
    fields.extend([(345, 24), (386, 96), (482, 13), (512, 64)]);
    for _ in 0..4000 {
        let mut bytes = small();
        for _ in 0..random.below(4) {
            let (header, payload) = random_entry(&mut random);
            bytes.truncate(bytes.len() - 1024);
            let _ = append(&mut bytes, &header, &payload);
            bytes.extend_from_slice(&END);
        }
        let headers = headers(&bytes);
        for _ in 0..=random.below(4) {
            let (start, len) = *random.pick(&fields);
            let at = *random.pick(&headers) + start + random.below(len) as usize;
            if let Some(byte) = bytes.get_mut(at) {
                *byte = *random.pick(b"\0 0123456789=,.-\n\x80\xff\xc0SxgLKM5ustar");
            }
        }
        for header in headers {
            checksum(bytes[header..].first_chunk_mut().unwrap());
        }
        check(&bytes);
    }
}
