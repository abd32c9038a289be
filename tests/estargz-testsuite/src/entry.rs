//! Entries of input tars, and how they are written: not with the encoder of this workspace, so that what a header says is
//! said by two hands.

use std::{collections::BTreeMap, sync::OnceLock};

use dunnage_tree::Mtime;

/// How headers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Ustar,
    Pax,
    Gnu,
}

impl Format {
    pub(super) const ALL: [Self; 3] = [Self::Ustar, Self::Pax, Self::Gnu];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    Char,
    Block,
    Dir,
    Fifo,
}

/// One entry of an input, as a case names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    content: Content,
    pub(super) target: &'static str,
    pub(super) mode: u32,
    /// Numbers of user and group.
    pub(super) owner: (u32, u32),
    pub(super) device: (u32, u32),
    pub(super) mtime: Mtime,
    pub(super) xattrs: &'static [(&'static str, &'static [u8])],
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Text(&'static str),
    Letters,
}

const PLAIN: Entry = Entry {
    kind: Kind::File,
    name: "",
    content: Content::Text(""),
    target: "",
    mode: 0,
    owner: (0, 0),
    device: (0, 0),
    mtime: Mtime { secs: 0, nanos: 0 },
    xattrs: &[],
};

/// The time that the reference takes from the clock, for links and devices. Only PAX can hold all of it.
const NOW: Mtime = Mtime { secs: 1_700_000_000, nanos: 123_456_789 };

pub(super) const fn file(name: &'static str, content: &'static str) -> Entry {
    Entry { name, content: Content::Text(content), mode: 0o644, ..PLAIN }
}

/// A file of 64 000 random letters and digits.
pub(super) const fn letters(name: &'static str) -> Entry {
    Entry { name, content: Content::Letters, mode: 0o644, ..PLAIN }
}

pub(super) const fn dir(name: &'static str) -> Entry {
    Entry { kind: Kind::Dir, name, mode: 0o755, ..PLAIN }
}

pub(super) const fn symlink(name: &'static str, target: &'static str) -> Entry {
    Entry { kind: Kind::Symlink, name, target, mode: 0o644, ..PLAIN }
}

pub(super) const fn hardlink(name: &'static str, target: &'static str) -> Entry {
    Entry { kind: Kind::HardLink, name, target, mtime: NOW, ..PLAIN }
}

pub(super) const fn chardev(name: &'static str, major: u32, minor: u32) -> Entry {
    Entry { kind: Kind::Char, name, device: (major, minor), mtime: NOW, ..PLAIN }
}

pub(super) const fn blockdev(name: &'static str, major: u32, minor: u32) -> Entry {
    Entry { kind: Kind::Block, name, device: (major, minor), mtime: NOW, ..PLAIN }
}

pub(super) const fn fifo(name: &'static str) -> Entry {
    Entry { kind: Kind::Fifo, name, mtime: NOW, ..PLAIN }
}

impl Entry {
    /// The same with other permissions.
    pub(super) const fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// The same, owned by user 50 of group 100.
    pub(super) const fn owned(self) -> Self {
        Self { owner: (50, 100), ..self }
    }

    /// The same without a time.
    pub(super) const fn timeless(self) -> Self {
        Self { mtime: PLAIN.mtime, ..self }
    }

    /// The same with extended attributes, which only PAX can hold.
    pub(super) const fn xattrs(self, xattrs: &'static [(&'static str, &'static [u8])]) -> Self {
        Self { xattrs, ..self }
    }

    pub(super) fn content(&self) -> &'static [u8] {
        static LETTERS: OnceLock<Vec<u8>> = OnceLock::new();
        match self.content {
            Content::Text(text) => text.as_bytes(),
            Content::Letters => LETTERS.get_or_init(|| random_letters(64_000)),
        }
    }

    fn append_to(&self, tar: &mut Vec<u8>, prefix: &str, format: Format) {
        let name = format!("{prefix}{}", self.name);
        let format = if self.xattrs.is_empty() { format } else { Format::Pax };
        let mut records = BTreeMap::new();
        for (name, value) in self.xattrs {
            records.insert(format!("SCHILY.xattr.{name}"), value.to_vec());
        }
        if format == Format::Pax && self.mtime.nanos != 0 {
            let time = format!("{}.{:09}", self.mtime.secs, self.mtime.nanos);
            records.insert("mtime".to_owned(), time.into_bytes());
        }
        if !records.is_empty() {
            let body: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
            let mut meta = Block::new(Format::Pax, "PaxHeaders.0/entry", b'x');
            meta.octal(124, 12, body.len() as u64);
            meta.append_to(tar, &body);
        }
        let flag = match self.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::Char => b'3',
            Kind::Block => b'4',
            Kind::Dir => b'5',
            Kind::Fifo => b'6',
        };
        let mut block = Block::new(format, &name, flag);
        block.octal(100, 8, self.mode.into());
        block.octal(108, 8, self.owner.0.into());
        block.octal(116, 8, self.owner.1.into());
        block.octal(124, 12, self.content().len() as u64);
        block.octal(136, 12, self.mtime.secs.unsigned_abs());
        block.put(157, self.target.as_bytes());
        block.octal(329, 8, self.device.0.into());
        block.octal(337, 8, self.device.1.into());
        block.append_to(tar, self.content());
    }
}

/// A tar of these entries. As in the reference, 100 more zeros follow its end.
pub(super) fn tarball(entries: &[Entry], prefix: &str, format: Format) -> Vec<u8> {
    let mut tar = Vec::new();
    for entry in entries {
        entry.append_to(&mut tar, prefix, format);
    }
    tar.resize(tar.len() + 1024 + 100, 0);
    tar
}

struct Block([u8; 512]);

impl Block {
    fn new(format: Format, name: &str, flag: u8) -> Self {
        let mut block = Self([0; 512]);
        block.put(0, name.as_bytes());
        for at in [100, 108, 116, 329, 337] {
            block.octal(at, 8, 0);
        }
        for at in [124, 136] {
            block.octal(at, 12, 0);
        }
        block.0[156] = flag;
        block.put(257, if format == Format::Gnu { b"ustar  \0" } else { b"ustar\x0000" });
        block
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Octal digits that fill the field, and a NUL.
    fn octal(&mut self, at: usize, width: usize, value: u64) {
        self.put(at, format!("{value:0width$o}\0", width = width - 1).as_bytes());
    }

    fn append_to(mut self, tar: &mut Vec<u8>, content: &[u8]) {
        self.0[148..156].fill(b' ');
        let sum: u64 = self.0.iter().map(|&byte| u64::from(byte)).sum();
        self.put(148, format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&self.0);
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
}

/// One PAX record: its own length, key and value.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let len = (rest + 1..).find(|&len| rest + len.to_string().len() == len).unwrap();
    [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
}

fn random_letters(len: usize) -> Vec<u8> {
    const LETTERS: &[u8; 62] = b"1234567890abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        LETTERS[(state % 62) as usize]
    };
    std::iter::repeat_with(next).take(len).collect()
}
