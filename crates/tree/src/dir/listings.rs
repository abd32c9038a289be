//! Listings of directories that change, kept for listers that come back for more.
//!
//! A lister goes on in the listing that it began with, although other listers began new ones since:
//!
//! | bits  | of an offset                                                                   |
//! |-------|--------------------------------------------------------------------------------|
//! | 0–31  | how many names of the listing lie before it                                    |
//! | 32–60 | generation of the listing: 0 at first, one more whenever the directory changed |
//!
//! So offsets of a directory that never changes are small, and stay so. A lister loses a dropped listing only if the
//! directory changed too. It then goes on in the newest listing, after the last name that it received, which is kept for
//! longer. If that name is gone too, or many listers share one listing, it goes on at the same count of names.

use std::{
    collections::{VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hashbrown::HashMap;

use crate::{DirEntry, DirVisitor, Error, Kind, NodeId};

/// The listings used last, of any number of directories.
#[derive(Default)]
pub(crate) struct Listings {
    hasher: RandomState,
    kept: Mutex<Kept>,
}

/// One name of a listing.
#[derive(Debug, Hash)]
pub(crate) struct Listed {
    pub(crate) name: Box<[u8]>,
    pub(crate) node: NodeId,
    pub(crate) kind: Kind,
}

#[derive(Default)]
struct Kept {
    newest: HashMap<NodeId, Newest>,
    /// Used last comes first.
    listings: VecDeque<(Arc<Listing>, Pages)>,
    /// Of listings that had to go; dropped last comes first.
    pages: VecDeque<Page>,
}

/// Generation and hash of the newest listing of a directory, kept when the listing itself is not.
struct Newest {
    generation: u64,
    hash: u64,
}

struct Listing {
    dir: NodeId,
    generation: u64,
    /// In bytewise order of names.
    names: Vec<Listed>,
}

/// Names that listers of one listing were given last, as places in it.
type Pages = VecDeque<Range<usize>>;

/// Names of a dropped listing. Its lister goes on after one of them.
struct Page {
    dir: NodeId,
    generation: u64,
    /// Place of the first.
    start: usize,
    names: Vec<Box<[u8]>>,
}

impl Listings {
    /// Hands the names of `dir` to `visit`, starting at the offset `from`.
    ///
    /// `list` lists the directory as it is now, in bytewise order of names.
    pub(crate) fn read(
        &self,
        dir: NodeId,
        from: u64,
        list: &dyn Fn() -> Result<Vec<Listed>, Error>,
        visit: DirVisitor<'_>,
    ) -> Result<(), Error> {
        let (listing, start) = if from == 0 { (self.put(dir, list()?), 0) } else { self.resume(dir, from, list)? };
        for (index, Listed { name, node, kind }) in listing.names.iter().enumerate().skip(start) {
            let next = listing.offset(index.saturating_add(1));
            if visit(DirEntry { name, node: *node, kind: *kind, next }).is_break() {
                self.kept().stopped(&listing, start, index);
                break;
            }
        }
        Ok(())
    }

    /// The listing to go on with, and the place in it.
    fn resume(
        &self,
        dir: NodeId,
        from: u64,
        list: &dyn Fn() -> Result<Vec<Listed>, Error>,
    ) -> Result<(Arc<Listing>, usize), Error> {
        let generation = from >> INDEX_BITS;
        let index = usize::try_from(from & INDEX).unwrap_or(usize::MAX);
        let mut kept = self.kept();
        let found = match kept.listing(dir, generation) {
            Some(listing) => Some(listing),
            // The listing was dropped. The newest one was taken later, so it has all names that were there throughout.
            None => kept.newest.get(&dir).map(|newest| newest.generation).and_then(|newest| kept.listing(dir, newest)),
        };
        let last = kept.name_before(dir, generation, index);
        drop(kept);
        let listing = match found {
            Some(listing) => listing,
            None => self.put(dir, list()?),
        };
        let start = match last {
            Some(last) if listing.generation != generation => {
                listing.names.partition_point(|listed| listed.name <= last)
            }
            _ => index,
        };
        Ok((listing, start))
    }

    /// Keeps a new listing. If it equals the newest one, offsets stay valid.
    fn put(&self, dir: NodeId, names: Vec<Listed>) -> Arc<Listing> {
        let hash = self.hasher.hash_one(&names);
        let mut kept = self.kept();
        let newest = kept.newest.entry(dir).or_insert(Newest { generation: 0, hash });
        if newest.hash != hash {
            *newest = Newest { generation: newest.generation.saturating_add(1) & GENERATION, hash };
        }
        let generation = newest.generation;
        if let Some(listing) = kept.listing(dir, generation) {
            return listing;
        }
        let listing = Arc::new(Listing { dir, generation, names });
        kept.listings.push_front((Arc::clone(&listing), Pages::new()));
        let dropped = if kept.listings.len() > LISTINGS { kept.listings.pop_back() } else { None };
        if let Some((listing, pages)) = &dropped {
            for page in pages {
                kept.leave(listing, page);
            }
        }
        drop(kept);
        // Freeing a long list takes time, so it happens outside the lock.
        drop(dropped);
        listing
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listing {
    /// Where listing goes on after the first `index` names.
    fn offset(&self, index: usize) -> u64 {
        (self.generation << INDEX_BITS) | (index as u64).min(INDEX)
    }
}

impl Kept {
    fn listing(&mut self, dir: NodeId, generation: u64) -> Option<Arc<Listing>> {
        let is_asked = |listing: &Listing| listing.dir == dir && listing.generation == generation;
        let at = self.listings.iter().position(|(listing, _)| is_asked(listing))?;
        if at > 0 {
            let found = self.listings.remove(at)?;
            self.listings.push_front(found);
        }
        self.listings.front().map(|(listing, _)| Arc::clone(listing))
    }

    /// The name before the place `index` of a listing that is gone.
    fn name_before(&self, dir: NodeId, generation: u64, index: usize) -> Option<Box<[u8]>> {
        let before = index.checked_sub(1)?;
        let mut pages = self.pages.iter().filter(|page| page.dir == dir && page.generation == generation);
        pages.find_map(|page| page.names.get(before.checked_sub(page.start)?)).cloned()
    }

    /// A lister that went on at `start` stopped at `index`.
    fn stopped(&mut self, listing: &Arc<Listing>, start: usize, index: usize) {
        // The lister may use fewer names than it received, where a buffer of its own was full, or none at all.
        let first = start.saturating_sub(1).max(index.saturating_sub(PAGE));
        let page = first..index.saturating_add(1);
        let Some((_, pages)) = self.listings.iter_mut().find(|(kept, _)| Arc::ptr_eq(kept, listing)) else {
            return self.leave(listing, &page);
        };
        // The page before it most likely belongs to the same lister.
        if let Some(last) = start.checked_sub(1) {
            pages.retain(|page| !page.contains(&last));
        }
        pages.push_front(page);
        pages.truncate(PAGES_EACH);
    }

    fn leave(&mut self, listing: &Listing, page: &Range<usize>) {
        let names = listing.names.get(page.clone()).unwrap_or_default().iter().map(|listed| listed.name.clone());
        let (dir, generation) = (listing.dir, listing.generation);
        self.pages.push_front(Page { dir, generation, start: page.start, names: names.collect() });
        self.pages.truncate(PAGES);
    }
}

const INDEX_BITS: u32 = 32;
const INDEX: u64 = 0xffff_ffff;

/// Offsets stay below 2^61: an overlay and a file server put bits and names of their own before them, and the kernel
/// takes them for signed.
const GENERATION: u64 = 0x1fff_ffff;

const LISTINGS: usize = 16;

/// As many as there are listers in the middle of large directories, and some that never come back.
const PAGES: usize = 64;

/// Listers of one listing that a page is kept for.
const PAGES_EACH: usize = 8;

/// More names than a file server is asked for at once.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    const DIR: NodeId = NodeId::new(1);

    fn listed(names: &str) -> Vec<Listed> {
        let listed = |name: &str| Listed { name: name.as_bytes().into(), node: NodeId::new(9), kind: Kind::File };
        names.split(' ').map(listed).collect()
    }

    /// The first name at `from` in a directory that has `names` now, and the offset after it.
    fn next(listings: &Listings, dir: NodeId, from: u64, names: &str) -> Option<(String, u64)> {
        let mut found = None;
        let mut visit = |entry: DirEntry<'_>| {
            found = Some((String::from_utf8_lossy(entry.name).into_owned(), entry.next));
            ControlFlow::Break(())
        };
        listings.read(dir, from, &|| Ok(listed(names)), &mut visit).unwrap();
        found
    }

    fn drop_all(listings: &Listings) {
        for number in 100..100 + LISTINGS as u64 {
            next(listings, NodeId::new(number), 0, "other");
        }
    }

    #[test]
    fn a_dropped_listing_that_is_listed_again_unchanged_is_the_same() {
        let listings = Listings::default();
        assert_eq!(next(&listings, DIR, 0, "a b c"), Some(("a".into(), 1)));
        drop_all(&listings);
        assert_eq!(next(&listings, DIR, 1, "a b c"), Some(("b".into(), 2)));
        drop_all(&listings);
        assert_eq!(next(&listings, DIR, 0, "a b c"), Some(("a".into(), 1)));
        assert_eq!(next(&listings, DIR, 0, "b c"), Some(("b".into(), (1 << 32) + 1)));
        assert_eq!(next(&listings, DIR, 2, "b c"), Some(("c".into(), 3)), "that of the first is still there");
    }

    #[test]
    fn the_last_name_outlives_its_listing_and_its_directory_entry() {
        let listings = Listings::default();
        let (_, from) = next(&listings, DIR, 0, "a c e g").unwrap();
        let (_, from) = next(&listings, DIR, from, "").unwrap();
        drop_all(&listings);
        let (name, from) = next(&listings, DIR, from, "b d e f g").unwrap();
        assert_eq!((name.as_str(), from), ("d", (1 << 32) + 2));
        drop_all(&listings);
        assert_eq!(next(&listings, DIR, from, "d g").unwrap().0, "g");
    }

    #[test]
    fn generations_begin_anew_after_the_last() {
        let listings = Listings::default();
        listings.kept().newest.insert(DIR, Newest { generation: GENERATION, hash: 0 });
        assert_eq!(next(&listings, DIR, 0, "a"), Some(("a".into(), 1)));
        let last = Listing { dir: DIR, generation: GENERATION, names: Vec::new() };
        assert!(last.offset(usize::MAX) < 1 << 61);
    }
}
