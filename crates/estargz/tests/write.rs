//! Layers written and read back: the rules of building, and the defects of the reference that are not repeated here
//! (register of the specification, by number).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::{
    io::{Cursor, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dunnage_digest::{Algorithm, Cancel, Digest, Offset, Progress, ReadAt};
use dunnage_estargz::{
    Build, Error, OpenOptions, Reader, WriteOptions, Writer,
    codec::{Codec, GzipCompressor, Level},
    compose::{Missing, NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK},
    input::Gunzip,
    unpack,
    write::NonUtf8,
};
use dunnage_tree::{
    Mtime,
    tar::{self, EntryType, Format, Header},
};

fn header(name: &str, entry: EntryType) -> Header {
    let mtime = Some(Mtime { secs: 1_700_000_000, nanos: 0 });
    Header { name: name.into(), entry, mode: 0o644, mtime, format: Format::Unknown, ..Header::default() }
}

fn link(name: &str, to: &str) -> (Header, Vec<u8>) {
    (Header { link: to.into(), ..header(name, EntryType::HardLink) }, Vec::new())
}

fn file(name: &str, content: &[u8]) -> (Header, Vec<u8>) {
    (Header { size: content.len() as u64, ..header(name, EntryType::File) }, content.to_vec())
}

fn dir(name: &str) -> (Header, Vec<u8>) {
    (header(name, EntryType::Directory), Vec::new())
}

fn archive(entries: &[(Header, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (header, content) in entries {
        tar::encode_header(header, &mut out).unwrap();
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend_from_slice(&tar::END);
    out
}

fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Half random, half repetitive.
        let byte = if seed >> 63 == 0 { seed.to_le_bytes()[5] } else { b'a' };
        bytes.push(byte);
    }
    bytes
}

fn options(chunk_size: u64, threads: usize) -> WriteOptions {
    WriteOptions { chunk_size, threads, ..WriteOptions::default() }
}

fn names(blob: &[u8]) -> Vec<String> {
    let mut entries = tar::Reader::new(unpack(blob).unwrap(), dunnage_tree::Limits::default());
    let (mut header, mut names) = (Header::default(), Vec::new());
    while entries.next_header(&mut header).unwrap() {
        names.push(String::from_utf8_lossy(&header.name).into_owned());
    }
    names
}

fn build(
    prioritized: &[&str],
    missing: Missing,
    entries: &[(Header, Vec<u8>)],
) -> Result<(Vec<String>, Vec<String>), Error> {
    let prioritized = prioritized.iter().map(|&file| file.to_owned()).collect();
    let build = Build { write: options(0, 1), prioritized, missing };
    let (blob, built) = build.from_source(archive(entries), Vec::new())?;
    Ok((names(&blob), built.missed))
}

fn content(reader: &Reader<Vec<u8>>, path: &str) -> Vec<u8> {
    let file = reader.open_file(path).unwrap();
    let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    file.read_exact_at(Offset::ZERO, &mut bytes).unwrap();
    bytes
}

fn open(blob: &[u8]) -> Reader<Vec<u8>> {
    Reader::open(blob.to_vec(), &OpenOptions::default()).unwrap()
}

/// An archive with sizes around every boundary.
fn assorted() -> Vec<(Header, Vec<u8>)> {
    let sizes = [0, 1, 511, 512, 513, 4095, 4096, 4097, 8192, 100_000, 600_000];
    let mut entries = vec![dir("d/")];
    for (at, size) in sizes.into_iter().enumerate() {
        entries.push(file(&format!("d/{at}"), &noise(size, at as u64)));
        entries.push(link(&format!("l{at}"), &format!("d/{at}")));
    }
    entries
}

#[test]
fn the_same_bytes_for_any_number_of_threads_and_either_way_in() {
    let tar = archive(&assorted());
    for chunk in [0, 1, 4096, 1 << 20] {
        // One byte a chunk is only there to be extreme.
        let tar = if chunk == 1 { archive(&[dir("d/"), file("d/a", &noise(3000, 1))]) } else { tar.clone() };
        let of = |threads: usize| Build { write: options(chunk, threads), ..Build::default() };
        let (first, built) = of(1).from_source(&tar[..], Vec::new()).unwrap();
        for threads in [0, 2, 8] {
            let (blob, again) = of(threads).from_source(&tar[..], Vec::new()).unwrap();
            assert!(blob == first && again == built, "chunk size {chunk}, {threads} threads");
            let (blob, again) = of(threads).from_stream(&tar[..], Vec::new()).unwrap();
            assert!(blob == first && again == built, "chunk size {chunk}, {threads} threads, as a stream");
        }
        let summary = &built.summary;
        assert_eq!(summary.blob, Digest::of(Algorithm::Sha256, &first));
        assert_eq!(summary.blob_len, first.len() as u64);
        let mut whole = Vec::new();
        flate2::read::MultiGzDecoder::new(&first[..]).read_to_end(&mut whole).unwrap();
        assert_eq!(*summary.diff_id.digest(), Digest::of(Algorithm::Sha256, &whole));
        assert_eq!(summary.uncompressed_len, whole.len() as u64);
        let reader = open(&first);
        reader.verify_toc(&summary.toc_digest).unwrap();
        let verified = reader.verify(2, Progress::none()).unwrap();
        assert_eq!(verified.chunks, reader.chunks());
    }
}

#[test]
fn every_file_reads_back_whole_and_in_parts() {
    for chunk in [0, 7, 4096] {
        let entries = if chunk == 7 { vec![file("d/1", &noise(3000, 1))] } else { assorted() };
        let (blob, _) =
            Build { write: options(chunk, 2), ..Build::default() }.from_source(archive(&entries), Vec::new()).unwrap();
        let reader = open(&blob);
        for (header, wanted) in entries.iter().filter(|(header, _)| header.entry == EntryType::File) {
            let path = std::str::from_utf8(&header.name).unwrap();
            assert!(content(&reader, path) == *wanted, "{path}");
            let opened = reader.open_file(path).unwrap();
            for (at, len) in [(0, 1), (wanted.len() / 2, wanted.len() / 3), (wanted.len().saturating_sub(1), 1)] {
                let mut bytes = vec![0; len.min(wanted.len() - at.min(wanted.len()))];
                opened.read_exact_at(Offset::new(at as u64), &mut bytes).unwrap();
                assert!(bytes[..] == wanted[at..][..bytes.len()], "{path} at {at}");
            }
            assert!(opened.read_exact_at(Offset::new(wanted.len() as u64), &mut [0]).is_err());
        }
    }
}

#[test]
fn lossless_layers_give_the_input_back() {
    let mut tar = archive(&assorted());
    tar.extend_from_slice(&[0; 100]);
    let mut odd = archive(&[file("a", b"1")]);
    odd.extend_from_slice(b"whatever stands behind the end");
    for input in [tar, odd, tar::END.to_vec(), Vec::new()] {
        for threads in [1, 2] {
            let mut writer = Writer::new(Vec::new(), &options(4096, threads)).unwrap();
            writer.append_tar_lossless(&input[..]).unwrap();
            let (blob, _) = writer.finish().unwrap();
            let mut back = Vec::new();
            unpack(&blob[..]).unwrap().read_to_end(&mut back).unwrap();
            assert!(back == input, "{} bytes became {}", input.len(), back.len());
        }
    }
}

#[test]
fn inputs_may_be_compressed() {
    let tar = archive(&assorted());
    let build = Build { write: options(0, 2), ..Build::default() };
    let (wanted, _) = build.from_source(&tar[..], Vec::new()).unwrap();
    let mut gzip = Vec::new();
    // In two members, as some tools write.
    for half in tar.chunks(tar.len() / 2 + 1) {
        flate2::read::GzEncoder::new(half, flate2::Compression::fast()).read_to_end(&mut gzip).unwrap();
    }
    let mut zstd = vec![0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
    zstd.extend(zstd::encode_all(&tar[..], 1).unwrap());
    for packed in [&gzip, &zstd] {
        assert!(build.from_source(&packed[..], Vec::new()).unwrap().0 == wanted);
        assert!(build.from_stream(&packed[..], Vec::new()).unwrap().0 == wanted);
        assert!(build.from_source(&packed[..packed.len() - 5], Vec::new()).is_err(), "cut short");
    }
    gzip.extend_from_slice(b"junk");
    assert!(build.from_stream(&gzip[..], Vec::new()).is_err(), "H31: junk behind the compressed input");
}

#[test]
fn gzip_inputs_are_inflated_by_whom_the_caller_says() {
    let tar = archive(&assorted());
    let mut gzip = Vec::new();
    flate2::read::GzEncoder::new(&tar[..], flate2::Compression::fast()).read_to_end(&mut gzip).unwrap();
    let calls = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&calls);
    let gunzip = Gunzip::new(move |input| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(flate2::read::MultiGzDecoder::new(input)))
    });
    let build = Build { write: options(0, 2), ..Build::default() };
    let (wanted, _) = build.from_source(&tar[..], Vec::new()).unwrap();
    let with = Build { write: WriteOptions { gunzip: Some(gunzip), ..options(0, 2) }, ..Build::default() };
    assert!(with.from_source(&gzip[..], Vec::new()).unwrap().0 == wanted);
    assert!(with.from_stream(&gzip[..], Vec::new()).unwrap().0 == wanted);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    let mut writer = Writer::new(Vec::new(), &with.write).unwrap();
    writer.append_tar_lossless(&gzip[..]).unwrap();
    assert_eq!(writer.finish().unwrap().1.input.unwrap().digest, Digest::of(Algorithm::Sha256, &tar));
    assert!(with.from_source(&gzip[..gzip.len() - 5], Vec::new()).is_err(), "cut short");
    // It is not asked about other inputs than gzip.
    let zstd = zstd::encode_all(&tar[..], 1).unwrap();
    assert!(with.from_source(&zstd[..], Vec::new()).unwrap().0 == wanted);
    assert!(with.from_source(&tar[..], Vec::new()).unwrap().0 == wanted);
    assert_eq!(calls.load(Ordering::Relaxed), 4);
    let failing = Gunzip::new(|_| Err(std::io::Error::other("no such program")));
    let with = Build { write: WriteOptions { gunzip: Some(failing), ..options(0, 2) }, ..Build::default() };
    let error = with.from_source(&gzip[..], Vec::new()).unwrap_err();
    assert!(matches!(&error, Error::Input { source } if source.to_string() == "no such program"), "{error}");
}

#[test]
fn building_again_from_a_layer_gives_the_same_layer() {
    let build = Build { write: options(4096, 2), ..Build::default() };
    let (first, _) = build.from_source(archive(&assorted()), Vec::new()).unwrap();
    assert!(build.from_source(&first[..], Vec::new()).unwrap().0 == first);
    assert!(build.from_stream(&first[..], Vec::new()).unwrap().0 == first);
}

#[test]
fn q3_a_circle_of_hard_links_is_an_error() {
    let error = build(&["a"], Missing::Refuse, &[link("a", "b"), link("b", "a")]).unwrap_err();
    let wanted = "unsupported input entry `a`: hard link to `b`, which is not there at this point of the archive";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn q5_directories_without_an_entry_are_no_obstacle() {
    let (names, missed) = build(&["bar/foo"], Missing::Refuse, &[file("a", b"a"), file("bar/foo", b"b")]).unwrap();
    assert_eq!(names, ["bar/foo", PREFETCH_LANDMARK, "a"]);
    assert!(missed.is_empty());
}

#[test]
fn missing_files_are_refused_or_reported_in_their_own_spelling() {
    let entries = [file("a", b"a"), file("b", b"b")];
    let error = build(&["b", "./no"], Missing::Refuse, &entries).unwrap_err();
    assert_eq!(error.to_string(), "no such file in the layer: `./no`");
    let (names, missed) = build(&["./no", "../b", "no", "no"], Missing::Report, &entries).unwrap();
    assert_eq!(names, ["b", PREFETCH_LANDMARK, "a"]);
    assert_eq!(missed, ["./no", "no", "no"]);
}

#[test]
fn repeated_names_keep_their_last_entry_and_its_own_chunks() {
    // Q10: the first `a` has several chunks, the last one does not.
    let entries =
        [file("a", &noise(10_000, 1)), dir("d/"), file("./a", b"new"), dir("d/"), file("stargz.index.json", b"old")];
    let build = Build { write: options(4096, 1), ..Build::default() };
    let (blob, _) = build.from_source(archive(&entries), Vec::new()).unwrap();
    assert_eq!(names(&blob), [NO_PREFETCH_LANDMARK, "./a", "d/"]);
    assert_eq!(content(&open(&blob), "a"), b"new");
    // A writer keeps both; readers see the last.
    let mut writer = Writer::new(Vec::new(), &options(4096, 1)).unwrap();
    writer.append_tar(&archive(&entries)[..]).unwrap();
    let (blob, _) = writer.finish().unwrap();
    assert_eq!(names(&blob), ["a", "d/", "./a", "d/"]);
    assert_eq!(content(&open(&blob), "a"), b"new");
    open(&blob).verify(1, Progress::none()).unwrap();
    // Bytes in a pipe cannot be taken back.
    let error = build.from_stream(&archive(&entries)[..], Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "`./a` appears twice, and the earlier entry has already been written");
}

#[test]
fn q14_chunks_are_found_through_hard_links() {
    let entries = [file("a", &noise(10_000, 1)), link("b", "a")];
    let (blob, _) =
        Build { write: options(4096, 1), ..Build::default() }.from_source(archive(&entries), Vec::new()).unwrap();
    let reader = open(&blob);
    for at in [0, 4095, 4096, 9999] {
        let chunk = reader.chunk_for_offset("b", at).unwrap();
        assert_eq!(chunk.chunk_offset, at / 4096 * 4096);
        assert_eq!(Some(chunk), reader.chunk_for_offset("a", at));
    }
    assert_eq!(reader.chunk_for_offset("b", 10_000), None);
    let last = reader.chunk_for_offset("a", 9999).unwrap();
    assert_eq!(last.stream_end.get(), reader.footer().payload_len, "the last stream ends where the TOC starts");
}

#[test]
fn tars_can_be_appended_one_after_the_other() {
    let mut writer = Writer::new(Vec::new(), &options(0, 2)).unwrap();
    writer.append_tar(&archive(&[file("a", b"first")])[..]).unwrap();
    writer.append_tar(&archive(&[dir("d/"), file("d/b", b"second")])[..]).unwrap();
    let (blob, summary) = writer.finish().unwrap();
    assert_eq!(summary.entries, 3);
    assert_eq!((content(&open(&blob), "a"), content(&open(&blob), "d/b")), (b"first".to_vec(), b"second".to_vec()));
}

#[test]
fn q1_a_layer_without_content_stays_small() {
    let entries: Vec<_> = (0..1000).map(|number| dir(&format!("d{number}/"))).collect();
    let (blob, _) =
        Build { write: options(0, 8), ..Build::default() }.from_source(archive(&entries), Vec::new()).unwrap();
    assert!(blob.len() < 20_000, "{} bytes", blob.len());
}

#[test]
fn headers_without_content_do_not_pile_up_in_one_stream() {
    let entries: Vec<_> = (0..20_000).map(|number| dir(&format!("d{number}/"))).collect();
    let tar = archive(&entries);
    let of = |threads| Build { write: options(0, threads), ..Build::default() };
    let (blob, _) = of(1).from_source(&tar[..], Vec::new()).unwrap();
    assert!(of(8).from_stream(&tar[..], Vec::new()).unwrap().0 == blob);
    assert_eq!(names(&blob).len(), 20_001);
}

#[test]
fn what_a_toc_cannot_hold_is_refused_with_the_entry_named() {
    let records = [(b"comment".to_vec(), b"x".to_vec())].into();
    let global = Header {
        name: "pax_global_header".into(),
        entry: EntryType::GlobalExtension,
        pax: records,
        ..Header::default()
    };
    let mut odd_name = file("x", b"");
    odd_name.0.name = b"a\xff".to_vec();
    let other = (header("odd", EntryType::Other(b'Z')), Vec::new());
    let append = |entries: &[(Header, Vec<u8>)], lossless: bool, non_utf8: NonUtf8| {
        let mut writer = Writer::new(Vec::new(), &WriteOptions { non_utf8, ..options(0, 1) }).unwrap();
        let tar = archive(entries);
        let result = if lossless { writer.append_tar_lossless(&tar[..]) } else { writer.append_tar(&tar[..]) };
        result.and_then(|()| writer.finish()).map(|(blob, _)| open(&blob).lookup("").unwrap().children().count())
    };
    let text = |result: Result<usize, Error>| result.map_err(|error| error.to_string());
    // Q8: a global header is kept bit for bit or dropped, and never an entry.
    assert_eq!(text(append(&[(global.clone(), Vec::new()), file("a", b"1")], false, NonUtf8::Refuse)), Ok(1));
    assert_eq!(text(append(&[(global, Vec::new()), file("a", b"1")], true, NonUtf8::Refuse)), Ok(1));
    // Q9.
    let refused = r"unsupported input entry `a\xff`: `a\xff` is not UTF-8, and a TOC can hold nothing else";
    assert_eq!(text(append(std::slice::from_ref(&odd_name), false, NonUtf8::Refuse)), Err(refused.to_owned()));
    assert_eq!(text(append(&[odd_name], false, NonUtf8::Replace)), Ok(1));
    let refused = "unsupported input entry `odd`: type flag `Z`";
    assert_eq!(text(append(&[other], true, NonUtf8::Refuse)), Err(refused.to_owned()));
    let refused = "unsupported input entry `./stargz.index.json`: the input has a TOC already; unpack the layer first";
    assert_eq!(text(append(&[file("./stargz.index.json", b"x")], true, NonUtf8::Refuse)), Err(refused.to_owned()));
}

#[test]
fn names_that_are_not_utf8_are_escaped_byte_for_byte_as_the_reference_does() {
    let mut odd = file("x", b"1");
    // Half of a euro sign, and a U+FFFD that is really there.
    odd.0.name = b"a\xe2\x82\xef\xbf\xbd".to_vec();
    odd.0.user = b"u\xff".to_vec();
    odd.0.pax = [(b"SCHILY.xattr.user.\xfe".to_vec(), vec![0xff])].into();
    odd.0.format = Format::Pax;
    let mut link = link("l", "x");
    link.0.link.clone_from(&odd.0.name);
    let mut writer = Writer::new(Vec::new(), &WriteOptions { non_utf8: NonUtf8::Replace, ..options(0, 1) }).unwrap();
    writer.append_tar(&archive(&[odd.clone(), link])[..]).unwrap();
    let (blob, summary) = writer.finish().unwrap();
    let mut member = Vec::new();
    let payload = usize::try_from(summary.payload_len).unwrap();
    flate2::read::GzDecoder::new(&blob[payload..]).read_to_end(&mut member).unwrap();
    let json = String::from_utf8_lossy(&member);
    for (key, times) in [
        ("\"name\": \"a\\ufffd\\ufffd\u{fffd}\"", 1),
        ("\"linkName\": \"a\\ufffd\\ufffd\u{fffd}\"", 1),
        ("\"userName\": \"u\\ufffd\"", 1),
        ("\"user.\\ufffd\": \"/w==\"", 1),
    ] {
        assert_eq!(json.matches(key).count(), times, "{key} in {json}");
    }
    // Readers see four characters, and the hard link finds its target.
    let reader = open(&blob);
    reader.verify_toc(&summary.toc_digest).unwrap();
    assert_eq!(content(&reader, "a\u{fffd}\u{fffd}\u{fffd}"), b"1");
    assert_eq!(content(&reader, "l"), b"1");
    // Attributes that would become one are refused.
    odd.0.pax.insert(b"SCHILY.xattr.user.\xfd".to_vec(), vec![]);
    let mut writer = Writer::new(Vec::new(), &WriteOptions { non_utf8: NonUtf8::Replace, ..options(0, 1) }).unwrap();
    let error = writer.append_tar(&archive(&[odd])[..]).unwrap_err();
    assert!(error.to_string().ends_with("names of extended attributes that a TOC cannot tell apart"), "{error}");
}

#[test]
fn nothing_is_written_after_an_error_or_a_cancellation() {
    let cancel = Cancel::new();
    let mut writer = Writer::new(Vec::new(), &WriteOptions { cancel: cancel.clone(), ..options(0, 2) }).unwrap();
    writer.append_tar(&archive(&[file("a", b"1")])[..]).unwrap();
    cancel.cancel();
    let error = writer.append_tar(&archive(&[file("b", b"1")])[..]).unwrap_err();
    assert_eq!(error.to_string(), "cancelled by the caller");
    let mut writer = Writer::new(Vec::new(), &options(0, 1)).unwrap();
    let (header, content) = file("a", b"12345");
    assert!(writer.append_entry(&header, &mut Cursor::new(&content[..3])).is_err(), "content cut short");
    assert_eq!(writer.finish().unwrap_err().to_string(), "an earlier error ended this layer");
    assert!(Writer::new(Vec::new(), &options(65 << 20, 1)).is_err());
}

/// A sink that takes so many bytes and then fails.
struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        match self.0.checked_sub(buf.len()) {
            Some(left) => {
                self.0 = left;
                Ok(buf.len())
            }
            None => Err(std::io::ErrorKind::StorageFull.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error_wherever_it_comes() {
    let tar = archive(&assorted());
    let build = |threads| Build { write: options(4096, threads), ..Build::default() };
    let (blob, _) = build(2).from_source(&tar[..], Vec::new()).unwrap();
    for room in (0..blob.len()).step_by(blob.len() / 40) {
        for threads in [1, 2] {
            let result = build(threads).from_source(&tar[..], Full(room));
            assert!(matches!(result, Err(Error::Write { .. })), "{room} bytes");
        }
    }
    build(2).from_source(&tar[..], Full(blob.len())).unwrap();
}

#[cfg(feature = "libdeflate")]
#[test]
fn both_codecs_write_the_same_tar() {
    let tar = archive(&assorted());
    for level in 0..=12 {
        let of = |codec| {
            let compressor = Arc::new(GzipCompressor::new(codec, Level::new(level).unwrap()));
            let build = Build { write: WriteOptions { compressor, ..options(4096, 2) }, ..Build::default() };
            build.from_source(&tar[..], Vec::new()).unwrap().0
        };
        let unpacked = |blob: Vec<u8>| {
            open(&blob).verify(1, Progress::none()).unwrap();
            let mut tar = Vec::new();
            unpack(&blob[..]).unwrap().read_to_end(&mut tar).unwrap();
            tar
        };
        assert!(unpacked(of(Codec::Zlib)) == unpacked(of(Codec::Libdeflate)), "level {level}");
    }
}

#[cfg(not(feature = "libdeflate"))]
#[test]
fn every_level_writes_the_same_tar() {
    let tar = archive(&assorted());
    let at = |level| {
        let compressor = Arc::new(GzipCompressor::new(Codec::Zlib, Level::new(level).unwrap()));
        let build = Build { write: WriteOptions { compressor, ..options(4096, 2) }, ..Build::default() };
        let (blob, _) = build.from_source(&tar[..], Vec::new()).unwrap();
        open(&blob).verify(1, Progress::none()).unwrap();
        let mut tar = Vec::new();
        unpack(&blob[..]).unwrap().read_to_end(&mut tar).unwrap();
        tar
    };
    for level in [-2, 0, 1, 9, 12] {
        assert!(at(level) == at(6), "level {level}");
    }
}

#[test]
fn names_that_no_reader_takes_are_not_written() {
    let long = "n".repeat((64 << 10) + 1);
    let wanted = "name in a tar entry: 65537 is over the limit of 65536";
    let error = Build::default().from_source(archive(&[dir(&long)]), Vec::new()).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.kind()), (wanted, dunnage_digest::ErrorKind::LimitExceeded));
}
