//! Files by directory: those of the root, and those that cut the payload into pieces of comparable size.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use super::{Group, GroupShare, Marks, at, figures, path};
use crate::read::index::{Index, NodeKind, ROOT, Row};

/// Groups of one division, so that a number of eight bits is enough for each row.
const MOST: usize = 200;

/// Adds what each row has to its directory, and so on up to the root. Landmarks count nowhere.
pub(super) fn fold_upwards(index: &Index, marks: &Marks, bytes: &mut [u64]) {
    for row in [marks.prefetch, marks.no_prefetch].into_iter().flatten() {
        if let Some(bytes) = bytes.get_mut(at(row)) {
            *bytes = 0;
        }
    }
    // Parents have lower numbers than their children.
    for (row, node) in index.nodes.iter().enumerate().skip(1).rev() {
        let own = bytes.get(row).copied().unwrap_or(0);
        if let Some(sum) = bytes.get_mut(at(node.parent)) {
            *sum = sum.saturating_add(own);
        }
    }
}

/// The `most` directories of the root with the most bytes, largest first.
pub(super) fn top_level(index: &Index, bytes: &[u64], most: usize) -> Vec<Row> {
    let mut heap = BinaryHeap::new();
    for row in directories_in(index, ROOT) {
        heap.push(Reverse((bytes.get(at(row)).copied().unwrap_or(0), Reverse(row))));
        if heap.len() > most.min(MOST) {
            heap.pop();
        }
    }
    heap.into_sorted_vec().into_iter().map(|Reverse((_, Reverse(row)))| row).collect()
}

/// Up to `most` directories, at any depth, each with a fair part of `whole` that is in no deeper one of them; largest
/// first.
///
/// Always the largest directory that is not chosen yet, whose parent is chosen or the root, is chosen next. What that
/// leaves of the directory around it may be little; then that one is no longer chosen, and its place is free.
pub(super) fn largest_directories(index: &Index, bytes: &[u64], whole: u64, most: usize) -> Vec<Row> {
    const TURNS: usize = 4096;
    let enough = (whole / 40).max(1);
    let size = |row: Row| bytes.get(at(row)).copied().unwrap_or(0);
    let large =
        |dir: Row| directories_in(index, dir).map(|row| (size(row), Reverse(row))).filter(move |it| it.0 >= enough);
    let mut candidates: BinaryHeap<_> = large(ROOT).collect();
    // Rows and what of them is in no deeper one.
    let mut chosen: BTreeMap<Row, u64> = BTreeMap::new();
    for _ in 0..TURNS {
        if chosen.len() >= most.min(MOST) {
            break;
        }
        let Some((own, Reverse(row))) = candidates.pop() else { break };
        candidates.extend(large(row));
        if let Some((around, left)) = enclosing(index, &chosen, row) {
            let left = left.saturating_sub(own);
            chosen.insert(around, left);
            if left < enough {
                chosen.remove(&around);
                if let Some((further, more)) = enclosing(index, &chosen, around) {
                    chosen.insert(further, more.saturating_add(left));
                }
            }
        }
        chosen.insert(row, own);
    }
    let mut rows: Vec<(Row, u64)> = chosen.into_iter().collect();
    rows.sort_by_key(|(row, left)| (Reverse(*left), *row));
    rows.into_iter().map(|(row, _)| row).collect()
}

/// The deepest chosen directory that a row lies in.
fn enclosing(index: &Index, chosen: &BTreeMap<Row, u64>, row: Row) -> Option<(Row, u64)> {
    let mut row = row;
    while row != ROOT {
        row = index.node(row)?.parent;
        if let Some(left) = chosen.get(&row) {
            return Some((row, *left));
        }
    }
    None
}

fn directories_in(index: &Index, dir: Row) -> impl Iterator<Item = Row> {
    let children = index.node(dir).map(|dir| index.children(dir)).unwrap_or_default();
    let is_dir = |row: &Row| index.node(*row).is_some_and(|node| node.kind == NodeKind::Directory);
    children.iter().copied().filter(is_dir)
}

/// Which group each row belongs to.
#[derive(Debug)]
pub(super) struct Division {
    groups: Vec<Group>,
    /// Places in `groups`.
    of: Vec<u8>,
}

impl Division {
    /// Groups for these directories, in this order, and one for all other files.
    pub(super) fn new(index: &Index, directories: &[Row]) -> Self {
        let mut rest_of = vec![false; directories.len()];
        let elsewhere = number(directories.len());
        let mut of = vec![elsewhere; index.nodes.len()];
        for (row, node) in (0..).zip(&index.nodes).skip(1) {
            let around = of.get(at(node.parent)).copied().unwrap_or(elsewhere);
            let own = match node.kind {
                NodeKind::Directory => directories.iter().position(|&directory| directory == row).map(number),
                _ => None,
            };
            if let Some(group) = of.get_mut(at(row)) {
                *group = own.unwrap_or(around);
            }
            if let Some(outer) = rest_of.get_mut(usize::from(around)).filter(|_| own.is_some()) {
                *outer = true;
            }
        }
        let named = |(&row, rest): (&Row, bool)| match rest {
            true => Group::RestOf(path(index, row)),
            false => Group::Directory(path(index, row)),
        };
        let mut groups: Vec<Group> = directories.iter().zip(rest_of).map(named).collect();
        groups.push(Group::Elsewhere);
        Self { groups, of }
    }

    /// Makes the files in the root a group of their own, before the group of all other files.
    pub(super) fn with_root_files(mut self, index: &Index) -> Self {
        let (files, elsewhere) = (number(self.groups.len().saturating_sub(1)), number(self.groups.len()));
        self.groups.insert(usize::from(files), Group::RootFiles);
        for (of, node) in self.of.iter_mut().zip(&index.nodes).filter(|(of, _)| **of == files) {
            let in_root = node.kind == NodeKind::File && node.parent == ROOT;
            *of = if in_root { files } else { elsewhere };
        }
        self
    }

    /// The group of a row, as a place in what [`shares`](Self::shares) gives.
    pub(super) fn of(&self, row: Row) -> usize {
        self.of.get(at(row)).map_or(usize::MAX, |group| usize::from(*group))
    }

    /// The bytes of each group, from the bytes of each row.
    pub(super) fn shares(self, index: &Index, stored: &[u64], marks: &Marks) -> Vec<GroupShare> {
        let share = |group| GroupShare { group, files: 0, len: 0, stored: 0 };
        let mut shares: Vec<GroupShare> = self.groups.into_iter().map(share).collect();
        for (row, node) in figures::files(index, marks) {
            let group = self.of.get(at(row)).and_then(|group| shares.get_mut(usize::from(*group)));
            let Some(share) = group else { continue };
            share.files = share.files.saturating_add(1);
            share.len = share.len.saturating_add(node.size);
            share.stored = share.stored.saturating_add(stored.get(at(row)).copied().unwrap_or(0));
        }
        shares
    }
}

/// A place in a list of groups. There are never more of them than fit.
fn number(place: usize) -> u8 {
    u8::try_from(place).unwrap_or(u8::MAX)
}
