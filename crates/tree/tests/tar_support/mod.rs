//! Archives for the tar tests: blocks by hand, and headers from a seed.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::{collections::BTreeMap, io::Read};

use dunnage_tree::{
    Error, Limits, Mtime,
    tar::{self, EntryType, Format, Header, Reader},
};

/// Numbers that look random and are the same in every run.
pub(crate) struct Xorshift(pub(crate) u64);

impl Xorshift {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    pub(crate) fn text(&mut self, len: u64, alphabet: &[u8]) -> Vec<u8> {
        (0..len).map(|_| self.pick(alphabet)).collect()
    }
}

/// A USTAR block for an empty file `a`, changed by `edit`, with a checksum that fits.
pub(crate) fn block(edit: impl FnOnce(&mut [u8; 512])) -> Vec<u8> {
    let mut block = [0; 512];
    block[0] = b'a';
    for (at, text) in [(100, "0000644\0"), (108, "0000000\0"), (116, "0000000\0"), (124, "00000000000\0")] {
        put(&mut block, at, text);
    }
    put(&mut block, 136, "00000000000\0");
    block[156] = b'0';
    put(&mut block, 257, "ustar\x0000");
    put(&mut block, 329, "0000000\0");
    put(&mut block, 337, "0000000\0");
    edit(&mut block);
    seal(&mut block);
    block.to_vec()
}

/// Like [`block`], in GNU format.
pub(crate) fn gnu(edit: impl FnOnce(&mut [u8; 512])) -> Vec<u8> {
    block(|block| {
        put(block, 257, "ustar  \0");
        edit(block);
    })
}

pub(crate) fn put(block: &mut [u8; 512], at: usize, text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    block[at..at + text.len()].copy_from_slice(text);
}

pub(crate) fn seal(block: &mut [u8; 512]) {
    put(block, 148, "        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    put(block, 148, format!("{sum:06o}\0 "));
}

/// A member with a body, padded.
pub(crate) fn member(flag: u8, name: &str, body: &[u8]) -> Vec<u8> {
    let header = block(|block| {
        put(block, 0, name);
        put(block, 124, format!("{:011o}\0", body.len()));
        block[156] = flag;
    });
    [header, padded(body)].concat()
}

/// A member in GNU format.
pub(crate) fn gnu_member(flag: u8, name: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = member(flag, name, body);
    let block = bytes.first_chunk_mut().unwrap();
    put(block, 257, "ustar  \0");
    seal(block);
    bytes
}

pub(crate) fn padded(body: &[u8]) -> Vec<u8> {
    let mut bytes = body.to_vec();
    bytes.resize(bytes.len() + tar::padding(body.len() as u64) as usize, 0);
    bytes
}

/// An `x` member with these records.
pub(crate) fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let len = (rest..).find(|len| rest + len.to_string().len() == *len).unwrap();
        body.extend_from_slice(format!("{len} {key}={value}\n").as_bytes());
    }
    member(b'x', "x", &body)
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
pub(crate) fn random_entry(random: &mut Xorshift) -> (Header, Vec<u8>) {
    const NAMES: [&[u8]; 5] = [b"abcdefgh", b"ab/", b"a\xc3\xa9\xff", b"./a", b"xyz-0123456789_ABC"];
    let formats = [Format::Unknown, Format::Unknown, Format::Ustar, Format::Pax, Format::Gnu];
    let mut header = Header { format: random.pick(&formats), ..Header::default() };
    header.entry = random.pick(&[
        EntryType::File,
        EntryType::File,
        EntryType::Directory,
        EntryType::Symlink,
        EntryType::HardLink,
        EntryType::CharDevice,
        EntryType::Fifo,
    ]);
    let len = if random.one_in(3) { random.below(330) } else { random.below(40) } + 1;
    let alphabet = random.pick(&NAMES);
    header.name = random.text(len, alphabet);
    match header.entry {
        EntryType::Directory => header.name.push(b'/'),
        EntryType::HardLink | EntryType::Symlink => {
            let len = if random.one_in(3) { random.below(330) } else { random.below(40) } + 1;
            let alphabet = random.pick(&NAMES);
            header.link = random.text(len, alphabet);
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
    if random.one_in(2) {
        (header.user, header.group) = (random.text(5, b"rot\xc3"), random.text(40, b"wheel"));
        header.group.truncate(random.pick(&[3, 32, 40]));
    }
    header.mtime = Some(random_time(random));
    if random.one_in(4) {
        (header.atime, header.ctime) = (Some(random_time(random)), Some(random_time(random)));
    }
    if random.one_in(3) {
        header.pax = random_records(random);
    }
    let payload = if header.entry == EntryType::File { random.below(3000) } else { 0 };
    header.size = payload;
    let payload = (0..payload).map(|_| random.next() as u8).collect();
    (header, payload)
}

fn random_id(random: &mut Xorshift) -> i64 {
    match random.below(8) {
        0 => -(random.below(1 << 40) as i64),
        1 => random.below(1 << 50) as i64,
        2 => 1 << random.below(40),
        _ => random.below(2000) as i64,
    }
}

fn random_time(random: &mut Xorshift) -> Mtime {
    let nanos = random.pick(&[0, 0, 0, 1, 500_000_000, 499_999_999, 120_000_000]);
    let secs = random.below(1 << 34) as i64;
    Mtime { secs: random.pick(&[secs, secs, -secs, secs & 0xffff]), nanos }
}

fn random_records(random: &mut Xorshift) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let keys = ["SCHILY.xattr.user.a", "SCHILY.xattr.security.capability", "comment", "VENDOR.key", "hdrcharset"];
    let count = random.below(4);
    let record = |_| (random.pick(&keys).as_bytes().to_vec(), random_value(random));
    (0..count).map(record).collect()
}

fn random_value(random: &mut Xorshift) -> Vec<u8> {
    let len = random.below(120);
    // No newlines: the independent reader takes one for the end of a record.
    random.text(len, b"value= \0\xff")
}
