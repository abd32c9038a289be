//! Directory, tar, extraction: the same files come out.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "tests"
)]

use std::{
    fs::{self, File, Permissions},
    io::{Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
    process::{Command, Stdio},
};

use dunnage_digest::Progress;
use dunnage_inputs::tarball::{Entry, Format, tarball};
use dunnage_tree::{
    CompareMtime, CompareOptions, DirTree, Error, ExportMtime, ExportNanos, ExportOptions, ExportOwners, ExportRoot,
    ExtractOptions, ExtractOwners, ExtractSetId, Follow, Kind, Limits, Tree, Walk, compare, extract, extract_tar,
    resolve,
    tar::{self, EntryType, Header, TarTree},
};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

/// A directory with one of everything that needs no privilege.
fn build(at: &Path) {
    let dirs = ["empty", "a/b/c/d", "a/b.d", "sticky", "names"];
    for dir in dirs {
        fs::create_dir_all(at.join(dir)).unwrap();
    }
    fs::write(at.join("a/file"), b"hello").unwrap();
    fs::write(at.join("a/zero"), b"").unwrap();
    fs::write(at.join("a/block"), [7; 512]).unwrap();
    fs::write(at.join("a/b/c/d/deep"), vec![1; 1000]).unwrap();
    let mut big = File::create(at.join("big")).unwrap();
    for block in 0..40_u32 {
        big.write_all(&block.wrapping_mul(0x9e37_79b9).to_le_bytes().repeat(16 << 10)).unwrap();
    }
    fs::hard_link(at.join("a/file"), at.join("a/b/link")).unwrap();
    fs::hard_link(at.join("a/file"), at.join("z-link")).unwrap();
    symlink("../a/file", at.join("a/b/symlink")).unwrap();
    symlink("/nowhere/at/all", at.join("dangling")).unwrap();
    symlink("t".repeat(300), at.join("long-target")).unwrap();
    rustix::fs::mknodat(CWD, at.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    for name in ["with space", "new\nline", "uml\u{e4}ut", "-dash", ".hidden", "~", "back\\slash"] {
        fs::write(at.join("names").join(name), name).unwrap();
    }
    let long = "n".repeat(200);
    fs::create_dir_all(at.join("names").join(&long)).unwrap();
    fs::write(at.join("names").join(&long).join(&long), b"far away").unwrap();
    // Sorted by path as text, `a.txt` would come between `a` and what lies in it.
    fs::write(at.join("a.txt"), b"beside a").unwrap();
    for (name, mode) in [("a/file", 0o600), ("a/zero", 0o444), ("a/b.d", 0o700), ("sticky", 0o1777), ("a/block", 0o755)]
    {
        fs::set_permissions(at.join(name), Permissions::from_mode(mode)).unwrap();
    }
    let _ = rustix::fs::setxattr(at.join("a/file"), "user.one", b"1\0binary", XattrFlags::empty());
    let _ = rustix::fs::setxattr(at.join("a/b.d"), "user.dir", b"", XattrFlags::empty());
    let mut paths: Vec<_> = Walk::new(&DirTree::open(at).unwrap()).map(|visit| visit.unwrap().path).collect();
    paths.reverse();
    for (index, path) in (0_i64..).zip(&paths) {
        let time = Timespec { tv_sec: 1_500_000_000 + index, tv_nsec: 123_456_000 + index };
        let times = Timestamps { last_access: time, last_modification: time };
        let path = at.join(std::ffi::OsStr::from_bytes(path));
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn export(tree: &dyn Tree, options: &ExportOptions) -> Vec<u8> {
    let mut bytes = Vec::new();
    dunnage_tree::TarExport::new(tree, options.clone()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn exact() -> ExportOptions {
    ExportOptions { nanos: ExportNanos::Keep, root: ExportRoot::Include, ..ExportOptions::default() }
}

#[track_caller]
fn assert_equal(a: &dyn Tree, b: &dyn Tree, options: &CompareOptions) {
    let lines: Vec<_> = compare(a, b, options, Progress::none()).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn directory_and_tar_of_it_are_equal() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path());
    let tree = DirTree::open(dir.path()).unwrap();
    let bytes = export(&tree, &exact());
    let archive = TarTree::open(bytes, &Limits::default()).unwrap();
    assert_equal(&tree, &archive, &CompareOptions::default());
    assert_eq!(archive.len(), Walk::new(&tree).count() - 2, "two of the names are hard links");
    // Once more from the archive: the same bytes.
    assert_eq!(&export(&archive, &exact()), archive.source());
}

#[test]
fn hard_links_share_a_node() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path());
    let tree = DirTree::open(dir.path()).unwrap();
    let archive = TarTree::open(export(&tree, &exact()), &Limits::default()).unwrap();
    for tree in [&tree as &dyn Tree, &archive] {
        let node = |path: &str| resolve(tree, path.as_bytes(), Follow::Never).unwrap();
        assert_eq!(node("a/file"), node("a/b/link"));
        assert_eq!(node("/a/file"), node("z-link"));
        assert_eq!(tree.attr(node("a/file")).unwrap().links, 3);
        assert_ne!(node("a/file"), node("a/zero"));
    }
}

#[test]
fn the_same_bytes_every_time_and_for_every_buffer() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path());
    let first = export(&DirTree::open(dir.path()).unwrap(), &exact());
    let tree = DirTree::open(dir.path()).unwrap();
    // Numbers given out in another order must not show.
    for name in [b"z-link".as_slice(), b"names", b"big"] {
        tree.lookup(tree.root(), name).unwrap().unwrap();
    }
    for len in [1, 7, 511, 512, 1000, 1 << 20] {
        let mut bytes = Vec::new();
        let mut export = dunnage_tree::TarExport::new(&tree, exact());
        let mut buf = vec![0; len];
        loop {
            match export.read(&mut buf).unwrap() {
                0 => break,
                read => bytes.extend_from_slice(&buf[..read]),
            }
        }
        assert!(first == bytes, "buffers of {len} bytes");
    }
}

#[test]
fn extraction_of_a_tar_and_of_a_tree_agree() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    build(&source);
    let tree = DirTree::open(&source).unwrap();
    let bytes = export(&tree, &exact());
    let from_tar =
        extract_tar(bytes.as_slice(), dir.path().join("from-tar"), &ExtractOptions::default(), Progress::none())
            .unwrap();
    let from_tree = extract(&tree, dir.path().join("from-tree"), &ExtractOptions::default(), Progress::none()).unwrap();
    assert_eq!(from_tar, from_tree);
    assert_eq!(from_tar.hard_links, 2);
    assert_eq!(from_tar.fifos, 1);
    assert_eq!(from_tar.dropped, []);
    for name in ["from-tar", "from-tree"] {
        assert_equal(&tree, &DirTree::open(&dir.path().join(name)).unwrap(), &CompareOptions::default());
    }
}

#[test]
fn gnu_tar_lists_and_unpacks_an_export() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    build(&source);
    let tree = DirTree::open(&source).unwrap();
    // GNU headers have no place for extended attributes.
    for format in [tar::Format::Unknown, tar::Format::Pax] {
        let options = ExportOptions { format, ..ExportOptions::default() };
        let archive = dir.path().join("archive.tar");
        fs::write(&archive, export(&tree, &options)).unwrap();
        let listed = Command::new("tar").arg("tf").arg(&archive).stderr(Stdio::piped()).output();
        let Ok(listed) = listed else { return println!("SKIPPED gnu_tar_lists_and_unpacks_an_export no tar here") };
        assert!(
            listed.status.success() && listed.stderr.is_empty(),
            "{format:?}: {}",
            String::from_utf8_lossy(&listed.stderr)
        );
        assert_eq!(listed.stdout.iter().filter(|&&byte| byte == b'\n').count(), Walk::new(&tree).count() - 1);
        let out = dir.path().join(format!("out-{format:?}"));
        fs::create_dir(&out).unwrap();
        assert!(Command::new("tar").arg("xpf").arg(&archive).arg("-C").arg(&out).status().unwrap().success());
        let options = CompareOptions {
            mtime: CompareMtime::Seconds,
            xattrs: dunnage_tree::CompareXattrs::Ignore,
            ..CompareOptions::default()
        };
        let mut differences = compare(&tree, &DirTree::open(&out).unwrap(), &options, Progress::none()).unwrap();
        differences.retain(|difference| !difference.path.is_empty());
        assert!(differences.is_empty(), "{format:?}: {differences:?}");
    }
}

#[test]
fn options_of_an_export_show_in_its_headers() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path());
    let tree = DirTree::open(dir.path()).unwrap();
    let options = ExportOptions {
        mtime: ExportMtime::Clamp(1_500_000_003),
        owners: ExportOwners::Fixed { uid: 5, gid: 6 },
        prefix: b"./".to_vec(),
        root: ExportRoot::Include,
        ..ExportOptions::default()
    };
    let bytes = export(&tree, &options);
    assert_eq!(bytes.len() % 512, 0);
    assert!(bytes.ends_with(&[0; 1024]));
    let mut reader = tar::Reader::new(bytes.as_slice(), Limits::default());
    let mut header = Header::default();
    let mut names = Vec::new();
    while reader.next_header(&mut header).unwrap() {
        assert_eq!((header.uid, header.gid), (5, 6));
        let mtime = header.mtime.unwrap();
        assert!(mtime.secs <= 1_500_000_003 && mtime.nanos == 0);
        assert_eq!(header.entry == EntryType::Directory, header.name.ends_with(b"/"));
        names.push(header.name.clone());
    }
    assert_eq!(names[0], b"./");
    assert_eq!(names[1], b"./a/");
    assert!(names.iter().all(|name| name.starts_with(b"./")));
    let at = |name: &[u8]| names.iter().position(|found| found == name).unwrap();
    assert!(at(b"./a/") < at(b"./a/zero") && at(b"./a/zero") < at(b"./a.txt"), "name by name");
}

#[test]
fn sockets_are_skipped_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(dir.path().join("socket")).unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    let tree = DirTree::open(dir.path()).unwrap();
    let node = tree.lookup(tree.root(), b"socket").unwrap().unwrap();
    assert_eq!(tree.attr(node).unwrap().kind, Kind::Socket);
    let mut export = dunnage_tree::TarExport::new(&tree, ExportOptions::default());
    let mut bytes = Vec::new();
    export.read_to_end(&mut bytes).unwrap();
    assert_eq!(export.skipped(), [b"socket".to_vec()]);
    assert_eq!(bytes.len(), 512 + 1024);
    let out = tempfile::tempdir().unwrap();
    let done = extract(&tree, out.path(), &ExtractOptions::default(), Progress::none()).unwrap();
    assert_eq!(done.dropped[0].to_string(), "socket: socket left out: sockets are not made");
    assert_eq!((done.files, done.dropped_total), (1, 1));
}

#[test]
fn a_file_that_changes_its_size_is_an_error() {
    for (change, expected) in [
        (0, "entry `file`: expected 3000000 bytes, got 0: it shrank while it was read"),
        (3_000_001, "entry `file`: expected 3000000 bytes, got more: it grew while it was read"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, vec![1; 3_000_000]).unwrap();
        let tree = DirTree::open(dir.path()).unwrap();
        let mut export = dunnage_tree::TarExport::new(&tree, ExportOptions::default());
        let mut header = [0; 512];
        export.read_exact(&mut header).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(change).unwrap();
        let error = export.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(dunnage_digest::error_inside::<Error>(&error).unwrap().to_string(), expected);
        assert!(export.read(&mut header).is_err(), "it stays failed");
    }
}

#[test]
fn later_entries_win_and_parents_are_made_up() {
    let entries = [
        Entry::file("x/y/one", "old"),
        Entry::hardlink("hard", "/x/y/one"),
        Entry::file("./x/y/one", "newer"),
        Entry::symlink("s", "x"),
        Entry::file("s", "file now"),
        Entry::file("d", ""),
        Entry::dir("d/"),
        Entry::dir("./"),
        Entry::dir("x/"),
    ];
    let archive = tarball(Format::Pax, &entries.map(|entry| entry.mode(0o750)));

    let dir = tempfile::tempdir().unwrap();
    extract_tar(archive.as_slice(), dir.path(), &ExtractOptions::default(), Progress::none()).unwrap();
    let extracted = DirTree::open(dir.path()).unwrap();
    let archive = TarTree::open(archive, &Limits::default()).unwrap();
    for tree in [&archive as &dyn Tree, &extracted] {
        let node = |path: &str| resolve(tree, path.as_bytes(), Follow::Never).unwrap();
        let text = |path: &str| {
            let mut buf = [0; 64];
            let len = tree.read_at(node(path), 0, &mut buf).unwrap();
            String::from_utf8(buf[..len].to_vec()).unwrap()
        };
        assert_eq!(text("x/y/one"), "newer");
        assert_eq!(text("hard"), "old");
        assert_eq!(text("s"), "file now");
        assert_eq!(tree.attr(node("hard")).unwrap().links, 1, "its other name was replaced");
        let mode = |path: &str| tree.attr(node(path)).unwrap().mode;
        assert_eq!((mode(""), mode("x"), mode("x/y"), mode("d")), (0o750, 0o750, 0o755, 0o750));
        assert_eq!(tree.attr(node("d")).unwrap().kind, Kind::Directory);
    }
    let options = CompareOptions { owners: dunnage_tree::CompareOwners::Ignore, ..CompareOptions::default() };
    assert_equal(&archive, &extracted, &options);
}

#[test]
fn sparse_files_read_the_same_from_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let mut sparse = File::create(source.join("sparse")).unwrap();
    for at in [0_u64, 300_000, 5_000_000] {
        use std::io::Seek;
        sparse.seek(std::io::SeekFrom::Start(at)).unwrap();
        sparse.write_all(&at.wrapping_add(1).to_le_bytes().repeat(100)).unwrap();
    }
    sparse.set_len(9_000_000).unwrap();
    drop(sparse);
    let tree = DirTree::open(&source).unwrap();
    for format in ["gnu", "pax"] {
        let archive = dir.path().join("sparse.tar");
        let made = Command::new("tar")
            .args(["--sparse", "--format", format, "-cf"])
            .arg(&archive)
            .arg("-C")
            .arg(&source)
            .arg(".")
            .status();
        if !made.is_ok_and(|status| status.success()) {
            return println!("SKIPPED sparse_files_read_the_same_from_everywhere no GNU tar here");
        }
        let bytes = fs::read(&archive).unwrap();
        assert!(bytes.len() < 100_000, "{format}: stored without holes");
        let opened = TarTree::open(File::open(&archive).unwrap(), &Limits::default()).unwrap();
        let options = CompareOptions { mtime: CompareMtime::Seconds, ..CompareOptions::default() };
        assert_equal(&tree, &opened, &options);
        // Every boundary of a region, from both sides.
        let node = resolve(&opened, b"sparse", Follow::Never).unwrap();
        let whole = fs::read(source.join("sparse")).unwrap();
        for at in [0_usize, 799, 800, 801, 299_999, 300_000, 4_999_990, 5_000_799, 5_000_800, 8_999_999, 9_000_000] {
            let mut buf = [9; 1000];
            let len = opened.read_at(node, at as u64, &mut buf).unwrap();
            assert_eq!(len, 1000.min(whole.len() - at));
            assert!(buf[..len] == whole[at..at + len], "{format} at {at}");
        }
        let out = dir.path().join(format);
        extract_tar(bytes.as_slice(), &out, &ExtractOptions::default(), Progress::none()).unwrap();
        assert_equal(&tree, &DirTree::open(&out).unwrap(), &options);
        let blocks = fs::metadata(out.join("sparse")).unwrap().blocks();
        assert!(blocks * 512 < 1_000_000, "{format}: {blocks} blocks, holes were filled");
    }
}

#[test]
fn every_truncation_is_an_error_and_no_panic() {
    // No PAX headers but one: fewer bytes to cut at.
    let options = ExportOptions { owners: ExportOwners::Fixed { uid: 0, gid: 0 }, ..ExportOptions::default() };
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("d")).unwrap();
    fs::write(source.join("d/file"), [5; 700]).unwrap();
    fs::hard_link(source.join("d/file"), source.join("d/link")).unwrap();
    symlink("target", source.join("symlink")).unwrap();
    let _ = rustix::fs::setxattr(source.join("d/file"), "user.x", b"y", XattrFlags::empty());
    let bytes = export(&DirTree::open(&source).unwrap(), &options);
    let (mut whole, mut short) = (0, 0);
    for len in 0..bytes.len() {
        let cut = &bytes[..len];
        let opened = TarTree::open(cut, &Limits::default()).map(drop);
        let out = dir.path().join(format!("out-{len}"));
        let unpacked = extract_tar(cut, &out, &ExtractOptions::default(), Progress::none()).map(drop);
        fs::remove_dir_all(&out).unwrap();
        assert_eq!(opened.is_ok(), unpacked.is_ok(), "cut at {len}: {opened:?}, {unpacked:?}");
        // At the end of an entry, an archive without its final blocks may pass; inside an entry, never.
        if opened.is_ok() {
            assert_eq!(len % 512, 0, "cut at {len} went unnoticed");
            whole += 1;
        } else {
            short += 1;
        }
    }
    println!("figure truncations_refused={short} at_entry_ends={whole}");
    assert!(whole <= 10, "{whole} cuts went unnoticed");
    extract_tar(bytes.as_slice(), dir.path().join("out"), &ExtractOptions::default(), Progress::none()).unwrap();
}

#[test]
fn set_id_bits_and_owners_only_when_asked_for() {
    let tool = Entry::file("tool", "").mode(0o6755).owner(12_345, 54_321, "", "");
    let archive = tarball(Format::Pax, &[tool]);
    let dir = tempfile::tempdir().unwrap();
    let plain = extract_tar(archive.as_slice(), dir.path().join("plain"), &ExtractOptions::default(), Progress::none())
        .unwrap();
    let stat = fs::metadata(dir.path().join("plain/tool")).unwrap();
    assert_eq!(stat.mode() & 0o7777, 0o755);
    assert_eq!(stat.uid(), rustix::process::geteuid().as_raw());
    assert_eq!(plain.dropped[0].to_string(), "tool: set-id bits left out: set-id bits were not asked for");
    assert_eq!((plain.dropped_total, plain.owners_dropped), (1, 1));
    if !rustix::process::geteuid().is_root() {
        return println!("SKIPPED set_id_bits_and_owners_only_when_asked_for needs root for its second half");
    }
    let options =
        ExtractOptions { owners: ExtractOwners::Keep, set_id: ExtractSetId::Keep, ..ExtractOptions::default() };
    let kept = extract_tar(archive.as_slice(), dir.path().join("kept"), &options, Progress::none()).unwrap();
    let stat = fs::metadata(dir.path().join("kept/tool")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid()), (0o6755, 12_345, 54_321));
    assert_eq!((kept.dropped_total, kept.owners_dropped), (0, 0));
}

#[test]
fn a_full_disk_is_an_io_error_that_names_the_file() {
    struct Mounted(std::path::PathBuf);

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(&self.0).status();
        }
    }

    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    fs::create_dir(&small).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&small).stderr(Stdio::null());
    if !mount.status().is_ok_and(|status| status.success()) {
        return println!("SKIPPED a_full_disk_is_an_io_error_that_names_the_file cannot mount a tmpfs here");
    }
    let _mounted = Mounted(small.clone());
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("d")).unwrap();
    fs::write(source.join("d/large"), vec![1; 3 << 20]).unwrap();
    let tree = DirTree::open(&source).unwrap();
    let tar = export(&tree, &exact());
    for round in 0..2 {
        let options = ExtractOptions::default();
        let done = match round {
            0 => extract(&tree, small.join("a"), &options, Progress::none()),
            _ => extract_tar(tar.as_slice(), small.join("a"), &options, Progress::none()),
        };
        let error = done.unwrap_err();
        assert_eq!(error.to_string(), "cannot write `d/large`");
        assert_eq!(error.kind(), dunnage_digest::ErrorKind::Io);
        let source = std::error::Error::source(&error).unwrap().downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        fs::remove_dir_all(small.join("a")).unwrap();
    }
}
