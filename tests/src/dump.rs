//! A layer as one line per name: what the reference's own reader shows, taken from ours.
//!
//! The fields are those that the peer's `dump` prints. Everything comes from the tree, except the mode number, which can
//! hold more than the twelve bits a tree knows and is looked up in the TOC.

use std::{collections::BTreeMap, ops::ControlFlow};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunnage_digest::Hasher;
use dunnage_estargz::toc::{Toc, TocEntry, TocType};
use dunnage_tree::{Error, Kind, Mtime, NodeId, Tree, Walk};
use serde::{Deserialize, Serialize};

/// A time as dumps show it. Second 0 is no time there, however a table of contents spells it.
fn mtime<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    Ok(if text == "1970-01-01T00:00:00Z" { String::new() } else { text })
}

/// One name of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the fields of a TOC entry, by their names")]
pub struct Line {
    pub path: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub mode: i64,
    pub uid: i64,
    pub gid: i64,
    pub user: String,
    pub group: String,
    #[serde(deserialize_with = "mtime")]
    pub mtime: String,
    pub link: String,
    pub dev_major: i64,
    pub dev_minor: i64,
    pub size: u64,
    pub xattrs: BTreeMap<String, String>,
    pub num_link: u32,
    pub sha256: String,
}

/// Reads the lines that a peer wrote.
pub fn parse(text: &str) -> Result<Vec<Line>, serde_json::Error> {
    text.lines().map(serde_json::from_str).collect()
}

/// Every name of a layer, in bytewise order of paths.
///
/// With `content`, every file is read and hashed.
pub fn dump<T: Tree + ?Sized>(tree: &T, toc: &Toc, content: bool) -> Result<Vec<Line>, Error> {
    let mut entries = BTreeMap::<Vec<u8>, &TocEntry>::new();
    for entry in toc.entries.iter().filter(|entry| entry.kind != TocType::Chunk) {
        entries.insert(clean(entry.name.as_bytes()), entry);
    }
    let mut lines = Vec::new();
    let mut sums = BTreeMap::<NodeId, String>::new();
    let mut buf = if content { vec![0; 4 << 20] } else { Vec::new() };
    for visited in Walk::new(tree) {
        let visited = visited?;
        let (node, attr) = (visited.node, visited.attr);
        let mut entry = entries.get(&visited.path);
        for _ in 0..entries.len() {
            let Some(link) = entry.filter(|entry| entry.kind == TocType::Hardlink) else { break };
            entry = entries.get(&clean(link.link_name.as_bytes()));
        }
        let owner = tree.owner(node)?;
        let mut xattrs = BTreeMap::new();
        tree.xattrs(node, &mut |name, value| {
            xattrs.insert(String::from_utf8_lossy(name).into_owned(), STANDARD.encode(value));
            ControlFlow::Continue(())
        })?;
        let link = match attr.kind {
            Kind::Symlink => String::from_utf8_lossy(&tree.read_link(node)?).into_owned(),
            _ => String::new(),
        };
        let sha256 = match (attr.kind, sums.get(&node)) {
            (Kind::File, Some(sum)) => sum.clone(),
            (Kind::File, None) if content => {
                let sum = sum(tree, node, &mut buf)?;
                if attr.links > 1 {
                    sums.insert(node, sum.clone());
                }
                sum
            }
            _ => String::new(),
        };
        let mode = entry.map_or(i64::from(attr.mode), |entry| entry.mode);
        // The tree's mode is what the number says of permissions.
        let mode = if mode & 0o7777 == i64::from(attr.mode) { mode } else { i64::from(attr.mode) };
        lines.push(Line {
            path: String::from_utf8_lossy(&visited.path).into_owned(),
            kind: kind(attr.kind).to_owned(),
            mode,
            uid: attr.uid,
            gid: attr.gid,
            user: String::from_utf8_lossy(&owner.user).into_owned(),
            group: String::from_utf8_lossy(&owner.group).into_owned(),
            // The reference shows second 0 as no time.
            mtime: attr.mtime.filter(|mtime| *mtime != Mtime::default()).map(rfc3339).unwrap_or_default(),
            link,
            dev_major: i64::from(attr.device.0),
            dev_minor: i64::from(attr.device.1),
            size: if attr.kind == Kind::File { attr.size } else { 0 },
            xattrs,
            num_link: attr.links,
            sha256,
        });
    }
    lines.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(lines)
}

/// Digest of a file's content, as hex.
pub fn sum<T: Tree + ?Sized>(tree: &T, node: NodeId, buf: &mut [u8]) -> Result<String, Error> {
    let mut hasher = Hasher::sha256();
    let mut at = 0;
    loop {
        let got = tree.read_at(node, at, buf)?;
        if got == 0 {
            return Ok(hasher.finish().to_hex());
        }
        hasher.update(&buf[..got]);
        at += got as u64;
    }
}

/// The first line in which two dumps differ, as text.
#[must_use]
pub fn first_difference(left: &[Line], right: &[Line]) -> Option<String> {
    let show = |line: Option<&Line>| match line {
        Some(line) => serde_json::to_string(line).unwrap_or_default(),
        None => "nothing".to_owned(),
    };
    (0..left.len().max(right.len()))
        .find(|&at| left.get(at) != right.get(at))
        .map(|at| format!("{}\n  against {}", show(left.get(at)), show(right.get(at))))
}

/// What the TOC calls this sort of node.
const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "reg",
        Kind::Directory => "dir",
        Kind::Symlink => "symlink",
        Kind::CharDevice => "char",
        Kind::BlockDevice => "block",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
    }
}

/// A path without `.`, `..`, doubled, leading and trailing slashes.
#[must_use]
pub fn clean(name: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// A moment as the TOC of eStargz writes it: the nearest second, UTC.
#[must_use]
pub fn rfc3339(time: Mtime) -> String {
    // In the second 0, which counts as none, nothing is rounded.
    let secs = time.secs + i64::from(time.secs != 0 && time.nanos >= 500_000_000);
    let (days, secs) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    // Days since 0000-03-01 in eras of 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", secs / 3600, secs / 60 % 60, secs % 60)
}
