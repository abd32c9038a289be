//! Directories of the host: the kernel reads their files itself, and changes are seen.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use dunnage_tree::{
    DirTree, OpaqueMark, OverlayfsLayer, Tree,
    fuse::{Content, MountOptions, Passthrough},
};

use crate::support::{is_root, mount, pattern, skip};

fn live() -> MountOptions {
    MountOptions { content: Content::Live, lifetime: Some(Duration::ZERO), ..MountOptions::default() }
}

#[test]
fn the_kernel_reads_host_files_itself() {
    let test = "the_kernel_reads_host_files_itself";
    if !is_root(test) {
        return;
    }
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("file"), pattern(5_000_000)).unwrap();
    let tree = Arc::new(DirTree::open(host.path()).unwrap());
    let Some(mounted) = mount(test, tree, &live()) else { return };
    // Open more than once, so that the backing is shared.
    let _open = fs::File::open(mounted.path("file")).unwrap();
    for _ in 0..3 {
        assert_eq!(fs::read(mounted.path("file")).unwrap(), pattern(5_000_000));
    }
    if mounted.mount.metrics().passed_through() == 0 {
        skip(test, "this kernel has no FUSE passthrough");
        return;
    }
    assert_eq!(mounted.mount.metrics().bytes(), 0);
}

#[test]
fn without_passthrough_the_same_bytes_come_through_us() {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("file"), pattern(5_000_000)).unwrap();
    let tree = Arc::new(DirTree::open(host.path()).unwrap());
    let options = MountOptions { passthrough: Passthrough::Never, ..live() };
    let Some(mounted) = mount("without_passthrough_the_same_bytes_come_through_us", tree, &options) else { return };
    assert_eq!(fs::read(mounted.path("file")).unwrap(), pattern(5_000_000));
    assert_eq!(mounted.mount.metrics().bytes(), 5_000_000);
}

#[test]
fn what_changes_in_the_directory_changes_in_the_mount() {
    let host = tempfile::tempdir().unwrap();
    let (file, new) = (host.path().join("file"), host.path().join("new"));
    fs::write(&file, "before").unwrap();
    for passthrough in [Passthrough::Live, Passthrough::Never] {
        let tree = Arc::new(DirTree::open(host.path()).unwrap());
        let options = MountOptions { passthrough, ..live() };
        let Some(mounted) = mount("what_changes_in_the_directory_changes_in_the_mount", tree, &options) else { return };
        fs::write(&file, "before").unwrap();
        assert_eq!(fs::read(mounted.path("file")).unwrap(), b"before");
        assert!(!mounted.path("new").exists());
        thread::sleep(Duration::from_millis(20));
        fs::File::options().append(true).open(&file).unwrap().write_all(b" and after").unwrap();
        fs::write(&new, "new").unwrap();
        assert_eq!(fs::read(mounted.path("file")).unwrap(), b"before and after", "{passthrough:?}");
        assert_eq!(fs::read(mounted.path("new")).unwrap(), b"new");
        fs::remove_file(&new).unwrap();
        assert!(!mounted.path("new").exists());
    }
}

#[test]
fn a_directory_that_changes_is_listed_right_through_the_kernel() {
    let host = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..3000).map(|number| format!("name-{number:06}")).collect();
    for name in &names {
        fs::write(host.path().join(name), "").unwrap();
    }
    let tree: Arc<dyn Tree> = Arc::new(DirTree::open(host.path()).unwrap());
    let layer = Arc::new(OverlayfsLayer::new(Arc::clone(&tree), OpaqueMark::Trusted));
    let test = "a_directory_that_changes_is_listed_right_through_the_kernel";
    let Some(plain) = mount(test, tree, &live()) else { return };
    let Some(shown) = mount(test, layer, &live()) else { return };
    // More than one buffer of the C library each.
    let begin = |root: &Path| {
        let mut listing = fs::read_dir(root).unwrap();
        let first: Vec<String> = listing.by_ref().take(100).map(|entry| name(entry.unwrap())).collect();
        (listing, first)
    };
    let mut listers = Vec::new();
    for (gone, next) in names.iter().enumerate().take(4) {
        listers.extend([(gone, begin(plain.root())), (gone, begin(shown.root()))]);
        fs::remove_file(host.path().join(next)).unwrap();
    }
    for (gone, (listing, mut listed)) in listers {
        listed.extend(listing.map(|entry| name(entry.unwrap())));
        assert_eq!(listed, names[gone..], "begun after {gone} were removed");
    }
}

#[test]
fn an_open_file_outlives_its_name() {
    let host = tempfile::tempdir().unwrap();
    let (file, new) = (host.path().join("file"), host.path().join("new"));
    for passthrough in [Passthrough::Live, Passthrough::Never] {
        fs::write(&file, "before").unwrap();
        let tree = Arc::new(DirTree::open(host.path()).unwrap());
        let options = MountOptions { passthrough, ..live() };
        let Some(mounted) = mount("an_open_file_outlives_its_name", tree, &options) else { return };
        let mut open = fs::File::open(mounted.path("file")).unwrap();
        let mut content = [0; 3];
        open.read_exact(&mut content).unwrap();
        // As editors save.
        fs::write(&new, "after all").unwrap();
        fs::rename(&new, &file).unwrap();
        assert_eq!(open.metadata().unwrap().len(), 6, "{passthrough:?}");
        open.read_exact(&mut content).unwrap();
        assert_eq!(&content, b"ore");
        assert_eq!(fs::read(mounted.path("file")).unwrap(), b"after all");
        fs::remove_file(&file).unwrap();
        assert_eq!(open.metadata().unwrap().len(), 6, "{passthrough:?}");
    }
}

fn name(entry: fs::DirEntry) -> String {
    entry.file_name().into_string().unwrap()
}
