//! Directories of the host: the kernel reads their files itself, and changes are seen.

use std::{fs, io::Write, sync::Arc, thread, time::Duration};

use dunnage_tree::{
    DirTree,
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
