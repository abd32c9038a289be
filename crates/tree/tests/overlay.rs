//! Layers stacked by their whiteouts.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use std::{collections::BTreeMap, sync::Arc};

use dunnage_digest::Progress;
use dunnage_inputs::tarball::{Entry, Format, tarball};
use dunnage_tree::{
    Error, ExtractOptions, Follow, Kind, Limits, Overlay, Tree, Walk, compare, extract, extract_tar, resolve,
    tar::TarTree,
};

/// An archive from one line per entry: `dir/`, `file=content`, `link>target`, `hard~target`.
fn archive(lines: &[&str]) -> Vec<u8> {
    let entry = |line: &&str| {
        let entry = if let Some((name, body)) = line.split_once('=') {
            Entry::file(name, body)
        } else if let Some((name, target)) = line.split_once('>') {
            Entry::symlink(name, target)
        } else if let Some((name, target)) = line.split_once('~') {
            Entry::hardlink(name, target)
        } else {
            Entry::dir(line)
        };
        entry.mode(0o755)
    };
    tarball(Format::Pax, &lines.iter().map(entry).collect::<Vec<_>>())
}

fn stack(layers: &[&[&str]]) -> Overlay {
    let layer = |lines: &&[&str]| {
        let tree: Arc<dyn Tree> = Arc::new(TarTree::open(archive(lines), &Limits::default()).unwrap());
        tree
    };
    Overlay::new(layers.iter().map(layer).collect())
}

fn list(tree: &dyn Tree) -> Vec<String> {
    let mut lines = Vec::new();
    for visit in Walk::new(tree) {
        let visit = visit.unwrap();
        let mut line = String::from_utf8(visit.path).unwrap();
        match visit.attr.kind {
            Kind::Directory if line.is_empty() => continue,
            Kind::Directory => line.push('/'),
            Kind::Symlink => {
                line.push('>');
                line.push_str(std::str::from_utf8(&tree.read_link(visit.node).unwrap()).unwrap());
            }
            _ => {
                let mut buf = [0; 64];
                let len = tree.read_at(visit.node, 0, &mut buf).unwrap();
                line.push('=');
                line.push_str(std::str::from_utf8(&buf[..len]).unwrap());
            }
        }
        lines.push(line);
    }
    lines
}

/// Stacks the layers in two ways: as an overlay, and by unpacking one over the other.
#[track_caller]
fn check(layers: &[&[&str]], expected: &[&str]) {
    let overlay = stack(layers);
    assert_eq!(list(&overlay), expected);

    let dir = tempfile::tempdir().unwrap();
    let options = ExtractOptions {
        existing: dunnage_tree::Existing::Extend,
        whiteouts: dunnage_tree::ExtractWhiteouts::Apply,
        ..ExtractOptions::default()
    };
    for layer in layers {
        extract_tar(archive(layer).as_slice(), dir.path(), &options, Progress::none()).unwrap();
    }
    let unpacked = dunnage_tree::DirTree::open(dir.path()).unwrap();
    assert_eq!(list(&unpacked), expected, "unpacked one over the other");
}

#[test]
fn names_of_all_layers_show_and_the_topmost_wins() {
    check(&[], &[]);
    check(&[&["a=1", "d/", "d/x=1"]], &["a=1", "d/", "d/x=1"]);
    check(
        &[&["a=1", "d/", "d/x=1", "d/y=1"], &["a=2", "d/y=2", "d/z=2"], &["d/z=3", "e=3"]],
        &["a=2", "d/", "d/x=1", "d/y=2", "d/z=3", "e=3"],
    );
}

#[test]
fn a_whiteout_takes_away_what_is_below_and_nothing_beside_or_above() {
    check(&[&["a=1", "b=1"], &[".wh.a="]], &["b=1"]);
    check(&[&["a=1"], &[".wh.a="], &["a=3"]], &["a=3"]);
    check(&[&["a=1"], &["a=2", ".wh.a="]], &["a=2"]);
    check(&[&["a=1"], &[".wh.a=", "a=2"]], &["a=2"]);
    check(&[&["d/", "d/old=1"], &[".wh.d="], &["d/new=3"]], &["d/", "d/new=3"]);
    check(&[&["d/", "d/old=1"], &["d/.wh.old="]], &["d/"]);
    check(&[&["a=1"], &[".wh.none=", "a=2"]], &["a=2"]);
}

#[test]
fn an_opaque_directory_hides_all_below_it() {
    check(&[&["d/", "d/a=1", "d/s/", "d/s/b=1"], &["d/", "d/.wh..wh..opq=", "d/c=2"]], &["d/", "d/c=2"]);
    check(&[&["d/", "d/a=1"], &["d/", "d/b=2", "d/.wh..wh..opq="], &["d/c=3"]], &["d/", "d/b=2", "d/c=3"]);
    check(&[&["a=1"], &[".wh..wh..opq=", "b=2"]], &["b=2"]);
    check(&[&["d/", "d/s/", "d/s/a=1"], &["d/.wh..wh..opq=", "d/s/", "d/s/b=2"]], &["d/", "d/s/", "d/s/b=2"]);
}

#[test]
fn what_is_no_directory_ends_the_merge() {
    let layers: &[&[&str]] = &[&["d/", "d/a=1"], &[".wh.d=", "d=file"], &[".wh.d=", "d/", "d/b=3"]];
    check(layers, &["d/", "d/b=3"]);
    // Not what unpacking makes of it, where a directory that holds something is not replaced silently.
    assert_eq!(list(&stack(&[&["d/", "d/a=1"], &["d=file"]])), ["d=file"]);
    assert_eq!(list(&stack(&[&["d/", "d/a=1"], &["d>x"], &["d/", "d/b=3"]])), ["d/", "d/b=3"]);
    check(&[&["l>elsewhere"], &["l/", "l/a=2"]], &["l/", "l/a=2"]);
}

#[test]
fn bookkeeping_names_show_nowhere() {
    assert_eq!(list(&stack(&[&["a=1", ".wh..wh.plnk/", ".wh..wh.aufs=", ".wh.gone="]])), ["a=1"]);
    let overlay = stack(&[&["a=1"], &[".wh.a="]]);
    for name in [b"a".as_slice(), b".wh.a", b".wh..wh..opq", b"", b".", b".."] {
        assert_eq!(overlay.lookup(overlay.root(), name).unwrap(), None);
    }
}

#[test]
fn unsafe_whiteouts_are_refused() {
    for name in [".wh.=", ".wh..=", ".wh...="] {
        let overlay = stack(&[&["a=1"], &[name]]);
        let error = overlay.lookup(overlay.root(), b"a").unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
    }
}

#[test]
fn numbers_are_stable_and_hard_links_stay_together() {
    let overlay = stack(&[&["d/", "d/x=1", "d/y~d/x", "z=1"], &["d/", "d/x=2", "e=2", "f~e"]]);
    let mut seen = BTreeMap::new();
    for _ in 0..2 {
        for visit in Walk::new(&overlay) {
            let visit = visit.unwrap();
            assert_eq!(*seen.entry(visit.path.clone()).or_insert(visit.node), visit.node);
            assert_eq!(resolve(&overlay, &visit.path, Follow::Never).unwrap(), visit.node);
        }
    }
    assert_eq!(seen[b"e".as_slice()], seen[b"f".as_slice()]);
    assert_ne!(seen[b"d/x".as_slice()], seen[b"d/y".as_slice()], "one of the two names was replaced");
    let links = |path: &str| overlay.attr(seen[path.as_bytes()]).unwrap().links;
    assert_eq!((links(""), links("d"), links("e")), (3, 2, 2));
    assert!(matches!(overlay.attr(dunnage_tree::NodeId::new(99)), Err(Error::NoNode(99))));
    let file = seen[b"z".as_slice()];
    assert!(matches!(overlay.lookup(file, b"x"), Err(Error::WrongKind { .. })));
}

#[test]
fn listing_goes_on_where_it_stopped() {
    let overlay = stack(&[&["a=", "c=", "e="], &["b=", "d=", ".wh.c="]]);
    let (mut names, mut from) = (Vec::new(), 0);
    loop {
        let before = names.len();
        overlay
            .read_dir(overlay.root(), from, &mut |entry| {
                names.push(String::from_utf8(entry.name.to_vec()).unwrap());
                from = entry.next;
                std::ops::ControlFlow::Break(())
            })
            .unwrap();
        if names.len() == before {
            break;
        }
    }
    assert_eq!(names, ["a", "b", "d", "e"]);
}

#[test]
fn many_threads_merge_at_once() {
    let overlay = stack(&[&["a/", "a/b/", "a/b/c=1", "d/", "d/e=1"], &["a/b/f=2", "d/g=2"]]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                assert_eq!(list(&overlay), ["a/", "a/b/", "a/b/c=1", "a/b/f=2", "d/", "d/e=1", "d/g=2"]);
            });
        }
    });
}

#[test]
fn an_extracted_overlay_equals_it() {
    let overlay = stack(&[&["a=1", "d/", "d/x=1", "d/y~d/x"], &[".wh.a=", "d/z=2", "l>d"]]);
    let dir = tempfile::tempdir().unwrap();
    extract(&overlay, dir.path(), &ExtractOptions::default(), Progress::none()).unwrap();
    let options = dunnage_tree::CompareOptions {
        owners: dunnage_tree::CompareOwners::Ignore,
        ..dunnage_tree::CompareOptions::default()
    };
    assert_eq!(
        compare(&overlay, &dunnage_tree::DirTree::open(dir.path()).unwrap(), &options, Progress::none()).unwrap(),
        []
    );
}
