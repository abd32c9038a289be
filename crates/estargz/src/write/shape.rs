//! Checks that the entries of a layer are a tree. No reader opens a layer whose entries are none, so none is written.

use std::collections::HashMap;

use dunnage_tree::tar::{EntryType, Header};

use super::NameSet;
use crate::{Error, toc::clean_name};

/// The names of a layer and the kind of each.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Cleaned names by the number of their entry.
    names: NameSet,
    kinds: Vec<Kind>,
    /// Targets of hard links, cleaned, by the number of the link.
    links: HashMap<u32, Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    HardLink,
    Other,
}

impl Shape {
    /// Adds an entry. Whether its name was there before.
    pub(super) fn add(&mut self, header: &Header) -> Result<bool, Error> {
        let name = clean_name(&header.name);
        let kind = match header.entry {
            EntryType::GlobalExtension => return Ok(false),
            EntryType::Directory => Kind::Directory,
            EntryType::HardLink => Kind::HardLink,
            _ => Kind::Other,
        };
        if name.is_empty() && kind != Kind::Directory {
            return Err(refused(&header.name, "the root is no directory".to_owned()));
        }
        let (major, minor) = header.device;
        let is_device = matches!(header.entry, EntryType::CharDevice | EntryType::BlockDevice);
        if is_device && (u32::try_from(major).is_err() || u32::try_from(minor).is_err()) {
            return Err(refused(&header.name, format!("device {major}:{minor}, which does not fit into 32 bits each")));
        }
        if kind == Kind::HardLink {
            self.links.insert(self.number(), clean_name(&header.link).into_owned());
        }
        self.kinds.push(kind);
        Ok(self.names.insert(&name).is_some())
    }

    /// Whether each entry lies in directories only, and each hard link leads to a file.
    pub(super) fn check(&self) -> Result<(), Error> {
        // By which link each link was reached first.
        let mut reached: HashMap<u32, u32> = HashMap::new();
        for number in 0..self.number() {
            let name = self.names.name(number);
            // A later entry may have taken the name.
            if self.names.get(name) != Some(number) {
                continue;
            }
            if self.parent(name).is_some_and(|parent| self.kind(parent) != Some(Kind::Directory)) {
                return Err(refused(name, "it lies in something that is no directory".to_owned()));
            }
            if self.kind(number) == Some(Kind::HardLink) {
                self.follow(number, &mut reached)?;
            }
        }
        Ok(())
    }

    /// Follows a hard link to a file, or to a link that was followed before.
    fn follow(&self, link: u32, reached: &mut HashMap<u32, u32>) -> Result<(), Error> {
        let mut at = link;
        loop {
            match *reached.entry(at).or_insert(link) {
                first if first != link => return Ok(()),
                _ => {}
            }
            let target = self.links.get(&at).map(Vec::as_slice).unwrap_or_default();
            let shown = || dunnage_tree::display_name(target);
            let Some(next) = self.names.get(target) else {
                return Err(refused(self.names.name(at), format!("hard link to `{}`, which is not there", shown())));
            };
            match self.kind(next) {
                Some(Kind::HardLink) if reached.get(&next) == Some(&link) => {
                    return Err(refused(self.names.name(link), "hard links lead in a circle".to_owned()));
                }
                Some(Kind::HardLink) => at = next,
                Some(Kind::Directory) => {
                    return Err(refused(self.names.name(at), format!("hard link to `{}`, a directory", shown())));
                }
                _ => return Ok(()),
            }
        }
    }

    /// The nearest entry on the way to a name; directories need none.
    fn parent(&self, name: &[u8]) -> Option<u32> {
        let mut path = name;
        while let Some(at) = memchr::memrchr(b'/', path) {
            path = path.get(..at).unwrap_or_default();
            if let Some(number) = self.names.get(path) {
                return Some(number);
            }
        }
        None
    }

    fn kind(&self, number: u32) -> Option<Kind> {
        usize::try_from(number).ok().and_then(|number| self.kinds.get(number)).copied()
    }

    /// The number of the next entry.
    fn number(&self) -> u32 {
        u32::try_from(self.names.len()).unwrap_or(u32::MAX)
    }
}

fn refused(name: &[u8], reason: String) -> Error {
    Error::Unsupported { name: name.escape_ascii().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, entry: EntryType, link: &str) -> Header {
        Header { name: name.into(), entry, link: link.into(), ..Header::default() }
    }

    fn checked(entries: &[Header]) -> Result<(), String> {
        let mut shape = Shape::default();
        let added = entries.iter().try_for_each(|entry| shape.add(entry).map(drop));
        added.and_then(|()| shape.check()).map_err(|error| error.to_string())
    }

    #[test]
    fn links_may_lead_over_others_to_a_file_that_comes_later() {
        let chain = (0..1000).map(|n| entry(&format!("l{n}"), EntryType::HardLink, &format!("./l{}", n + 1)));
        let mut entries: Vec<Header> = chain.collect();
        entries.push(entry("x/../l1000", EntryType::File, ""));
        assert_eq!(checked(&entries), Ok(()));
        entries.push(entry("l1000", EntryType::HardLink, "l500"));
        assert_eq!(checked(&entries).unwrap_err(), "unsupported input entry `l0`: hard links lead in a circle");
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let (file, dir, link) = (EntryType::File, EntryType::Directory, EntryType::HardLink);
        let reason = |entries: &[Header]| checked(entries).unwrap_err().split_once(": ").unwrap().1.to_owned();
        let below = "it lies in something that is no directory";
        assert_eq!(reason(&[entry("a", file, ""), entry("a/b/c", file, "")]), below);
        assert_eq!(reason(&[entry("a", dir, ""), entry("a/b", file, ""), entry("a", file, "")]), below);
        assert_eq!(reason(&[entry("l", link, "l")]), "hard links lead in a circle");
        assert_eq!(reason(&[entry("d", dir, ""), entry("l", link, "/d/")]), "hard link to `d`, a directory");
        assert_eq!(reason(&[entry("l", link, "gone")]), "hard link to `gone`, which is not there");
        assert_eq!(reason(&[entry("./", EntryType::Symlink, "x")]), "the root is no directory");
        let device = |device| Header { device, ..entry("n", EntryType::CharDevice, "") };
        assert_eq!(reason(&[device((-1, 3))]), "device -1:3, which does not fit into 32 bits each");
        assert_eq!(checked(&[device((1, 3))]), Ok(()));
        // Only the last entry of a name counts.
        let replaced = [entry("a", file, ""), entry("a/b", file, ""), entry("a", dir, ""), entry("l", link, "gone")];
        assert_eq!(checked(&[replaced.as_slice(), &[entry("l", file, "")]].concat()), Ok(()));
    }
}
