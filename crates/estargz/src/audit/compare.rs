//! The fields of an entry, as the TOC and as the tar have them.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use dunnage_tree::{
    Mtime,
    tar::{EntryType, Header},
};

use super::Report;
use crate::{
    footer::Format,
    toc::{TocEntry, TocType, format_modtime, format_time, parse_modtime, parse_time},
};

/// The names last given to ids, in both. A TOC mentions a name only where it changes, and so must be read that way.
#[derive(Debug, Default)]
pub(super) struct Owners {
    users: [HashMap<i64, String>; 2],
    groups: [HashMap<i64, String>; 2],
}

/// The name that holds for `id` once `name` was said about it.
fn holds<'m>(names: &'m mut HashMap<i64, String>, id: i64, name: &str) -> &'m str {
    let known = names.entry(id).or_default();
    if !name.is_empty() {
        name.clone_into(known);
    }
    known
}

/// Compares everything but content and places; whether the two are about the same file at all.
pub(super) fn fields(
    toc: &TocEntry,
    tar: &Header,
    owners: &mut Owners,
    format: Format,
    report: &mut Report<'_>,
) -> bool {
    let name = text(&tar.name);
    if toc.name != name {
        report("name", format!("`{}`", toc.name), format!("`{name}`"));
        return false;
    }
    let kind = kind_of(tar.entry);
    if kind != Some(toc.kind) {
        let tar = kind.map_or_else(|| format!("{:?}", tar.entry), |kind| kind.as_str().to_owned());
        report("type", toc.kind.as_str().to_owned(), tar);
        return false;
    }
    let mut both = Both(report);
    // That form describes headers in full, whatever the entry is.
    let in_full = format == Format::StorageChunked;
    if toc.kind == TocType::Reg {
        both.compare("size", toc.size, tar.size);
    }
    both.compare("mode", Octal(toc.mode), Octal(tar.mode));
    both.compare("uid", toc.uid, tar.uid);
    both.compare("gid", toc.gid, tar.gid);
    if in_full || matches!(toc.kind, TocType::Symlink | TocType::Hardlink) {
        both.compare("link target", toc.link_name.clone(), text(&tar.link));
    }
    if in_full || matches!(toc.kind, TocType::Char | TocType::Block) {
        both.compare("device", Device(toc.dev_major, toc.dev_minor), Device(tar.device.0, tar.device.1));
    }
    if in_full {
        for (what, toc, tar) in [
            ("time", &toc.modtime, tar.mtime),
            ("time of last access", &toc.access_time, tar.atime),
            ("time of last status change", &toc.change_time, tar.ctime),
        ] {
            both.compare(what, Time(parse_time(toc)), Time(tar));
        }
    } else {
        // Rounded by one writer and cut off by another; second 0 is the same as none. What lies in second 0 has no time in the
        // TOC, and its header, written anew, may be rounded up to second 1.
        let said = parse_modtime(&toc.modtime).unwrap_or(0);
        let rounded = parse_modtime(&format_modtime(tar.mtime)).unwrap_or(0);
        let cut = tar.mtime.map_or(0, |mtime| mtime.secs);
        let is_rounded_up = toc.modtime.is_empty() && tar.mtime == Some(Mtime { secs: 1, nanos: 0 });
        if said != rounded && said != cut && !is_rounded_up {
            both.compare("time", said, rounded);
        }
    }
    let attributes: BTreeMap<_, _> = tar.xattrs().map(|(name, value)| (text(name), value.to_vec())).collect();
    both.compare("attributes", Attributes(&toc.xattrs), Attributes(&attributes));
    // That form has no names of owners.
    if !in_full {
        let ([toc_users, tar_users], [toc_groups, tar_groups]) = (&mut owners.users, &mut owners.groups);
        let (user, group) = (text(&tar.user), text(&tar.group));
        both.compare("user", holds(toc_users, toc.uid, &toc.user_name), holds(tar_users, tar.uid, &user));
        both.compare("group", holds(toc_groups, toc.gid, &toc.group_name), holds(tar_groups, tar.gid, &group));
    }
    toc.kind != TocType::Reg || toc.size == tar.size
}

/// Bytes of the tar as a TOC would hold them.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

struct Both<'a, 'r>(&'a mut Report<'r>);

impl Both<'_, '_> {
    fn compare<T: PartialEq + fmt::Display>(&mut self, what: &'static str, toc: T, tar: T) {
        if toc != tar {
            (self.0)(what, toc.to_string(), tar.to_string());
        }
    }
}

fn kind_of(entry: EntryType) -> Option<TocType> {
    Some(match entry {
        EntryType::File => TocType::Reg,
        EntryType::HardLink => TocType::Hardlink,
        EntryType::Symlink => TocType::Symlink,
        EntryType::CharDevice => TocType::Char,
        EntryType::BlockDevice => TocType::Block,
        EntryType::Directory => TocType::Dir,
        EntryType::Fifo => TocType::Fifo,
        EntryType::GlobalExtension | EntryType::Other(_) => return None,
    })
}

#[derive(PartialEq, Eq)]
struct Octal(i64);

impl fmt::Display for Octal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#o}", self.0)
    }
}

/// A time as exact as it is. The start of 1970 is the same as none, and so is that of the year 1, as the reference has it.
struct Time(Option<Mtime>);

impl Time {
    fn get(&self) -> Option<Mtime> {
        self.0.filter(|time| time.nanos != 0 || ![0, -62_135_596_800].contains(&time.secs))
    }
}

impl PartialEq for Time {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            None => f.write_str("none"),
            Some(time) => match format_time(time) {
                Some(text) => f.write_str(&text),
                None => write!(f, "{} seconds from 1970", time.secs),
            },
        }
    }
}

#[derive(PartialEq, Eq)]
struct Device(i64, i64);

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

#[derive(PartialEq, Eq)]
struct Attributes<'a>(&'a BTreeMap<String, Vec<u8>>);

impl fmt::Display for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (at, (name, value)) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{name}={}", value.escape_ascii())?;
        }
        Ok(())
    }
}
