//! Listings of layers as overlayfs wants them, page by page, also where the layer changes meanwhile.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]

use std::{
    borrow::Cow,
    fs,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use dunnage_digest::ReadRequest;
use dunnage_tree::{
    Attr, DirEntry, DirTree, DirVisitor, Error, NodeId, OpaqueMark, OverlayfsLayer, Tree, XattrVisitor,
};

/// A directory that counts how often it is listed from the start.
#[derive(Debug)]
struct Counted(DirTree, AtomicUsize);

impl Tree for Counted {
    fn root(&self) -> NodeId {
        self.0.root()
    }

    fn attr(&self, node: NodeId) -> Result<Attr, Error> {
        self.0.attr(node)
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>, Error> {
        self.0.lookup(dir, name)
    }

    fn read_dir(&self, dir: NodeId, from: u64, visit: DirVisitor<'_>) -> Result<(), Error> {
        self.1.fetch_add(usize::from(from == 0), Ordering::Relaxed);
        self.0.read_dir(dir, from, visit)
    }

    fn read_link(&self, node: NodeId) -> Result<Cow<'_, [u8]>, Error> {
        self.0.read_link(node)
    }

    fn xattrs(&self, node: NodeId, visit: XattrVisitor<'_>) -> Result<(), Error> {
        self.0.xattrs(node, visit)
    }

    fn read_at_for(&self, node: NodeId, at: u64, buf: &mut [u8], request: &ReadRequest<'_>) -> Result<usize, Error> {
        self.0.read_at_for(node, at, buf, request)
    }
}

fn layer(dir: &Path) -> (OverlayfsLayer, Arc<Counted>) {
    let tree = Arc::new(Counted(DirTree::open(dir).unwrap(), AtomicUsize::new(0)));
    (OverlayfsLayer::new(Arc::clone(&tree) as _, OpaqueMark::Trusted), tree)
}

/// The next `count` names of the root at most, and the offset after them.
fn page(tree: &OverlayfsLayer, from: u64, count: usize) -> (Vec<String>, u64) {
    let (mut names, mut next) = (Vec::new(), from);
    tree.read_dir(tree.root(), from, &mut |entry: DirEntry<'_>| {
        if names.len() == count {
            return ControlFlow::Break(());
        }
        names.push(String::from_utf8(entry.name.to_vec()).unwrap());
        next = entry.next;
        ControlFlow::Continue(())
    })
    .unwrap();
    (names, next)
}

/// All names from `from` on, taken by threes.
fn rest(tree: &OverlayfsLayer, mut from: u64) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let (names, next) = page(tree, from, 3);
        if names.is_empty() {
            return all;
        }
        all.extend(names);
        from = next;
    }
}

fn files(dir: &Path, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|number| format!("f{number:03}")).collect();
    for name in &names {
        fs::write(dir.join(name), "").unwrap();
    }
    names
}

#[test]
fn pages_do_not_start_over() {
    let dir = tempfile::tempdir().unwrap();
    let names = files(dir.path(), 300);
    let (tree, counted) = layer(dir.path());
    assert_eq!(rest(&tree, 0), names);
    assert_eq!(counted.1.swap(0, Ordering::Relaxed), 2, "whether there are marks, and the names");
    fs::write(dir.path().join(".wh.gone"), "").unwrap();
    assert_eq!(rest(&tree, 0).len(), 301);
    assert_eq!(counted.1.load(Ordering::Relaxed), 2, "the same for a directory with marks");
}

#[test]
fn marks_that_come_and_go_do_not_disturb_who_lists() {
    let dir = tempfile::tempdir().unwrap();
    let names = files(dir.path(), 30);
    let mark = dir.path().join(".wh.gone");
    let (tree, _) = layer(dir.path());
    let (plain, behind_plain) = page(&tree, 0, 10);
    fs::write(&mark, "").unwrap();
    fs::remove_file(dir.path().join("f000")).unwrap();
    let (marked, behind_marked) = page(&tree, 0, 10);
    fs::remove_file(&mark).unwrap();
    fs::remove_file(dir.path().join("f001")).unwrap();
    let (again, behind_again) = page(&tree, 0, 10);
    assert_eq!([plain, rest(&tree, behind_plain)].concat(), names);
    let mut shown = [marked, rest(&tree, behind_marked)].concat();
    assert_eq!(shown.pop().unwrap(), "gone");
    assert_eq!(shown, names[1..]);
    assert_eq!([again, rest(&tree, behind_again)].concat(), names[2..]);
}

#[test]
fn a_mark_that_came_later_is_never_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut names = files(dir.path(), 30);
    for early in ["-b", "-a"] {
        fs::write(dir.path().join(early), "").unwrap();
        names.insert(0, early.to_owned());
    }
    names[..2].sort();
    for number in 0..20 {
        fs::create_dir(dir.path().join(format!("z{number:02}"))).unwrap();
        names.push(format!("z{number:02}"));
    }
    let (tree, _) = layer(dir.path());
    let (first, from) = page(&tree, 0, 1);
    // So many that the first is forgotten and taken anew, with the mark.
    for name in &names[32..] {
        let other = tree.lookup(tree.root(), name.as_bytes()).unwrap().unwrap();
        tree.read_dir(other, 0, &mut |_| ControlFlow::Continue(())).unwrap();
    }
    fs::write(dir.path().join(".wh.gone"), "").unwrap();
    assert_eq!([first, rest(&tree, from)].concat(), names);
}
