//! Host directories as trees: nothing is followed, nothing is mistaken for something else.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]

use std::{
    fs,
    ops::ControlFlow,
    os::unix::fs::{FileExt, symlink},
    path::Path,
    sync::Arc,
    thread,
};

use dunnage_tree::{DirTree, Error, Follow, Kind, Limits, NodeId, Tree, Walk, resolve};
use rustix::fs::XattrFlags;

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

/// The next `count` names of the root at most, each with the offset after it.
fn page(tree: &DirTree, from: u64, count: usize) -> Vec<(String, u64)> {
    let mut names = Vec::new();
    tree.read_dir(tree.root(), from, &mut |entry| {
        // As a file server does: the name that finds no room any more is not given.
        if names.len() == count {
            return ControlFlow::Break(());
        }
        names.push((String::from_utf8(entry.name.to_vec()).unwrap(), entry.next));
        ControlFlow::Continue(())
    })
    .unwrap();
    names
}

/// A lister that stopped in the middle goes on to the end.
fn go_on(tree: &DirTree, mut listed: Vec<(String, u64)>) -> Vec<String> {
    loop {
        let more = page(tree, listed.last().map_or(0, |last| last.1), 7);
        if more.is_empty() {
            return listed.into_iter().map(|(name, _)| name).collect();
        }
        listed.extend(more);
    }
}

fn make_files(dir: &Path, names: impl IntoIterator<Item = String>) {
    for name in names {
        fs::write(dir.join(name), "").unwrap();
    }
}

#[test]
fn listers_see_what_they_began_with() {
    let dir = tempfile::tempdir().unwrap();
    make_files(dir.path(), (0..40).map(|number| format!("f{number:02}")));
    let all: Vec<String> = (0..40).map(|number| format!("f{number:02}")).collect();
    let tree = DirTree::open(dir.path()).unwrap();
    let first = page(&tree, 0, 20);
    assert_eq!(page(&tree, 0, 20), first, "nothing changed, so the offsets are the same");
    for name in &all[..5] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let second = page(&tree, 0, 20);
    make_files(dir.path(), (0..3).map(|number| format!("e{number}")));
    let third = page(&tree, 0, 20);
    // All three go on, each by its own listing.
    assert_eq!(go_on(&tree, second), all[5..]);
    assert_eq!(go_on(&tree, first), all);
    assert_eq!(go_on(&tree, third)[3..], all[5..]);
}

#[test]
fn a_listing_that_was_dropped_goes_on_behind_the_last_name() {
    let dir = tempfile::tempdir().unwrap();
    let all: Vec<String> = (0..40).map(|number| format!("f{number:02}")).collect();
    make_files(dir.path(), all.iter().cloned());
    for number in 0..30 {
        fs::create_dir(dir.path().join(format!("z{number:02}"))).unwrap();
    }
    let tree = DirTree::open(dir.path()).unwrap();
    // One lister took all that it was given; the other kept but a part, as where a buffer of its own was full.
    let whole = page(&tree, 0, 20);
    let mut part = whole.clone();
    part.truncate(11);
    let list_others = || {
        for number in 0..30 {
            let other = tree.lookup(tree.root(), format!("z{number:02}").as_bytes()).unwrap().unwrap();
            tree.read_dir(other, 0, &mut |_| ControlFlow::Continue(())).unwrap();
        }
    };
    list_others();
    for name in &all[..5] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    assert_eq!(go_on(&tree, part)[..40], all);
    assert_eq!(go_on(&tree, whole)[..40], all);
}

#[test]
fn offsets_fit_where_a_file_server_puts_them() {
    let dir = tempfile::tempdir().unwrap();
    make_files(dir.path(), ["a".to_owned(), "b".to_owned()]);
    let tree = DirTree::open(dir.path()).unwrap();
    assert_eq!(page(&tree, 0, 2), [("a".to_owned(), 1), ("b".to_owned(), 2)], "as long as nothing changes");
    make_files(dir.path(), ["c".to_owned()]);
    assert!(page(&tree, 0, 3).iter().all(|(_, next)| *next > 3 && *next < 1 << 61));
    for from in [4, 1 << 31, (7 << 32) + 9, i64::MAX as u64, u64::MAX] {
        assert_eq!(page(&tree, from, 3), [], "{from:#x}");
    }
}

#[test]
fn what_is_open_needs_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir_all(path("d/sub")).unwrap();
    for (name, content) in [("d/f", "open"), ("d/g", "open too"), ("d/new", "another"), ("d/sub/f", "deep")] {
        fs::write(path(name), content).unwrap();
    }
    rustix::fs::setxattr(path("d/f"), "user.whose", b"its own", XattrFlags::empty()).unwrap();
    let tree = DirTree::open(dir.path()).unwrap();
    let find = |name: &str| resolve(&tree, name.as_bytes(), Follow::Never).unwrap();
    let (renamed, removed, sub, deep) = (find("d/f"), find("d/g"), find("d/sub"), find("d/sub/f"));
    let read = |node| {
        let mut buf = [0; 16];
        tree.read_at(node, 0, &mut buf).map(|len| String::from_utf8_lossy(&buf[..len]).into_owned())
    };
    for node in [renamed, removed, deep] {
        read(node).unwrap();
    }
    fs::rename(path("d/new"), path("d/f")).unwrap();
    fs::remove_file(path("d/g")).unwrap();
    fs::remove_dir_all(path("d/sub")).unwrap();
    for (node, content) in [(renamed, "open"), (removed, "open too"), (deep, "deep")] {
        let attr = tree.attr(node).unwrap();
        assert_eq!((attr.kind, attr.size, attr.links), (Kind::File, content.len() as u64, 0));
        assert_eq!(read(node).unwrap(), content);
    }
    assert_eq!(tree.attr(sub).unwrap().kind, Kind::Directory);
    assert_eq!(xattrs(&tree, renamed).unwrap(), ["user.whose=its own"]);
    assert_eq!(xattrs(&tree, sub).unwrap(), [""; 0]);
    // The name leads to the other one.
    let new = find("d/f");
    assert_ne!(new, renamed);
    assert_eq!((tree.attr(new).unwrap().size, read(new).unwrap()), (7, "another".to_owned()));
}

fn xattrs(tree: &DirTree, node: NodeId) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    tree.xattrs(node, &mut |name, value| {
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        if name.starts_with("user.") || name.starts_with("trusted.") {
            found.push(format!("{name}={value}"));
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

#[test]
fn extended_attributes_are_never_those_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("sub")).unwrap();
    for name in ["file", "other"] {
        fs::write(path(name), "").unwrap();
    }
    symlink("file", path("link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for name in ["file", "other", "sub", "."] {
        rustix::fs::setxattr(path(name), "user.whose", name.as_bytes(), XattrFlags::empty()).unwrap();
    }
    let tree = DirTree::open(dir.path()).unwrap();
    let find = |name: &str| resolve(&tree, name.as_bytes(), Follow::Never).unwrap();
    for name in [".", "file", "sub"] {
        assert_eq!(xattrs(&tree, find(name)).unwrap(), [format!("user.whose={name}")]);
    }
    for name in ["link", "fifo"] {
        assert_eq!(xattrs(&tree, find(name)).unwrap(), [""; 0], "{name}");
    }
    // Only root may give a symlink attributes; they are its own then, not those of what it leads to.
    if rustix::process::geteuid().is_root()
        && rustix::fs::lsetxattr(path("link"), "trusted.whose", b"link", XattrFlags::empty()).is_ok()
    {
        assert_eq!(xattrs(&tree, find("link")).unwrap(), ["trusted.whose=link"]);
    }
    // Asking this file for its attributes has left it open. Another tree has not opened it yet.
    let file = find("file");
    let other = DirTree::open(dir.path()).unwrap();
    let unopened = resolve(&other, b"file", Follow::Never).unwrap();
    // It keeps its number, which could be given to the next one else.
    fs::hard_link(path("file"), path("aside")).unwrap();
    fs::rename(path("other"), path("file")).unwrap();
    assert_eq!(xattrs(&other, unopened).unwrap_err().to_string(), "cannot find again `file`");
    assert_eq!(xattrs(&tree, file).unwrap(), ["user.whose=file"]);
    fs::remove_file(path("file")).unwrap();
    symlink("sub", path("file")).unwrap();
    assert_eq!(xattrs(&other, unopened).unwrap_err().to_string(), "cannot find again `file`");
}

#[test]
fn holes_are_known_and_files_are_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("holes")).unwrap();
    file.set_len(16 << 20).unwrap();
    file.write_all_at(&[7; 100], 4 << 20).unwrap();
    let tree = DirTree::open(dir.path()).unwrap();
    let node = tree.lookup(tree.root(), b"holes").unwrap().unwrap();
    let data = tree.data_from(node, 0).unwrap().unwrap();
    assert!(data.start <= 4 << 20 && data.end >= (4 << 20) + 100, "{data:?}");
    for at in [data.end, 16 << 20, u64::MAX] {
        // A file system that knows no holes shows one range of data.
        assert!(tree.data_from(node, at).unwrap().is_none() || data == (0..16 << 20), "{at}");
    }
    assert_eq!(tree.read_file(node, 16 << 20).unwrap().len(), 16 << 20);
    let error = tree.read_file(node, (16 << 20) - 1).unwrap_err();
    assert!(matches!(error, Error::Limit { limit, .. } if limit == (16 << 20) - 1), "{error}");
    assert!(tree.data_from(tree.root(), 0).is_err());
    assert!(tree.usage().unwrap().bytes > 0);
    assert!(!tree.attr(tree.root()).unwrap().is_implied);
}
