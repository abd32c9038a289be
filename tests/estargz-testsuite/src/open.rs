//! Part "write and open": a layer has as many streams as it should, where its TOC says, and gives back what was put in.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    Controller, Counts, Job, Running,
    checks::{Check, Opened},
    entry::{Entry, Format, blockdev, chardev, dir, fifo, file, hardlink, letters, symlink, tarball},
    forms,
    layer::{Layer, Mode, options},
    sharing,
};
use dunnage_estargz::{
    footer::{STORAGE_FOOTER_LEN, TocPlace},
    read::{Hook, Telemetry},
    toc::Toc,
    write::Streams,
};

struct Case {
    name: &'static str,
    /// Bytes of a chunk; 0 for the default.
    chunk_size: u64,
    /// Size that streams have to have before they end.
    min_chunk: u64,
    input: &'static [Entry],
    /// Runs of rising offsets in the TOC, and one each for TOC and footer.
    streams: usize,
    checks: &'static [Check],
    /// The input has a TOC: a lossless writer refuses it.
    lossy_only: bool,
}

const DEFAULT: Case =
    Case { name: "", chunk_size: 0, min_chunk: 0, input: &[], streams: 0, checks: &[], lossy_only: false };

const TEXT: &str = "Some contents";
const BIG: &str = "This is such a big file";

const CASES: &[Case] = &[
    Case { name: "empty", streams: 2, checks: &[Check::Entries(0)], ..DEFAULT },
    Case {
        name: "1dir_1empty_file",
        input: &[dir("foo/"), file("foo/bar.txt", "")],
        streams: 3,
        checks: &[
            Check::Entries(2),
            Check::Dir("foo/"),
            Check::File("foo/bar.txt", &[0]),
            Check::Children("foo", &["bar.txt"]),
        ],
        ..DEFAULT
    },
    Case {
        name: "1dir_1file",
        input: &[dir("foo/"), file("foo/bar.txt", TEXT).xattrs(&[("foo", b"bar"), ("invalid-utf8", b"\xff\xfe\xfd")])],
        streams: 4,
        checks: &[
            Check::Entries(2),
            Check::Dir("foo/"),
            Check::File("foo/bar.txt", &[0, 1]),
            Check::Children("", &["foo"]),
            Check::Children("foo", &["bar.txt"]),
            Check::Xattrs("foo/bar.txt"),
        ],
        ..DEFAULT
    },
    Case {
        name: "2meta_2file",
        input: &[dir("bar/").owned(), dir("foo/").owned(), file("foo/bar.txt", TEXT).owned()],
        streams: 4,
        checks: TWO_DIRS,
        ..DEFAULT
    },
    Case {
        name: "3dir",
        input: &[dir("bar/"), dir("foo/"), dir("foo/bar/")],
        streams: 3,
        checks: &[Check::Links("bar/", 2), Check::Links("foo/", 3), Check::Links("foo/bar/", 2)],
        ..DEFAULT
    },
    Case {
        name: "symlink",
        input: &[dir("foo/"), symlink("foo/bar", "../../x")],
        streams: 3,
        checks: &[
            Check::Entries(2),
            Check::Symlink("foo/bar"),
            Check::Children("", &["foo"]),
            Check::Children("foo", &["bar"]),
        ],
        ..DEFAULT
    },
    Case {
        name: "chunked_file",
        chunk_size: 4,
        input: &[dir("foo/"), file("foo/big.txt", BIG)],
        streams: 9,
        checks: &[
            Check::Entries(7),
            Check::Dir("foo/"),
            Check::File("foo/big.txt", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22]),
            Check::Chunks("foo/big.txt", 6),
        ],
        ..DEFAULT
    },
    Case {
        name: "recursive",
        input: &[dir("/").owned(), dir("bar/").owned(), dir("foo/").owned(), file("foo/bar.txt", TEXT).owned()],
        streams: 4,
        checks: &[Check::Depth(2)],
        ..DEFAULT
    },
    Case {
        name: "block_char_fifo",
        input: &[blockdev("b", 123, 456).timeless(), chardev("c", 111, 222).timeless(), fifo("f").timeless()],
        streams: 3,
        checks: &[Check::Bare("b"), Check::Bare("c"), Check::Bare("f")],
        ..DEFAULT
    },
    Case {
        name: "modes",
        input: &[
            dir("foo1/").mode(0o2755),
            file("foo1/bar1", TEXT).mode(0o4700),
            file("foo1/bar2", TEXT).mode(0o2755),
            dir("foo2/").mode(0o1755),
            file("foo2/bar3", TEXT).mode(0o1755),
            dir("foo3/"),
            file("foo3/bar4", TEXT).mode(0o700),
            file("foo3/bar5", TEXT).mode(0o755),
        ],
        streams: 8,
        checks: &[
            Check::Mode("foo1/"),
            Check::Mode("foo1/bar1"),
            Check::Mode("foo1/bar2"),
            Check::Mode("foo2/"),
            Check::Mode("foo2/bar3"),
            Check::Mode("foo3/"),
            Check::Mode("foo3/bar4"),
            Check::Mode("foo3/bar5"),
        ],
        ..DEFAULT
    },
    Case {
        name: "lossy",
        input: &[
            dir("bar/").owned(),
            dir("foo/").owned(),
            file("foo/bar.txt", TEXT).owned(),
            file("stargz.index.json", "dummy"),
        ],
        streams: 4,
        checks: TWO_DIRS,
        lossy_only: true,
        ..DEFAULT
    },
    Case {
        name: "hardlink should be replaced to the destination entry",
        input: &[dir("foo/"), file("foo/foo1", "test"), hardlink("foolink", "foo/foo1")],
        streams: 4,
        checks: &[Check::Same("foo/foo1", "foolink")],
        ..DEFAULT
    },
    Case {
        name: "several_files_in_chunk",
        min_chunk: 8000,
        input: &[
            dir("foo/"),
            letters("foo/foo1"),
            file("foo2", "bb"),
            file("foo22", "ccc"),
            dir("bar/"),
            file("bar/bar.txt", "aaa"),
            letters("foo3"),
        ],
        streams: 4,
        checks: &[
            Check::Entries(7),
            Check::Dir("foo/"),
            Check::Dir("bar/"),
            Check::File("foo/foo1", &[0]),
            Check::File("foo2", &[0, 1]),
            Check::File("foo22", &[0, 1, 2]),
            Check::File("bar/bar.txt", &[0, 1, 2]),
            Check::File("foo3", &[0, 1, 2, 32_000, 63_999]),
            Check::PreRead("foo22", &[("foo2", 2), ("bar/bar.txt", 3), ("foo3", 64_000)]),
        ],
        ..DEFAULT
    },
    Case {
        name: "several_files_in_chunk_chunked",
        chunk_size: 32_000,
        min_chunk: 8000,
        input: &[dir("foo/"), letters("foo/foo1"), file("foo2", "bb"), dir("bar/"), letters("foo3")],
        streams: 6,
        checks: &[
            Check::Entries(7),
            Check::Dir("foo/"),
            Check::Dir("bar/"),
            Check::File("foo/foo1", &[0, 1, 2, 32_000, 63_999]),
            Check::File("foo2", &[0, 1]),
            Check::File("foo3", &[0, 1, 2, 32_000, 63_999]),
            Check::PreRead("foo2", &[("foo3", 32_000)]),
        ],
        ..DEFAULT
    },
];

const TWO_DIRS: &[Check] = &[
    Check::Entries(3),
    Check::Dir("bar/"),
    Check::Dir("foo/"),
    Check::File("foo/bar.txt", &[0]),
    Check::Children("", &["bar", "foo"]),
    Check::Children("foo", &["bar.txt"]),
    Check::Chunks("foo/bar.txt", 1),
    Check::Owner("bar/"),
    Check::Owner("foo/"),
    Check::Owner("foo/bar.txt"),
];

pub(super) fn jobs(controller: &dyn Controller) -> impl Iterator<Item = Job<'_>> {
    CASES.iter().flat_map(move |case| {
        let ways = sharing(controller, case.min_chunk).into_iter();
        ways.map(move |streams| -> Job<'_> {
            Box::new(move || {
                let runs = forms().flat_map(|form| [Mode::Lossless, Mode::Lossy].map(|mode| (form, mode)));
                let counted =
                    runs.map(|((format, prefix), mode)| check(controller, case, streams, format, prefix, mode));
                Counts { write_and_open: counted.count(), ..Counts::default() }
            })
        })
    })
}

fn check(controller: &dyn Controller, case: &Case, streams: Streams, format: Format, prefix: &str, mode: Mode) {
    let name = controller.name();
    let _running = Running(format_args!("{name}, {}, {streams:?}, {format:?}, `{prefix}`, {mode:?}", case.name));
    let tar = tarball(case.input, prefix, format);
    let write = options(controller, case.chunk_size, streams, 1);
    let written = Layer::append(controller, &tar, &write, mode);
    if mode == Mode::Lossless && case.lossy_only {
        assert!(written.is_err(), "written though it cannot be kept bit for bit");
        return;
    }
    let layer = written.unwrap();
    if mode == Mode::Lossless {
        assert!(layer.unpack() == tar, "the layer does not unpack to its input");
    }
    layer.check_diff_id();

    let footer = layer.footer();
    let told: Told = Arc::default();
    let telemetry = Telemetry { footer: hook(&told, 0), toc: hook(&told, 1), deserialize: hook(&told, 2) };
    let reader = layer.open_telling(telemetry).unwrap();
    let told = told.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert_eq!((told[0], told[2]), (1, 1), "reading the footer and the index are told of once");
    // As much is read at first as the longest of all footers takes; a TOC that is in there is not read again.
    let at_first = footer.footer_len.max((STORAGE_FOOTER_LEN + 8) as u64);
    let in_there = footer.toc != TocPlace::Outside && layer.blob.len() as u64 - footer.toc_at().get() <= at_first;
    assert!(told[1] == 1 || in_there, "reading the TOC is told of");

    let toc = layer.toc();
    assert_eq!(toc.version, 1, "version");
    assert!(reader.lookup("").is_some(), "no root");
    let mut offsets = stream_offsets(&toc);
    assert_eq!(offsets.len() + 2, case.streams, "streams, TOC and footer included: {offsets:?}");
    if footer.toc != TocPlace::Outside {
        offsets.push(footer.toc_at().get());
    }
    offsets.extend([0, layer.blob.len() as u64 - footer.footer_len]);
    controller.check_streams(&layer.blob, &offsets);

    let opened = Opened { reader: &reader, toc: &toc, input: case.input, prefix };
    for check in case.checks {
        let _running = Running(format_args!("{check:?}"));
        opened.check(check);
    }
}

/// Where a run of rising offsets says that streams start.
fn stream_offsets(toc: &Toc) -> Vec<u64> {
    let mut offsets = Vec::new();
    for entry in &toc.entries {
        if offsets.last().is_none_or(|&last| entry.offset > last) {
            offsets.push(entry.offset);
        }
    }
    offsets
}

type Told = Arc<[AtomicU64; 3]>;

#[expect(clippy::unnecessary_wraps, reason = "that is how a hook is set")]
fn hook(told: &Told, at: usize) -> Option<Hook> {
    let told = Arc::clone(told);
    Some(Arc::new(move |_| {
        told[at].fetch_add(1, Ordering::Relaxed);
    }))
}
