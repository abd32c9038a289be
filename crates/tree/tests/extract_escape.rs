//! Archives that try to leave the directory they are extracted to.
//!
//! Each runs in a sandbox of its own: a destination, and beside it canaries whose content, modes, links and times are
//! walked before and after. Whatever an archive says, the two walks are equal.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "tests"
)]

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use dunnage_digest::{Cancel, Progress};
use dunnage_inputs::tarball::{Entry, EntryKind, Format, member, members};
use dunnage_tree::{
    CompareOptions, DirTree, DroppedPart, Error, Existing, ExtractOptions, ExtractWhiteouts, Extracted, Limits, Tree,
    Walk, compare, extract, extract_tar,
    tar::{self, TarTree},
};
use tempfile::TempDir;

/// A destination `in`, and canaries beside it.
struct Sandbox {
    dir: TempDir,
    before: Vec<String>,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("in")).unwrap();
        fs::create_dir_all(at("out/dir")).unwrap();
        fs::write(at("canary"), "alive").unwrap();
        fs::write(at("out/canary"), "alive too").unwrap();
        fs::hard_link(at("canary"), at("out/hard")).unwrap();
        symlink("../canary", at("out/link")).unwrap();
        fs::set_permissions(at("canary"), Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(at("out/dir"), Permissions::from_mode(0o700)).unwrap();
        let mut sandbox = Self { dir, before: Vec::new() };
        sandbox.before = sandbox.outside();
        sandbox
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// All that is known about what lies outside `in`.
    fn outside(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut left = vec![self.dir.path().to_owned()];
        while let Some(path) = left.pop() {
            if path == self.path("in") {
                continue;
            }
            let stat = fs::symlink_metadata(&path).unwrap();
            // The sandbox itself changes when `in` does.
            let time = if path == self.dir.path() { 0 } else { stat.mtime_nsec() + stat.mtime() };
            let content = if stat.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            let (mode, nlink, ino, uid) = (stat.mode(), stat.nlink(), stat.ino(), stat.uid());
            lines.push(format!("{} {mode:o} {nlink} {ino} {uid} {time} {content:?}", path.display()));
            if stat.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        lines.sort();
        lines
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert_eq!(self.outside(), self.before);
    }
}

#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn add(mut self, name: &str, kind: EntryKind, target: &str, content: &[u8]) -> Self {
        let (name, target, content) = (name.into(), target.into(), content.to_vec());
        let entry = Entry { kind, name, target, content, mode: 0o777, mtime: 1, device: (1, 3), ..Entry::default() };
        self.0.extend(members(Format::Pax, &[entry]));
        self
    }

    fn file(self, name: &str) -> Self {
        self.add(name, EntryKind::File, "", b"owned")
    }

    fn dir(self, name: &str) -> Self {
        self.add(name, EntryKind::Dir, "", b"")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.add(name, EntryKind::Symlink, target, b"")
    }

    fn hard(self, name: &str, target: &str) -> Self {
        self.add(name, EntryKind::Hardlink, target, b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&tar::END);
        self.0
    }
}

fn new() -> Archive {
    Archive::default()
}

/// The error of an extraction, and the sandbox after it.
#[track_caller]
fn refused(archive: Archive, expected: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let bytes = archive.end();
    let error =
        extract_tar(bytes.as_slice(), sandbox.path("in"), &ExtractOptions::default(), Progress::none()).unwrap_err();
    assert_eq!(error.to_string(), expected);
    sandbox.assert_untouched();
    sandbox
}

#[track_caller]
fn confined(archive: Archive) -> (Sandbox, Extracted) {
    confined_with(archive, &ExtractOptions::default(), |_| {})
}

#[track_caller]
fn confined_with(archive: Archive, options: &ExtractOptions, prepare: impl FnOnce(&Path)) -> (Sandbox, Extracted) {
    let sandbox = Sandbox::new();
    prepare(&sandbox.path("in"));
    let done = extract_tar(archive.end().as_slice(), sandbox.path("in"), options, Progress::none()).unwrap();
    sandbox.assert_untouched();
    (sandbox, done)
}

const IN_ITS_WAY: &str = "a symlink or something else than a directory is in its way";

#[test]
fn absolute_names_lose_their_slash() {
    let name = "/dunnage-must-never-make-this";
    let (sandbox, _) = confined(new().file(name));
    assert!(!Path::new(name).exists());
    assert_eq!(fs::read(sandbox.path("in/dunnage-must-never-make-this")).unwrap(), b"owned");
    let (sandbox, _) = confined(new().file("///a//./b"));
    assert!(sandbox.path("in/a/b").is_file());
}

#[test]
fn dot_dot_is_refused_wherever_it_stands() {
    for name in ["../canary", "..", "a/../../canary", "a/..", "/../canary", "./../canary", "a/b/../c"] {
        refused(new().file(name), &format!("unsafe name: `{name}` a relative component"));
        refused(new().dir(name), &format!("unsafe name: `{name}` a relative component"));
    }
}

#[test]
fn nothing_is_written_through_a_symlink() {
    for target in ["..", "../out", "/", "/proc/self/cwd", "a", ".", "../out/dir"] {
        let with_link = || new().dir("a").link("link", target);
        refused(with_link().file("link/canary"), &format!("refused `link`: {IN_ITS_WAY}"));
        refused(with_link().dir("link/dir"), &format!("refused `link`: {IN_ITS_WAY}"));
        refused(with_link().file("link/dir/new/er"), &format!("refused `link/dir/new`: {IN_ITS_WAY}"));
        refused(with_link().link("link/l", "x"), &format!("refused `link`: {IN_ITS_WAY}"));
        refused(with_link().add("link/fifo", EntryKind::Fifo, "", b""), &format!("refused `link`: {IN_ITS_WAY}"));
    }
}

#[test]
fn a_directory_replaces_a_symlink_and_its_mode_goes_nowhere_else() {
    for target in ["/", "..", "../out/dir", "../out"] {
        let (sandbox, _) = confined(new().link("link", target).dir("link").file("link/canary"));
        assert!(fs::symlink_metadata(sandbox.path("in/link")).unwrap().is_dir());
        assert_eq!(fs::metadata(sandbox.path("in/link")).unwrap().mode() & 0o7777, 0o777);
    }
}

#[test]
fn a_file_replaces_a_symlink_and_is_not_written_through_it() {
    for target in ["../canary", "../out/link", "/proc/self/mem"] {
        let (sandbox, _) = confined(new().link("name", target).file("name"));
        assert!(fs::symlink_metadata(sandbox.path("in/name")).unwrap().is_file());
    }
}

#[test]
fn a_symlink_already_in_the_destination_is_not_followed() {
    let options = ExtractOptions { existing: Existing::Extend, ..ExtractOptions::default() };
    let plant = |dir: &Path| symlink("../canary", dir.join("name")).unwrap();
    let (sandbox, _) = confined_with(new().file("name"), &options, plant);
    assert!(fs::symlink_metadata(sandbox.path("in/name")).unwrap().is_file());

    let sandbox = Sandbox::new();
    symlink("../out", sandbox.path("in/dir")).unwrap();
    let error = extract_tar(new().file("dir/canary").end().as_slice(), sandbox.path("in"), &options, Progress::none())
        .unwrap_err();
    assert_eq!(error.to_string(), format!("refused `dir`: {IN_ITS_WAY}"));
    sandbox.assert_untouched();
}

#[test]
fn a_hard_link_to_a_file_of_the_same_inode_outside_is_replaced_not_written() {
    let options = ExtractOptions { existing: Existing::Extend, ..ExtractOptions::default() };
    let sandbox = Sandbox::new();
    fs::hard_link(sandbox.path("canary"), sandbox.path("in/name")).unwrap();
    extract_tar(new().file("name").end().as_slice(), sandbox.path("in"), &options, Progress::none()).unwrap();
    assert_eq!(fs::read(sandbox.path("in/name")).unwrap(), b"owned");
    sandbox.assert_untouched();
}

#[test]
fn hard_links_lead_to_nodes_of_this_run_only() {
    let no_file = |target: &str| format!("refused `hard`: hard link to `{target}`, which no entry before it has made");
    refused(new().hard("hard", "/etc/passwd"), &no_file("etc/passwd"));
    refused(new().hard("hard", "../canary"), "unsafe name: `../canary` a relative component");
    refused(new().hard("hard", "a/../../canary"), "unsafe name: `a/../../canary` a relative component");
    refused(new().link("link", "..").hard("hard", "link/canary"), &no_file("link/canary"));
    refused(new().dir("d").file("d/f").link("link", "d").hard("hard", "link/f"), &no_file("link/f"));
    refused(new().dir("d").hard("hard", "d"), "refused `hard`: hard link to `d`, a directory");
    refused(new().hard("hard", ""), &no_file(""));
    refused(new().file("hard").hard("hard", "hard"), "refused `hard`: hard link to itself");
    let (sandbox, done) = confined(new().file("f").link("hard", "../canary").hard("hard", "./f"));
    assert_eq!(fs::metadata(sandbox.path("in/f")).unwrap().nlink(), 2);
    assert_eq!(done.hard_links, 1);

    // What was there before is not of this run, even if it is a regular file.
    let options = ExtractOptions { existing: Existing::Extend, ..ExtractOptions::default() };
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("in/old"), "").unwrap();
    let error = extract_tar(new().hard("hard", "old").end().as_slice(), sandbox.path("in"), &options, Progress::none())
        .unwrap_err();
    assert_eq!(error.to_string(), no_file("old"));
}

#[test]
fn devices_are_left_out_and_reported() {
    for entry in [EntryKind::Char, EntryKind::Block] {
        let (sandbox, done) = confined(new().link("null", "../canary").add("null", entry, "", b""));
        assert!(fs::symlink_metadata(sandbox.path("in/null")).is_err(), "what it replaces goes all the same");
        assert_eq!(done.devices, 0);
        assert_eq!(done.dropped[0].part, DroppedPart::Device);
        assert_eq!(done.dropped[0].to_string(), "null: device left out: devices were not asked for");
    }
}

#[test]
fn directories_that_hold_something_are_not_replaced() {
    let expected = "refused `d`: it would replace a directory that is not empty";
    refused(new().file("d/f").file("d"), expected);
    refused(new().file("d/f").link("d", ".."), expected);
    refused(new().file("d/f").file("f").hard("d", "f"), expected);
    refused(new().file("d/f").add("d", EntryKind::Fifo, "", b""), expected);
    let (sandbox, _) = confined(new().dir("d").link("d", "../out").dir("d").file("d/f"));
    assert!(fs::symlink_metadata(sandbox.path("in/d")).unwrap().is_dir());
    refused(new().file("f").file("f/g"), &format!("refused `f`: {IN_ITS_WAY}"));
    let (sandbox, _) = confined(new().file("f").dir("f").file("f/g"));
    assert!(sandbox.path("in/f/g").is_file());
}

#[test]
fn the_root_stays_a_directory() {
    let expected = "refused `/`: the root can only be a directory";
    for name in [".", "./", "/", "", "./."] {
        for (kind, link) in [(EntryKind::Symlink, "../out"), (EntryKind::Fifo, "")] {
            let sandbox = Sandbox::new();
            let archive = new().add(name, kind, link, b"").end();
            let error =
                extract_tar(archive.as_slice(), sandbox.path("in"), &ExtractOptions::default(), Progress::none())
                    .unwrap_err();
            assert_eq!(error.to_string(), expected);
            sandbox.assert_untouched();
            assert!(TarTree::open(archive, &Limits::default()).is_err());
        }
    }
    let (sandbox, _) = confined(new().dir("./"));
    assert_eq!(fs::metadata(sandbox.path("in")).unwrap().mode() & 0o7777, 0o777);
}

#[test]
fn names_no_file_system_has_are_refused() {
    let long = "n".repeat(256);
    refused(new().file(&long), &format!("unsafe name: `{long}` longer than 255 bytes"));
    refused(
        new().file(&format!("a/{long}/b")),
        &format!("unsafe name: `{}…` longer than 255 bytes", &format!("a/{long}/b")[..256]),
    );
    confined(new().file(&"n".repeat(255)));

    // No header can hold NUL, so it comes as a PAX record that another writer would make.
    let mut archive = Vec::new();
    let record = b"17 path=in\0valid\n";
    archive.extend_from_slice(&pax_header(record));
    archive.extend_from_slice(&new().file("x").end());
    let sandbox = Sandbox::new();
    let error =
        extract_tar(archive.as_slice(), sandbox.path("in"), &ExtractOptions::default(), Progress::none()).unwrap_err();
    assert_eq!(error.kind(), dunnage_digest::ErrorKind::Malformed, "{error}");
    sandbox.assert_untouched();

    let deep = "d/".repeat(300);
    refused(new().file(&format!("{deep}f")), "directory depth: 301 is over the limit of 256");
}

fn pax_header(record: &[u8]) -> Vec<u8> {
    let mut header = ::tar::Header::new_ustar();
    header.set_path("PaxHeaders.0/x").unwrap();
    header.set_entry_type(::tar::EntryType::XHeader);
    header.set_size(record.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(record);
    bytes.resize(1024, 0);
    bytes
}

#[test]
fn whiteouts_reach_lower_content_of_the_destination_only() {
    let options =
        ExtractOptions { existing: Existing::Extend, whiteouts: ExtractWhiteouts::Apply, ..ExtractOptions::default() };
    for (name, reason) in [
        (".wh.", "whiteout of a name that is empty"),
        (".wh..", "whiteout of a name that is a relative component"),
        (".wh...", "whiteout of a name that is a relative component"),
        ("d/.wh...", "whiteout of a name that is a relative component"),
        (".wh.d/f", "it lies under a whiteout"),
    ] {
        let sandbox = Sandbox::new();
        let error =
            extract_tar(new().file(name).end().as_slice(), sandbox.path("in"), &options, Progress::none()).unwrap_err();
        assert_eq!(error.to_string(), format!("refused `{name}`: {reason}"));
        sandbox.assert_untouched();
    }
    let lower = |dir: &Path| {
        fs::create_dir_all(dir.join("d/e/f")).unwrap();
        fs::write(dir.join("d/e/old"), "").unwrap();
        fs::write(dir.join("file"), "").unwrap();
        symlink("../out", dir.join("d/e/out")).unwrap();
        symlink("../out", dir.join("link")).unwrap();
        symlink("..", dir.join("o")).unwrap();
        fs::create_dir_all(dir.join("opaque/sub")).unwrap();
        symlink("../../out", dir.join("opaque/sub/link")).unwrap();
        fs::write(dir.join("opaque/old"), "").unwrap();
    };
    let archive = new().file("d/new").file("opaque/new").file("opaque/sub/new");
    let archive =
        archive.file(".wh.d").file(".wh.link").file("opaque/.wh..wh..opq").file(".wh.absent").file("gone/.wh.x");
    let (sandbox, done) = confined_with(archive, &options, lower);
    let left: Vec<_> = Walk::new(&DirTree::open(&sandbox.path("in")).unwrap())
        .map(|visit| String::from_utf8(visit.unwrap().path).unwrap())
        .collect();
    assert_eq!(left, ["", "d", "d/new", "file", "o", "opaque", "opaque/new", "opaque/sub", "opaque/sub/new"]);
    assert_eq!(done.whiteouts, 5);

    // A whiteout whose path leads through a symlink removes nothing at its target.
    let sandbox = Sandbox::new();
    symlink("..", sandbox.path("in/o")).unwrap();
    for name in ["o/.wh.canary", "o/.wh..wh..opq"] {
        let error =
            extract_tar(new().file(name).end().as_slice(), sandbox.path("in"), &options, Progress::none()).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        sandbox.assert_untouched();
    }
    // Unless they are asked for, they are names like others.
    confined(new().file(".wh..").file(".wh.x"));
}

#[test]
fn privileged_attributes_are_left_out() {
    let names = ["security.capability", "trusted.overlay.opaque", "user.fine"];
    let entry = names.iter().fold(Entry::file("f", ""), |entry, name| entry.xattr(name, b"v"));
    let archive = Archive(members(Format::Pax, &[entry]));
    let (_sandbox, done) = confined(archive);
    let dropped: Vec<_> = done.dropped.iter().filter(|dropped| dropped.reason.contains("asked")).collect();
    assert_eq!(dropped.len(), 2);
    assert_eq!(dropped[0].part, DroppedPart::Xattr(b"security.capability".to_vec()));
    assert_eq!(dropped[1].part, DroppedPart::Xattr(b"trusted.overlay.opaque".to_vec()));
}

#[test]
fn a_destination_that_holds_something_is_refused_unless_asked_for() {
    let sandbox = Sandbox::new();
    let error = extract_tar(new().end().as_slice(), sandbox.path("out"), &ExtractOptions::default(), Progress::none())
        .unwrap_err();
    assert!(error.to_string().ends_with("the destination is not empty"), "{error}");
    sandbox.assert_untouched();
}

#[test]
fn ceilings_hold() {
    let check = |limits: Limits, archive: Archive, expected: &str| {
        let sandbox = Sandbox::new();
        let options = ExtractOptions { limits, ..ExtractOptions::default() };
        let bytes = archive.end();
        let extracted = extract_tar(bytes.as_slice(), sandbox.path("in"), &options, Progress::none()).unwrap_err();
        let opened = TarTree::open(bytes.as_slice(), &options.limits).unwrap_err();
        for error in [extracted, opened] {
            assert_eq!(error.kind(), dunnage_digest::ErrorKind::LimitExceeded, "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    };
    check(Limits { entries: 2, ..Limits::default() }, new().file("a").file("b").file("c"), "limit of 2");
    check(Limits { unpacked: 9, ..Limits::default() }, new().file("a").file("b"), "limit of 9");
    check(Limits { depth: 2, ..Limits::default() }, new().file("a/b/c"), "limit of 2");
    check(Limits { path: 4, ..Limits::default() }, new().file("a/b/c"), "limit of 4");
    check(Limits { symlink_target: 3, ..Limits::default() }, new().link("a", "long"), "limit of 3");
}

#[test]
fn the_stream_is_read_to_its_end() {
    struct Damaged;
    impl std::io::Read for Damaged {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::InvalidData.into())
        }
    }
    let archive = new().file("a").end();
    let extracted = |tail: &[u8]| {
        let sandbox = Sandbox::new();
        let bytes = [archive.as_slice(), tail].concat();
        extract_tar(bytes.as_slice(), sandbox.path("in"), &ExtractOptions::default(), Progress::none())
            .unwrap()
            .trailing
    };
    assert_eq!([extracted(b""), extracted(&[0; 9000]), extracted(b"\0more\0")], [0, 0, 4]);
    let sandbox = Sandbox::new();
    let damaged = std::io::Read::chain(archive.as_slice(), Damaged);
    let error = extract_tar(damaged, sandbox.path("in"), &ExtractOptions::default(), Progress::none()).unwrap_err();
    assert_eq!(error.kind(), dunnage_digest::ErrorKind::Malformed, "{error}");
}

#[test]
fn a_run_reports_its_bytes_and_stops_when_cancelled() {
    let sandbox = Sandbox::new();
    let (cancel, reports) = (Cancel::new(), AtomicU64::new(0));
    let report = |bytes: u64| {
        assert!(bytes > 0);
        if reports.fetch_add(1, Ordering::Relaxed) == 1 {
            cancel.cancel();
        }
    };
    let archive = new().file("a").file("b").file("c").end();
    let (into, options) = (sandbox.path("in"), ExtractOptions::default());
    let progress = Progress::to(&report).cancelled_by(&cancel);
    let error = extract_tar(archive.as_slice(), into, &options, progress).unwrap_err();
    assert!(matches!(error, Error::Cancelled(_)), "{error}");
    assert_eq!(reports.load(Ordering::Relaxed), 2);
    assert!(!sandbox.path("in/c").exists());
}

/// A rival swaps a directory of the destination for a symlink to the canaries and back, as fast as it can.
#[test]
fn a_rival_that_swaps_directories_for_symlinks_gains_nothing() {
    const SWAPS: u64 = 50_000;
    let sandbox = Sandbox::new();
    let into = sandbox.path("in");
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut archive = new();
    for round in 0..20 {
        archive = archive.dir("d").dir("d/sub").file("d/canary").file("d/sub/canary").dir("d/dir").link("d/l", "x");
        archive =
            archive.file(&format!("d/sub/{round}")).hard(&format!("d/hard{round}"), "d/canary").file("d/.wh.gone");
    }
    let archive = archive.end();
    let options =
        ExtractOptions { existing: Existing::Extend, whiteouts: ExtractWhiteouts::Apply, ..ExtractOptions::default() };
    let (mut runs, mut refusals, mut unharmed) = (0, 0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (dir, aside, link) = (into.join("d"), into.join("aside"), into.join("link"));
            while !stop.load(Ordering::Relaxed) {
                let _ = symlink("../out", &link);
                if fs::rename(&dir, &aside).is_ok() {
                    let _ = fs::rename(&link, &dir);
                    swaps.fetch_add(1, Ordering::Relaxed);
                    // The symlink may be a directory of the extraction by now.
                    let _ = fs::rename(&dir, &link).or_else(|_| fs::remove_file(&dir));
                    let _ = fs::remove_file(&link);
                    if fs::rename(&aside, &dir).is_err() {
                        let _ = fs::remove_dir_all(&aside);
                    }
                }
            }
        });
        let started = Instant::now();
        while swaps.load(Ordering::Relaxed) < SWAPS && started.elapsed() < Duration::from_secs(60) {
            runs += 1;
            match extract_tar(archive.as_slice(), into.as_path(), &options, Progress::none()) {
                Ok(_) => unharmed += 1,
                Err(Error::Refused { .. } | Error::Io { .. }) => refusals += 1,
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    panic!("{error}");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let swaps = swaps.load(Ordering::Relaxed);
    println!("figure rival_swaps={swaps} runs={runs} refused={refusals} done={unharmed}");
    sandbox.assert_untouched();
    assert!(swaps >= SWAPS, "only {swaps} swaps");
    assert!(refusals > 0, "the rival never met an extraction");
}

#[test]
fn a_hostile_tree_is_held_to_the_same_rules() {
    #[derive(Debug)]
    struct Hostile(&'static [u8]);

    impl Tree for Hostile {
        fn root(&self) -> dunnage_tree::NodeId {
            dunnage_tree::NodeId::new(1)
        }

        fn attr(&self, node: dunnage_tree::NodeId) -> Result<dunnage_tree::Attr, Error> {
            let kind = if node.get() == 1 { dunnage_tree::Kind::Directory } else { dunnage_tree::Kind::File };
            let (mode, uid, gid, size, mtime, links, device) = (0o777, 0, 0, 5, None, 1, (0, 0));
            let is_implied = false;
            Ok(dunnage_tree::Attr { kind, mode, uid, gid, size, mtime, links, device, is_implied })
        }

        fn lookup(&self, _: dunnage_tree::NodeId, _: &[u8]) -> Result<Option<dunnage_tree::NodeId>, Error> {
            Ok(None)
        }

        fn read_dir(&self, _: dunnage_tree::NodeId, _: u64, visit: dunnage_tree::DirVisitor<'_>) -> Result<(), Error> {
            let (node, kind) = (dunnage_tree::NodeId::new(2), dunnage_tree::Kind::File);
            let _ = visit(dunnage_tree::DirEntry { name: self.0, node, kind, next: 1 });
            Ok(())
        }

        fn read_link(&self, _: dunnage_tree::NodeId) -> Result<std::borrow::Cow<'_, [u8]>, Error> {
            Ok(b"".as_slice().into())
        }

        fn xattrs(&self, _: dunnage_tree::NodeId, _: dunnage_tree::XattrVisitor<'_>) -> Result<(), Error> {
            Ok(())
        }

        fn read_at_for(
            &self,
            _: dunnage_tree::NodeId,
            _: u64,
            buf: &mut [u8],
            _: &dunnage_digest::ReadRequest<'_>,
        ) -> Result<usize, Error> {
            buf.fill(b'x');
            Ok(buf.len())
        }
    }

    for name in [b"../canary".as_slice(), b"..", b"/etc/x", b"a/../../canary", b"", b".", b"a//b", b"nul\0"] {
        let sandbox = Sandbox::new();
        extract(&Hostile(name), sandbox.path("in"), &ExtractOptions::default(), Progress::none()).unwrap_err();
        sandbox.assert_untouched();
        assert_eq!(fs::read_dir(sandbox.path("in")).unwrap().count(), 0);
    }
}

#[test]
fn trees_of_archives_refuse_what_extraction_refuses() {
    for archive in [
        new().file("../x"),
        new().link("l", "..").file("l/x"),
        new().hard("h", "/etc/passwd"),
        new().hard("h", "../x"),
        new().dir("d").hard("h", "d"),
        new().file("h").hard("h", "h"),
        new().file("d/f").file("d"),
        new().file("f").file("f/g"),
        new().file(&"n".repeat(256)),
        Archive(member(b'Z', "z", b"")),
    ] {
        let bytes = archive.end();
        TarTree::open(bytes.as_slice(), &Limits::default()).unwrap_err();
        let sandbox = Sandbox::new();
        extract_tar(bytes.as_slice(), sandbox.path("in"), &ExtractOptions::default(), Progress::none()).unwrap_err();
        sandbox.assert_untouched();
    }
    let good = new().file("a/b").hard("a/c", "a/b").link("d", "/").end();
    let tree = TarTree::open(good.as_slice(), &Limits::default()).unwrap();
    let sandbox = Sandbox::new();
    extract(&tree, sandbox.path("in"), &ExtractOptions::default(), Progress::none()).unwrap();
    sandbox.assert_untouched();
    let options = CompareOptions { owners: dunnage_tree::CompareOwners::Ignore, ..CompareOptions::default() };
    assert_eq!(compare(&tree, &DirTree::open(&sandbox.path("in")).unwrap(), &options, Progress::none()).unwrap(), []);
}
