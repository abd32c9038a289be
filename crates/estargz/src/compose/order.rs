//! Which entries of a tar go into the layer, and which of them first.

use std::collections::HashMap;

use dunnage_digest::{Cancel, ReadAt};
use dunnage_tree::{
    Limits,
    tar::{self, EntryType, Format, Header},
};

use super::{Missing, is_ours};
use crate::{Error, toc::clean_name, write::Shape};

/// The fate of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Left out: replaced by a later entry of its name, or one that builds make themselves.
    Dropped,
    /// Written in its place.
    Left,
    /// Being put in front: its directories and its link target come before it.
    Visiting,
    /// Put in front.
    Picked,
}

/// The entries of a tar, by number.
#[derive(Debug, Default)]
pub(super) struct Plan {
    fates: Vec<Fate>,
    /// Where each entry starts, extension headers included.
    starts: Vec<u64>,
    /// What the entries mean when they are unpacked in order.
    shape: Shape,
    /// Hard links that are written otherwise than they stand in the tar.
    changed: HashMap<u32, Change>,
}

/// A hard link whose target is something else by the end of the tar.
#[derive(Clone, Debug)]
enum Change {
    /// It becomes the file with the content that it means, which the entry with this number has.
    Content(u32),
    /// It links to this name, which has the content.
    Link(Vec<u8>),
}

/// An entry as it is written.
#[derive(Clone, Debug)]
pub(super) struct Writing<'p> {
    /// Where the entry starts whose header and content are written.
    pub(super) start: u64,
    name: Option<&'p [u8]>,
    link: Option<&'p [u8]>,
}

impl Writing<'_> {
    /// Puts the other name or target into the header of the entry.
    pub(super) fn apply(&self, header: &mut Header) {
        for (text, with, key) in
            [(&mut header.name, self.name, b"path".as_slice()), (&mut header.link, self.link, b"linkpath")]
        {
            if let Some(with) = with {
                text.clear();
                text.extend_from_slice(with);
                // The record would win over the field.
                header.pax.remove(key);
                // USTAR may have no place for the other text; the other formats have one for every text.
                if header.format == Format::Ustar {
                    header.format = Format::Unknown;
                }
            }
        }
        if self.name.is_some() {
            header.pax.remove(b"GNU.sparse.name".as_slice());
        }
    }
}

impl Plan {
    /// Reads all headers.
    pub(super) fn scan(source: &dyn ReadAt, limits: &Limits, cancel: &Cancel) -> Result<Self, Error> {
        let mut entries = tar::Reader::over(source, limits.clone())?.keep_raw(true);
        let mut header = Header::default();
        let mut plan = Self::default();
        while entries.next_header(&mut header)? {
            cancel.check()?;
            // The bytes before the content: less than a block of padding of the entry before, then headers.
            let before = entries.position().get().saturating_sub(entries.raw().len() as u64);
            plan.starts.push(before.next_multiple_of(512));
            if is_ours(&header) || header.entry == EntryType::GlobalExtension {
                plan.fates.push(Fate::Dropped);
                plan.shape.pass();
                continue;
            }
            plan.fates.push(Fate::Left);
            if let Some(old) = plan.shape.add(&header)? {
                plan.set(old, Fate::Dropped);
            }
        }
        plan.shape.check_replaced()?;
        plan.keep_content();
        Ok(plan)
    }

    /// Finds the hard links that would lead to other content once replaced entries are left out: the first of those to one
    /// content becomes the file, and the others link to it.
    fn keep_content(&mut self) {
        let mut links: Vec<u32> = self.shape.links().filter(|&link| self.is_left(link)).collect();
        links.sort_unstable();
        let mut files: HashMap<u32, u32> = HashMap::new();
        for link in links {
            let inode = self.shape.inode(link);
            let file = if self.is_left(inode) { Some(inode) } else { files.get(&inode).copied() };
            let Some(file) = file else {
                files.insert(inode, link);
                self.changed.insert(link, Change::Content(inode));
                continue;
            };
            // The target is still a name of this content, and comes first.
            let target = self.shape.target(link).and_then(|target| self.shape.find(target));
            if !target.is_some_and(|target| target < link && self.shape.inode(target) == inode) {
                self.changed.insert(link, Change::Link(self.shape.name(file).to_vec()));
            }
        }
    }

    /// Whether the entry with this number is to be written in its place.
    pub(super) fn is_left(&self, number: u32) -> bool {
        self.fate(number) == Fate::Left
    }

    /// How an entry is written, if that is otherwise than it stands in the tar.
    pub(super) fn change(&self, number: u32) -> Option<Writing<'_>> {
        self.changed.contains_key(&number).then(|| self.writing(number))
    }

    fn writing(&self, number: u32) -> Writing<'_> {
        let start = |number: u32| usize::try_from(number).ok().and_then(|number| self.starts.get(number).copied());
        let (from, name, link) = match self.changed.get(&number) {
            None => (number, None, None),
            Some(Change::Content(inode)) => (*inode, Some(self.shape.name(number)), None),
            Some(Change::Link(target)) => (number, None, Some(target.as_slice())),
        };
        Writing { start: start(from).unwrap_or_default(), name, link }
    }

    /// The target that the layer gives a hard link; `None` for an entry that is no link in the layer.
    fn target(&self, number: u32) -> Option<&[u8]> {
        match self.changed.get(&number) {
            None => self.shape.target(number),
            Some(Change::Content(_)) => None,
            Some(Change::Link(target)) => Some(target),
        }
    }

    /// Puts files in front: how they are written, in order, and which were not found.
    pub(super) fn pick_all(
        &mut self,
        files: &[String],
        missing: Missing,
    ) -> Result<(Vec<Writing<'_>>, Vec<String>), Error> {
        let (mut picked, mut missed) = (Vec::new(), Vec::new());
        for file in files {
            let found = self.pick(clean_name(file.as_bytes()).into_owned(), &mut picked)?;
            match missing {
                _ if found => {}
                Missing::Refuse => return Err(Error::NotFound { name: file.clone() }),
                Missing::Report => missed.push(file.clone()),
            }
        }
        Ok((picked.into_iter().map(|number| self.writing(number)).collect(), missed))
    }

    /// Puts one path in front, after its directories and, for a hard link, after its target. Whether it was found.
    fn pick(&mut self, path: Vec<u8>, picked: &mut Vec<u32>) -> Result<bool, Error> {
        enum Step {
            /// Look at a path; it may be missing only if it is a directory on the way.
            Visit(Vec<u8>, bool),
            Put(u32),
        }
        let mut found = true;
        let mut steps = vec![Step::Visit(path, true)];
        while let Some(step) = steps.pop() {
            let (path, required) = match step {
                Step::Put(number) => {
                    self.set(number, Fate::Picked);
                    picked.push(number);
                    continue;
                }
                Step::Visit(path, required) => (path, required),
            };
            let number = self.shape.find(&path);
            let parent = match path.iter().rposition(|&byte| byte == b'/') {
                Some(at) => path.get(..at).unwrap_or_default().to_vec(),
                None => Vec::new(),
            };
            let is_root = path.is_empty();
            let Some(number) = number else {
                // The root needs no entry; neither do directories on the way, but their own parents may have one.
                found &= is_root || !required;
                if !is_root && !required {
                    steps.push(Step::Visit(parent, false));
                }
                continue;
            };
            match self.fate(number) {
                Fate::Picked | Fate::Dropped => continue,
                Fate::Visiting => {
                    let name = path.escape_ascii().to_string();
                    let reason = "hard links lead in a circle".to_owned();
                    return Err(Error::Inconsistent { name, reason });
                }
                Fate::Left => self.set(number, Fate::Visiting),
            }
            steps.push(Step::Put(number));
            if let Some(target) = self.target(number) {
                steps.push(Step::Visit(target.to_vec(), true));
            }
            if !is_root {
                steps.push(Step::Visit(parent, false));
            }
        }
        Ok(found)
    }

    fn fate(&self, number: u32) -> Fate {
        usize::try_from(number).ok().and_then(|number| self.fates.get(number)).copied().unwrap_or(Fate::Dropped)
    }

    fn set(&mut self, number: u32, fate: Fate) {
        if let Some(slot) = usize::try_from(number).ok().and_then(|number| self.fates.get_mut(number)) {
            *slot = fate;
        }
    }
}
