//! Which entries of a tar go into the layer, and which of them first.

use std::collections::HashMap;

use dunnage_digest::{Cancel, ReadAt};
use dunnage_tree::{
    Limits,
    tar::{self, EntryType, Header},
};

use super::{Missing, is_ours};
use crate::{Error, toc::clean_name, write::NameSet};

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
    /// Cleaned names; an entry without a name of its own (a global header) has the empty one, but is dropped.
    names: NameSet,
    /// Targets of hard links, cleaned.
    links: HashMap<u32, Vec<u8>>,
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
            let number = u32::try_from(plan.names.len()).unwrap_or(u32::MAX);
            if is_ours(&header) || header.entry == EntryType::GlobalExtension {
                plan.fates.push(Fate::Dropped);
                // A name that no path can have keeps the numbers in step.
                plan.names.insert(b"/");
                continue;
            }
            plan.fates.push(Fate::Left);
            if let Some(old) = plan.names.insert(&clean_name(&header.name)) {
                plan.set(old, Fate::Dropped);
                plan.links.remove(&old);
            }
            if header.entry == EntryType::HardLink {
                plan.links.insert(number, clean_name(&header.link).into_owned());
            }
        }
        Ok(plan)
    }

    /// Whether the entry with this number is to be written in its place.
    pub(super) fn is_left(&self, number: u32) -> bool {
        self.fate(number) == Fate::Left
    }

    /// Puts files in front: where they start, in order, and which were not found.
    pub(super) fn pick_all(&mut self, files: &[String], missing: Missing) -> Result<(Vec<u64>, Vec<String>), Error> {
        let (mut picked, mut missed) = (Vec::new(), Vec::new());
        for file in files {
            let found = self.pick(clean_name(file.as_bytes()).into_owned(), &mut picked)?;
            match missing {
                _ if found => {}
                Missing::Refuse => return Err(Error::NotFound { name: file.clone() }),
                Missing::Report => missed.push(file.clone()),
            }
        }
        let start = |number: u32| usize::try_from(number).ok().and_then(|number| self.starts.get(number).copied());
        Ok((picked.into_iter().filter_map(start).collect(), missed))
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
            let number = self.names.get(&path);
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
            if let Some(target) = self.links.get(&number) {
                steps.push(Step::Visit(target.clone(), true));
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
