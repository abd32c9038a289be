//! Reading and writing in the tar tests, and headers from a seed.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part")]

use std::{collections::BTreeMap, io::Read};

pub(crate) use dunnage_inputs::{
    random::Random,
    tarball::{self, block, checksum, gnu, gnu_member, member, padded, put},
};
use dunnage_tree::{
    Error, Limits, Mtime,
    tar::{self, EntryType, Format, Header, Reader},
};

/// An `x` member with these records.
pub(crate) fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let records: Vec<(&[u8], &[u8])> = records.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())).collect();
    tarball::pax(&records)
}

/// All entries with their payloads.
pub(crate) fn read_all<R: Read>(mut reader: Reader<R>) -> Result<Vec<(Header, Vec<u8>)>, Error> {
    let mut entries = Vec::new();
    let mut header = Header::default();
    while reader.next_header(&mut header)? {
        let mut payload = Vec::new();
        let mut buf = [0; 1000];
        loop {
            match reader.read_payload(&mut buf)? {
                0 => break,
                got => payload.extend_from_slice(&buf[..got]),
            }
        }
        assert_eq!(payload.len() as u64, header.size);
        entries.push((header.clone(), payload));
    }
    Ok(entries)
}

pub(crate) fn read_bytes(bytes: &[u8]) -> Result<Vec<(Header, Vec<u8>)>, Error> {
    read_all(Reader::new(bytes, Limits::default()))
}

/// Appends an entry; whether its header could be written.
pub(crate) fn append(archive: &mut Vec<u8>, header: &Header, payload: &[u8]) -> Result<Format, Error> {
    let format = tar::encode_header(header, archive)?;
    archive.extend_from_slice(&padded(payload));
    Ok(format)
}

/// A header that some formats can hold and others cannot, and a payload of its size.
pub(crate) fn random_entry(random: &mut Random) -> (Header, Vec<u8>) {
    const NAMES: [&[u8]; 5] = [b"abcdefgh", b"ab/", b"a\xc3\xa9\xff", b"./a", b"xyz-0123456789_ABC"];
    let formats = [Format::Unknown, Format::Unknown, Format::Ustar, Format::Pax, Format::Gnu];
    let mut header = Header { format: *random.pick(&formats), ..Header::default() };
    header.entry = *random.pick(&[
        EntryType::File,
        EntryType::File,
        EntryType::Directory,
        EntryType::Symlink,
        EntryType::HardLink,
        EntryType::CharDevice,
        EntryType::Fifo,
    ]);
    let len = if random.below(3) == 0 { random.below(330) } else { random.below(40) } + 1;
    let alphabet = *random.pick(&NAMES);
    header.name = letters(random, len, alphabet);
    match header.entry {
        EntryType::Directory => header.name.push(b'/'),
        EntryType::HardLink | EntryType::Symlink => {
            let len = if random.below(3) == 0 { random.below(330) } else { random.below(40) } + 1;
            let alphabet = *random.pick(&NAMES);
            header.link = letters(random, len, alphabet);
        }
        EntryType::CharDevice => header.device = (random.below(300) as i64, random.below(1 << 22) as i64),
        _ => {}
    }
    if !matches!(header.entry, EntryType::Directory) && header.name.ends_with(b"/") {
        header.name.push(b'f');
    }
    header.mode = random.below(0o10000) as i64;
    header.uid = random_id(random);
    header.gid = random_id(random);
    if random.below(2) == 0 {
        (header.user, header.group) = (letters(random, 5, b"rot\xc3"), letters(random, 40, b"wheel"));
        header.group.truncate(*random.pick(&[3, 32, 40]));
    }
    header.mtime = Some(random_time(random));
    if random.below(4) == 0 {
        (header.atime, header.ctime) = (Some(random_time(random)), Some(random_time(random)));
    }
    if random.below(3) == 0 {
        header.pax = random_records(random);
    }
    let payload = if header.entry == EntryType::File { random.below(3000) } else { 0 };
    header.size = payload;
    let payload = (0..payload).map(|_| random.next() as u8).collect();
    (header, payload)
}

fn random_id(random: &mut Random) -> i64 {
    match random.below(8) {
        0 => -(random.below(1 << 40) as i64),
        1 => random.below(1 << 50) as i64,
        2 => 1 << random.below(40),
        _ => random.below(2000) as i64,
    }
}

fn random_time(random: &mut Random) -> Mtime {
    let nanos = *random.pick(&[0, 0, 0, 1, 500_000_000, 499_999_999, 120_000_000]);
    let secs = random.below(1 << 34) as i64;
    Mtime { secs: *random.pick(&[secs, secs, -secs, secs & 0xffff]), nanos }
}

fn random_records(random: &mut Random) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let keys = ["SCHILY.xattr.user.a", "SCHILY.xattr.security.capability", "comment", "VENDOR.key", "hdrcharset"];
    let count = random.below(4);
    let record = |_| (random.pick(&keys).as_bytes().to_vec(), random_value(random));
    (0..count).map(record).collect()
}

fn random_value(random: &mut Random) -> Vec<u8> {
    let len = random.below(120);
    // No newlines: the independent reader takes one for the end of a record.
    letters(random, len, b"value= \0\xff")
}

/// So many bytes of an alphabet.
fn letters(random: &mut Random, len: u64, alphabet: &[u8]) -> Vec<u8> {
    (0..len).map(|_| *random.pick(alphabet)).collect()
}
