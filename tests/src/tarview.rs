//! A tar reader for tests: what each entry says, by the plain rules of the formats.

use std::collections::BTreeMap;

use crate::tarball::{Entry, EntryKind};

/// The entries of a tar, up to its end marker or the end of the bytes.
///
/// Panics if the bytes are not a tar: the tests give it nothing else.
#[must_use]
pub fn entries(tar: &[u8]) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut records = BTreeMap::<String, Vec<u8>>::new();
    let (mut long_name, mut long_target) = (None, None);
    while let Some(block) = tar.get(at..at + 512) {
        if block.iter().all(|&byte| byte == 0) {
            break;
        }
        check_sum(block, at);
        let size = records.get("size").map_or_else(
            || number(&block[124..136]) as usize,
            |size| String::from_utf8_lossy(size).parse().expect("PAX size is a number"),
        );
        let body = &tar[at + 512..at + 512 + if has_body(block[156]) { size } else { 0 }];
        at += 512 + body.len().next_multiple_of(512);
        match block[156] {
            b'x' => {
                records = pax_records(body);
                continue;
            }
            b'L' => {
                long_name = Some(text(body));
                continue;
            }
            b'K' => {
                long_target = Some(text(body));
                continue;
            }
            _ => {}
        }
        let mut name = text(&block[..100]);
        let prefix = text(&block[345..500]);
        if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
            name = [prefix, b"/".to_vec(), name].concat();
        }
        let mut entry = Entry {
            kind: kind(block[156]),
            name: long_name.take().unwrap_or(name),
            content: body.to_vec(),
            target: long_target.take().unwrap_or_else(|| text(&block[157..257])),
            mode: number(&block[100..108]) as u64,
            uid: number(&block[108..116]),
            gid: number(&block[116..124]),
            user: String::from_utf8_lossy(&text(&block[265..297])).into_owned(),
            group: String::from_utf8_lossy(&text(&block[297..329])).into_owned(),
            mtime: number(&block[136..148]),
            nanos: 0,
            device: (number(&block[329..337]) as u32, number(&block[337..345]) as u32),
            xattrs: BTreeMap::new(),
        };
        apply(&mut entry, &std::mem::take(&mut records));
        found.push(entry);
    }
    found
}

fn apply(entry: &mut Entry, records: &BTreeMap<String, Vec<u8>>) {
    for (key, value) in records {
        let text = || String::from_utf8_lossy(value).into_owned();
        match key.as_str() {
            "path" => entry.name.clone_from(value),
            "linkpath" => entry.target.clone_from(value),
            "uname" => entry.user = text(),
            "gname" => entry.group = text(),
            "uid" => entry.uid = text().parse().expect("PAX uid is a number"),
            "gid" => entry.gid = text().parse().expect("PAX gid is a number"),
            "mtime" => {
                let text = text();
                let (secs, fraction) = text.split_once('.').unwrap_or((&text, ""));
                entry.mtime = secs.parse().expect("PAX mtime is a number");
                entry.nanos = format!("{fraction:0<9}").get(..9).unwrap_or("0").parse().expect("a fraction of digits");
            }
            _ => {
                if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                    entry.xattrs.insert(name.to_owned(), value.clone());
                }
            }
        }
    }
}

const fn has_body(flag: u8) -> bool {
    matches!(flag, b'0' | 0 | b'x' | b'L' | b'K')
}

fn kind(flag: u8) -> EntryKind {
    match flag {
        b'0' | 0 => EntryKind::File,
        b'1' => EntryKind::Hardlink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::Char,
        b'4' => EntryKind::Block,
        b'5' => EntryKind::Dir,
        b'6' => EntryKind::Fifo,
        flag => panic!("entry of unknown type {flag:#x}"),
    }
}

fn pax_records(mut body: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut records = BTreeMap::new();
    while !body.is_empty() {
        let space = body.iter().position(|&byte| byte == b' ').expect("a PAX record has a length");
        let len: usize = String::from_utf8_lossy(&body[..space]).parse().expect("a PAX length is a number");
        let record = &body[space + 1..len - 1];
        let equals = record.iter().position(|&byte| byte == b'=').expect("a PAX record has a value");
        records.insert(String::from_utf8_lossy(&record[..equals]).into_owned(), record[equals + 1..].to_vec());
        body = &body[len..];
    }
    records
}

/// Bytes up to the first NUL.
fn text(field: &[u8]) -> Vec<u8> {
    field.iter().copied().take_while(|&byte| byte != 0).collect()
}

fn number(field: &[u8]) -> i64 {
    if field[0] & 0x80 != 0 {
        let mut value = i64::from((field[0] << 1) as i8 >> 1);
        for &byte in &field[1..] {
            value = value << 8 | i64::from(byte);
        }
        return value;
    }
    let digits: String = text(field).iter().map(|&byte| char::from(byte)).collect();
    let digits = digits.trim();
    if digits.is_empty() { 0 } else { i64::from_str_radix(digits, 8).expect("a number field is octal") }
}

fn check_sum(block: &[u8], at: usize) {
    let wanted = number(&block[148..156]);
    let blank = |(index, &byte): (usize, &u8)| i64::from(if (148..156).contains(&index) { b' ' } else { byte });
    let got: i64 = block.iter().enumerate().map(blank).sum();
    assert_eq!(got, wanted, "checksum of the header at {at:#x}");
}
