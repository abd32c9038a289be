//! What comparisons report, line by line.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicU64, Ordering},
};

use dunnage_digest::{Cancel, Progress};
use dunnage_inputs::tarball::{Entry, EntryKind, Format, tarball};
use dunnage_tree::{
    CompareContent, CompareMtime, CompareOptions, CompareOwners, CompareXattrs, Error, Limits, compare, compare_with,
    tar::TarTree,
};

/// A file named `f` with everything on it.
fn base() -> Entry {
    Entry { nanos: 5, ..Entry::file("f", "").owner(1, 2, "", "").mtime(10) }.xattr("user.a", b"1")
}

fn tree(entries: &[(Entry, &[u8])]) -> TarTree<Vec<u8>> {
    let entries: Vec<_> =
        entries.iter().map(|(entry, body)| Entry { content: body.to_vec(), ..entry.clone() }).collect();
    TarTree::open(tarball(Format::Pax, &entries), &Limits::default()).unwrap()
}

fn named(name: &str, kind: EntryKind, target: &str) -> Entry {
    Entry { kind, name: name.into(), target: target.into(), mode: 0o755, ..Entry::default() }
}

fn file(name: &str) -> Entry {
    named(name, EntryKind::File, "")
}

#[track_caller]
fn lines(a: &TarTree<Vec<u8>>, b: &TarTree<Vec<u8>>, options: &CompareOptions, expected: &[&str]) {
    let found: Vec<_> = compare(a, b, options, Progress::none()).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[track_caller]
fn check(a: &[(Entry, &[u8])], b: &[(Entry, &[u8])], expected: &[&str]) {
    lines(&tree(a), &tree(b), &CompareOptions::default(), expected);
    lines(&tree(a), &tree(a), &CompareOptions::default(), &[]);
    lines(&tree(b), &tree(b), &CompareOptions::default(), &[]);
}

#[test]
fn each_sort_of_difference_has_its_line() {
    let one = |entry: Entry| vec![(entry, b"hello".as_slice())];
    let with = |change: fn(&mut Entry)| {
        let mut entry = base();
        change(&mut entry);
        one(entry)
    };
    check(&one(base()), &one(base()), &[]);
    check(&one(base()), &with(|entry| entry.mode = 0o4755), &["f: mode 0644 / 4755"]);
    check(&one(base()), &with(|entry| entry.uid = -1), &["f: owner 1:2 / -1:2"]);
    check(&one(base()), &with(|entry| entry.nanos = 6), &["f: mtime 10.000000005 / 10.000000006"]);
    check(
        &one(base()),
        &with(|entry| drop(entry.xattrs.insert("user.a".to_owned(), b"2\n".to_vec()))),
        &["f: xattr user.a \"1\" / \"2\\n\""],
    );
    check(&one(base()), &with(|entry| entry.xattrs.clear()), &["f: xattr user.a \"1\" / absent"]);
    check(&one(base()), &[(base(), b"hello!")], &["f: size 5 / 6 bytes"]);
    check(&one(base()), &[(base(), b"help!")], &["f: content from offset 0x3"]);
    check(
        &one(base()),
        &[(Entry { kind: EntryKind::Fifo, xattrs: Default::default(), ..base() }, b"")],
        &["f: file / fifo"],
    );
    check(
        &[(named("l", EntryKind::Symlink, "a"), b"")],
        &[(named("l", EntryKind::Symlink, "b"), b"")],
        &["l: target `a` / `b`"],
    );
    check(
        &[(Entry { device: (1, 3), ..named("d", EntryKind::Char, "") }, b"")],
        &[(Entry { device: (1, 5), ..named("d", EntryKind::Char, "") }, b"")],
        &["d: device 1:3 / 1:5"],
    );
    check(&[(Entry { mode: 0o700, ..named("./", EntryKind::Dir, "") }, b"")], &[], &["/: mode 0700 / 0755"]);
}

#[test]
fn only_the_top_of_what_one_side_lacks_is_reported() {
    let dir = |name: &str| named(name, EntryKind::Dir, "");
    check(
        &[(file("a/b/c"), b""), (file("a.x"), b""), (dir("same/"), b""), (file("z"), b"")],
        &[(file("a-"), b""), (dir("same/"), b""), (file("same/new"), b""), (file("zz"), b"")],
        &[
            "a: directory only in the first",
            "a-: file only in the second",
            "a.x: file only in the first",
            "same/new: file only in the second",
            "z: file only in the first",
            "zz: file only in the second",
        ],
    );
    check(
        &[(file("x/a"), b""), (file("y"), b"")],
        &[(file("x"), b""), (file("y/a"), b"")],
        &["x: directory / file", "y: file / directory"],
    );
}

#[test]
fn order_is_that_of_names_not_of_paths_as_text() {
    // As text, `a.b` comes between `a` and `a/b`.
    check(&[(file("a/b"), b""), (file("a.b"), b"")], &[(file("a/b"), b""), (file("a.b"), b"")], &[]);
    check(
        &[(file("a/b"), b""), (file("a.b"), b"")],
        &[(file("a/c"), b"")],
        &["a/b: file only in the first", "a/c: file only in the second", "a.b: file only in the first"],
    );
}

#[test]
fn hard_links_have_to_pair_up() {
    let hard = |name: &str, target: &str| (named(name, EntryKind::Hardlink, target), b"".as_slice());
    let linked = [(file("a"), b"x".as_slice()), hard("b", "a"), hard("c", "a")];
    check(&linked, &linked, &[]);
    check(
        &linked,
        &[(file("a"), b"x"), hard("b", "a"), (file("c"), b"x")],
        &["c: hard link to `a` / to nothing before it"],
    );
    check(
        &[(file("a"), b"x"), hard("b", "a"), (file("c"), b"x"), hard("d", "c")],
        &[(file("a"), b"x"), (file("b"), b"x"), hard("c", "a"), hard("d", "b")],
        &[
            "b: hard link to `a` / to nothing before it",
            "c: hard link to nothing before it / to `a`",
            "d: hard link to `c` / to `b`",
        ],
    );
}

#[test]
fn large_files_are_compared_over_block_boundaries() {
    let size = (3 << 20) + 17;
    let body = vec![7; size];
    for at in [0, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) - 1, 3 << 20, size - 1] {
        let mut other = body.clone();
        other[at] = 8;
        check(&[(file("f"), &body)], &[(file("f"), &other)], &[&format!("f: content from offset {at:#x}")]);
    }
}

#[test]
fn options_leave_things_out() {
    let mut other = base();
    (other.uid, other.nanos) = (9, 9);
    other.xattrs.insert("trusted.x".to_owned(), b"1".to_vec());
    let (a, b) = (tree(&[(base(), b"hello")]), tree(&[(other, b"jello")]));
    let mut options = CompareOptions::default();
    let all = [
        "f: owner 1:2 / 9:2",
        "f: mtime 10.000000005 / 10.000000009",
        "f: content from offset 0x0",
        "f: xattr trusted.x absent / \"1\"",
    ];
    lines(&a, &b, &options, &all);
    options.mtime = CompareMtime::Seconds;
    lines(&a, &b, &options, &[all[0], all[2], all[3]]);
    options.owners = CompareOwners::Ignore;
    lines(&a, &b, &options, &[all[2], all[3]]);
    options.xattrs = CompareXattrs::User;
    lines(&a, &b, &options, &[all[2]]);
    options.content = CompareContent::SizeOnly;
    lines(&a, &b, &options, &[]);
}

#[test]
fn stopping_early_stops() {
    let many: Vec<_> = (0..50).map(|number| (file(&format!("{number:02}")), b"".as_slice())).collect();
    let (a, b) = (tree(&many), tree(&[]));
    let mut options = CompareOptions::default();
    for at_most in [0, 1, 3, 50, 99] {
        options.at_most = Some(at_most);
        assert_eq!(compare(&a, &b, &options, Progress::none()).unwrap().len(), at_most.min(50));
    }
    let mut seen = 0;
    compare_with(&a, &b, &CompareOptions::default(), Progress::none(), &mut |_| {
        seen += 1;
        if seen == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!(seen, 7);
    let cancel = Cancel::new();
    cancel.cancel();
    let compared = compare(&a, &b, &CompareOptions::default(), Progress::none().cancelled_by(&cancel));
    assert!(matches!(compared, Err(Error::Cancelled(_))));
    // Bytes of content are reported, of the last pair too.
    let (content, reported) = (vec![1; 3 << 20], AtomicU64::new(0));
    let both = tree(&[(file("a"), content.as_slice()), (file("b"), b"hello".as_slice())]);
    let report = |bytes: u64| reported.store(bytes, Ordering::Relaxed);
    assert_eq!(compare(&both, &both, &CompareOptions::default(), Progress::to(&report)).unwrap(), []);
    assert_eq!(reported.load(Ordering::Relaxed), (3 << 20) + 5);
}
