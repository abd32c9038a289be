//! Header encoding: the choice of the format, refusals, and headers that read back as written.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a panic is how a test fails"
)]

mod tar_support;

use std::io::Read;

use dunnage_digest::ErrorKind;
use dunnage_tree::{
    Error, Mtime,
    tar::{self, END, EntryType, Format, Header},
};
use tar_support::{Random, append, block, gnu, gnu_member, pax, put, random_entry, read_bytes};

fn plain(name: impl AsRef<[u8]>) -> Header {
    let mtime = Some(Mtime { secs: 0o14_000_000_000, nanos: 0 });
    Header { name: name.as_ref().to_vec(), mode: 0o644, mtime, ..Header::default() }
}

fn encode(header: &Header) -> Result<(Format, Vec<u8>), Error> {
    let mut out = b"before".to_vec();
    let format = tar::encode_header(header, &mut out);
    if format.is_err() {
        assert_eq!(out, b"before", "a refused header leaves nothing");
    }
    Ok((format?, out.split_off(6)))
}

#[test]
fn headers_are_written_byte_for_byte() {
    let time = |b: &mut [u8; 512]| put(b, 136, "14000000000\0");
    let long = "d".repeat(60) + "/" + &"f".repeat(60);
    let (d, f) = long.split_once('/').unwrap();
    let with = |edit: &dyn Fn(&mut Header)| {
        let mut header = plain("a");
        edit(&mut header);
        header
    };
    let records = |body: &[(&str, &str)], name: &str| {
        let mut block = pax(body);
        let header = block.first_chunk_mut::<512>().unwrap();
        put(header, 0, [0; 100]);
        put(header, 0, name);
        // Extension headers of this writer have no owner and no device numbers.
        put(header, 100, "0000000\0");
        put(header, 329, [0; 16]);
        tar_support::checksum(header);
        block
    };
    let long_link = |name: &str, flag| {
        let mut block = gnu_member(flag, "././@LongLink", &[name.as_bytes(), b"\0"].concat());
        let header = block.first_chunk_mut::<512>().unwrap();
        put(header, 100, "0000000\0");
        put(header, 329, [0; 16]);
        tar_support::checksum(header);
        block
    };
    let cases: Vec<(Header, Format, Vec<u8>)> = vec![
        (plain("a"), Format::Ustar, block(time)),
        (with(&|h| h.format = Format::Pax), Format::Ustar, block(time)),
        (with(&|h| h.format = Format::Gnu), Format::Gnu, gnu(time)),
        (with(&|h| h.entry = EntryType::Other(0)), Format::Ustar, block(time)),
        (with(&|h| h.mtime = None), Format::Ustar, block(|_| {})),
        (with(&|h| h.mtime = Some(Mtime { secs: 0o13_777_777_777, nanos: 500_000_000 })), Format::Ustar, block(time)),
        (
            plain(&long),
            Format::Ustar,
            block(|b| {
                time(b);
                put(b, 0, f);
                put(b, 345, d);
            }),
        ),
        (
            with(&|h| h.name = "é/b".into()),
            Format::Pax,
            [
                records(&[("path", "é/b")], "/PaxHeaders.0/b"),
                block(|b| {
                    time(b);
                    put(b, 0, "/b");
                }),
            ]
            .concat(),
        ),
        (
            with(&|h| (h.uid, h.mtime, h.format) = (-1, Some(Mtime { secs: -2, nanos: 250_000_000 }), Format::Pax)),
            Format::Pax,
            [records(&[("mtime", "-1.75"), ("uid", "-1")], "PaxHeaders.0/a"), block(|_| {})].concat(),
        ),
        (
            with(&|h| (h.uid, h.format, h.atime) = (-1, Format::Gnu, h.mtime)),
            Format::Gnu,
            gnu(|b| {
                time(b);
                put(b, 108, [0xff; 8]);
                put(b, 345, "14000000000\0");
            }),
        ),
        (
            with(&|h| (h.name, h.format) = (b"n".repeat(101), Format::Gnu)),
            Format::Gnu,
            [
                long_link(&"n".repeat(101), b'L'),
                gnu(|b| {
                    time(b);
                    put(b, 0, "n".repeat(100));
                }),
            ]
            .concat(),
        ),
        (
            with(&|h| {
                h.pax = [("path", "other"), ("uid", "0"), ("GNU.sparse.x", "y"), ("k", "v")]
                    .map(|(k, v)| (k.into(), v.into()))
                    .into()
            }),
            Format::Pax,
            [records(&[("k", "v"), ("uid", "0")], "PaxHeaders.0/a"), block(time)].concat(),
        ),
    ];
    for (header, format, bytes) in cases {
        let (got, written) = encode(&header).unwrap();
        assert_eq!(got, format, "{header:?}");
        assert_eq!(written.escape_ascii().to_string(), bytes.escape_ascii().to_string(), "{header:?}");
    }
}

#[test]
fn extension_members_are_named_after_the_entry() {
    let cases = [
        ("é", "PaxHeaders.0/"),
        ("a/é/", "a//PaxHeaders.0"),
        ("a/é/b", "a//PaxHeaders.0/b"),
        ("/é/../b", "/PaxHeaders.0/b"),
        ("./../é/./b", "..//PaxHeaders.0/b"),
        ("/../é", "/PaxHeaders.0/"),
        ("é/..", ""),
        ("a//b/é", "a/b/PaxHeaders.0/"),
    ];
    for (name, expected) in cases {
        let header = Header { entry: EntryType::Directory, ..plain(name) };
        let (_, bytes) = encode(&header).unwrap();
        let end = bytes.iter().position(|byte| *byte == 0).unwrap();
        let expected = expected.trim_end_matches('/');
        assert_eq!(bytes[..end].escape_ascii().to_string(), expected, "{name}");
    }
}

#[test]
fn what_a_format_cannot_hold_is_refused_with_a_reason() {
    let with = |edit: &dyn Fn(&mut Header)| {
        let mut header = plain("a");
        edit(&mut header);
        header
    };
    let record = |h: &mut Header, key: &str, value: &str| drop(h.pax.insert(key.into(), value.into()));
    let cases: Vec<(Header, &str)> = vec![
        (plain("a/"), "cannot write `a/` as tar: only names of directories end in `/`"),
        (with(&|h| h.mode = -(1 << 60)), "cannot write `a` as tar: no place for the mode -1152921504606846976"),
        (with(&|h| h.device.0 = 1 << 60), "cannot write `a` as tar: no place for the devmajor 1152921504606846976"),
        (with(&|h| h.size = 1 << 63), "cannot write `a` as tar: the size is over 2^63 - 1"),
        (with(&|h| h.name = b"a\0b".to_vec()), "cannot write `a\\x00b` as tar: `path` cannot be a PAX record"),
        (with(&|h| record(h, "k=", "v")), "cannot write `a` as tar: `k=` cannot be a PAX record"),
        (
            with(&|h| (h.uid, h.format) = (1 << 21, Format::Ustar)),
            "cannot write `a` as USTAR: no place for the uid 2097152",
        ),
        (
            with(&|h| (h.user, h.format) = (b"u".repeat(33), Format::Ustar)),
            "cannot write `a` as USTAR: no place for the user name `uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu`",
        ),
        (
            with(&|h| (h.atime, h.format) = (h.mtime, Format::Ustar)),
            "cannot write `a` as USTAR: no place for the atime 1610612736",
        ),
        (
            with(&|h| {
                h.format = Format::Ustar;
                record(h, "k", "v");
            }),
            "cannot write `a` as USTAR: no place for the PAX records",
        ),
        (
            with(&|h| {
                h.format = Format::Gnu;
                record(h, "k", "v");
            }),
            "cannot write `a` as GNU tar: no place for the PAX records",
        ),
        (
            with(&|h| (h.group, h.format) = (b"g".repeat(33), Format::Gnu)),
            "cannot write `a` as GNU tar: no place for the group name `ggggggggggggggggggggggggggggggggg`",
        ),
        (
            with(&|h| (h.mode, h.format) = (1 << 21, Format::Pax)),
            "cannot write `a` as PAX: no place for the mode 2097152",
        ),
        (
            with(&|h| h.entry = EntryType::Other(b'x')),
            "cannot write `a` as tar: extension headers are written with the entry they belong to",
        ),
        (with(&|h| h.entry = EntryType::Other(b'S')), "cannot write `a` as tar: parts of files are not written"),
        (
            with(&|h| h.entry = EntryType::GlobalExtension),
            "cannot write `a` as tar: a global extension header has a name and records only",
        ),
    ];
    for (header, message) in cases {
        let error = encode(&header).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn padding_fills_the_last_block() {
    for (size, expected) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511), (u64::MAX, 1)] {
        assert_eq!(tar::padding(size), expected);
    }
}

/// Archives of up to 20 random entries, with what was meant.
fn archives(count: u64, mut visit: impl FnMut(u64, &[u8], &[(Header, Vec<u8>)])) {
    for seed in 1..=count {
        let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut archive = Vec::new();
        let mut entries = Vec::new();
        for _ in 0..random.below(20) {
            let (mut header, payload) = random_entry(&mut random);
            if let Ok(format) = append(&mut archive, &header, &payload) {
                header.mtime = header.mtime.map(|time| rounded(time, header.format, format));
                if header.format == Format::Unknown {
                    (header.atime, header.ctime) = (None, None);
                }
                header.format = format;
                entries.push((header, payload));
            }
        }
        archive.extend_from_slice(&END);
        visit(seed, &archive, &entries);
    }
}

/// What a time is after it has been written.
fn rounded(time: Mtime, asked: Format, written: Format) -> Mtime {
    match (asked, written) {
        (Format::Unknown, _) => Mtime { secs: time.secs + i64::from(time.nanos >= 500_000_000), nanos: 0 },
        (_, Format::Pax) => time,
        _ => Mtime { nanos: 0, ..time },
    }
}

#[test]
fn what_is_written_reads_back_and_is_written_the_same_again() {
    let mut count = [0; 4];
    archives(2000, |seed, archive, entries| {
        let read = read_bytes(archive).unwrap();
        assert_eq!(read.len(), entries.len(), "seed {seed}");
        let mut again = Vec::new();
        for ((read, content), (meant, payload)) in read.iter().zip(entries) {
            assert!(content == payload, "seed {seed}");
            let mut expected = meant.clone();
            // The reader also has the records that stand for fields.
            expected.pax.clone_from(&read.pax);
            assert!(meant.pax.iter().all(|(key, value)| read.pax.get(key) == Some(value)), "seed {seed}");
            if expected.format == Format::Gnu {
                for time in [&mut expected.atime, &mut expected.ctime].into_iter().flatten() {
                    time.nanos = 0;
                }
            }
            assert_eq!(*read, expected, "seed {seed}");
            count[read.format as usize] += 1;
            append(&mut again, read, payload).unwrap();
        }
        again.extend_from_slice(&END);
        assert!(again == *archive, "seed {seed}");
    });
    assert!(count[1..].iter().all(|count| *count > 500), "{count:?}");
}

#[test]
fn an_independent_reader_sees_the_same_entries() {
    let mut count = 0;
    archives(1000, |seed, archive, entries| {
        let mut other = ::tar::Archive::new(archive);
        let mut others = other.entries().unwrap();
        for (meant, payload) in entries {
            let mut entry = others.next().unwrap().unwrap();
            assert_eq!(*entry.path_bytes(), *meant.name, "seed {seed}");
            assert_eq!(entry.link_name_bytes().unwrap_or_default(), meant.link, "seed {seed}");
            assert_eq!(entry.size(), meant.size, "seed {seed}");
            assert_eq!(entry.header().entry_type().as_byte(), meant.entry.flag());
            assert_eq!(i64::from(entry.header().mode().unwrap()), meant.mode);
            let records: Vec<(Vec<u8>, Vec<u8>)> = match entry.pax_extensions().unwrap() {
                Some(records) => records
                    .map(|record| record.unwrap())
                    .map(|r| (r.key_bytes().to_vec(), r.value_bytes().to_vec()))
                    .collect(),
                None => Vec::new(),
            };
            assert!(records.is_sorted());
            let record = |key: &str| records.iter().find(|(own, _)| own == key.as_bytes());
            let number = |key: &str, field: Option<u64>| match record(key) {
                Some((_, value)) => String::from_utf8(value.clone()).unwrap().parse().ok(),
                None => field.map(|field| field as i64),
            };
            // That reader has no negative numbers.
            if meant.uid >= 0 {
                assert_eq!(number("uid", entry.header().uid().ok()), Some(meant.uid), "seed {seed}");
            }
            if meant.gid >= 0 {
                assert_eq!(number("gid", entry.header().gid().ok()), Some(meant.gid), "seed {seed}");
            }
            let mtime = meant.mtime.unwrap();
            if mtime.secs >= 0 && mtime.nanos == 0 {
                assert_eq!(number("mtime", entry.header().mtime().ok()), Some(mtime.secs), "seed {seed}");
            }
            for (key, value) in &meant.pax {
                assert!(records.contains(&(key.clone(), value.clone())), "seed {seed}");
            }
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            assert!(content == *payload, "seed {seed}");
            count += 1;
        }
        assert!(others.next().is_none(), "seed {seed}");
    });
    assert!(count > 3000, "{count}");
}
