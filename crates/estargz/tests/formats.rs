//! Every format and every way to share streams: written, opened, read and unpacked, with the same bytes on any number of
//! threads.

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, reason = "a test")]

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dunnage_digest::{Algorithm, Digest, Offset, Progress};
use dunnage_estargz::{
    Build, Error, OpenOptions, Reader, Summary, TrustedReader, WriteOptions, Writer,
    annotations::{STORAGE_CHECKSUM_ANNOTATION, TOC_DIGEST_ANNOTATION},
    codec::{
        Codec, Compressor, ExternalTocCompressor, ExternalTocDecompressor, GzipCompressor, Level, StorageCompressor,
        ZstdCompressor, ZstdLevel,
    },
    footer::Format,
    read::{Telemetry, find_footer},
    unpack,
    write::Streams,
};
use dunnage_tree::tar::{self, EntryType, Header};

/// Text that compresses, and is different for each seed.
fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(format!("{:x} ", state % 4096).as_bytes());
    }
    out.truncate(len);
    out
}

fn files() -> Vec<(String, Vec<u8>)> {
    let sizes = [0, 1, 511, 512, 513, 3000, 9000, 0, 40_000, 7, 7, 200_000, 12, 70_000, 1_300_000, 5, 0, 100];
    sizes.iter().enumerate().map(|(n, &size)| (format!("d/{n:02}"), text(n as u64 + 1, size))).collect()
}

fn tarball() -> Vec<u8> {
    let mut tar = Vec::new();
    let dir = Header { name: b"d/".into(), entry: EntryType::Directory, mode: 0o755, ..Header::default() };
    tar::encode_header(&dir, &mut tar).unwrap();
    for (name, content) in files() {
        let size = content.len() as u64;
        let header =
            Header { name: name.as_bytes().into(), entry: EntryType::File, size, mode: 0o644, ..Header::default() };
        tar::encode_header(&header, &mut tar).unwrap();
        tar.extend_from_slice(&content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.extend_from_slice(&tar::END);
    tar.extend_from_slice(&[0; 100]);
    tar
}

fn compressors() -> Vec<(Format, Arc<dyn Compressor>)> {
    let gzip = GzipCompressor::new(Codec::Zlib, Level::DEFAULT);
    vec![
        (Format::Estargz, Arc::new(gzip)),
        (Format::ExternalToc, Arc::new(ExternalTocCompressor::new(gzip))),
        (Format::ZstdChunked, Arc::new(ZstdCompressor::default())),
        (Format::ZstdChunked, Arc::new(ZstdCompressor::new(ZstdLevel::FASTEST))),
        (Format::StorageChunked, Arc::new(StorageCompressor::default())),
    ]
}

const STREAMS: [Streams; 6] = [
    Streams::PerChunk,
    Streams::AtLeast(1),
    Streams::AtLeast(50_000),
    Streams::AtLeast(64 << 20),
    Streams::CompressedAtLeast(10_000),
    Streams::CompressedAtLeast(64 << 20),
];

fn options(summary: &Summary) -> OpenOptions {
    let mut options = OpenOptions::default();
    if let Some(toc) = summary.external_toc.clone() {
        options.decompressors.push(Arc::new(ExternalTocDecompressor::new(move || Ok(toc.clone()))));
    }
    options
}

#[test]
fn every_format_gives_back_what_was_put_in() {
    let tar = tarball();
    for (format, compressor) in compressors() {
        for streams in STREAMS {
            // Each chunk has a stream of its own there, and nothing else.
            if format == Format::StorageChunked && streams != Streams::PerChunk {
                continue;
            }
            for lossless in [false, true] {
                let what = format!("{format} {streams:?} lossless {lossless}");
                let write = |threads| {
                    let compressor = Arc::clone(&compressor);
                    let options =
                        WriteOptions { chunk_size: 65_536, streams, compressor, threads, ..WriteOptions::default() };
                    let mut writer = Writer::new(Vec::new(), &options).unwrap();
                    match lossless {
                        true => writer.append_tar_lossless(tar.as_slice()).unwrap(),
                        false => writer.append_tar(tar.as_slice()).unwrap(),
                    }
                    writer.finish().unwrap()
                };
                let (blob, summary) = write(1);
                for threads in [2, 8] {
                    assert!(write(threads) == (blob.clone(), summary.clone()), "{what}: {threads} threads");
                }
                check(&what, format, &tar, &blob, &summary, lossless);
            }
        }
    }
}

fn check(what: &str, format: Format, tar: &[u8], blob: &[u8], summary: &Summary, lossless: bool) {
    assert_eq!(find_footer(&blob).unwrap().format, format, "{what}");
    assert_eq!(summary.blob, Digest::of(Algorithm::Sha256, blob), "{what}");
    let toc_annotation = match format {
        Format::StorageChunked => STORAGE_CHECKSUM_ANNOTATION,
        _ => TOC_DIGEST_ANNOTATION,
    };
    assert_eq!(summary.annotations[toc_annotation], summary.toc_digest.to_string(), "{what}");
    let mut unpacked = Vec::new();
    unpack(blob).unwrap().read_to_end(&mut unpacked).unwrap();
    if lossless {
        assert!(unpacked == tar, "{what}");
        let proof = summary.input.as_ref().unwrap();
        assert_eq!((proof.digest, proof.len), (Digest::of(Algorithm::Sha256, tar), tar.len() as u64), "{what}");
    } else {
        assert!(tar.starts_with(&unpacked), "{what}");
        assert_eq!(summary.input, None, "{what}");
    }
    if format != Format::Estargz {
        assert_eq!(*summary.diff_id.digest(), Digest::of(Algorithm::Sha256, &unpacked), "{what}");
    }
    let reader = Reader::open(blob, &options(summary)).unwrap().trusted(&summary.toc_digest).unwrap();
    reader.verify(2, Progress::none()).unwrap_or_else(|error| panic!("{what}: {error}"));
    for (name, content) in files() {
        let mut got = vec![0; content.len()];
        let file = reader.open_file(&name).unwrap();
        dunnage_digest::ReadAt::read_exact_at(&file, Offset::ZERO, &mut got).unwrap();
        assert!(got == content, "{what}: {name}");
    }
}

#[test]
fn fewer_streams_make_a_smaller_layer() {
    let tar = tarball();
    let streams = |streams| {
        let options = WriteOptions { streams, ..WriteOptions::default() };
        let (blob, _) = Build { write: options, ..Build::default() }.from_source(tar.clone(), Vec::new()).unwrap();
        let reader = Reader::open(blob, &OpenOptions::default()).unwrap();
        (reader.streams(), reader.footer().payload_len)
    };
    let (alone, large) = streams(Streams::PerChunk);
    let (shared, small) = streams(Streams::AtLeast(50_000));
    assert_eq!(alone, 16, "15 files with content, and the landmark");
    // The landmark starts a stream of its own, and then streams end behind 40 000, 200 000, 70 000 and 1 300 000.
    assert_eq!(shared, 5);
    assert!(small < large, "{small} {large}");
    assert_eq!(streams(Streams::CompressedAtLeast(0)).0, alone);
}

#[test]
fn neighbours_come_along() {
    let write = WriteOptions { chunk_size: 50_000, streams: Streams::AtLeast(30_000), ..WriteOptions::default() };
    let (blob, summary) = {
        let mut writer = Writer::new(Vec::new(), &write).unwrap();
        writer.append_tar(tarball().as_slice()).unwrap();
        writer.finish().unwrap()
    };
    let reader = Reader::open(blob, &options(&summary)).unwrap();
    let files = files();
    // d/01 to d/08 share the first stream: empty files have no content to come along.
    let mut seen = Vec::new();
    let mut file = reader
        .open_file_with_pre_reader("d/05", |pre| {
            let (_, content) = files.iter().find(|(name, _)| *name == pre.entry.path()).unwrap();
            let at = pre.chunk.chunk_offset as usize;
            assert!(pre.content == &content[at..at + pre.chunk.size as usize], "{pre:?}");
            seen.push((pre.entry.path(), at));
            Ok(())
        })
        .unwrap();
    let mut got = vec![0; 3000];
    assert_eq!(file.read_at(0, &mut got).unwrap(), 3000);
    assert!(got == files[5].1);
    let wanted: Vec<_> = ["d/01", "d/02", "d/03", "d/04", "d/06", "d/08"].map(|name| (name.to_owned(), 0)).into();
    assert_eq!(seen, wanted);
    // A read over several chunks: neighbours of each of them, never the file's own chunk.
    let mut seen = 0;
    let mut file = reader
        .open_file_with_pre_reader("d/11", |_| {
            seen += 1;
            Ok(())
        })
        .unwrap();
    let mut got = vec![0; 200_000];
    assert_eq!(file.read_at(0, &mut got).unwrap(), 200_000);
    assert!(got == files[11].1);
    assert!(seen > 0);
    // In a layer where each chunk has its own stream, nothing comes along.
    let write = WriteOptions { streams: Streams::PerChunk, ..write };
    let mut writer = Writer::new(Vec::new(), &write).unwrap();
    writer.append_tar(tarball().as_slice()).unwrap();
    let reader = Reader::open(writer.finish().unwrap().0, &OpenOptions::default()).unwrap();
    let mut file = reader.open_file_with_pre_reader("d/05", |pre| panic!("{pre:?}")).unwrap();
    assert_eq!(file.read_at(10, &mut [0; 100]).unwrap(), 100);
}

#[test]
fn two_tars_in_one_layer_do_not_share_a_stream() {
    let write = WriteOptions { streams: Streams::AtLeast(32 << 20), ..WriteOptions::default() };
    let mut writer = Writer::new(Vec::new(), &write).unwrap();
    writer.append_tar(tarball().as_slice()).unwrap();
    writer.append_tar(tarball().as_slice()).unwrap();
    let reader = Reader::open(writer.finish().unwrap().0, &OpenOptions::default()).unwrap();
    reader.verify(1, Progress::none()).unwrap();
    // The second tar's entries replace those of the first, and lie in the second stream.
    let chunk = reader.chunk_for_offset("d/01", 0).unwrap();
    assert!(chunk.offset.get() > 0, "{chunk:?}");
}

#[test]
fn a_toc_elsewhere_has_to_be_given() {
    let compressor = Arc::new(ExternalTocCompressor::default());
    let write = WriteOptions { compressor, ..WriteOptions::default() };
    let mut writer = Writer::new(Vec::new(), &write).unwrap();
    writer.append_tar_lossless(tarball().as_slice()).unwrap();
    let (blob, summary) = writer.finish().unwrap();
    assert_eq!(*summary.diff_id.digest(), Digest::of(Algorithm::Sha256, &tarball()), "the DiffID is kept");
    let error = Reader::open(&blob, &OpenOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "the TOC is stored outside of the blob, and was not given");
    // It is asked for each time, and what a provider says about a failure is handed on.
    let mut options = OpenOptions::default();
    let failing = || Err(std::io::Error::other("the registry is asleep"));
    options.decompressors.push(Arc::new(ExternalTocDecompressor::new(failing)));
    for _ in 0..2 {
        let error = Reader::open(&blob, &options).unwrap_err();
        assert!(matches!(&error, Error::Read { source, .. } if source.to_string() == "the registry is asleep"));
    }
    // The TOC of another layer has another digest.
    let mut writer = Writer::new(Vec::new(), &write).unwrap();
    writer.append_tar(tar::END.as_slice()).unwrap();
    let (_, other) = writer.finish().unwrap();
    let error = TrustedReader::open(&blob, &self::options(&other), &summary.toc_digest).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
}

#[test]
fn steps_are_told_and_a_hint_saves_a_read() {
    for (format, compressor) in compressors() {
        let write = WriteOptions { compressor, ..WriteOptions::default() };
        let mut writer = Writer::new(Vec::new(), &write).unwrap();
        writer.append_tar(tarball().as_slice()).unwrap();
        let (blob, summary) = writer.finish().unwrap();
        let counts: [Arc<AtomicU64>; 3] = Default::default();
        let hook = |at: usize| -> Option<dunnage_estargz::read::Hook> {
            let count = Arc::clone(&counts[at]);
            Some(Arc::new(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            }))
        };
        let telemetry = Telemetry { footer: hook(0), toc: hook(1), deserialize: hook(2) };
        let mut options = OpenOptions { telemetry, ..options(&summary) };
        let told = || counts.each_ref().map(|count| count.swap(0, Ordering::Relaxed));
        Reader::open(&blob, &options).unwrap();
        assert_eq!(told(), [1, 1, 1], "{format}");
        let footer = find_footer(&blob).unwrap();
        if format == Format::ExternalToc {
            continue;
        }
        options.toc_offset = Some(footer.toc_at());
        Reader::open(&blob, &options).unwrap();
        assert_eq!(told(), [1, 0, 1], "{format}: the TOC came with the footer");
        // Wrong hints cost a read.
        for hint in [blob.len() as u64, blob.len() as u64 - 1] {
            options.toc_offset = Some(Offset::new(hint));
            Reader::open(&blob, &options).unwrap();
            assert_eq!(told(), [1, 1, 1], "{format}: hint {hint}");
        }
        options.toc_offset = Some(Offset::new(blob.len() as u64 + 1));
        assert!(matches!(Reader::open(&blob, &options), Err(Error::Misuse(_))), "{format}");
    }
}

#[test]
fn sizes_and_compressors_that_cannot_work_are_refused_at_once() {
    for streams in [Streams::AtLeast((64 << 20) + 1), Streams::CompressedAtLeast(u64::MAX)] {
        let options = WriteOptions { streams, ..WriteOptions::default() };
        assert!(matches!(Writer::new(Vec::new(), &options), Err(Error::Misuse(_))), "{streams:?}");
    }
}
