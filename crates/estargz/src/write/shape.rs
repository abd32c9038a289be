//! What the entries of a tar mean in the order in which they come, as unpacking them would show.
//!
//! A hard link names the content that its target has at that point of the archive. A table of contents is a final state: there a
//! link means whatever has the target's name in the end. Where the two differ, no layer can say it, and none is written.
//! No reader opens a layer whose entries are no tree, so none is written either.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher,
};

use dunnage_tree::tar::{EntryType, Header};
use hashbrown::DefaultHashBuilder;

use super::name_set::NameSet;
use crate::{Error, toc::clean_name};

/// The entries of a tar so far, by number.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    /// Cleaned names by the number of their entry; the empty one for an entry that makes no node.
    names: NameSet,
    kinds: Vec<Kind>,
    /// The entry that has the content of each entry: itself, but for hard links.
    inodes: Vec<u32>,
    /// Targets of hard links, cleaned, by the number of the link.
    links: HashMap<u32, Vec<u8>>,
    /// The last entry that replaced a directory by something else, by name.
    replaced: HashMap<Vec<u8>, u32>,
    /// Directories without an entry so far, which only what lies in them implies: hashes of their names.
    implied: HashSet<u64>,
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    HardLink,
    Other,
    /// It makes no node.
    None,
}

impl Shape {
    /// Adds an entry. Returns the number of the entry whose name it takes, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for an entry that unpacking would refuse here: below something that is no directory, a hard link
    /// to nothing that is there, and the like.
    pub(crate) fn add(&mut self, header: &Header) -> Result<Option<u32>, Error> {
        let name = clean_name(&header.name);
        let number = self.len();
        let kind = match header.entry {
            EntryType::GlobalExtension => {
                self.pass();
                return Ok(None);
            }
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
        if !self.imply_parents(&name) {
            return Err(refused(&header.name, "it lies in something that is no directory".to_owned()));
        }
        if kind != Kind::Directory && self.is_implied(&name) {
            return Err(refused(&header.name, NOT_EMPTY.to_owned()));
        }
        let mut inode = number;
        if kind == Kind::HardLink {
            let target = clean_name(&header.link);
            let shown = dunnage_tree::display_name(&target);
            let wrong = |what: &str| Err(refused(&header.name, format!("hard link to `{shown}`, {what}")));
            match self.names.get(&target) {
                _ if target == name => return wrong("the entry itself"),
                None => return wrong("which is not there at this point of the archive"),
                Some(found) if self.kind(found) == Kind::Directory => return wrong("a directory"),
                Some(found) => inode = self.inode(found),
            }
            self.links.insert(number, target.into_owned());
        }
        self.kinds.push(kind);
        self.inodes.push(inode);
        let old = self.names.insert(&name);
        if old.is_some_and(|old| self.kind(old) == Kind::Directory) && kind != Kind::Directory {
            self.replaced.insert(name.into_owned(), number);
        }
        Ok(old)
    }

    /// Counts an entry that makes no node.
    pub(crate) fn pass(&mut self) {
        self.kinds.push(Kind::None);
        self.inodes.push(self.len());
        // A name that no path can have keeps the numbers in step.
        self.names.insert(b"/");
    }

    /// Whether the layer of these entries, all of them written, would show what unpacking them shows.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for the first entry that would mean something else.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.check_replaced()?;
        // The content that each link leads to by name.
        let mut known: HashMap<u32, u32> = HashMap::new();
        for number in (0..self.len()).filter(|&number| self.kind(number) == Kind::HardLink && self.is_last(number)) {
            let wanted = self.inode(number);
            if self.follow(number, &mut known) != Some(wanted) {
                let target = dunnage_tree::display_name(self.target(number).unwrap_or_default());
                let reason = format!(
                    "it is a hard link to what `{target}` was at this point of the archive, and `{target}` is something \
                     else in the end"
                );
                return Err(refused(self.names.name(number), reason));
            }
        }
        Ok(())
    }

    /// Whether no directory was replaced while something was in it.
    pub(crate) fn check_replaced(&self) -> Result<(), Error> {
        if self.replaced.is_empty() {
            return Ok(());
        }
        for number in 0..self.len() {
            let name = self.names.name(number);
            let ends = memchr::memchr_iter(b'/', name).filter(|_| self.kind(number) != Kind::None);
            for above in ends.filter_map(|end| name.get(..end)) {
                if self.replaced.get(above).is_some_and(|&replaced| number < replaced) {
                    return Err(refused(above, NOT_EMPTY.to_owned()));
                }
            }
        }
        Ok(())
    }

    /// The entry whose content a link shows to a reader that knows only names; `None` for a circle.
    fn follow(&self, link: u32, known: &mut HashMap<u32, u32>) -> Option<u32> {
        let mut way = Vec::new();
        let mut at = link;
        let end = loop {
            if let Some(&end) = known.get(&at) {
                break end;
            }
            match self.target(at) {
                None => break at,
                Some(target) => {
                    // More steps than links lead in a circle.
                    if way.len() > self.links.len() {
                        return None;
                    }
                    way.push(at);
                    at = self.names.get(target)?;
                }
            }
        };
        known.extend(way.into_iter().map(|link| (link, end)));
        Some(end)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.names.len()).unwrap_or(u32::MAX)
    }

    /// The last entry of this name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<u32> {
        self.names.get(name)
    }

    /// The name of an entry, cleaned.
    pub(crate) fn name(&self, number: u32) -> &[u8] {
        self.names.name(number)
    }

    /// The target of a hard link, cleaned; `None` for any other entry.
    pub(crate) fn target(&self, number: u32) -> Option<&[u8]> {
        self.links.get(&number).map(Vec::as_slice)
    }

    /// Hard links, in no order.
    pub(crate) fn links(&self) -> impl Iterator<Item = u32> {
        self.links.keys().copied()
    }

    /// The entry that has the content of this one.
    pub(crate) fn inode(&self, number: u32) -> u32 {
        usize::try_from(number).ok().and_then(|number| self.inodes.get(number)).copied().unwrap_or(number)
    }

    /// Whether no later entry has the name of this one.
    pub(crate) fn is_last(&self, number: u32) -> bool {
        self.names.get(self.names.name(number)) == Some(number)
    }

    /// Notes the directories above `name`. Returns whether they are directories.
    fn imply_parents(&mut self, name: &[u8]) -> bool {
        let mut path = name;
        while let Some(at) = memchr::memrchr(b'/', path) {
            path = path.get(..at).unwrap_or_default();
            if let Some(number) = self.names.get(path) {
                return self.kind(number) == Kind::Directory;
            }
            // Those above were noted with it.
            if !self.implied.insert(self.hasher.hash_one(path)) {
                return true;
            }
        }
        true
    }

    /// Whether `name` is a directory that has no entry.
    fn is_implied(&self, name: &[u8]) -> bool {
        !self.implied.is_empty() && self.implied.contains(&self.hasher.hash_one(name))
    }

    fn kind(&self, number: u32) -> Kind {
        usize::try_from(number).ok().and_then(|number| self.kinds.get(number)).copied().unwrap_or(Kind::None)
    }
}

const NOT_EMPTY: &str = "it replaces a directory that is not empty";

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
    fn links_lead_over_others_to_an_earlier_file() {
        let chain = (1..1000).map(|n| entry(&format!("l{n}"), EntryType::HardLink, &format!("./l{}", n - 1)));
        let mut entries: Vec<Header> = vec![entry("x/../l0", EntryType::File, "")];
        entries.extend(chain);
        assert_eq!(checked(&entries), Ok(()));
        // The same content by another way.
        entries.push(entry("l500", EntryType::HardLink, "l3"));
        assert_eq!(checked(&entries), Ok(()));
        entries.push(entry("l1", EntryType::File, ""));
        let error = checked(&entries).unwrap_err();
        assert!(error.starts_with("unsupported input entry `l2`: it is a hard link to what `l1` was"), "{error}");
    }

    #[test]
    fn what_a_layer_cannot_say_is_refused() {
        let (file, dir, link) = (EntryType::File, EntryType::Directory, EntryType::HardLink);
        let reason = |entries: &[Header]| checked(entries).unwrap_err().split_once(": ").unwrap().1.to_owned();
        let below = "it lies in something that is no directory";
        assert_eq!(reason(&[entry("a", file, ""), entry("a/b/c", file, "")]), below);
        assert_eq!(
            reason(&[entry("a", dir, ""), entry("a/b", file, ""), entry("a", file, "")]),
            "it replaces a directory that is not empty"
        );
        assert_eq!(reason(&[entry("l", link, "l")]), "hard link to `l`, the entry itself");
        assert_eq!(reason(&[entry("d", dir, ""), entry("l", link, "/d/")]), "hard link to `d`, a directory");
        let gone = "hard link to `gone`, which is not there at this point of the archive";
        assert_eq!(reason(&[entry("l", link, "gone")]), gone);
        assert_eq!(reason(&[entry("l", link, "gone"), entry("gone", file, "")]), gone);
        assert_eq!(reason(&[entry("./", EntryType::Symlink, "x")]), "the root is no directory");
        let device = |device| Header { device, ..entry("n", EntryType::CharDevice, "") };
        assert_eq!(reason(&[device((-1, 3))]), "device -1:3, which does not fit into 32 bits each");
        assert_eq!(checked(&[device((1, 3))]), Ok(()));
        // Links that swap.
        let swapped = [entry("a", file, ""), entry("b", link, "a"), entry("a", link, "b")];
        assert!(reason(&swapped).starts_with("it is a hard link to what `a` was"));
        // A directory may take the place of a file, and a file that of an empty directory.
        let kinds = [entry("a", file, ""), entry("a", dir, ""), entry("a/b", file, ""), entry("c", dir, "")];
        assert_eq!(checked(&[kinds.as_slice(), &[entry("c", file, "")]].concat()), Ok(()));
    }
}
