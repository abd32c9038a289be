//! Files with holes: the same bytes through every tree, and nothing written or read for a hole.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "tests"
)]

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use dunnage_digest::Progress;
use dunnage_inputs::tarball::sparse_file;
use dunnage_tree::{
    CompareMtime, CompareOptions, CompareOwners, DirTree, Error, ExportOptions, ExportSparse, ExtractOptions, Limits,
    Tree, compare, extract, extract_tar,
    tar::{self, TarTree},
};

const MIB: u64 = 1 << 20;

/// Offset and content.
type Region = (u64, Vec<u8>);

struct Case {
    name: &'static str,
    size: u64,
    regions: Vec<Region>,
}

fn cases() -> Vec<Case> {
    let region = |at: u64, len: usize| (at, vec![at as u8 | 1; len]);
    let case = |name, size, regions| Case { name, size, regions };
    vec![
        case("first", 3 * MIB, vec![region(3 * MIB - 4096, 4096)]),
        case("last", 3 * MIB, vec![region(0, 4096)]),
        case("middle", 3 * MIB, vec![region(0, 4096), region(3 * MIB - 4096, 4096)]),
        case("many", 8 * MIB, (0..64).map(|n| region(n << 17, 4096)).collect()),
        case("all", 3 * MIB, vec![]),
        case("none", 300_000, vec![region(0, 300_000)]),
        case("odd", 1_234_567, vec![region(77, 3), region(500_001, 70_001), region(1_234_566, 1)]),
        case("small", 5000, vec![region(4000, 10)]),
        case("long", 64 * MIB + 200, vec![region(0, 100), region(64 * MIB + 100, 100)]),
    ]
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size as usize];
        for (at, content) in &self.regions {
            bytes[*at as usize..][..content.len()].copy_from_slice(content);
        }
        bytes
    }

    fn write(&self, path: &Path) {
        let file = File::create(path).unwrap();
        file.set_len(self.size).unwrap();
        for (at, content) in &self.regions {
            file.write_all_at(content, *at).unwrap();
        }
    }

    fn archive(&self) -> Vec<u8> {
        [sparse_file("file", self.size, &self.regions), tar::END.to_vec()].concat()
    }

    /// Bytes that a file system may take for the data: 8 KiB more for each region.
    fn most_blocks(&self) -> u64 {
        self.regions.iter().map(|(_, content)| (content.len() as u64).next_multiple_of(4096) + 8192).sum()
    }

    #[track_caller]
    fn assert_written(&self, path: &Path, by: &str) {
        assert!(fs::read(path).unwrap() == self.bytes(), "{} by {by}: other bytes", self.name);
        let taken = fs::metadata(path).unwrap().blocks() * 512;
        assert!(taken <= self.most_blocks(), "{} by {by}: {taken} bytes on disk", self.name);
    }
}

fn content_only() -> CompareOptions {
    CompareOptions { mtime: CompareMtime::Ignore, owners: CompareOwners::Ignore, ..CompareOptions::default() }
}

/// Content and size differ in nothing; the modes of the two sources do.
#[track_caller]
fn assert_same(a: &dyn Tree, b: &dyn Tree, name: &str) {
    let found = compare(a, b, &content_only(), Progress::none()).unwrap();
    let found: Vec<_> = found.iter().map(ToString::to_string).filter(|line| !line.contains("mode")).collect();
    assert_eq!(found, Vec::<String>::new(), "{name}");
}

fn sparse_tar(tree: &dyn Tree) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = ExportOptions { sparse: ExportSparse::Pax, ..ExportOptions::default() };
    dunnage_tree::TarExport::new(tree, options).read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn holes_stay_holes_through_every_tree() {
    for case in cases() {
        let (name, dir) = (case.name, tempfile::tempdir().unwrap());
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("source")).unwrap();
        case.write(&path("source/file"));
        let archive = case.archive();
        let (host, tar) =
            (DirTree::open(&path("source")).unwrap(), TarTree::open(archive, &Limits::default()).unwrap());
        assert_same(&host, &tar, name);
        assert_same(&tar, &host, name);
        let options = ExtractOptions::default();
        for (by, tree) in [("dir", &host as &dyn Tree), ("tar", &tar)] {
            let done = extract(tree, path(by), &options, Progress::none()).unwrap();
            assert_eq!((done.files, done.bytes), (1, case.size), "{name} from {by}");
            if name != "small" {
                case.assert_written(&path(by).join("file"), by);
            }
            let exported = sparse_tar(tree);
            if case.regions.is_empty() || case.most_blocks() < case.size / 2 {
                assert!(exported.len() < 600_000, "{name} from {by}: {} bytes", exported.len());
            }
            let again = TarTree::open(&exported[..], &Limits::default()).unwrap();
            assert_same(tree, &again, name);
            let to = path(&format!("{by}-export"));
            extract_tar(&exported[..], &to, &options, Progress::none()).unwrap();
            if name != "small" {
                case.assert_written(&to.join("file"), "the export");
            }
            assert!(sparse_tar(&again) == exported, "{name} from {by}: exported twice");
        }
        extract_tar(&tar.source()[..], path("stream"), &options, Progress::none()).unwrap();
        case.assert_written(&path("stream/file"), "a stream");
    }
}

#[test]
fn gnu_tar_unpacks_a_sparse_export() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("source")).unwrap();
    let deep = format!("source/{}", "d".repeat(150));
    fs::create_dir(path(&deep)).unwrap();
    for case in cases() {
        case.write(&path("source").join(case.name));
        case.write(&path(&deep).join(format!("{}\u{e9}", case.name)));
    }
    let tree = DirTree::open(&path("source")).unwrap();
    let exported = sparse_tar(&tree);
    assert!(exported.len() < 3 * MIB as usize, "{} bytes", exported.len());
    fs::write(path("sparse.tar"), exported).unwrap();
    fs::create_dir(path("out")).unwrap();
    let unpacked = Command::new("tar").arg("-xf").arg(path("sparse.tar")).arg("-C").arg(path("out")).output();
    let Ok(unpacked) = unpacked else { return println!("SKIPPED gnu_tar_unpacks_a_sparse_export no tar here") };
    assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
    for case in cases() {
        case.assert_written(&path("out").join(case.name), "GNU tar");
    }
    assert_same(&tree, &DirTree::open(&path("out")).unwrap(), "GNU tar");
}

#[test]
fn maps_over_the_limits_and_other_formats() {
    let case = &cases()[3];
    let archive = case.archive();
    let tree = TarTree::open(&archive[..], &Limits::default()).unwrap();
    let export = |options| {
        let mut bytes = Vec::new();
        dunnage_tree::TarExport::new(&tree, options).read_to_end(&mut bytes).map(|_| bytes)
    };
    let sparse = ExportOptions { sparse: ExportSparse::Pax, ..ExportOptions::default() };
    let with = |limits: Limits| ExportOptions { limits, ..sparse.clone() };
    let full = export(ExportOptions::default()).unwrap();
    // 64 regions and one for the end; a map of two blocks.
    for (limits, is_full) in [
        (Limits { sparse_regions: 64, ..Limits::default() }, true),
        (Limits { sparse_regions: 65, ..Limits::default() }, false),
        (Limits { tar_extension: 1023, ..Limits::default() }, true),
        (Limits { tar_extension: 1024, ..Limits::default() }, false),
    ] {
        let exported = export(with(limits.clone())).unwrap();
        assert_eq!(exported == full, is_full, "{limits:?}");
        TarTree::open(&exported[..], &limits).unwrap();
    }
    let error = export(ExportOptions { format: tar::Format::Ustar, ..sparse }).unwrap_err();
    let error = dunnage_digest::error_inside::<Error>(&error).unwrap().to_string();
    assert_eq!(error, "cannot write `GNUSparseFile.0/file` as USTAR: no place for the PAX records");
}

#[test]
fn data_is_compared_with_holes() {
    let size = MIB;
    for (name, a, b, expected) in [
        ("zeros beside a hole", vec![(0, vec![0; 200_000])], vec![], None),
        ("a byte in a hole", vec![(700_000, vec![9])], vec![], Some(700_000)),
        ("the last byte", vec![(size - 1, vec![9])], vec![(0, vec![0; 1])], Some(size - 1)),
        ("spans that overlap", vec![(1000, vec![5; 9000])], vec![(2000, vec![5; 8000])], Some(1000)),
        ("the same", vec![(1000, vec![5; 9000])], vec![(1000, vec![5; 9000])], None),
    ] {
        let tree = |regions: Vec<Region>| {
            let archive = Case { name, size, regions }.archive();
            TarTree::open(archive, &Limits::default()).unwrap()
        };
        let (a, b) = (tree(a), tree(b));
        let expected: Vec<String> =
            expected.iter().map(|at: &u64| format!("file: content from offset {at:#x}")).collect();
        for (a, b) in [(&a, &b), (&b, &a)] {
            let found = compare(a, b, &content_only(), Progress::none()).unwrap();
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{name}");
        }
    }
}

/// A file of 16 GiB with three extents. Reading its zeros would take seconds.
#[test]
fn nothing_is_read_or_written_for_a_hole() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let size = 16 << 30;
    let regions = [1 << 20, 5 << 30, size - 4096].map(|at: u64| (at, vec![7; 4096])).to_vec();
    let case = Case { name: "huge", size, regions };
    fs::create_dir(path("source")).unwrap();
    case.write(&path("source/file"));
    let timed = |what: &str, run: &dyn Fn()| {
        let start = Instant::now();
        run();
        let took = start.elapsed();
        println!("{what}: {} ms", took.as_millis());
        assert!(took < Duration::from_secs(1), "{what} took {took:?}");
    };
    let host = DirTree::open(&path("source")).unwrap();
    let tar = TarTree::open(case.archive(), &Limits::default()).unwrap();
    let options = ExtractOptions::default();
    let extracted = |tree: &dyn Tree, to: &str| drop(extract(tree, path(to), &options, Progress::none()).unwrap());
    timed("extract a directory", &|| extracted(&host, "from-dir"));
    timed("extract a tar", &|| extracted(&tar, "from-tar"));
    let stream = || drop(extract_tar(&tar.source()[..], path("from-stream"), &options, Progress::none()).unwrap());
    timed("extract a stream", &stream);
    timed("compare", &|| assert_same(&host, &tar, "huge"));
    timed("export", &|| assert!(sparse_tar(&host).len() < 20_000));
    for name in ["from-dir", "from-tar", "from-stream"] {
        let written = DirTree::open(&path(name)).unwrap();
        timed("compare", &|| assert_same(&written, &tar, name));
        let meta = fs::metadata(path(name).join("file")).unwrap();
        assert_eq!(meta.len(), size, "{name}");
        assert!(meta.blocks() * 512 <= case.most_blocks(), "{name}: {} blocks", meta.blocks());
    }
}
