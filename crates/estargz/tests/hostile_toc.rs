//! TOCs that cannot be a file tree, and some that only look odd: specification, hostile inputs H8 to H24.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use dunnage_estargz::{
    Error, Limits, OpenOptions, Reader,
    codec::{Codec, Compressor, End, GzipCompressor, Level, TocSource},
    read::{Prefetch, RepeatedNames, Versions},
    toc::TocType,
};

struct Json(String);

impl TocSource for Json {
    fn json_len(&self) -> u64 {
        self.0.len() as u64
    }

    fn write_json(&self, sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        sink(self.0.as_bytes())
    }
}

/// A blob of 64 bytes of payload with this TOC document.
fn blob(json: &str) -> Vec<u8> {
    let mut blob = vec![0; 64];
    let json = Json(json.to_owned());
    let end = End { payload_len: 64, toc: &json, threads: 1, tar_split: None };
    let compressor = GzipCompressor::new(Codec::Zlib, Level::DEFAULT);
    compressor.write_toc_and_footer(&end, &mut |_| (), &mut blob).unwrap();
    blob
}

fn open(entries: &str) -> Result<Reader<Vec<u8>>, Error> {
    open_with(entries, &OpenOptions::default())
}

fn open_with(entries: &str, options: &OpenOptions) -> Result<Reader<Vec<u8>>, Error> {
    Reader::open(blob(&format!(r#"{{"version":1,"entries":[{entries}]}}"#)), options)
}

const SHA: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

#[test]
fn what_cannot_be_a_tree_is_refused_by_name() {
    let reg = |name: &str, more: &str| format!(r#"{{"name":"{name}","type":"reg",{more}}}"#);
    let link = |name: &str, to: &str| format!(r#"{{"name":"{name}","type":"hardlink","linkName":"{to}"}}"#);
    let dir = |name: &str| format!(r#"{{"name":"{name}","type":"dir"}}"#);
    let chunk = |more: &str| format!(r#"{{"name":"a","type":"chunk",{more}}}"#);
    for (what, entries, wanted) in [
        (
            "H8 a size that its chunks do not reach",
            reg("a", r#""size":4611686018427387904,"chunkSize":1"#),
            "TOC entry 0 (`a`): expected chunks of 4611686018427387904 bytes in all, got 1",
        ),
        ("H9 a link to itself", link("a", "a"), "inconsistent TOC at `a`: hard links lead in a circle"),
        (
            "H9 a circle of two",
            [link("a", "b"), link("b", "a")].join(","),
            "inconsistent TOC at `a`: hard links lead in a circle",
        ),
        (
            "H10 a link to a directory",
            [dir("d"), link("a", "d")].join(","),
            "inconsistent TOC at `a`: hard link to a directory",
        ),
        ("H10 a link to the root", link("a", "/"), "inconsistent TOC at `a`: hard link to a directory"),
        ("H11 a link to nothing", link("a", "b"), "inconsistent TOC at `a`: hard link to `b`, which is not there"),
        (
            "H12 NUL in a name",
            reg("a\\u0000", r#""size":0"#),
            "TOC entry 0 (`a\\x00`): expected a name without NUL, got one with NUL",
        ),
        (
            "H13 a child of a file",
            [reg("a", r#""size":0"#), reg("a/b", r#""size":0"#)].join(","),
            "inconsistent TOC at `a/b`: it lies in something that is no directory",
        ),
        (
            "H13 a file where a directory was used",
            [reg("a/b", r#""size":0"#), reg("a", r#""size":0"#)].join(","),
            "inconsistent TOC at `a/b`: it lies in something that is no directory",
        ),
        (
            "H14 a root that is a file",
            reg("/", r#""size":0"#),
            "TOC entry 0 (`/`): expected a directory as the root, got reg",
        ),
        (
            "H14 a root that is a link",
            link(".", "a"),
            "TOC entry 0 (`.`): expected a directory as the root, got hardlink",
        ),
        (
            "H17 a chunk at the start",
            chunk(r#""chunkOffset":1"#),
            "TOC entry 0 (`a`): expected a chunk after its file, got a chunk before any file",
        ),
        (
            "H17 a chunk of a directory",
            [dir("a"), chunk(r#""chunkOffset":1"#)].join(","),
            "TOC entry 1 (`a`): expected a chunk after its file, got a chunk after an entry that is no file",
        ),
        (
            "H17 a chunk of another file",
            [reg("b", r#""size":4,"chunkSize":2"#), chunk(r#""chunkOffset":2"#)].join(","),
            "TOC entry 1 (`a`): expected a chunk of `b`, got one of another file",
        ),
        (
            "H18 a gap",
            [reg("a", r#""size":4,"chunkSize":1"#), chunk(r#""chunkOffset":2"#)].join(","),
            "TOC entry 1 (`a`): expected a chunk at 1, got one at 2",
        ),
        (
            "H18 an overlap",
            [reg("a", r#""size":4,"chunkSize":2"#), chunk(r#""chunkOffset":1"#)].join(","),
            "TOC entry 1 (`a`): expected a chunk at 2, got one at 1",
        ),
        (
            "H18 too long",
            [reg("a", r#""size":4,"chunkSize":2"#), chunk(r#""chunkOffset":2,"chunkSize":3"#)].join(","),
            "TOC entry 1 (`a`): expected chunks that end at 4, got one of 3 bytes at 2",
        ),
        (
            "H18 a chunk too many",
            [reg("a", r#""size":4"#), chunk(r#""chunkOffset":4"#)].join(","),
            "TOC entry 1 (`a`): expected no further chunk, got one at 4",
        ),
        (
            "H18 a first chunk in the middle",
            reg("a", r#""size":4,"chunkOffset":1"#),
            "TOC entry 0 (`a`): expected a first chunk at 0, got one at 1",
        ),
        (
            "H18 a chunk too few, then another file",
            [reg("a", r#""size":4,"chunkSize":2"#), reg("b", r#""size":0"#)].join(","),
            "TOC entry 1 (`a`): expected chunks of 4 bytes in all, got 2",
        ),
        (
            "H19 an offset behind the payload",
            reg("a", r#""size":1,"offset":64"#),
            "TOC entry 0 (`a`): expected an offset below 0x40, got 0x40",
        ),
        (
            "H21 a stream too long",
            reg("a", r#""size":1,"innerOffset":1073741824"#),
            "TOC: bytes of a stream: 1073741825 is over the limit of 1073741824",
        ),
        (
            "device numbers",
            r#"{"name":"a","type":"char","devMajor":-1}"#.to_owned(),
            "TOC entry 0 (`a`): expected device numbers of 32 bits, got -1:0",
        ),
        (
            "H28 a million directories",
            dir(&"d/".repeat(30_000)),
            "TOC: directories inside each other: 4097 is over the limit of 4096",
        ),
    ] {
        match open(&entries) {
            Err(error) => assert_eq!(error.to_string(), wanted, "{what}"),
            Ok(reader) => panic!("{what}: opened as {reader:?}"),
        }
    }
}

#[test]
fn another_version_is_refused() {
    for (json, wanted) in [
        (r#"{"version":2,"entries":null}"#, "unsupported TOC version 2: this crate reads version 1"),
        (r#"{"entries":null}"#, "unsupported TOC version 0: this crate reads version 1"),
    ] {
        assert_eq!(Reader::open(blob(json), &OpenOptions::default()).unwrap_err().to_string(), wanted);
    }
}

#[test]
fn another_version_is_read_if_the_caller_says_so() {
    let options = OpenOptions { versions: Versions::Any, ..OpenOptions::default() };
    for json in [r#"{"version":2,"entries":null}"#, r#"{"entries":null}"#] {
        assert_eq!(Reader::open(blob(json), &options).unwrap().entries(), 0);
    }
}

#[test]
fn repeated_names_are_refused_if_the_caller_says_so() {
    let options = OpenOptions { repeated: RepeatedNames::Refuse, ..OpenOptions::default() };
    let entry = |kind: &str, name: &str| format!(r#"{{"type":"{kind}","name":"{name}"}}"#);
    for (entries, wanted) in [
        // Directories that are implied first are named once.
        ([entry("reg", "d/a"), entry("dir", "d"), entry("dir", "/")], None),
        (
            [entry("dir", "d"), entry("dir", "e"), entry("dir", "./e/../d/")],
            Some("TOC entry 2 (`./e/../d/`): expected each name once, got another entry of this name"),
        ),
        (
            [entry("dir", "./"), entry("reg", "a"), entry("dir", "/")],
            Some("TOC entry 2 (`/`): expected each name once, got another entry of this name"),
        ),
    ] {
        let got = open_with(&entries.join(","), &options).map(drop).map_err(|error| error.to_string());
        assert_eq!(got.err().as_deref(), wanted);
        assert!(open(&entries.join(",")).is_ok());
    }
}

#[test]
fn a_landmark_is_a_regular_file_in_the_root() {
    let file = |name: &str, offset: u64| format!(r#"{{"type":"reg","name":"{name}","size":1,"offset":{offset}}}"#);
    let (yes, no) = (".prefetch.landmark", ".no.prefetch.landmark");
    let link = |name: &str| format!(r#"{{"type":"hardlink","name":"{name}","linkName":"f"}}"#);
    for (what, entries, wanted) in [
        ("none", file("f", 1), Prefetch::Unsaid),
        ("one", file(&format!("./{yes}"), 7), Prefetch::Before(7.into())),
        ("the other", file(no, 7), Prefetch::Nothing),
        ("both", [file(yes, 7), file(no, 8)].join(","), Prefetch::Nothing),
        ("not in the root", file(&format!("d/{yes}"), 7), Prefetch::Unsaid),
        ("directories", format!(r#"{{"type":"dir","name":"{yes}"}},{{"type":"dir","name":"{no}"}}"#), Prefetch::Unsaid),
        (
            "a directory and a file",
            format!(r#"{},{{"type":"dir","name":"{no}"}}"#, file(yes, 7)),
            Prefetch::Before(7.into()),
        ),
        ("a symlink", format!(r#"{{"type":"symlink","name":"{yes}","linkName":"f"}}"#), Prefetch::Unsaid),
        ("a hard link", [file("f", 1), link(no), link(yes)].join(","), Prefetch::Unsaid),
        ("an empty file", format!(r#"{{"type":"reg","name":"{yes}"}}"#), Prefetch::Unsaid),
    ] {
        assert_eq!(open(&entries).unwrap().prefetch(), wanted, "{what}");
    }
}

#[test]
fn places_are_checked_before_content_is_trusted() {
    let file = |name: &str, more: &str| {
        format!(r#"{{"name":"{name}","type":"reg","size":4,"digest":"{SHA}","chunkDigest":"{SHA}",{more}}}"#)
    };
    for (what, entries, wanted) in [
        ("apart", [file("a", r#""offset":0"#), file("b", r#""offset":9"#)].join(","), None),
        (
            "H20 in one stream, apart",
            [file("a", r#""innerOffset":0"#), file("b", r#""innerOffset":4"#)].join(","),
            None,
        ),
        (
            "H20 twice the same",
            [file("a", r#""offset":9"#), file("b", r#""offset":9"#)].join(","),
            Some("inconsistent TOC at `b`: its chunk at offset 0x9 shares bytes with another one"),
        ),
        (
            "H20 overlapping",
            [file("a", r#""innerOffset":5"#), file("b", r#""innerOffset":2"#)].join(","),
            Some("inconsistent TOC at `a`: its chunk at offset 0x0 shares bytes with another one"),
        ),
        (
            "no digest",
            r#"{"name":"a","type":"reg","size":4}"#.to_owned(),
            Some("no digest for the content of `a` at 0: the TOC cannot be verified"),
        ),
        (
            "a digest of the file alone, as in stargz",
            format!(r#"{{"name":"a","type":"reg","size":4,"digest":"{SHA}"}}"#),
            None,
        ),
        (
            "a file without and one with a chunk digest",
            [format!(r#"{{"name":"a","type":"reg","size":4,"digest":"{SHA}"}}"#), file("b", r#""offset":9"#)].join(","),
            None,
        ),
        (
            "a digest of the file, but two chunks",
            format!(
                r#"{{"name":"a","type":"reg","size":4,"chunkSize":2,"digest":"{SHA}"}},{{"type":"chunk","offset":1,"chunkOffset":2,"chunkDigest":"{SHA}"}}"#
            ),
            Some("no digest for the content of `a` at 0: the TOC cannot be verified"),
        ),
    ] {
        let reader = open(&entries).unwrap_or_else(|error| panic!("{what}: {error}"));
        let got = reader.verifiers().map(drop).map_err(|error| error.to_string());
        assert_eq!(got.err().as_deref(), wanted, "{what}");
    }
}

#[test]
fn odd_but_legal_trees_are_read_as_the_format_says() {
    let entries = [
        r#"{"name":"./d/../e//f","type":"reg","mode":420,"uid":7,"userName":"u"}"#,
        r#"{"name":"l1","type":"hardlink","linkName":"./l2"}"#,
        r#"{"name":"l2","type":"hardlink","linkName":"/e/f"}"#,
        r#"{"name":"e","type":"dir","mode":448,"modtime":"1970-01-01T00:00:09Z"}"#,
        r#"{"name":"twice","type":"symlink","linkName":"x"}"#,
        r#"{"name":"twice/","type":"dir"}"#,
        r#"{"name":"twice/in","type":"fifo","uid":7}"#,
    ]
    .join(",");
    let reader = open(&entries).unwrap();
    let at = |path: &str| reader.lookup(path).unwrap_or_else(|| panic!("{path}"));
    assert_eq!(at("").links(), 2 + 2);
    assert_eq!((at("e").mode(), at("e").mtime(), at("e").links()), (0o700, Some(9), 2));
    assert_eq!((at("/e/f").links(), at("l1").links(), at("l2").kind()), (3, 3, TocType::Reg));
    assert_eq!((at("twice").kind(), at("twice/in").kind()), (TocType::Dir, TocType::Fifo));
    assert!(reader.lookup("d").is_none(), "a folded name makes no directory");
    let names: Vec<_> = at("").children().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(names, ["e", "l1", "l2", "twice"]);
}

#[test]
fn limits_hold_for_documents_of_any_shape() {
    let json = format!(r#"{{"version":1,"x":"{}","entries":null}}"#, " ".repeat(100_000));
    let limits = Limits { toc: 50_000, ..Limits::default() };
    for threads in [1, 2] {
        let error =
            Reader::open(blob(&json), &OpenOptions { limits: limits.clone(), threads, ..OpenOptions::default() });
        assert_eq!(error.unwrap_err().to_string(), "TOC document: 100035 is over the limit of 50000");
    }
}

#[test]
fn the_index_takes_no_more_memory_than_it_may() {
    let entry = |at: usize, more: &str| format!(r#"{{"type":"reg","name":"{at}"{more}}}"#);
    let many = |one: &dyn Fn(usize) -> String| (0..5000).map(one).collect::<Vec<_>>().join(",");
    let name = "n".repeat(2000);
    for (what, entries) in [
        ("nodes", many(&|at| entry(at, ""))),
        ("implied directories", many(&|at| format!(r#"{{"type":"dir","name":"{at}/a/b/c/d"}}"#))),
        ("names", many(&|at| format!(r#"{{"type":"dir","name":"{at}{name}"}}"#))),
        ("targets", many(&|_| format!(r#"{{"type":"symlink","name":"s","linkName":"{name}"}}"#))),
        ("attributes", many(&|_| r#"{"type":"dir","name":"d","xattrs":{"a":"","b":"","c":""}}"#.to_owned())),
        ("owners", many(&|at| format!(r#"{{"type":"dir","name":"d","uid":{at}}}"#))),
        ("names of owners", many(&|at| format!(r#"{{"type":"dir","name":"d","userName":"{at}"}}"#))),
        ("chunks", many(&|_| entry(0, r#","size":2,"chunkSize":1},{"type":"chunk","chunkOffset":1"#))),
        ("other digests", many(&|_| entry(0, &format!(r#","digest":"sha512:{}""#, "ab".repeat(64))))),
    ] {
        let limits = Limits { index: 256 << 10, ..Limits::default() };
        let options = OpenOptions { limits, ..OpenOptions::default() };
        let got = open_with(&entries, &options).map(drop).map_err(|error| error.to_string());
        let got = got.expect_err(what);
        assert!(got.starts_with("TOC: memory for the index: "), "{what}: {got}");
        assert!(open(&entries).is_ok(), "{what}");
    }
}
