//! Programs see through a mount the files, attributes and names of the tree.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File},
    io::Read,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{FileExt, MetadataExt},
    },
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use dunnage_digest::Progress;
use dunnage_tree::{
    CompareMtime, CompareOptions, DirTree, Mtime, OpaqueMark, Overlay, OverlayfsLayer, Tree, compare_with,
    fuse::MountOptions,
    tar::{self, EntryType},
};
use rustix::io::Errno;

use crate::{
    made::{Made, Pieces, Reads},
    support::{Archive, is_root, mount, pattern, skip},
};

fn everything() -> Archive {
    let byte_name = |header: &mut tar::Header| header.name = b"odd/\xff\xfe \n".to_vec();
    Archive::default()
        .add("./", EntryType::Directory, |header| header.mode = 0o711, b"")
        .dir("etc/")
        .file("etc/motd", b"hello\n")
        .add("etc/hard", EntryType::HardLink, |header| header.link = b"etc/motd".to_vec(), b"")
        .add("etc/link", EntryType::Symlink, |header| (header.link, header.mode) = (b"motd".to_vec(), 0o777), b"")
        .file("big", &pattern(3_000_000))
        .file("empty", b"")
        .add("set-id", EntryType::File, |header| header.mode = 0o6755, b"#!/bin/true\n")
        .add(
            "old",
            EntryType::File,
            |header| header.mtime = Some(Mtime { secs: -1_000_000, nanos: 0 }),
            b"older than time",
        )
        .add(
            "fine",
            EntryType::File,
            |header| header.mtime = Some(Mtime { secs: 1_700_000_000, nanos: 123_456_789 }),
            b"x",
        )
        .add("tmp/", EntryType::Directory, |header| header.mode = 0o1777, b"")
        .dir("odd/")
        .add("odd/", EntryType::File, byte_name, b"a name that is not text")
        .add("fifo", EntryType::Fifo, |_| (), b"")
        .add("null", EntryType::CharDevice, |header| header.device = (1, 3), b"")
        .add("disk", EntryType::BlockDevice, |header| header.device = (259, 70_000), b"")
        .add(
            "attributes",
            EntryType::File,
            |header| {
                for (name, value) in [("user.one", b"1".as_slice()), ("user.two", &[0, 1, 2, 0xff])] {
                    header.pax.insert([tar::Header::XATTR, name.as_bytes()].concat(), value.to_vec());
                }
            },
            b"x",
        )
}

#[test]
fn a_mounted_archive_is_the_archive() {
    let test = "a_mounted_archive_is_the_archive";
    let tree: Arc<dyn Tree> = Arc::new(everything().tree());
    let Some(mounted) = mount(test, Arc::clone(&tree), &MountOptions::default()) else { return };
    let seen = DirTree::open(mounted.root()).unwrap();
    let options = CompareOptions { mtime: CompareMtime::Exact, ..CompareOptions::default() };
    let mut differences = Vec::new();
    compare_with(&*tree, &seen, &options, Progress::none(), &mut |difference| {
        differences.push(difference.to_string());
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(differences, [""; 0]);
    drop(seen);
    assert_eq!(mounted.mount.metrics().errors(), 0, "{}", mounted.mount.metrics());
}

#[test]
fn numbers_links_and_times_hold() {
    let Some(mounted) = mount("numbers_links_and_times_hold", Arc::new(everything().tree()), &MountOptions::default())
    else {
        return;
    };
    let stat = |name: &str| fs::symlink_metadata(mounted.path(name)).unwrap();
    let (motd, hard) = (stat("etc/motd"), stat("etc/hard"));
    assert_eq!((motd.ino(), motd.nlink()), (hard.ino(), 2));
    assert_eq!((stat("etc/link").len(), fs::read_link(mounted.path("etc/link")).unwrap()), (4, "motd".into()));
    assert_eq!((stat("fine").mtime(), stat("fine").mtime_nsec()), (1_700_000_000, 123_456_789));
    assert_eq!((stat("fine").atime(), stat("fine").ctime()), (1_700_000_000, 1_700_000_000));
    assert_eq!(stat("old").mtime(), -1_000_000);
    assert_eq!(stat("set-id").mode() & 0o7777, 0o6755);
    assert_eq!(stat("tmp").mode() & 0o7777, 0o1777);
    assert_eq!(stat("big").blocks(), 3_000_000_u64.div_ceil(4096) * 8);
    assert_eq!(stat("").mode() & 0o7777, 0o711);
    let odd = mounted.root().join("odd").join(OsStr::from_bytes(b"\xff\xfe \n"));
    assert_eq!(fs::read(odd).unwrap(), b"a name that is not text");
    let (space, usage) = (rustix::fs::statvfs(mounted.root()).unwrap(), everything().tree().usage().unwrap());
    assert_eq!((space.f_bsize, space.f_namemax), (4096, 255));
    assert_eq!((space.f_blocks, space.f_bfree, space.f_bavail), (usage.bytes.div_ceil(4096), 0, 0));
    assert_eq!((space.f_files, space.f_ffree), (usage.nodes, 0));
    assert!(usage.bytes > 3_000_000 && usage.nodes > 10);
}

#[test]
fn reads_are_exact_at_every_edge() {
    let content = pattern(3_000_000);
    let Some(mounted) = mount("reads_are_exact_at_every_edge", Arc::new(everything().tree()), &MountOptions::default())
    else {
        return;
    };
    let file = File::open(mounted.path("big")).unwrap();
    for at in [0, 1, 4095, 4096, 131_071, 1 << 20, 2_999_999, 3_000_000, 9_000_000] {
        for len in [1, 4096, 70_001, 1 << 20] {
            let mut buf = vec![0; len];
            let read = read_full(&file, &mut buf, at as u64);
            let wanted = &content[at.min(content.len())..(at + len).min(content.len())];
            assert_eq!(&buf[..read], wanted, "{len} bytes at {at}");
        }
    }
}

fn read_full(file: &File, buf: &mut [u8], at: u64) -> usize {
    let mut filled = 0;
    loop {
        match file.read_at(&mut buf[filled..], at + filled as u64).unwrap() {
            0 => return filled,
            read => filled += read,
        }
    }
}

#[test]
fn names_that_are_not_there_are_asked_for_once() {
    let Some(mounted) =
        mount("names_that_are_not_there_are_asked_for_once", Arc::new(everything().tree()), &MountOptions::default())
    else {
        return;
    };
    fs::metadata(mounted.path("etc")).unwrap();
    let before = mounted.mount.metrics().requests();
    for _ in 0..100 {
        assert_eq!(
            fs::metadata(mounted.path("etc/none")).unwrap_err().raw_os_error(),
            Some(Errno::NOENT.raw_os_error())
        );
    }
    assert!(mounted.mount.metrics().requests() - before < 10, "{}", mounted.mount.metrics());
}

#[test]
fn what_was_read_once_is_not_asked_for_again() {
    let Some(mounted) =
        mount("what_was_read_once_is_not_asked_for_again", Arc::new(everything().tree()), &MountOptions::default())
    else {
        return;
    };
    assert_eq!(fs::read(mounted.path("big")).unwrap(), pattern(3_000_000));
    let before = mounted.mount.metrics().requests();
    for _ in 0..100 {
        fs::read(mounted.path("big")).unwrap();
        fs::read_dir(mounted.root()).unwrap().count();
        fs::read_link(mounted.path("etc/link")).unwrap();
    }
    assert!(mounted.mount.metrics().requests() - before < 10, "{}", mounted.mount.metrics());
}

#[test]
fn attributes_come_in_both_ways_of_asking() {
    let test = "attributes_come_in_both_ways_of_asking";
    let Some(mounted) = mount(test, Arc::new(everything().tree()), &MountOptions::default()) else { return };
    let path = mounted.path("attributes");
    let mut room = [0; 64];
    assert_eq!(rustix::fs::getxattr(&path, "user.two", &mut room).unwrap(), 4);
    assert_eq!(&room[..4], [0, 1, 2, 0xff]);
    assert_eq!(rustix::fs::getxattr_query(&path, "user.two").unwrap(), 4);
    assert_eq!(rustix::fs::getxattr(&path, "user.two", &mut room[..3]), Err(Errno::RANGE));
    let errors = mounted.mount.metrics().errors();
    assert_eq!(rustix::fs::getxattr(&path, "user.none", &mut room), Err(Errno::NODATA));
    assert_eq!(mounted.mount.metrics().errors(), errors);
    assert_eq!(rustix::fs::listxattr(&path, &mut room).unwrap(), 18);
    assert_eq!(&room[..18], b"user.one\0user.two\0");
    assert_eq!(rustix::fs::listxattr(&path, &mut room[..5]), Err(Errno::RANGE));
}

#[test]
fn a_hundred_thousand_names_come_once_each() {
    let tree = Arc::new(Made { files: 100_000, size: 10, reads: Reads::Zeros });
    let Some(mounted) = mount("a_hundred_thousand_names_come_once_each", tree, &MountOptions::default()) else {
        return;
    };
    // Two threads list in turns, each in many pages, and one starts over in the middle.
    let (mut one, mut two) = (fs::read_dir(mounted.root()).unwrap(), fs::read_dir(mounted.root()).unwrap());
    let (mut first, mut second) = (HashSet::new(), HashSet::new());
    loop {
        let (a, b) = (one.next(), two.next());
        let (Some(a), Some(b)) = (a, b) else { break };
        assert!(first.insert(a.unwrap().file_name().into_vec()));
        assert!(second.insert(b.unwrap().file_name().into_vec()));
        if first.len() == 50_000 {
            assert_eq!(fs::read_dir(mounted.root()).unwrap().count(), 100_000);
        }
    }
    assert_eq!((first.len(), second.len()), (100_000, 100_000));
    assert!(first.contains(b"099999".as_slice()));
    // Node 1 of the tree is a file, and the root has another number.
    let inodes: HashSet<u64> = first
        .iter()
        .take(1000)
        .map(|name| fs::metadata(mounted.root().join(OsStr::from_bytes(name))).unwrap().ino())
        .collect();
    assert_eq!(inodes.len(), 1000);
    assert_eq!(fs::metadata(mounted.path("000001")).unwrap().len(), 10);
    assert_eq!(fs::metadata(mounted.root()).unwrap().ino(), 1);
}

#[test]
fn slow_reads_do_not_wait_for_each_other() {
    let tree = Arc::new(Made { files: 8, size: 4096, reads: Reads::After(Duration::from_millis(300)) });
    let options = MountOptions { threads: 8, ..MountOptions::default() };
    let Some(mounted) = mount("slow_reads_do_not_wait_for_each_other", tree, &options) else { return };
    let start = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = mounted.path(&format!("{number:06}"));
            scope.spawn(move || {
                let mut content = Vec::new();
                File::open(path).unwrap().read_to_end(&mut content).unwrap();
                assert_eq!(content, [0; 4096]);
            });
        }
    });
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
}

#[test]
fn options_are_in_the_mount_table() {
    let test = "options_are_in_the_mount_table";
    if !is_root(test) {
        return;
    }
    let options = MountOptions {
        name: "a, b".to_owned(),
        users: dunnage_tree::fuse::Users::Everybody,
        set_id: dunnage_tree::fuse::SetId::Honour,
        ..MountOptions::default()
    };
    let Some(mounted) = mount(test, Arc::new(everything().tree()), &options) else { return };
    let table = fs::read_to_string("/proc/mounts").unwrap();
    let line = table.lines().find(|line| line.contains(mounted.root().to_str().unwrap())).unwrap();
    assert!(line.starts_with("a,\\040b "), "{line}");
    for part in [" fuse.dunnage ro,", "nodev", "allow_other", "default_permissions"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!line.contains("nosuid"), "{line}");
}

#[test]
fn everybody_may_look_but_no_further_than_the_permissions_say() {
    let test = "everybody_may_look_but_no_further_than_the_permissions_say";
    if !is_root(test) {
        return;
    }
    let Ok(probe) = std::process::Command::new("setpriv").arg("--version").output() else {
        skip(test, "no setpriv");
        return;
    };
    assert!(probe.status.success());
    let tree = Archive::default()
        .file("open", b"for all")
        .add("closed", EntryType::File, |header| header.mode = 0o600, b"for root")
        .tree();
    let tree: Arc<dyn Tree> = Arc::new(tree);
    let as_nobody = |path: std::path::PathBuf| {
        let mut cat = std::process::Command::new("setpriv");
        cat.args(["--reuid=65534", "--regid=65534", "--clear-groups", "cat"]).arg(path);
        cat.output().unwrap().status.success()
    };
    let everybody = MountOptions { users: dunnage_tree::fuse::Users::Everybody, ..MountOptions::default() };
    for (options, open) in [(everybody, true), (MountOptions::default(), false)] {
        let Some(mounted) = mount(test, Arc::clone(&tree), &options) else { return };
        assert_eq!(as_nobody(mounted.path("open")), open, "{options:?}");
        assert!(!as_nobody(mounted.path("closed")), "{options:?}");
    }
}

#[test]
fn pieces_are_unpacked_ahead_of_who_reads_from_front_to_back() {
    const PIECE: u64 = 2 << 20;
    let made = Made { files: 2, size: 10 * PIECE + 5, reads: Reads::After(Duration::from_millis(2)) };
    let tree = Arc::new(Pieces { made, piece: PIECE, prepared: Mutex::default() });
    let options = MountOptions::default();
    let test = "pieces_are_unpacked_ahead_of_who_reads_from_front_to_back";
    let Some(mounted) = mount(test, Arc::clone(&tree) as Arc<dyn Tree>, &options) else { return };
    // Trees over it say the same.
    let overlay = Overlay::new(vec![Arc::clone(&tree) as _]);
    let shown = OverlayfsLayer::new(Arc::clone(&tree) as _, OpaqueMark::Both);
    for over in [&overlay as &dyn Tree, &shown, &Arc::clone(&tree)] {
        let file = over.lookup(over.root(), b"000001").unwrap().unwrap();
        let ends = [0, PIECE, 10 * PIECE + 4, 10 * PIECE + 5].map(|at| over.piece_end(file, at).unwrap());
        assert_eq!(ends, [Some(PIECE), Some(2 * PIECE), Some(10 * PIECE + 5), None], "{over:?}");
        assert_eq!(tree.piece_end(file, 0).unwrap(), Some(PIECE));
    }
    let prepared = || std::mem::take(&mut *tree.prepared.lock().unwrap());
    // Here and there: none.
    let file = File::open(mounted.path("000000")).unwrap();
    for at in [7, 3, 9, 0, 5] {
        file.read_exact_at(&mut [0; 4096], at * PIECE + 12_345).unwrap();
    }
    assert_eq!(prepared(), []);
    // From front to back: each piece once, a panic among them, and the content is right.
    let mut file = File::open(mounted.path("000001")).unwrap();
    let mut content = Vec::new();
    assert_eq!(file.read_to_end(&mut content).unwrap() as u64, 10 * PIECE + 5);
    assert!(content.iter().all(|&byte| byte == 0));
    let start = Instant::now();
    let metrics = mounted.mount.metrics();
    let done = || metrics.unpacked_ahead() + metrics.panics();
    while done() < tree.prepared.lock().unwrap().len() as u64 && start.elapsed().as_secs() < 10 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut pieces = prepared();
    assert_eq!(done(), pieces.len() as u64);
    assert_eq!(metrics.panics(), u64::from(pieces.contains(&(3 * PIECE))));
    pieces.sort_unstable();
    assert!(pieces.len() > 2, "{pieces:?}");
    assert!(pieces.iter().all(|at| at % PIECE == 0), "{pieces:?}");
    assert!(pieces.is_sorted_by(|a, b| a < b), "{pieces:?}");
}

#[test]
fn a_panic_about_pieces_ends_no_mount() {
    let made = Made { files: 1, size: 4 << 20, reads: Reads::Zeros };
    let tree = Arc::new(Pieces { made, piece: 0, prepared: Mutex::default() });
    // As many reads as would take all listeners.
    let options = MountOptions { threads: 2, ..MountOptions::default() };
    let Some(mounted) = mount("a_panic_about_pieces_ends_no_mount", tree, &options) else { return };
    assert_eq!(fs::read(mounted.path("000000")).unwrap(), vec![0; 4 << 20]);
    assert!(mounted.mount.metrics().panics() >= 2);
}
