//! Whole layers: written and read back, changed and refused, and the tar beside the TOC.

use std::sync::{Arc, OnceLock};

use dunnage_digest::Progress;
use dunnage_estargz::{
    Limits, WriteOptions, Writer,
    codec::{Codec, Compressor, ExternalTocCompressor, GzipCompressor, Level, ZstdCompressor, ZstdLevel},
    toc::Toc,
    write::Streams,
};
use dunnage_tree::{CompareMtime, CompareOptions, compare, tar::TarTree};

use super::script::Script;
use crate::{
    generate::{Spec, tree},
    layer,
    mutation::{Outcome, SUBJECTS, Subject},
    stored,
    tarball::{Entry, Format, tarball},
};

/// A tree and options from the bytes; written, verified and unpacked, it is what went in.
pub fn roundtrip_estargz(data: &[u8]) {
    let mut script = Script::new(data);
    let format = *script.pick(&[Format::Ustar, Format::Pax, Format::Gnu]);
    let spec = Spec {
        entries: 1 + script.below(24) as u64,
        max_size: script.below(3000) as u64,
        format,
        xattrs: script.flag(),
        odd_names: script.flag(),
        duplicates: false,
    };
    let entries = tree(script.number(), &spec);
    let tar = tarball(format, &entries);
    let options = write_options(&mut script);
    let lossless = script.flag();
    let write = |threads: usize| {
        let mut writer = Writer::new(Vec::new(), &WriteOptions { threads, ..options.clone() }).expect("options");
        let appended =
            if lossless { writer.append_tar_lossless(tar.as_slice()) } else { writer.append_tar(tar.as_slice()) };
        appended.expect("a tar of ours");
        writer.finish().expect("a layer")
    };
    let (blob, summary) = write(1);
    let (again, _) = write(3);
    assert!(blob == again, "the bytes depend on the number of threads");
    let external = summary.external_toc.clone();
    let reader = layer::open_with(blob.as_slice(), external).expect("what was written opens");
    assert_eq!(reader.entries(), summary.entries);
    reader.verify_toc(&summary.toc_digest).expect("what was written has the digest that was told");
    reader.verify(1, Progress::none()).expect("a written layer verifies");
    let audit = reader.audit(Progress::none()).and_then(dunnage_estargz::audit::Audit::agreed).expect("an audit");
    assert_eq!(audit.diff_id, summary.diff_id);
    let unpacked = layer::unpack(blob.as_slice()).expect("streams of ours");
    assert!(!lossless || unpacked == tar, "a lossless layer lost something");
    let tree = TarTree::open(tar.as_slice(), &dunnage_tree::Limits::default()).expect("a tar of ours");
    let options = CompareOptions {
        // A TOC has seconds, rounded.
        mtime: CompareMtime::Ignore,
        ..CompareOptions::default()
    };
    assert_eq!(compare(&reader, &tree, &options, Progress::none()).expect("two trees"), []);
}

fn write_options(script: &mut Script<'_>) -> WriteOptions {
    let gzip = GzipCompressor::new(Codec::Zlib, Level::new(script.below(10) as i32).expect("a level"));
    let zstd = ZstdLevel::new(1 + script.below(6) as i32).expect("a level");
    let compressor: Arc<dyn Compressor> = match script.below(3) {
        0 => Arc::new(gzip),
        1 => Arc::new(ExternalTocCompressor::new(gzip)),
        _ => Arc::new(ZstdCompressor::new(zstd)),
    };
    let least = 1 + script.below(4000) as u64;
    let streams = *script.pick(&[Streams::PerChunk, Streams::AtLeast(least), Streams::CompressedAtLeast(least)]);
    let chunk_size = *script.pick(&[0, 1 + least % 60, least]);
    WriteOptions { chunk_size, streams, compressor, ..WriteOptions::default() }
}

fn subjects() -> &'static [Subject] {
    static SUBJECTS_READ: OnceLock<Vec<Subject>> = OnceLock::new();
    SUBJECTS_READ.get_or_init(|| SUBJECTS.iter().map(|name| Subject::new(name)).collect())
}

/// One of the small blobs and changes to it from the bytes; it is refused, or nothing that a reader sees has changed.
pub fn verify_never_accepts_mutant(data: &[u8]) {
    let mut script = Script::new(data);
    let subject = script.pick(subjects());
    let mut bytes = subject.bytes().to_vec();
    while !script.is_empty() {
        change(&mut script, &mut bytes);
    }
    match subject.judge(&bytes) {
        Outcome::Refused | Outcome::Unnoticed => {}
        outcome => panic!("{}: {outcome}", subject.name()),
    }
}

fn change(script: &mut Script<'_>, bytes: &mut Vec<u8>) {
    let at = script.below(bytes.len());
    if bytes.is_empty() {
        return;
    }
    match script.byte() % 8 {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, script.byte()),
        2 => drop(bytes.remove(at)),
        3 => {
            let other = script.below(bytes.len());
            bytes.swap(at, other);
        }
        4 => {
            let value = script.number().to_le_bytes();
            let end = bytes.len().min(at + 8);
            bytes[at..end].copy_from_slice(&value[..end - at]);
        }
        5 => {
            let from = script.below(bytes.len());
            let len = script.below(64).min(bytes.len() - at.max(from));
            bytes.copy_within(from..from + len, at);
        }
        _ => bytes[at] ^= script.byte(),
    }
}

/// A layer whose TOC or tar was changed behind the other's back: an audit that agrees means that both are the same tree.
pub fn toc_vs_tar_consistency(data: &[u8]) {
    let mut script = Script::new(data);
    let mut entries = vec![
        Entry::dir("d/"),
        Entry::file("d/a", "hello world"),
        Entry::symlink("s", "d/a"),
        Entry::hardlink("h", "d/a"),
        Entry::file("e", ""),
        Entry::file("b", "content of b").xattr("user.a", b"v").owner(7, 8, "u", "g"),
    ];
    let options = layer::options(Codec::Zlib, 1, 1 + script.below(20) as u64, 1).expect("options");
    let write = |entries: &[Entry]| layer::append(tarball(Format::Pax, entries).as_slice(), &options);
    let (mut blob, _) = write(&entries).expect("a layer");
    let mut toc = layer::toc(&blob).expect("a TOC");
    // Sometimes the payload comes from a tar that is a little different.
    if script.flag() {
        edit_tar(&mut script, &mut entries);
        // Entries that form no tree make no layer.
        let Ok((other, _)) = write(&entries) else { return };
        blob = other;
    }
    while !script.is_empty() {
        edit_toc(&mut script, &mut toc);
    }
    let blob = stored::blob(&blob[..layer::toc_offset(&blob)], &toc.to_json());
    let Ok(reader) = layer::open_within(blob.as_slice(), None, &Limits::small()) else { return };
    let Ok(audit) = reader.audit(Progress::none()) else { return };
    let differences = audit.differences.clone();
    assert_eq!(audit.total == 0, differences.is_empty());
    if audit.agreed().is_err() {
        return;
    }
    // Content without a digest is handed out to nobody, and so cannot differ.
    if reader.verifiers().is_err() {
        return;
    }
    let tar = layer::unpack(blob.as_slice()).expect("an audited payload unpacks");
    let Ok(tree) = TarTree::open(tar.as_slice(), &dunnage_tree::Limits::default()) else { return };
    let options = CompareOptions { mtime: CompareMtime::Seconds, ..CompareOptions::default() };
    let seen = compare(&reader, &tree, &options, Progress::none()).expect("two trees");
    assert_eq!(seen, [], "the audit agreed, and the trees differ");
}

fn edit_tar(script: &mut Script<'_>, entries: &mut Vec<Entry>) {
    let at = script.below(entries.len());
    match script.byte() % 8 {
        0 => drop(entries.remove(at)),
        1 => entries.push(Entry::file("x", "extra")),
        2 => entries[at].mode ^= 0o4000,
        3 => entries[at].uid += 1,
        4 => entries[at].mtime += 1,
        5 => {
            let other = script.below(entries.len());
            entries.swap(at, other);
        }
        6 => entries[at].target = b"e".to_vec(),
        _ => {
            if let Some(byte) = entries[at].content.first_mut() {
                *byte ^= 1;
            }
        }
    }
}

fn edit_toc(script: &mut Script<'_>, toc: &mut Toc) {
    let len = toc.entries.len();
    let (at, other) = (script.below(len), script.below(len));
    if len == 0 {
        return;
    }
    let copy = toc.entries[other].clone();
    let value = script.byte();
    let entry = &mut toc.entries[at];
    match script.byte() % 20 {
        0 => entry.name.clone_from(&copy.name),
        1 => entry.kind = copy.kind,
        2 => entry.size = entry.size.wrapping_add(u64::from(value)) & 0xffff,
        3 => entry.mode ^= i64::from(value),
        4 => entry.uid += i64::from(value),
        5 => entry.gid += i64::from(value),
        6 => entry.link_name.clone_from(&copy.name),
        7 => entry.offset = copy.offset,
        8 => entry.inner_offset = u64::from(value),
        9 => entry.digest = copy.digest,
        10 => entry.chunk_digest = copy.chunk_digest,
        11 => entry.chunk_size = u64::from(value),
        12 => entry.chunk_offset = u64::from(value),
        13 => entry.xattrs = copy.xattrs,
        14 => entry.modtime = format!("2024-01-01T00:00:{:02}Z", value % 60),
        15 => toc.entries.swap(at, other),
        16 => drop(toc.entries.remove(at)),
        17 => toc.entries.insert(at, copy),
        18 => entry.user_name = "other".to_owned(),
        _ => entry.name = format!("./{}", entry.name),
    }
}
