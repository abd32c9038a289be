//! Layers under overlayfs of the kernel come out as the stack that we make ourselves.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    process::Command,
    sync::Arc,
};

use dunnage_digest::Progress;
use dunnage_tree::{
    CompareOptions, DirTree, Kind, OpaqueMark, Overlay, OverlayfsLayer, Tree, compare, fuse::MountOptions,
};
use rustix::{io::Errno, mount::UnmountFlags};

use crate::support::{Archive, is_root, mount, skip};

fn lower() -> Arc<dyn Tree> {
    let archive = Archive::default()
        .dir("kept/")
        .file("kept/a", b"lower a")
        .file("kept/gone", b"x")
        .dir("opaque/")
        .file("opaque/hidden", b"x")
        .dir("removed/")
        .file("removed/deep", b"x")
        .dir("anew/")
        .file("anew/hidden", b"x")
        .file("replaced", b"a file")
        .file("untouched", b"as it was");
    Arc::new(archive.tree())
}

fn upper() -> Arc<dyn Tree> {
    let archive = Archive::default()
        .dir("kept/")
        .file("kept/.wh.gone", b"")
        .file("kept/-early", b"sorts before the prefix")
        .file("kept/new", b"upper")
        .dir("opaque/")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/own", b"upper own")
        .file(".wh.removed", b"")
        .file(".wh.anew", b"")
        .dir("anew/")
        .file("anew/own", b"upper anew")
        .file(".wh.replaced", b"")
        .dir("replaced/")
        .file("replaced/now-a-directory", b"x")
        .file(".wh..wh.plnk", b"bookkeeping");
    Arc::new(archive.tree())
}

fn names(tree: &dyn Tree, dir: &str) -> Vec<String> {
    let node = dunnage_tree::resolve(tree, dir.as_bytes(), dunnage_tree::Follow::Never).unwrap();
    // One at a time, so that every offset is used.
    let (mut names, mut from) = (Vec::new(), 0);
    loop {
        let before = names.len();
        tree.read_dir(node, from, &mut |entry| {
            names.push(format!("{} {}", String::from_utf8_lossy(entry.name), entry.kind));
            from = entry.next;
            std::ops::ControlFlow::Break(())
        })
        .unwrap();
        if names.len() == before {
            return names;
        }
    }
}

#[test]
fn whiteouts_are_shown_as_devices_and_attributes() {
    let tree = OverlayfsLayer::new(upper(), OpaqueMark::Both);
    assert_eq!(
        names(&tree, "/"),
        ["anew directory", "kept directory", "opaque directory", "removed character device", "replaced directory"]
    );
    assert_eq!(names(&tree, "/kept"), ["-early file", "gone character device", "new file"]);
    assert_eq!(names(&tree, "/opaque"), ["own file"]);
    let find = |path: &str| dunnage_tree::resolve(&tree, path.as_bytes(), dunnage_tree::Follow::Never);
    let gone = tree.attr(find("/kept/gone").unwrap()).unwrap();
    assert_eq!((gone.kind, gone.device, gone.mode, gone.links), (Kind::CharDevice, (0, 0), 0, 1));
    assert!(find("/kept/.wh.gone").is_err() && find("/opaque/.wh..wh..opq").is_err());
    let mut replaces = 0;
    tree.xattrs(find("/anew").unwrap(), &mut |_, _| {
        replaces += 1;
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(replaces, 2, "a directory beside its own whiteout hides the directory below");
    let mut found = Vec::new();
    tree.xattrs(find("/opaque").unwrap(), &mut |name, value| {
        found.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    let opaque = |name: &str| (name.to_owned(), b"y".to_vec());
    assert_eq!(found, [opaque("trusted.overlay.opaque"), opaque("user.overlay.opaque")]);
}

#[test]
fn the_kernel_stacks_layers_as_we_do() {
    let test = "the_kernel_stacks_layers_as_we_do";
    if !is_root(test) {
        return;
    }
    let ours = Overlay::new(vec![lower(), upper()]);
    for (mark, option) in [(OpaqueMark::Trusted, ""), (OpaqueMark::User, ",userxattr")] {
        let shown = |tree| Arc::new(OverlayfsLayer::new(tree, mark));
        let Some(below) = mount(test, shown(lower()), &MountOptions::default()) else { return };
        let Some(above) = mount(test, shown(upper()), &MountOptions::default()) else { return };
        let gone = fs::symlink_metadata(above.path("removed")).unwrap();
        assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
        let merged = tempfile::tempdir().unwrap();
        let layers = format!("lowerdir={}:{}{option}", above.root().display(), below.root().display());
        let done = Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(merged.path()).output();
        let done = done.unwrap();
        if !done.status.success() {
            skip(test, &format!("no overlayfs: {}", String::from_utf8_lossy(&done.stderr).trim()));
            return;
        }
        let seen = DirTree::open(merged.path()).unwrap();
        let compared = compare(&ours, &seen, &CompareOptions::default(), Progress::none());
        drop(seen);
        let unmounted = rustix::mount::unmount(merged.path(), UnmountFlags::empty());
        assert_eq!(unmounted, Ok::<(), Errno>(()));
        let differences: Vec<String> = compared.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(differences, [""; 0], "{mark:?}");
    }
}
