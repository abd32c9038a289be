//! A set of paths that costs little more than their bytes.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Paths, each with the number under which it was added.
#[derive(Debug, Default)]
pub(crate) struct NameSet {
    hasher: DefaultHashBuilder,
    table: HashTable<u32>,
    /// Where each name ends in `bytes`; it starts where the one before it ends.
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl NameSet {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn name(&self, number: u32) -> &[u8] {
        name(&self.ends, &self.bytes, number)
    }

    pub(crate) fn get(&self, wanted: &[u8]) -> Option<u32> {
        self.table.find(self.hasher.hash_one(wanted), |&number| self.name(number) == wanted).copied()
    }

    /// Adds `new` under the next number. If it was there already, that number now leads to it, and the old one is returned.
    pub(crate) fn insert(&mut self, new: &[u8]) -> Option<u32> {
        let number = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        let hash = self.hasher.hash_one(new);
        let (ends, bytes, hasher) = (&self.ends, &self.bytes, &self.hasher);
        let entry = self.table.entry(
            hash,
            |&number| name(ends, bytes, number) == new,
            |&number| hasher.hash_one(name(ends, bytes, number)),
        );
        let old = match entry {
            hashbrown::hash_table::Entry::Occupied(mut entry) => Some(std::mem::replace(entry.get_mut(), number)),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                entry.insert(number);
                None
            }
        };
        self.bytes.extend_from_slice(new);
        self.ends.push(self.bytes.len());
        old
    }
}

fn name<'a>(ends: &[usize], bytes: &'a [u8], number: u32) -> &'a [u8] {
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let start = number.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied());
    let range = start.zip(ends.get(number).copied());
    range.and_then(|(start, end)| bytes.get(start..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_its_last_number() {
        let mut names = NameSet::default();
        for number in 0..1000_u32 {
            assert_eq!(names.insert(format!("dir/{}", number % 600).as_bytes()), number.checked_sub(600));
        }
        assert_eq!(names.get(b"dir/0"), Some(600));
        assert_eq!(names.get(b"dir/599"), Some(599));
        assert_eq!(names.get(b"dir/600"), None);
        assert_eq!(names.name(600), b"dir/0");
    }
}
