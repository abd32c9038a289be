//! The tar reader, on archives made by hand: the meaning of each field, refusals and their words.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a panic is how a test fails"
)]

mod tar_support;

use std::{
    cell::{Cell, RefCell},
    io::{self, Read},
};

use dunnage_digest::{ErrorKind, Offset, ReadAt};
use dunnage_tree::{
    Error, Limits, Mtime,
    tar::{END, EntryType, Format, Header, Reader},
};
use tar_support::{block, gnu, gnu_member, member, padded, pax, put, read_all, read_bytes};

/// Reads `bytes` to the end, which has to fail with `message`.
fn refuse(bytes: &[u8], limits: &Limits, message: &str) -> Error {
    let error = read_all(Reader::new(bytes, limits.clone())).unwrap_err();
    assert_eq!(error.to_string(), message);
    let over = read_all(Reader::over(bytes, limits.clone()).unwrap()).unwrap_err();
    assert_eq!(over.to_string(), message, "with random access");
    error
}

/// The only entry of an archive.
fn only(bytes: &[u8]) -> (Header, Vec<u8>) {
    let [entry] = read_bytes(bytes).unwrap().try_into().unwrap();
    entry
}

fn secs(secs: i64) -> Option<Mtime> {
    Some(Mtime { secs, nanos: 0 })
}

#[test]
fn malformed_fields_are_reported_with_the_offset_of_their_block() {
    let a = block(|_| {});
    let number = "expected an octal or base-256 number";
    let cases: Vec<(Vec<u8>, String)> = vec![
        (
            [a.clone(), {
                let mut bad = a.clone();
                bad[0] = b'b';
                bad
            }]
            .concat(),
            "malformed tar header checksum at offset 0x200: expected 3807, got 3806".into(),
        ),
        (
            {
                let mut bad = a.clone();
                bad[148..156].copy_from_slice(b"01x4\0   ");
                bad
            },
            "malformed tar header checksum at offset 0x0: expected 3806, got `01x4\\x00   `".into(),
        ),
        (
            block(|b| put(b, 100, "0000648\0")),
            format!("malformed tar header mode at offset 0x0: {number}, got `0000648\\x00`"),
        ),
        (
            block(|b| put(b, 108, "-0000001")),
            format!("malformed tar header uid at offset 0x0: {number}, got `-0000001`"),
        ),
        (
            block(|b| put(b, 116, "1 1\0\0\0\0\0")),
            format!("malformed tar header gid at offset 0x0: {number}, got `1 1\\x00\\x00\\x00\\x00\\x00`"),
        ),
        (
            block(|b| put(b, 124, "0x10")),
            format!("malformed tar header size at offset 0x0: {number}, got `0x100000000\\x00`"),
        ),
        (
            block(|b| put(b, 124, [0xff; 12])),
            "malformed tar header size at offset 0x0: expected a number from 0 on, got -1".into(),
        ),
        (
            block(|b| put(b, 136, "z")),
            format!("malformed tar header mtime at offset 0x0: {number}, got `z0000000000\\x00`"),
        ),
        (
            block(|b| put(b, 329, "9")),
            format!("malformed tar header devmajor at offset 0x0: {number}, got `9000000\\x00`"),
        ),
        (
            block(|b| put(b, 337, "9")),
            format!("malformed tar header devminor at offset 0x0: {number}, got `9000000\\x00`"),
        ),
        (
            block(|b| {
                put(b, 508, "tar\0");
                put(b, 476, "8");
            }),
            format!("malformed tar header atime at offset 0x0: {number}, got `8{}`", "\\x00".repeat(11)),
        ),
        (
            [vec![0; 512], a.clone()].concat(),
            "malformed end of the archive at offset 0x200: expected a second block of zeros, got other bytes".into(),
        ),
        (
            block(|b| {
                b[156] = b'M';
                put(b, 0, "rest");
            }),
            "unsupported continuation of a file from another volume at offset 0x0: `rest`".into(),
        ),
    ];
    for (bytes, message) in cases {
        refuse(&bytes, &Limits::default(), &message);
    }
}

#[test]
fn malformed_extensions_are_never_passed_over() {
    let a = block(|_| {});
    let record = |key, value| [pax(&[(key, value)]), block(|_| {})].concat();
    let cases: Vec<(Vec<u8>, String)> = vec![
        (
            [member(b'x', "x", b"9 path=p\nrest"), a.clone()].concat(),
            "malformed PAX record at offset 0x209: expected `<length> <key>=<value>` and a newline, got `rest`".into(),
        ),
        (record("uid", "1x"), "malformed PAX record `uid` at offset 0x400: expected a decimal number, got `1x`".into()),
        (
            record("gid", "9223372036854775808"),
            "malformed PAX record `gid` at offset 0x400: expected a decimal number, got `9223372036854775808`".into(),
        ),
        (
            record("size", "-1"),
            "malformed size of a tar entry at offset 0x400: expected a number from 0 on, got -1".into(),
        ),
        (
            record("size", "0x1"),
            "malformed PAX record `size` at offset 0x400: expected a decimal number, got `0x1`".into(),
        ),
        (
            record("mtime", "1.x"),
            "malformed PAX record `mtime` at offset 0x400: expected decimal seconds, got `1.x`".into(),
        ),
        (
            record("atime", "."),
            "malformed PAX record `atime` at offset 0x400: expected decimal seconds, got `.`".into(),
        ),
        (
            record("ctime", "1 "),
            "malformed PAX record `ctime` at offset 0x400: expected decimal seconds, got `1 `".into(),
        ),
        (
            record("path", "a\0b"),
            "malformed PAX record at offset 0x200: expected a key, and text without NUL, got `path`".into(),
        ),
    ];
    for (bytes, message) in cases {
        refuse(&bytes, &Limits::default(), &message);
    }
}

#[test]
fn an_archive_that_ends_early_is_an_error_with_the_place_of_the_end() {
    let file = member(b'0', "f", &[7; 1000]);
    let extended = [pax(&[("path", "p")]), member(b'0', "f", b"")].concat();
    let cases: &[(&[u8], usize, &str)] = &[
        (&file, 1, "cannot read tar header at offset 0x1"),
        (&file, 511, "cannot read tar header at offset 0x1ff"),
        (&file, 512, "cannot read payload at offset 0x200"),
        (&file, 1511, "cannot read payload at offset 0x5e7"),
        (&file, 1512, "cannot read padding of a payload at offset 0x5e8"),
        (&file, 1535, "cannot read padding of a payload at offset 0x5ff"),
        (&extended, 512, "cannot read tar extension header at offset 0x200"),
        (&extended, 521, "cannot read padding of a tar extension header at offset 0x209"),
        (&extended, 1100, "cannot read tar header at offset 0x44c"),
        (&END, 600, "cannot read second block of zeros at offset 0x258"),
    ];
    for (bytes, len, message) in cases {
        let error = refuse(&bytes[..*len], &Limits::default(), message);
        assert_eq!(error.kind(), ErrorKind::Malformed);
        // The test does not read the payload; the reader misses it all the same.
        let mut skipping = Reader::over(&bytes[..*len], Limits::default()).unwrap();
        let mut header = Header::default();
        let error = (0..3).find_map(|_| skipping.next_header(&mut header).err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::Malformed);
    }
}

#[test]
fn the_format_is_narrowed_by_every_block_of_an_entry() {
    let long = gnu_member(b'L', "././@LongLink", b"long\0");
    let cases: Vec<(&str, Vec<u8>, Format)> = vec![
        ("USTAR magic", block(|_| {}), Format::Ustar),
        ("GNU magic", gnu(|_| {}), Format::Gnu),
        ("no magic", block(|b| put(b, 257, [0; 8])), Format::Unknown),
        ("GNU magic with another version", block(|b| put(b, 257, "ustar   ")), Format::Unknown),
        ("USTAR magic with another version", block(|b| put(b, 263, "  ")), Format::Ustar),
        ("star", block(|b| put(b, 508, "tar\0")), Format::Unknown),
        ("a byte beyond ASCII", block(|b| b[0] = 0xe9), Format::Unknown),
        ("a number that fills its field", block(|b| put(b, 100, "00000644")), Format::Unknown),
        ("base-256", block(|b| put(b, 108, [0x80, 0, 0, 0, 0, 0, 0, 0])), Format::Unknown),
        ("base-256 in GNU", gnu(|b| put(b, 108, [0x80, 0, 0, 0, 0, 0, 0, 0])), Format::Gnu),
        ("PAX records", [pax(&[("comment", "c")]), block(|_| {})].concat(), Format::Pax),
        ("no PAX records after an x", [pax(&[]), block(|_| {})].concat(), Format::Pax),
        ("PAX records before GNU", [pax(&[]), gnu(|_| {})].concat(), Format::Unknown),
        ("long name before GNU", [long.clone(), gnu(|_| {})].concat(), Format::Gnu),
        ("long name before USTAR", [long, block(|_| {})].concat(), Format::Unknown),
        ("global records", member(b'g', "g", b"13 comment=c\n"), Format::Pax),
    ];
    for (what, bytes, format) in cases {
        assert_eq!(only(&bytes).0.format, format, "{what}");
    }
}

#[test]
fn all_fields_of_a_block_are_read() {
    let fields = |b: &mut [u8; 512]| {
        put(b, 0, "name");
        put(b, 100, "0004755 ");
        put(b, 108, " 1750 \0\0");
        put(b, 116, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
        put(b, 136, "15000000000\0");
        b[156] = b'3';
        put(b, 157, "link\0junk");
        put(b, 265, "user");
        put(b, 297, "g".repeat(32));
        put(b, 329, "0000010\0");
        put(b, 337, "0000377\0");
    };
    let expected = Header {
        name: b"name".to_vec(),
        entry: EntryType::CharDevice,
        link: b"link".to_vec(),
        mode: 0o4755,
        uid: 1000,
        gid: -2,
        user: b"user".to_vec(),
        group: vec![b'g'; 32],
        mtime: secs(0o15_000_000_000),
        device: (8, 255),
        ..Header::default()
    };
    assert_eq!(only(&block(fields)).0, expected);
    let prefixed = block(|b| {
        fields(b);
        put(b, 345, "some/dir");
    });
    assert_eq!(only(&prefixed).0, Header { name: b"some/dir/name".to_vec(), ..expected.clone() });
    let v7 = block(|b| {
        fields(b);
        put(b, 257, [0; 8]);
        put(b, 345, "no prefix");
    });
    let bare = Header { user: Vec::new(), group: Vec::new(), device: (0, 0), ..expected.clone() };
    assert_eq!(only(&v7).0, bare);
    let star = block(|b| {
        fields(b);
        put(b, 345, [b'p'; 131]);
        put(b, 476, "00000000017\0");
        put(b, 508, "tar\0");
    });
    let name = [&[b'p'; 131][..], b"/name"].concat();
    assert_eq!(only(&star).0, Header { name, atime: secs(15), ctime: secs(0), ..expected.clone() });
    let gnu_times = gnu(|b| {
        fields(b);
        put(b, 345, "00000000017\0");
        put(b, 357, "00000000020\0");
    });
    let format = Format::Gnu;
    assert_eq!(only(&gnu_times).0, Header { atime: secs(15), ctime: secs(16), format, ..expected.clone() });
    let one_time = gnu(|b| {
        fields(b);
        put(b, 357, "00000000020\0");
    });
    assert_eq!(only(&one_time).0, Header { ctime: secs(16), format, ..expected.clone() });
    // Go before 1.8 put a prefix there.
    let go_17 = gnu(|b| {
        fields(b);
        put(b, 345, "dir/with/more/than/twelve/bytes");
    });
    let name = b"dir/with/more/than/twelve/bytes/name".to_vec();
    assert_eq!(only(&go_17).0, Header { name, ..expected.clone() });
    let neither = gnu(|b| {
        fields(b);
        put(b, 345, b"d\xe9r");
    });
    assert_eq!(only(&neither).0, expected);
}

#[test]
fn signed_checksums_of_old_writers_are_good() {
    let mut bytes = block(|b| b[1] = 0xe9);
    let sum: i32 = bytes
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { i32::from(*byte as i8) })
        .sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(only(&bytes).0.name, b"a\xe9");
}

#[test]
fn type_flags_are_kept_and_old_ones_read_by_the_name() {
    let entry = |flag: u8, name: &str| {
        only(&block(|b| {
            b[156] = flag;
            put(b, 0, name);
        }))
        .0
        .entry
    };
    let cases = [
        (b'0', EntryType::File),
        (b'1', EntryType::HardLink),
        (b'2', EntryType::Symlink),
        (b'3', EntryType::CharDevice),
        (b'4', EntryType::BlockDevice),
        (b'5', EntryType::Directory),
        (b'6', EntryType::Fifo),
        (b'A', EntryType::Other(b'A')),
        (0xff, EntryType::Other(0xff)),
    ];
    for (flag, expected) in cases {
        assert_eq!(entry(flag, "n"), expected);
        assert_eq!(EntryType::from_flag(flag).flag(), flag);
    }
    for flag in [0, b'0', b'7'] {
        assert_eq!(entry(flag, "n"), EntryType::File);
        assert_eq!(entry(flag, "n/"), EntryType::Directory);
    }
    assert_eq!(entry(b'D', "n"), EntryType::Directory);
    // The name that counts is the one from the records.
    assert_eq!(only(&[pax(&[("path", "p/")]), block(|b| b[156] = 0)].concat()).0.entry, EntryType::Directory);
    let bytes = [member(b'7', "contiguous", &[1; 600]), member(b'Z', "odd", &[2; 5]), member(b'0', "f", b"x")].concat();
    let entries = read_bytes(&bytes).unwrap();
    let sizes: Vec<_> = entries.iter().map(|(header, payload)| (header.size, payload.len())).collect();
    assert_eq!(sizes, [(600, 600), (5, 5), (1, 1)]);
}

#[test]
fn what_other_programs_read_is_read() {
    let sized = |flag: u8, name: &str| {
        block(|b| {
            b[156] = flag;
            put(b, 0, name);
            put(b, 124, "00000000005\0");
        })
    };
    let f = || member(b'0', "f", b"x");
    type NamesAndSizes = [(&'static str, u64)];
    let cases: [(Vec<u8>, &NamesAndSizes); 13] = [
        // A size on an entry without content.
        ([sized(b'1', "l"), f()].concat(), &[("l", 0), ("f", 1)]),
        ([sized(b'2', "s"), f()].concat(), &[("s", 0), ("f", 1)]),
        ([sized(b'5', "d"), f()].concat(), &[("d", 0), ("f", 1)]),
        ([sized(b'6', "p"), f()].concat(), &[("p", 0), ("f", 1)]),
        // A payload that belongs to no file.
        ([member(b'D', "d", b"names"), f()].concat(), &[("d", 0), ("f", 1)]),
        ([member(b'0', "d/", b"bytes"), f()].concat(), &[("d/", 0), ("f", 1)]),
        ([member(b'V', "label", b""), f()].concat(), &[("f", 1)]),
        ([pax(&[("path", "p")]), member(b'V', "label", b""), f()].concat(), &[("f", 1)]),
        // Of two extension headers the later one counts, and one at the end means nothing.
        ([pax(&[("path", "p"), ("uid", "7")]), pax(&[("path", "q")]), f()].concat(), &[("q", 1)]),
        ([gnu_member(b'L', "l", b"n\0"), gnu_member(b'L', "l", b"m\0"), f()].concat(), &[("m", 1)]),
        ([gnu_member(b'L', "l", b"n\0"), gnu_member(b'L', "l", b"\0"), f()].concat(), &[("f", 1)]),
        ([f(), pax(&[("path", "p")])].concat(), &[("f", 1)]),
        ([f(), gnu_member(b'L', "l", b"n\0"), END.to_vec()].concat(), &[("f", 1)]),
    ];
    for (bytes, wanted) in cases {
        let entries = read_bytes(&bytes).unwrap();
        let got: Vec<_> =
            entries.iter().map(|(header, payload)| (header.name.as_slice(), payload.len() as u64)).collect();
        let wanted: Vec<_> = wanted.iter().map(|&(name, size)| (name.as_bytes(), size)).collect();
        assert_eq!(got, wanted);
        // Nothing of it is lost where it is kept bit for bit.
        let (mut reader, mut header, mut again) =
            (Reader::new(bytes.as_slice(), Limits::default()).keep_raw(true), Header::default(), Vec::new());
        while reader.next_header(&mut header).unwrap() {
            again.extend_from_slice(reader.raw());
            reader.read_to_end(&mut again).unwrap();
        }
        again.extend_from_slice(reader.raw());
        assert_eq!(again, bytes);
    }
}

#[test]
fn records_replace_fields_and_long_names_replace_both() {
    let records = [
        ("path", "päth"),
        ("linkpath", "to"),
        ("uname", "u"),
        ("gname", ""),
        ("uid", "-7"),
        ("gid", "3000000000"),
        ("size", "3"),
        ("mtime", "-1.25"),
        ("atime", "1.000000001"),
        ("ctime", "2"),
        ("SCHILY.xattr.user.b", "2\0"),
        ("SCHILY.xattr.user.a", ""),
        ("SCHILY.xattr.", "no name"),
        ("comment", "c"),
    ];
    let file = block(|b| {
        put(b, 124, "00000000777\0");
        put(b, 297, "group");
    });
    let bytes = [pax(&records), file, padded(b"abc"), END.to_vec()].concat();
    let (header, payload) = only(&bytes);
    assert_eq!(payload, b"abc");
    let expected = Header {
        name: "päth".into(),
        link: b"to".to_vec(),
        mode: 0o644,
        uid: -7,
        gid: 3_000_000_000,
        user: b"u".to_vec(),
        group: b"group".to_vec(),
        size: 3,
        mtime: Some(Mtime { secs: -2, nanos: 750_000_000 }),
        atime: Some(Mtime { secs: 1, nanos: 1 }),
        ctime: secs(2),
        pax: records.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect(),
        format: Format::Pax,
        ..Header::default()
    };
    assert_eq!(header, expected);
    let xattrs: Vec<_> = header.xattrs().collect();
    assert_eq!(xattrs, [(&b"user.a"[..], &b""[..]), (b"user.b", b"2\0")]);

    let long =
        [gnu_member(b'K', "k", b"link\0rest"), gnu_member(b'L', "l", b"no end"), pax(&[("path", "p")]), gnu(|_| {})];
    let (header, _) = only(&long.concat());
    assert_eq!((header.name, header.link, header.format), (b"no end".to_vec(), b"link".to_vec(), Format::Unknown));
}

#[test]
fn global_records_are_an_entry_and_apply_to_nothing() {
    let records = &pax(&[("uid", "7"), ("comment", "0123")])[512..];
    let body = &records[..b"8 uid=7\n16 comment=0123\n".len()];
    let bytes = [member(b'g', "pax_global_header", body), member(b'0', "f", b"x")].concat();
    let [(global, nothing), (file, _)] = read_bytes(&bytes).unwrap().try_into().unwrap();
    let pax = [(b"uid".to_vec(), b"7".to_vec()), (b"comment".to_vec(), b"0123".to_vec())].into();
    let (name, entry) = (b"pax_global_header".to_vec(), EntryType::GlobalExtension);
    assert_eq!(global, Header { name, entry, pax, format: Format::Pax, ..Header::default() });
    assert!(nothing.is_empty());
    assert_eq!((file.uid, file.format, file.pax.len()), (0, Format::Ustar, 0));
}

#[test]
fn nothing_of_an_entry_is_left_in_the_header_of_the_next() {
    let first = [
        pax(&[
            ("atime", "1"),
            ("comment", "c"),
            ("GNU.sparse.map", "0,1"),
            ("GNU.sparse.numblocks", "1"),
            ("GNU.sparse.size", "2"),
        ]),
        block(|b| {
            put(b, 0, "first");
            put(b, 157, "link");
            put(b, 265, "user");
            put(b, 297, "group");
            put(b, 329, "0000001");
            put(b, 124, "00000000001");
        }),
        padded(b"x"),
    ];
    let second = block(|b| put(b, 257, [0; 8]));
    let entries = read_bytes(&[first.concat(), second.clone()].concat()).unwrap();
    assert_eq!(entries[1].0, only(&second).0);
}

#[test]
fn holes_of_sparse_files_read_as_zeros() {
    // Three regions of a file of 40 bytes.
    let content = b"\0\0\0ABC\0\0\0\0DE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0F";
    let stored = b"ABCDEF";
    let regions = [(3, 3), (10, 2), (39, 1)];
    let old = |regions: &[(u32, u32)], more: bool| {
        gnu(|b| {
            b[156] = b'S';
            put(b, 124, "00000000006\0");
            for (index, (start, len)) in regions.iter().enumerate() {
                put(b, 386 + 24 * index, format!("{start:011o}\0{len:011o}\0"));
            }
            b[482] = u8::from(more);
            put(b, 483, "00000000050\0");
        })
    };
    let more = |regions: &[(u32, u32)], more: bool| {
        let mut block = [0; 512];
        for (index, (start, len)) in regions.iter().enumerate() {
            put(&mut block, 24 * index, format!("{start:011o}\0{len:011o}\0"));
        }
        block[504] = u8::from(more);
        block.to_vec()
    };
    let name = ("GNU.sparse.name", "a");
    let file = |body: &[u8]| member(b'0', "GNUSparseFile.0/a", body);
    let map = b"3\n3\n3\n10\n2\n39\n1\n";
    let forms: Vec<(&str, Vec<u8>)> = vec![
        ("old GNU", [old(&regions, false), padded(stored)].concat()),
        (
            "old GNU with more blocks",
            [
                old(&regions[..1], true),
                more(&regions[1..2], true),
                more(&[], true),
                more(&regions[2..], false),
                padded(stored),
            ]
            .concat(),
        ),
        (
            "PAX 0.0",
            [
                pax(&[
                    ("GNU.sparse.size", "40"),
                    ("GNU.sparse.numblocks", "3"),
                    ("GNU.sparse.offset", "3"),
                    ("GNU.sparse.numbytes", "3"),
                    ("GNU.sparse.offset", "10"),
                    ("GNU.sparse.numbytes", "2"),
                    ("GNU.sparse.offset", "39"),
                    ("GNU.sparse.numbytes", "1"),
                    name,
                ]),
                file(stored),
            ]
            .concat(),
        ),
        (
            "PAX 0.1",
            [
                pax(&[
                    ("GNU.sparse.size", "40"),
                    ("GNU.sparse.numblocks", "3"),
                    ("GNU.sparse.map", "3,3,10,2,39,1"),
                    name,
                ]),
                file(stored),
            ]
            .concat(),
        ),
        (
            "PAX 1.0",
            [
                pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "40"), name]),
                file(&[&padded(map)[..], stored].concat()),
            ]
            .concat(),
        ),
    ];
    for (form, bytes) in forms {
        let bytes = [bytes, member(b'0', "next", b"n"), END.to_vec()].concat();
        let [(header, payload), (next, _)] = read_bytes(&bytes).unwrap().try_into().unwrap();
        assert_eq!(payload.escape_ascii().to_string(), content.escape_ascii().to_string(), "{form}");
        assert_eq!(
            (&header.name[..], header.size, header.sparse, header.entry),
            (&b"a"[..], 40, true, EntryType::File),
            "{form}"
        );
        assert_eq!((&next.name[..], next.sparse), (&b"next"[..], false), "{form}");
        // Passing over it, and reading it one byte at a time, leads to the same next entry.
        for step in [0, 1] {
            let mut reader = Reader::over(&bytes, Limits::default()).unwrap();
            let mut header = Header::default();
            assert!(reader.next_header(&mut header).unwrap());
            for expected in &content[..40 * step] {
                let mut byte = [9];
                assert_eq!(reader.read_payload(&mut byte).unwrap(), 1);
                assert_eq!(byte, [*expected]);
            }
            assert!(reader.next_header(&mut header).unwrap());
            assert_eq!(header.name, b"next");
        }
    }
}

#[test]
fn maps_of_sparse_files_are_checked_before_anything_is_read() {
    let v01 = |count: &str, map: &str, size: &str| {
        let records = [("GNU.sparse.size", size), ("GNU.sparse.numblocks", count), ("GNU.sparse.map", map)];
        [pax(&records), member(b'0', "a", b"ABCDEF")].concat()
    };
    let v10 = |body: &[u8]| {
        let records = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "40")];
        [pax(&records), member(b'0', "a", body)].concat()
    };
    let map = "malformed sparse map at offset";
    let cases: Vec<(Vec<u8>, String)> = vec![
        (v01("2", "10,3,3,3", "40"), format!("{map} 0x400: expected a region from 13 on, got 3")),
        (v01("2", "3,4,6,2", "40"), format!("{map} 0x400: expected a region from 7 on, got 6")),
        (v01("1", "3,6", "8"), format!("{map} 0x400: expected regions within 8 bytes, got one up to 9")),
        (v01("1", "3,5", "40"), format!("{map} 0x400: expected regions of 6 bytes, as stored, got regions of 5 bytes")),
        (v01("1", "3,7", "40"), format!("{map} 0x400: expected regions of 6 bytes, as stored, got regions of 7 bytes")),
        (v01("2", "3,6", "40"), format!("{map} 0x400: expected numbers for `2` regions, got 2 numbers")),
        (v01("x", "3,6", "40"), format!("{map} 0x400: expected numbers for `x` regions, got 2 numbers")),
        (v01("1", "3,-6", "40"), format!("{map} 0x400: expected offset and length of a region, got 3 and -6")),
        (v01("1", "3,", "40"), format!("{map} 0x400: expected offset and length of a region, got 3 and no number")),
        (
            v01("1", "9223372036854775807,9223372036854775807", "40"),
            format!("{map} 0x400: expected regions within 40 bytes, got one up to 18446744073709551614"),
        ),
        (
            v01("1", "3,6", "-1"),
            "malformed size of a sparse file at offset 0x400: expected a number from 0 on, got `-1`".into(),
        ),
        (v10(b"1\n3\n6\n"), format!("{map} 0x600: expected a map inside the payload, got the end of the payload")),
        (
            v10(&[b"999\n", &b"1\n0\n".repeat(127)[..]].concat()),
            format!("{map} 0x800: expected a map inside the payload, got the end of the payload"),
        ),
        (v10(&padded(b"x\n")), format!("{map} 0x600: expected the number of regions, got none")),
        (v10(&padded(b"123456789012345678901\n")), format!("{map} 0x600: expected the number of regions, got none")),
        (v10(&padded(b"1\n3\n")), format!("{map} 0x600: expected offset and length of a region, got 3 and no number")),
        (
            v10(&[&padded(b"9\n")[..], &[b'\n'; 512]].concat()),
            format!("{map} 0x600: expected offset and length of a region, got no number and no number"),
        ),
        (
            [pax(&[("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0")]), block(|_| {})].concat(),
            "unsupported version of GNU sparse format at offset 0x400: 2.0".into(),
        ),
        (
            [pax(&[("GNU.sparse.size", "10")]), block(|_| {})].concat(),
            "malformed PAX sparse records at offset 0x400: expected a map, got `GNU.sparse.size` alone".into(),
        ),
        (
            [
                pax(&[("GNU.sparse.numblocks", "0"), ("GNU.sparse.major", "0"), ("GNU.sparse.minor", "1")]),
                block(|b| b[156] = b'5'),
            ]
            .concat(),
            "malformed type of a sparse entry at offset 0x400: expected a file, got Directory".into(),
        ),
        (
            block(|b| b[156] = b'S'),
            "malformed magic of a sparse file's tar header at offset 0x0: expected `ustar  \\x00`, got `ustar\\x0000`"
                .into(),
        ),
        (
            gnu(|b| {
                b[156] = b'S';
                put(b, 483, "9");
            }),
            format!(
                "malformed size of a sparse file at offset 0x0: expected a number from 0 on, got `9{}`",
                "\\x00".repeat(11)
            ),
        ),
        (
            gnu(|b| {
                b[156] = b'S';
                b[482] = 1;
            }),
            "cannot read sparse map at offset 0x200".into(),
        ),
    ];
    for (bytes, message) in cases {
        let error = Reader::new(bytes.as_slice(), Limits::default()).next_header(&mut Header::default()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn limits_hold_before_memory_is_taken() {
    let small = Limits::default;
    let xattr = |name: &str, value: &str| [pax(&[(&format!("SCHILY.xattr.{name}"), value)]), block(|_| {})].concat();
    let big = block(|b| {
        b[156] = b'x';
        put(b, 124, "77777777777\0");
    });
    let sparse = [
        pax(&[("GNU.sparse.size", "8"), ("GNU.sparse.numblocks", "2"), ("GNU.sparse.map", "0,1,2,1")]),
        member(b'0', "a", b"xy"),
    ];
    let three = [block(|_| {}), block(|_| {}), block(|_| {})].concat();
    let two = [member(b'0', "a", &[0; 60]), member(b'0', "b", &[0; 60])].concat();
    let huge = [pax(&[("size", "9223372036854775807")]), block(|_| {})].concat();
    let cases: Vec<(Vec<u8>, Limits, &str)> = vec![
        (big, small(), "bytes of a tar extension header: 8589934591 is over the limit of 1048576"),
        (three, Limits { entries: 2, ..small() }, "tar entries: 3 is over the limit of 2"),
        (two, Limits { unpacked: 100, ..small() }, "bytes of all files of a tar archive: 120 is over the limit of 100"),
        (huge, small(), "bytes of all files of a tar archive: 9223372036854775807 is over the limit of 68719476736"),
        (
            xattr("user.abc", "v"),
            Limits { xattr_name: 7, ..small() },
            "bytes of an extended attribute's name: 8 is over the limit of 7",
        ),
        (
            xattr("user.abc", "value"),
            Limits { xattr_value: 4, ..small() },
            "bytes of an extended attribute's value: 5 is over the limit of 4",
        ),
        (
            xattr("user.abc", "value"),
            Limits { xattrs_per_entry: 12, ..small() },
            "bytes of the extended attributes of an entry: 13 is over the limit of 12",
        ),
        (
            sparse.concat(),
            Limits { sparse_regions: 1, ..small() },
            "regions of a sparse file: 2 is over the limit of 1",
        ),
        (
            [pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")]), member(b'0', "a", &padded(b"10000001\n"))]
                .concat(),
            small(),
            "regions of a sparse file: 10000001 is over the limit of 65536",
        ),
        (
            [
                gnu(|b| {
                    b[156] = b'S';
                    b[482] = 1;
                }),
                [&[0; 504][..], &[1; 8]].concat().repeat(9),
            ]
            .concat(),
            Limits { tar_extension: 4096, ..small() },
            "bytes of a sparse map: 4608 is over the limit of 4096",
        ),
    ];
    for (bytes, limits, message) in cases {
        let error = refuse(&bytes, &limits, message);
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    }
}

#[test]
fn an_archive_ends_with_two_blocks_of_zeros_or_with_its_input() {
    let file = member(b'0', "f", b"x");
    for (end, trailing) in [(&[][..], 0), (&[0; 512], 0), (&END, 0), (&[0; 10240], 9216)] {
        let bytes = [&file, end].concat();
        let mut reader = Reader::new(bytes.as_slice(), Limits::default());
        let mut header = Header::default();
        assert!(reader.next_header(&mut header).unwrap());
        let error = reader.read_trailing(&mut [0; 4]).unwrap_err();
        assert_eq!(error.to_string(), "cannot read bytes after the end of the archive at offset 0x200");
        assert!(!reader.next_header(&mut header).unwrap());
        assert!(!reader.next_header(&mut header).unwrap());
        assert_eq!(reader.read_payload(&mut [0; 4]).unwrap(), 0);
        let mut rest = 0;
        loop {
            match reader.read_trailing(&mut [0; 1000]).unwrap() {
                0 => break,
                got => rest += got,
            }
        }
        assert_eq!(rest, trailing);
        assert_eq!(reader.position(), Offset::new(bytes.len() as u64));
    }
}

#[test]
fn raw_bytes_and_payloads_make_up_the_input() {
    let bytes = [
        pax(&[("comment", "c")]),
        member(b'0', "f", &[1; 70_000]),
        member(b'g', "g", b"13 comment=c\n"),
        gnu_member(b'L', "l", b"name\0"),
        gnu_member(b'0', "n", &[2; 513]),
        block(|b| b[156] = b'5'),
        END.to_vec(),
        vec![3; 100_000],
    ]
    .concat();
    let mut reader = Reader::new(bytes.as_slice(), Limits::default()).keep_raw(true);
    let mut header = Header::default();
    let mut copy = Vec::new();
    let mut buf = vec![0; 65_536];
    let mut starts = Vec::new();
    while reader.next_header(&mut header).unwrap() {
        copy.extend_from_slice(reader.raw());
        starts.push(reader.payload_offset().get());
        assert_eq!(reader.payload_offset(), reader.position());
        assert_eq!(copy.len() as u64, reader.position().get());
        loop {
            match reader.read_payload(&mut buf).unwrap() {
                0 => break,
                got => copy.extend_from_slice(&buf[..got]),
            }
        }
    }
    assert_eq!(starts, [1536, 72_704, 74_240, 75_776]);
    copy.extend_from_slice(reader.raw());
    loop {
        match reader.read_trailing(&mut buf).unwrap() {
            0 => break,
            got => copy.extend_from_slice(&buf[..got]),
        }
    }
    assert!(copy == bytes, "{} bytes instead of {}", copy.len(), bytes.len());
    assert_eq!(reader.position().get(), bytes.len() as u64);
    let mut reader = Reader::new(bytes.as_slice(), Limits::default()).keep_raw(true).keep_raw(false);
    assert!(reader.next_header(&mut header).unwrap());
    assert!(reader.raw().is_empty());
}

/// Hands out one to three bytes at a time, and is interrupted in between.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = (self.1 % 3 + 1).min(buf.len());
        self.0.read(&mut buf[..len])
    }
}

#[test]
fn entries_do_not_depend_on_how_the_source_is_cut() {
    let bytes =
        [pax(&[("path", "p")]), member(b'0', "f", &[7; 9000]), member(b'0', "g", &[8; 1]), END.to_vec()].concat();
    let whole = read_bytes(&bytes).unwrap();
    assert_eq!(read_all(Reader::new(Dribble(&bytes, 0), Limits::default())).unwrap(), whole);
    assert_eq!(read_all(Reader::over(&bytes, Limits::default()).unwrap()).unwrap(), whole);
}

/// Counts the bytes that are read, and notes where.
struct Counting<'a> {
    bytes: &'a [u8],
    reads: Cell<u64>,
    at: RefCell<Vec<(u64, u64)>>,
}

impl ReadAt for Counting<'_> {
    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        self.reads.set(self.reads.get() + 1);
        self.at.borrow_mut().push((at.get(), buf.len() as u64));
        self.bytes.read_exact_at(at, buf)
    }
}

#[test]
fn scanning_headers_with_random_access_reads_one_page_per_entry() {
    const MEMBER: u64 = 512 + 100_000 + 352;
    let bytes: Vec<u8> = (0..50).flat_map(|_| member(b'0', "f", &[7; 100_000])).chain(END).collect();
    let source = Counting { bytes: &bytes, reads: Cell::new(0), at: RefCell::default() };
    let mut reader = Reader::over(&source, Limits::default()).unwrap();
    let mut header = Header::default();
    let mut entries = 0;
    while reader.next_header(&mut header).unwrap() {
        assert_eq!(reader.payload_offset().get(), entries * MEMBER + 512);
        entries += 1;
    }
    assert_eq!(entries, 50);
    assert_eq!(source.reads.get(), 51);
    assert!(source.at.borrow().iter().all(|(at, len)| at % MEMBER == 0 && *len <= 4096));
}

#[test]
fn after_an_error_every_call_fails() {
    let bytes = [block(|b| put(b, 100, "x")), block(|_| {})].concat();
    let mut reader = Reader::new(bytes.as_slice(), Limits::default());
    let mut header = Header::default();
    reader.next_header(&mut header).unwrap_err();
    let expected = "cannot read tar archive at offset 0x200";
    assert_eq!(reader.next_header(&mut header).unwrap_err().to_string(), expected);
    assert_eq!(reader.read_payload(&mut [0; 1]).unwrap_err().to_string(), expected);
    let error = reader.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.to_string(), expected);
    let bytes = member(b'0', "f", b"abc");
    let mut reader = Reader::new(&bytes[..514], Limits::default());
    assert!(reader.next_header(&mut header).unwrap());
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (io::ErrorKind::UnexpectedEof, "cannot read payload at offset 0x202".into())
    );
}
