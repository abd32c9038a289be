//! Generated trees: every kind of entry, and the awkward values each field can take.

use crate::{
    random::Random,
    tarball::{Entry, EntryKind, Format},
};

/// What a generated tree is like.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Number of entries; the first ones are one of each kind.
    pub entries: u64,
    /// Greatest size of a regular file; one has exactly this size.
    pub max_size: u64,
    /// What the headers will have to hold.
    pub format: Format,
    /// Extended attributes (PAX only).
    pub xattrs: bool,
    /// Names with spaces, quotes, control characters, other scripts (not in USTAR).
    pub odd_names: bool,
    /// Some names appear twice.
    pub duplicates: bool,
}

/// Letters and digits, `R` of upstream's suite.
#[must_use]
pub fn letters(seed: u64, len: usize) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = Random::new(seed);
    (0..len).map(|_| *random.pick(ALPHABET)).collect()
}

/// The entries of a tree.
#[must_use]
pub fn tree(seed: u64, spec: &Spec) -> Vec<Entry> {
    let mut maker = Maker { random: Random::new(seed), spec, dirs: vec![String::new()], files: Vec::new(), made: 0 };
    (0..spec.entries).map(|index| maker.entry(index)).collect()
}

/// Some of a tree's names, in an order that is not the archive's, to be put first.
#[must_use]
pub fn some_names(entries: &[Entry], seed: u64) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut names: Vec<String> = entries
        .iter()
        .filter_map(|entry| String::from_utf8(entry.name.clone()).ok())
        .filter(|_| random.below(5) == 0)
        .collect();
    for at in (1..names.len()).rev() {
        names.swap(at, random.below(at as u64 + 1) as usize);
    }
    names.truncate(40);
    names
}

struct Maker<'s> {
    random: Random,
    spec: &'s Spec,
    dirs: Vec<String>,
    files: Vec<String>,
    made: u64,
}

impl Maker<'_> {
    fn entry(&mut self, index: u64) -> Entry {
        self.made = index;
        let kind = if index < 11 { index } else { self.draw() };
        let mut entry = match kind {
            0 => Entry::dir(&format!("{}/", self.name())),
            2 if !self.files.is_empty() => {
                let target = self.random.pick(&self.files).clone();
                Entry::hardlink(&self.name(), &target)
            }
            3 => {
                let targets = ["../up", "/absolute", "dangling/file", "..", "plain"];
                let target = *self.random.pick(&targets);
                Entry::symlink(&self.name(), target)
            }
            4 => Entry::special(EntryKind::Char, &self.name(), 1, 3),
            5 => Entry::special(EntryKind::Block, &self.name(), 259, 65_536),
            6 => Entry::special(EntryKind::Fifo, &self.name(), 0, 0),
            7 => {
                let name = format!("implicit{index}/below/{}", self.name());
                self.file(name)
            }
            8 if self.spec.format != Format::Ustar => {
                let name = format!("{}/{}/{}", "l".repeat(90), "m".repeat(120), self.name());
                self.file(name)
            }
            9 if self.spec.duplicates && !self.files.is_empty() => {
                let name = self.random.pick(&self.files).clone();
                self.file(name)
            }
            10 => {
                let name = self.name();
                let content = self.random.mixed(self.spec.max_size as usize);
                Entry::file(&name, content)
            }
            _ => {
                let name = self.name();
                self.file(name)
            }
        };
        self.attributes(&mut entry);
        match entry.kind {
            EntryKind::Dir => self.dirs.push(String::from_utf8_lossy(&entry.name).into_owned()),
            EntryKind::File => self.files.push(String::from_utf8_lossy(&entry.name).into_owned()),
            _ => {}
        }
        entry
    }

    fn draw(&mut self) -> u64 {
        match self.random.below(100) {
            0..55 => 1,
            55..66 => 0,
            66..73 => 2,
            73..82 => 3,
            82..84 => 4,
            84..86 => 5,
            86..88 => 6,
            88..92 => 7,
            92..96 => 8,
            _ => 9,
        }
    }

    fn file(&mut self, name: String) -> Entry {
        let sizes = [0, 1, 511, 512, 513, 4095, 4096, 4097];
        let size = match self.random.below(10) {
            0..4 => self.random.below(self.spec.max_size + 1),
            _ => (*self.random.pick(&sizes)).min(self.spec.max_size),
        };
        let content = self.random.mixed(size as usize);
        Entry::file(&name, content)
    }

    /// A name that no other entry has, below some directory.
    fn name(&mut self) -> String {
        const PLAIN: &[&str] = &["file", "lib", "README", "data.bin", "a"];
        const ODD: &[&str] = &[
            "html<>&\"\\",
            "sep\u{2028}",
            "café",
            "日本語",
            "tab\tnew\nline",
            "ctl\u{1}\u{1f}\u{7f}",
            " space ",
            "-dash",
            "b\u{8}f\u{c}",
        ];
        let dir = self.random.pick(&self.dirs).clone();
        let dir = if dir.len() > 60 { String::new() } else { dir };
        let odd = self.spec.odd_names && self.spec.format != Format::Ustar && self.random.below(3) > 0;
        let stem = *self.random.pick(if odd { ODD } else { PLAIN });
        format!("{dir}{stem}.{}", self.made)
    }

    fn attributes(&mut self, entry: &mut Entry) {
        entry.mode = *self.random.pick(&[0o644, 0o600, 0o755, 0o4755, 0o2755, 0o1777, 0, 0o100_644]);
        entry.uid = *self.random.pick(&[0, 0, 1, 1000, 65_534, 2_097_151]);
        entry.gid = *self.random.pick(&[0, 0, 1, 1000, 65_534, 2_097_151]);
        entry.user = (*self.random.pick(&["", "root", "alice", "bob"])).to_owned();
        entry.group = (*self.random.pick(&["", "root", "staff"])).to_owned();
        entry.mtime = *self.random.pick(&[0, 1, 1_500_000_000, 1_700_000_000, 8_589_934_591]);
        if self.spec.format != Format::Ustar && self.random.below(8) == 0 {
            entry.mtime = *self.random.pick(&[-1, -86_400 * 365, 8_589_934_592, 253_402_300_800]);
            entry.uid = *self.random.pick(&[3_000_000, 2_147_483_646]);
        }
        if self.spec.format == Format::Pax && self.random.below(8) == 0 {
            entry.nanos = *self.random.pick(&[1, 499_999_999, 500_000_000, 123_456_789]);
        }
        if self.spec.format == Format::Pax && self.spec.xattrs && self.random.below(3) == 0 {
            entry.xattrs.insert("user.text".to_owned(), b"plain".to_vec());
            entry.xattrs.insert("user.nul".to_owned(), b"a\0b\xff\xfe".to_vec());
            if self.random.below(2) == 0 {
                entry.xattrs.insert("security.capability".to_owned(), vec![1, 0, 0, 2, 0, 32, 0, 0, 0, 0]);
            }
        }
    }
}
