//! A tar writer for tests: USTAR, PAX and GNU, straight from the description of the formats.
//!
//! It writes what it is told, also what no other program would write; the entries are plain data that case files
//! can hold.

use std::collections::BTreeMap;

use serde::Deserialize;

/// How headers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// POSIX 1988.
    Ustar,
    /// POSIX 2001: USTAR with `x` records for what does not fit.
    Pax,
    /// GNU: base-256 numbers and `L`/`K` members.
    Gnu,
}

/// All of them.
pub const FORMATS: [Format; 3] = [Format::Ustar, Format::Pax, Format::Gnu];

/// What sort of entry it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kinds of tar, by their names")]
pub enum EntryKind {
    #[default]
    File,
    Dir,
    Symlink,
    Hardlink,
    Char,
    Block,
    Fifo,
}

/// One entry of a tar. The text form is a table with the kind as a key: `{ file = "a", content = "b" }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "EntryText")]
#[expect(missing_docs, reason = "the fields of a tar header, by their names")]
pub struct Entry {
    pub kind: EntryKind,
    pub name: Vec<u8>,
    pub content: Vec<u8>,
    pub target: Vec<u8>,
    pub mode: u64,
    pub uid: i64,
    pub gid: i64,
    pub user: String,
    pub group: String,
    pub mtime: i64,
    pub nanos: u32,
    pub device: (u32, u32),
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// [`Entry`] as case files write it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText {
    file: Option<String>,
    dir: Option<String>,
    symlink: Option<String>,
    hardlink: Option<String>,
    char: Option<String>,
    block: Option<String>,
    fifo: Option<String>,
    #[serde(default)]
    content: String,
    /// How often the content is repeated.
    repeat: Option<usize>,
    /// Instead of content: so many random letters and digits.
    random: Option<usize>,
    #[serde(default)]
    to: String,
    mode: Option<u64>,
    #[serde(default)]
    uid: i64,
    #[serde(default)]
    gid: i64,
    #[serde(default)]
    user: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    mtime: i64,
    #[serde(default)]
    major: u32,
    #[serde(default)]
    minor: u32,
    #[serde(default)]
    xattrs: BTreeMap<String, String>,
    #[serde(default)]
    xattrs_bytes: BTreeMap<String, Vec<u8>>,
}

impl From<EntryText> for Entry {
    fn from(text: EntryText) -> Self {
        let kinds = [
            (text.file, EntryKind::File),
            (text.dir, EntryKind::Dir),
            (text.symlink, EntryKind::Symlink),
            (text.hardlink, EntryKind::Hardlink),
            (text.char, EntryKind::Char),
            (text.block, EntryKind::Block),
            (text.fifo, EntryKind::Fifo),
        ];
        let mut named = kinds.into_iter().filter_map(|(name, kind)| name.map(|name| (name, kind)));
        let (name, kind) = named.next().expect("an entry of a case has a kind");
        assert!(named.next().is_none(), "the entry `{name}` of a case has two kinds");
        let content = match text.random {
            Some(len) => crate::generate::letters(len as u64, len),
            None => text.content.repeat(text.repeat.unwrap_or(1)).into_bytes(),
        };
        let mut xattrs: BTreeMap<String, Vec<u8>> =
            text.xattrs.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
        xattrs.extend(text.xattrs_bytes);
        Self {
            kind,
            name: name.into_bytes(),
            content,
            target: text.to.into_bytes(),
            mode: text.mode.unwrap_or(if kind == EntryKind::Dir { 0o755 } else { 0o644 }),
            uid: text.uid,
            gid: text.gid,
            user: text.user,
            group: text.group,
            mtime: text.mtime,
            nanos: 0,
            device: (text.major, text.minor),
            xattrs,
        }
    }
}

impl Entry {
    /// A regular file, mode 0644.
    #[must_use]
    pub fn file(name: &str, content: impl Into<Vec<u8>>) -> Self {
        let kind = EntryKind::File;
        Self { kind, name: name.into(), content: content.into(), mode: 0o644, ..Self::default() }
    }

    /// A directory, mode 0755; the name ends in a slash.
    #[must_use]
    pub fn dir(name: &str) -> Self {
        Self { kind: EntryKind::Dir, name: name.into(), mode: 0o755, ..Self::default() }
    }

    /// A symlink.
    #[must_use]
    pub fn symlink(name: &str, target: &str) -> Self {
        let kind = EntryKind::Symlink;
        Self { kind, name: name.into(), target: target.into(), mode: 0o644, ..Self::default() }
    }

    /// A hard link.
    #[must_use]
    pub fn hardlink(name: &str, target: &str) -> Self {
        let kind = EntryKind::Hardlink;
        Self { kind, name: name.into(), target: target.into(), mode: 0o644, ..Self::default() }
    }

    /// A character device, block device or fifo.
    #[must_use]
    pub fn special(kind: EntryKind, name: &str, major: u32, minor: u32) -> Self {
        Self { kind, name: name.into(), device: (major, minor), mode: 0o644, ..Self::default() }
    }

    /// The same with an extended attribute.
    #[must_use]
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        self.xattrs.insert(name.to_owned(), value.to_vec());
        self
    }

    /// The same with another owner.
    #[must_use]
    pub fn owner(mut self, uid: i64, gid: i64, user: &str, group: &str) -> Self {
        (self.uid, self.gid) = (uid, gid);
        (self.user, self.group) = (user.to_owned(), group.to_owned());
        self
    }

    /// The same, last changed at another time.
    #[must_use]
    pub const fn mtime(mut self, secs: i64) -> Self {
        self.mtime = secs;
        self
    }

    /// The same with another mode.
    #[must_use]
    pub const fn mode(mut self, mode: u64) -> Self {
        self.mode = mode;
        self
    }

    /// The same with something in front of the name.
    #[must_use]
    pub fn prefixed(mut self, prefix: &str) -> Self {
        self.name.splice(0..0, prefix.bytes());
        self
    }

    const fn flag(&self) -> u8 {
        match self.kind {
            EntryKind::File => b'0',
            EntryKind::Hardlink => b'1',
            EntryKind::Symlink => b'2',
            EntryKind::Char => b'3',
            EntryKind::Block => b'4',
            EntryKind::Dir => b'5',
            EntryKind::Fifo => b'6',
        }
    }
}

/// A tar of these entries with the two blocks at its end.
#[must_use]
pub fn tarball(format: Format, entries: &[Entry]) -> Vec<u8> {
    let mut tar = members(format, entries);
    tar.extend_from_slice(&[0; 1024]);
    tar
}

/// The same without the end.
#[must_use]
pub fn members(format: Format, entries: &[Entry]) -> Vec<u8> {
    let mut tar = Vec::new();
    for entry in entries {
        append(&mut tar, format, entry);
    }
    tar
}

/// The same as upstream's suite makes its inputs: 100 more zero bytes follow.
#[must_use]
pub fn suite_tarball(format: Format, entries: &[Entry]) -> Vec<u8> {
    let mut tar = tarball(format, entries);
    tar.extend_from_slice(&[0; 100]);
    tar
}

fn append(tar: &mut Vec<u8>, format: Format, entry: &Entry) {
    // Attributes exist in PAX only; as in upstream's helper they force it.
    let format = if entry.xattrs.is_empty() { format } else { Format::Pax };
    let mut block = [0_u8; 512];
    let mut records = BTreeMap::<Vec<u8>, Vec<u8>>::new();
    match format {
        Format::Ustar | Format::Pax => {
            match split_name(&entry.name) {
                Some((prefix, name)) => {
                    put(&mut block, 0, name);
                    put(&mut block, 345, prefix);
                }
                None if format == Format::Pax => {
                    records.insert(b"path".to_vec(), entry.name.clone());
                    put(&mut block, 0, &entry.name[..entry.name.len().min(100)]);
                }
                None => panic!("`{}` does not fit USTAR", entry.name.escape_ascii()),
            }
            if entry.target.len() > 100 || !entry.target.is_ascii() {
                assert_eq!(format, Format::Pax, "a long link target does not fit USTAR");
                records.insert(b"linkpath".to_vec(), entry.target.clone());
            }
            put(&mut block, 257, b"ustar\x0000");
        }
        Format::Gnu => {
            put(&mut block, 0, &entry.name[..entry.name.len().min(100)]);
            put(&mut block, 257, b"ustar  \0");
            for (flag, value) in [(b'K', &entry.target), (b'L', &entry.name)] {
                if value.len() > 100 {
                    tar.extend_from_slice(&extension(flag, &[value.as_slice(), &[0]].concat()));
                }
            }
        }
    }
    put(&mut block, 157, &entry.target[..entry.target.len().min(100)]);
    octal(&mut block, 100, 8, entry.mode);
    for (at, width, value, key) in
        [(108, 8, entry.uid, "uid"), (116, 8, entry.gid, "gid"), (136, 12, entry.mtime, "mtime")]
    {
        if value >= 0 && (value as u64) < 1 << (3 * (width - 1)) {
            octal(&mut block, at, width, value as u64);
        } else if format == Format::Gnu {
            base256(&mut block, at, width, value);
        } else {
            assert_eq!(format, Format::Pax, "{key} {value} does not fit USTAR");
            octal(&mut block, at, width, 0);
            records.insert(key.into(), value.to_string().into_bytes());
        }
    }
    if entry.nanos != 0 && format == Format::Pax {
        let fraction = format!("{:09}", entry.nanos);
        records.insert(b"mtime".to_vec(), format!("{}.{}", entry.mtime, fraction.trim_end_matches('0')).into_bytes());
    }
    octal(&mut block, 124, 12, if entry.kind == EntryKind::File { entry.content.len() as u64 } else { 0 });
    block[156] = entry.flag();
    for (at, key, name) in [(265, "uname", &entry.user), (297, "gname", &entry.group)] {
        if format == Format::Pax && (name.len() > 32 || !name.is_ascii()) {
            records.insert(key.into(), name.clone().into_bytes());
        } else {
            put(&mut block, at, &name.as_bytes()[..name.len().min(32)]);
        }
    }
    octal(&mut block, 329, 8, u64::from(entry.device.0));
    octal(&mut block, 337, 8, u64::from(entry.device.1));
    for (name, value) in &entry.xattrs {
        records.insert(format!("SCHILY.xattr.{name}").into_bytes(), value.clone());
    }
    if !records.is_empty() {
        let records: Vec<(&[u8], &[u8])> =
            records.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect();
        tar.extend_from_slice(&pax(&records));
    }
    checksum(&mut block);
    tar.extend_from_slice(&block);
    if entry.kind == EntryKind::File {
        tar.extend_from_slice(&entry.content);
        pad(tar);
    }
}

/// An extension header with its body: PAX for `x` and `g`, GNU for `L` and `K`.
#[must_use]
pub fn extension(flag: u8, body: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 512];
    let (name, magic): (&[u8], &[u8]) = match flag {
        b'L' | b'K' => (b"././@LongLink", b"ustar  \0"),
        _ => (b"PaxHeaders.0/entry", b"ustar\x0000"),
    };
    put(&mut block, 0, name);
    put(&mut block, 257, magic);
    for at in [100, 108, 116] {
        octal(&mut block, at, 8, 0);
    }
    octal(&mut block, 136, 12, 0);
    octal(&mut block, 124, 12, body.len() as u64);
    block[156] = flag;
    checksum(&mut block);
    let mut tar = block.to_vec();
    tar.extend_from_slice(body);
    pad(&mut tar);
    tar
}

/// A PAX header for the next entry, with these records in this order.
#[must_use]
pub fn pax(records: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        record(&mut body, key, value);
    }
    extension(b'x', &body)
}

/// One PAX record: its own length, key and value.
pub fn record(body: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    body.extend_from_slice(len.to_string().as_bytes());
    body.push(b' ');
    body.extend_from_slice(key);
    body.push(b'=');
    body.extend_from_slice(value);
    body.push(b'\n');
}

/// Prefix and name of a USTAR header, if the path can be split into them.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if !name.is_ascii() {
        return None;
    }
    if name.len() <= 100 {
        return Some((b"", name));
    }
    let last = name.len().min(156);
    let at = name[..last - usize::from(name[last - 1] == b'/')].iter().rposition(|&byte| byte == b'/')?;
    let (prefix, rest) = (&name[..at], &name[at + 1..]);
    (!prefix.is_empty() && prefix.len() <= 155 && !rest.is_empty() && rest.len() <= 100).then_some((prefix, rest))
}

/// A USTAR header of a regular file, for makers of large inputs.
#[must_use]
pub fn file_header(name: &str, size: u64, mtime: i64) -> [u8; 512] {
    let mut block = [0_u8; 512];
    put(&mut block, 0, name.as_bytes());
    octal(&mut block, 100, 8, 0o644);
    octal(&mut block, 108, 8, 0);
    octal(&mut block, 116, 8, 0);
    octal(&mut block, 124, 12, size);
    octal(&mut block, 136, 12, mtime as u64);
    block[156] = b'0';
    put(&mut block, 257, b"ustar\x0000");
    octal(&mut block, 329, 8, 0);
    octal(&mut block, 337, 8, 0);
    checksum(&mut block);
    block
}

/// A USTAR header of an empty file `a`, changed by `edit`, with a checksum that fits.
pub fn block(edit: impl FnOnce(&mut [u8; 512])) -> Vec<u8> {
    let mut block = file_header("a", 0, 0);
    edit(&mut block);
    checksum(&mut block);
    block.to_vec()
}

/// The same in GNU format.
pub fn gnu(edit: impl FnOnce(&mut [u8; 512])) -> Vec<u8> {
    block(|block| {
        put(block, 257, b"ustar  \0");
        edit(block);
    })
}

/// A member with a body: a USTAR header of the kind that `flag` says, and the padded body.
#[must_use]
pub fn member(flag: u8, name: &str, body: &[u8]) -> Vec<u8> {
    [block(|block| describe(block, flag, name, body)), padded(body)].concat()
}

/// The same in GNU format.
#[must_use]
pub fn gnu_member(flag: u8, name: &str, body: &[u8]) -> Vec<u8> {
    [gnu(|block| describe(block, flag, name, body)), padded(body)].concat()
}

/// A sparse file of `size` bytes in GNU's PAX format 1.0: regions (offset, content), and zeros elsewhere.
#[must_use]
pub fn sparse_file(name: &str, size: u64, regions: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut map = format!("{}\n", regions.len());
    for (at, content) in regions {
        map.push_str(&format!("{at}\n{}\n", content.len()));
    }
    let mut body = padded(map.as_bytes());
    for (_, content) in regions {
        body.extend_from_slice(content);
    }
    let size = size.to_string();
    let records: [(&[u8], &[u8]); 4] = [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", name.as_bytes()),
        (b"GNU.sparse.realsize", size.as_bytes()),
    ];
    [pax(&records), member(b'0', "GNUSparseFile.0/file", &body)].concat()
}

fn describe(block: &mut [u8; 512], flag: u8, name: &str, body: &[u8]) {
    put(block, 0, name);
    octal(block, 124, 12, body.len() as u64);
    block[156] = flag;
}

/// A body with zero bytes up to the next block.
#[must_use]
pub fn padded(body: &[u8]) -> Vec<u8> {
    let mut bytes = body.to_vec();
    pad(&mut bytes);
    bytes
}

/// Puts bytes into a block.
pub fn put(block: &mut [u8; 512], at: usize, bytes: impl AsRef<[u8]>) {
    let bytes = bytes.as_ref();
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Octal digits that fill the field, and a NUL.
pub fn octal(block: &mut [u8; 512], at: usize, width: usize, value: u64) {
    let digits = format!("{value:0width$o}", width = width - 1);
    assert!(digits.len() < width, "{value} does not fit {width} bytes");
    put(block, at, digits.as_bytes());
    block[at + width - 1] = 0;
}

/// A number in GNU's base-256, which fills the field.
pub fn base256(block: &mut [u8; 512], at: usize, width: usize, value: i64) {
    let mut rest = value;
    for index in (at..at + width).rev() {
        block[index] = rest as u8;
        rest >>= 8;
    }
    block[at] |= 0x80;
}

/// Writes the checksum of a header as 6 digits, NUL, space.
pub fn checksum(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    put(block, 148, format!("{sum:06o}\0 ").as_bytes());
}

/// Zero bytes up to the next block.
pub fn pad(tar: &mut Vec<u8>) {
    tar.resize(tar.len().next_multiple_of(512), 0);
}
