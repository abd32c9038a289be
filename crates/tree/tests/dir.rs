//! Host directories as trees: nothing is followed, nothing is mistaken for something else.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]

use std::{fs, os::unix::fs::symlink, sync::Arc, thread};

use dunnage_tree::{DirTree, Error, Follow, Kind, Limits, NodeId, Tree, Walk, resolve};

#[test]
fn symlinks_are_nodes_and_following_them_stays_inside() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("etc/sub")).unwrap();
    fs::write(root.join("etc/passwd"), "inside").unwrap();
    fs::write(dir.path().join("secret"), "outside").unwrap();
    for (target, link) in [
        ("/etc/passwd", "absolute"),
        ("../../../../etc/passwd", "etc/up"),
        ("../secret", "leak"),
        ("loop", "loop"),
        ("etc", "dir"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    let tree = DirTree::open(&root).unwrap();
    let passwd = resolve(&tree, b"/etc/passwd", Follow::Never).unwrap();
    for path in ["absolute", "etc/up", "dir/passwd", "dir/../etc/./passwd/", "../../etc/passwd", "dir/sub/../passwd"] {
        assert_eq!(resolve(&tree, path.as_bytes(), Follow::Always).unwrap(), passwd, "{path}");
    }
    let kind = |path: &str, follow| resolve(&tree, path.as_bytes(), follow).map(|node| tree.attr(node).unwrap().kind);
    assert_eq!(kind("absolute", Follow::Parents).unwrap(), Kind::Symlink);
    assert_eq!(kind("dir/up", Follow::Parents).unwrap(), Kind::Symlink);
    assert!(matches!(kind("dir/passwd", Follow::Never), Err(Error::NotFound { .. })));
    assert!(matches!(kind("leak", Follow::Always), Err(Error::NotFound { .. })));
    assert!(matches!(kind("loop", Follow::Always), Err(Error::Limit { limit: 40, .. })));
    for name in [b"..".as_slice(), b".", b"", b"etc/passwd", b"nul\0"] {
        assert_eq!(tree.lookup(tree.root(), name).unwrap(), None);
    }
    assert!(matches!(tree.attr(NodeId::new(999)), Err(Error::NoNode(999))));
    assert!(matches!(tree.read_at(tree.root(), 0, &mut [0]), Err(Error::WrongKind { .. })));
    assert!(matches!(tree.lookup(passwd, b"x"), Err(Error::WrongKind { .. })));
}

#[test]
fn a_file_exchanged_for_another_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("d/f"), "one").unwrap();
    fs::write(dir.path().join("other"), "two").unwrap();
    let tree = DirTree::open(dir.path()).unwrap();
    let node = resolve(&tree, b"d/f", Follow::Never).unwrap();
    fs::rename(dir.path().join("other"), dir.path().join("d/f")).unwrap();
    let error = tree.read_at(node, 0, &mut [0; 3]).unwrap_err();
    assert_eq!(error.to_string(), "cannot find again `d/f`");
    fs::remove_file(dir.path().join("d/f")).unwrap();
    symlink("/etc/passwd", dir.path().join("d/f")).unwrap();
    assert!(tree.read_at(node, 0, &mut [0; 3]).is_err());
}

#[test]
fn large_directories_are_listed_whole_by_many_threads() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..5000 {
        fs::write(dir.path().join(format!("{number:05}")), number.to_string()).unwrap();
    }
    let tree = Arc::new(DirTree::open(dir.path()).unwrap());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut walk = Walk::new(&tree);
                let mut number = 0;
                walk.advance().unwrap();
                while let Some(visit) = walk.advance().unwrap() {
                    assert_eq!(visit.path, format!("{number:05}").as_bytes());
                    let (node, mut buf) = (visit.node, [0; 8]);
                    let len = tree.read_at(node, 0, &mut buf).unwrap();
                    assert_eq!(&buf[..len], number.to_string().as_bytes());
                    number += 1;
                }
                assert_eq!(number, 5000);
            });
        }
    });
    let limits = Limits { entries: 100, ..Limits::default() };
    assert_eq!(Walk::new(&tree).limits(limits).filter(Result::is_ok).count(), 100);
}

#[test]
fn depth_is_limited_and_children_can_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b/c/d")).unwrap();
    fs::create_dir(dir.path().join("z")).unwrap();
    let tree = DirTree::open(dir.path()).unwrap();
    let limits = Limits { depth: 3, ..Limits::default() };
    let error = Walk::new(&tree).limits(limits).find_map(Result::err).unwrap();
    assert_eq!(error.to_string(), "directory depth: 4 is over the limit of 3");
    let (mut walk, mut paths) = (Walk::new(&tree), Vec::new());
    while let Some(visit) = walk.advance().unwrap() {
        let path = String::from_utf8(visit.path.to_vec()).unwrap();
        if path == "a/b" {
            walk.skip_children();
        }
        paths.push(path);
    }
    assert_eq!(paths, ["", "a", "a/b", "z"]);
}
