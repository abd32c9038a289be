//! Part "build": a layer that was built, and one that a tar was appended to, are the same but for the landmark.
//!
//! The reference also cuts the entries into parts and joins them again; here the work is not cut by entries, so what is
//! looked at instead is that any number of threads makes the same bytes.

use std::{collections::BTreeMap, ops::ControlFlow};

use dunnage_digest::{Offset, ReadAt};
use dunnage_tree::{Attr, Follow, Kind, Tree, resolve};

use super::{
    Controller, Counts, Job, Running,
    entry::{Entry, blockdev, chardev, dir, fifo, file, hardlink, symlink, tarball},
    forms,
    layer::{Layer, Mode, Packed, clean, entries, is_added, options},
    sharing,
};
use dunnage_estargz::{Reader, toc::TocEntry, write::Streams};

struct Case {
    name: &'static str,
    /// Sizes that streams have to have before they end.
    min_chunks: &'static [u64],
    input: &'static [Entry],
}

/// Bytes of a chunk, in all cases.
const CHUNK: u64 = 4;

const CASES: &[Case] = &[
    Case {
        name: "regfiles and directories",
        min_chunks: &[0],
        input: &[file("foo", "test1"), dir("foo2/"), file("foo2/bar", "test2").xattrs(&[("test", b"sample")])],
    },
    Case {
        name: "empty files",
        min_chunks: &[0],
        input: &[
            file("foo", "tttttt"),
            file("foo_empty", ""),
            file("foo2", "tttttt"),
            file("foo_empty2", ""),
            file("foo3", "tttttt"),
            file("foo_empty3", ""),
            file("foo4", "tttttt"),
            file("foo_empty4", ""),
            file("foo5", "tttttt"),
            file("foo_empty5", ""),
            file("foo6", "tttttt"),
        ],
    },
    Case {
        name: "various files",
        min_chunks: &[0, 64_000],
        input: &[
            file("baz.txt", "bazbazbazbazbazbazbaz"),
            file("foo1.txt", "a"),
            // Without an entry for its directory.
            file("bar/foo2.txt", "b"),
            file("foo3.txt", "c"),
            symlink("barlink", "test/bar.txt"),
            dir("test/"),
            dir("dev/"),
            blockdev("dev/testblock", 3, 4),
            fifo("dev/testfifo"),
            chardev("dev/testchar1", 5, 6),
            file("test/bar.txt", "testbartestbar").xattrs(&[("test2", b"sample2")]),
            dir("test2/"),
            hardlink("test2/bazlink", "baz.txt"),
            chardev("dev/testchar2", 1, 2),
        ],
    },
    Case {
        name: "no contents",
        min_chunks: &[0],
        input: &[
            file("baz.txt", ""),
            symlink("barlink", "test/bar.txt"),
            dir("test/"),
            dir("dev/"),
            blockdev("dev/testblock", 3, 4),
            fifo("dev/testfifo"),
            chardev("dev/testchar1", 5, 6),
            file("test/bar.txt", "").xattrs(&[("test2", b"sample2")]),
            dir("test2/"),
            hardlink("test2/bazlink", "baz.txt"),
            chardev("dev/testchar2", 1, 2),
        ],
    },
];

pub(super) fn jobs(controller: &dyn Controller) -> impl Iterator<Item = Job<'_>> {
    CASES.iter().flat_map(move |case| {
        let ways = case.min_chunks.iter().flat_map(|&min_chunk| sharing(controller, min_chunk));
        ways.map(move |streams| -> Job<'_> { Box::new(move || check(controller, case, streams)) }).collect::<Vec<_>>()
    })
}

fn check(controller: &dyn Controller, case: &Case, streams: Streams) -> Counts {
    let mut counts = Counts::default();
    for (format, prefix) in forms() {
        let tar = tarball(case.input, prefix, format);
        let _running =
            Running(format_args!("{}, {}, {streams:?}, {format:?}, `{prefix}`", controller.name(), case.name));
        let write = |threads| options(controller, CHUNK, streams, threads);
        let appended = Layer::append(controller, &tar, &write(1), Mode::Lossy).unwrap();
        let (wanted_toc, wanted_tree, wanted_tar) = (toc(&appended), tree(&appended), entries(&appended.unpack()));
        assert_tree_is(&wanted_tree, case.input);
        for packed in Packed::ALL {
            let _running = Running(format_args!("with the input {packed:?}"));
            let input = packed.pack(&tar);
            let built = Layer::build(controller, &input, &write(1));
            built.check_diff_id();
            assert!(Layer::build(controller, &input, &write(2)).blob == built.blob, "other bytes on two threads");
            assert_eq!(toc(&built), wanted_toc, "TOC");
            assert_eq!(tree(&built), wanted_tree, "tree");
            let mut tar = entries(&built.unpack());
            tar.retain(|(header, _)| !is_added(&header.name));
            assert_eq!(tar, wanted_tar, "tar");
            counts.build += 1;
        }
    }
    counts
}

/// Version and entries of a layer's TOC but for landmarks and places in the blob.
fn toc(layer: &Layer<'_>) -> (i64, Vec<TocEntry>) {
    let toc = layer.toc();
    let own = toc.entries.into_iter().filter(|entry| !is_added(entry.name.as_bytes()));
    (toc.version, own.map(|entry| TocEntry { offset: 0, inner_offset: 0, ..entry }).collect())
}

/// The attributes that a layer gives a path, and its content.
#[derive(Debug, PartialEq)]
struct Node {
    attr: Attr,
    user: Vec<u8>,
    group: Vec<u8>,
    link: Vec<u8>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    digest: Option<dunnage_digest::Digest>,
    /// Place and content of each chunk, and whether it has a range in the blob.
    chunks: Vec<(u64, Vec<u8>, bool)>,
}

/// All paths of a layer but for landmarks.
fn tree(layer: &Layer<'_>) -> BTreeMap<String, Node> {
    let reader = layer.open().unwrap();
    let mut nodes = BTreeMap::new();
    let mut left = vec![String::new()];
    while let Some(path) = left.pop() {
        let entry = reader.lookup(&path).unwrap();
        for (name, child) in entry.children().filter(|(name, _)| !is_added(name)) {
            let name = std::str::from_utf8(name).unwrap();
            let child_path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            // A name in a directory and the path over it lead to the same node.
            assert_eq!(reader.lookup(&child_path).unwrap().path(), child.path());
            assert_eq!(entry.child(name.as_bytes()).unwrap().path(), child.path());
            left.push(child_path);
        }
        let node = node(&reader, &path);
        assert!(node.attr.kind == Kind::Directory || entry.children().next().is_none(), "names in `{path}`");
        nodes.insert(path, node);
    }
    nodes
}

fn node(reader: &Reader<&[u8]>, path: &str) -> Node {
    let id = resolve(reader, path.as_bytes(), Follow::Never).unwrap();
    let attr = reader.attr(id).unwrap();
    let owner = reader.owner(id).unwrap();
    let mut xattrs = Vec::new();
    let mut keep = |name: &[u8], value: &[u8]| {
        xattrs.push((name.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    reader.xattrs(id, &mut keep).unwrap();
    let link = if attr.kind == Kind::Symlink { reader.read_link(id).unwrap().into_owned() } else { Vec::new() };
    let mut chunks = Vec::new();
    if attr.kind == Kind::File {
        let file = reader.open_file(path).unwrap();
        let mut at = 0;
        while at < attr.size {
            let chunk = reader.chunk_for_offset(path, at).unwrap();
            let mut content = vec![0; chunk.size as usize];
            file.read_exact_at(Offset::new(chunk.chunk_offset), &mut content).unwrap();
            chunks.push((chunk.chunk_offset, content, chunk.stream_end > chunk.offset));
            at += chunk.size;
        }
        assert!(reader.chunk_for_offset(path, at).is_none(), "a chunk behind the end of `{path}`");
    }
    Node {
        attr,
        user: owner.user.into_owned(),
        group: owner.group.into_owned(),
        link,
        xattrs,
        digest: reader.lookup(path).unwrap().digest(),
        chunks,
    }
}

/// The input's files are all there, cut as they have to be: two layers that lack the same would be equal, too.
fn assert_tree_is(tree: &BTreeMap<String, Node>, input: &[Entry]) {
    for entry in input {
        let node = tree.get(&clean(entry.name)).unwrap_or_else(|| panic!("`{}` is not in the layer", entry.name));
        if entry.target.is_empty() {
            let pieces = entry.content().chunks(CHUNK as usize).zip((0..).step_by(CHUNK as usize));
            let wanted: Vec<_> = pieces.map(|(piece, at)| (at, piece.to_vec(), true)).collect();
            assert_eq!(node.chunks, wanted, "`{}`", entry.name);
        }
    }
}
