//! The surface of the reference, item by item, where no other test uses it: constants, single members and footers, what
//! decompressors do by themselves, entries and verifiers. The table is in the crate's README.

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

use std::{io::Read, sync::Arc, thread};

use dunnage_digest::{Offset, ReadAt};
use dunnage_estargz::{
    Build, Error, Limits, OpenOptions, Reader, Summary, WriteOptions, Writer,
    codec::{
        Codec, Compressor, Decompressor, ExternalTocCompressor, ExternalTocDecompressor, GzipCompressor,
        GzipDecompressor, LegacyGzipDecompressor, Level, TocDigestOf, ZstdCompressor, ZstdDecompressor, ZstdLevel,
    },
    footer::{Format, TocPlace, gzip_footer},
    read::{open_footer, unpack_with},
    toc::{Toc, TocType},
    write::Streams,
};
use dunnage_tree::{
    Tree,
    tar::{self, EntryType, Header},
};

#[test]
fn constants_are_those_of_the_formats() {
    use dunnage_estargz::{annotations, compose, footer, toc};
    for (got, wanted) in [
        (toc::TOC_TAR_NAME, "stargz.index.json"),
        (compose::PREFETCH_LANDMARK, ".prefetch.landmark"),
        (compose::NO_PREFETCH_LANDMARK, ".no.prefetch.landmark"),
        (annotations::TOC_DIGEST_ANNOTATION, "containerd.io/snapshot/stargz/toc.digest"),
        (annotations::UNCOMPRESSED_SIZE_ANNOTATION, "io.containers.estargz.uncompressed-size"),
        (annotations::MANIFEST_CHECKSUM_ANNOTATION, "io.containers.zstd-chunked.manifest-checksum"),
        (annotations::MANIFEST_POSITION_ANNOTATION, "io.containers.zstd-chunked.manifest-position"),
        (annotations::STORAGE_CHECKSUM_ANNOTATION, "io.github.containers.zstd-chunked.manifest-checksum"),
        (annotations::STORAGE_POSITION_ANNOTATION, "io.github.containers.zstd-chunked.manifest-position"),
        (annotations::STORAGE_TAR_SPLIT_ANNOTATION, "io.github.containers.zstd-chunked.tarsplit-position"),
        (annotations::LAYER_DIGEST_ANNOTATION, "containerd.io/snapshot/stargz/layer.digest"),
    ] {
        assert_eq!(got, wanted);
    }
    let lengths = [
        footer::FOOTER_LEN,
        footer::LEGACY_FOOTER_LEN,
        footer::EXTERNAL_FOOTER_LEN,
        footer::ZSTD_FOOTER_LEN,
        footer::STORAGE_FOOTER_LEN,
    ];
    assert_eq!((lengths, compose::LANDMARK_CONTENT), ([51, 47, 46, 40, 64], 0x0f));
}

/// `d/`, `d/a` with "hello", and `l`, a hard link to it; with chunks of 4 bytes.
fn written(compressor: impl Compressor + 'static) -> (Vec<u8>, Summary) {
    let mut tar = Vec::new();
    for (name, entry, size) in
        [("d/", EntryType::Directory, 0), ("d/a", EntryType::File, 5), ("l", EntryType::HardLink, 0)]
    {
        let link = if entry == EntryType::HardLink { b"d/a".to_vec() } else { Vec::new() };
        tar::encode_header(
            &Header { name: name.into(), entry, size, link, mode: 0o644, ..Header::default() },
            &mut tar,
        )
        .unwrap();
        if size > 0 {
            tar.extend_from_slice(b"hello");
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
    }
    let write = WriteOptions { chunk_size: 4, compressor: Arc::new(compressor), ..WriteOptions::default() };
    let mut writer = Writer::new(Vec::new(), &write).unwrap();
    writer.append_tar(tar.as_slice()).unwrap();
    writer.finish().unwrap()
}

#[test]
fn a_gzip_member_says_its_level_and_nothing_else() {
    let levels: Vec<_> = (-2..=12).filter(|level| Level::new(*level).is_ok()).collect();
    assert_eq!(levels.len(), 15, "Huffman only, the default, 0 to 9 and three more");
    for (level, flags) in [(-2, 4), (-1, 0), (0, 0), (1, 4), (6, 0), (9, 2)] {
        let mut member = Vec::new();
        let compressor = GzipCompressor::new(Codec::Zlib, Level::new(level).unwrap());
        compressor.encoder().unwrap().encode(b"hello", &mut member).unwrap();
        assert_eq!(member[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, flags, 0xff], "level {level}");
        let mut back = Vec::new();
        flate2::bufread::GzDecoder::new(member.as_slice()).read_to_end(&mut back).unwrap();
        assert_eq!(back, b"hello");
    }
    for level in [-3, 13, 100] {
        assert!(matches!(Level::new(level), Err(Error::Misuse(_))), "{level}");
    }
    assert!(gzip_footer(&[0; 65_535]).is_ok());
    let error = gzip_footer(&[0; 65_536]).unwrap_err();
    assert_eq!(error.to_string(), "bytes of a gzip header's extra field: 65536 is over the limit of 65535");
}

/// Footer, TOC and streams of a blob, by its decompressor alone: what the reference's `ParseFooter`, `ParseTOC`,
/// `DecompressTOC` and `Reader` give.
fn by_parts(blob: &[u8], summary: &Summary, format: Format, decompressor: &dyn Decompressor) {
    let end = blob.len() - decompressor.footer_len();
    let footer = decompressor.parse_footer(&blob[end..], blob.len() as u64).unwrap();
    assert_eq!((footer.format, footer.payload_len), (format, summary.payload_len));
    let stored = |range: std::ops::Range<usize>| Box::new(&blob[range]) as Box<dyn Read + Send>;
    let place = match footer.toc {
        TocPlace::Inside { at, len, .. } => Some(at.get() as usize..(at.get() + len) as usize),
        TocPlace::Outside => None,
    };
    let mut json = Vec::new();
    decompressor.toc_json(place.clone().map(stored), &footer).unwrap().read_to_end(&mut json).unwrap();
    assert_eq!(decompressor.toc_digest_covers(), TocDigestOf::Document);
    let hash = |bytes: &[u8]| dunnage_digest::Digest::of(dunnage_digest::Algorithm::Sha256, bytes);
    assert_eq!(hash(&json), summary.toc_digest);
    let toc = Toc::parse(&json, &Limits::default()).unwrap();
    assert_eq!(toc.to_json(), json, "written again, the same bytes");
    assert_eq!((toc.version, toc.entries.len()), (1, 4));
    // Without the TOC, or with one where none should be, there is an error and nothing else.
    assert!(decompressor.toc_json(if place.is_some() { None } else { Some(stored(0..1)) }, &footer).is_err());
    let mut streams = Vec::new();
    decompressor.streams(stored(0..footer.payload_len as usize)).read_to_end(&mut streams).unwrap();
    let mut unpacked = Vec::new();
    unpack_with(blob, decompressor).unwrap().read_to_end(&mut unpacked).unwrap();
    assert!(streams == unpacked && streams.len() == 4 * 512);
    let chunk = toc.entries.iter().find(|entry| entry.kind == TocType::Chunk).unwrap();
    let mut decoder = decompressor.decoder();
    for _ in 0..2 {
        assert_eq!(&decoder.decode(&blob[chunk.offset as usize..], 1).unwrap()[..1], b"o");
    }
}

#[test]
fn decompressors_work_by_themselves() {
    let gzip = GzipCompressor::new(Codec::Zlib, Level::DEFAULT);
    let (blob, summary) = written(gzip);
    by_parts(&blob, &summary, Format::Estargz, &GzipDecompressor::new());
    let footer = open_footer(&blob).unwrap();
    assert_eq!((footer.format, footer.payload_len, footer.footer_len), (Format::Estargz, summary.payload_len, 51));
    // The same streams and TOC behind the footer of stargz.
    let legacy = gzip_footer(format!("{:016x}STARGZ", summary.payload_len).as_bytes()).unwrap();
    let legacy = [&blob[..blob.len() - 51], &legacy].concat();
    by_parts(&legacy, &summary, Format::Stargz, &LegacyGzipDecompressor::new());
    assert_eq!(open_footer(&legacy).unwrap().format, Format::Stargz);
    let (blob, summary) = written(ExternalTocCompressor::new(gzip));
    let toc = summary.external_toc.clone().unwrap();
    by_parts(&blob, &summary, Format::ExternalToc, &ExternalTocDecompressor::new(move || Ok(toc.clone())));
    assert!(matches!(open_footer(&blob), Err(Error::NoFooter { .. })), "a TOC elsewhere has no place to open");
    let (blob, summary) = written(ZstdCompressor::new(ZstdLevel::BETTER));
    by_parts(&blob, &summary, Format::ZstdChunked, &ZstdDecompressor::new());
    let footer = ZstdDecompressor::new().parse_footer(&blob[blob.len() - 48..], blob.len() as u64).unwrap();
    let (at, len) = (footer.toc_at().get(), footer.toc_len());
    let position = format!("{at}:{len}:{}:1", footer.toc_plain_len().unwrap());
    assert_eq!(summary.annotations[dunnage_estargz::annotations::MANIFEST_POSITION_ANNOTATION], position);
    let stored = &blob[at as usize..(at + len) as usize];
    let checksum = dunnage_digest::Digest::of(dunnage_digest::Algorithm::Sha256, stored).to_string();
    assert_eq!(summary.annotations[dunnage_estargz::annotations::MANIFEST_CHECKSUM_ANNOTATION], checksum);
    // Q22: a legacy footer and nothing else is long enough; Q4: a blob shorter than any footer is an error.
    assert!(open_footer(&gzip_footer(b"0000000000000000STARGZ").unwrap()).is_ok());
    let error = open_footer(&[0_u8; 46]).unwrap_err();
    assert_eq!(error.to_string(), "blob is too small: expected at least 47 bytes, got 46");
}

#[test]
fn entries_and_verifiers() {
    let (blob, summary) = written(GzipCompressor::default());
    let reader = Reader::open(&blob, &OpenOptions::default()).unwrap();
    let root = reader.lookup("").unwrap();
    let dir = root.child(b"d").unwrap();
    assert_eq!((dir.kind(), dir.mode(), dir.links()), (TocType::Dir, 0o644, 2));
    assert!(dir.child(b"b").is_none() && dir.child(b"").is_none());
    let file = dir.child(b"a").unwrap();
    assert_eq!((file.kind(), file.size(), file.links(), file.mtime()), (TocType::Reg, 5, 2, Some(0)));
    assert!(file.child(b"a").is_none() && file.children().next().is_none(), "nothing is in a file");
    assert_eq!(root.child(b"l").unwrap().path(), "d/a");
    // A list can be left early.
    assert_eq!(root.children().map(|(name, _)| name).next(), Some(b"d".as_slice()));
    let verifiers = reader.verify_toc(&summary.toc_digest).unwrap();
    thread::scope(|scope| {
        for (at, piece) in [(0, b"hell".as_slice()), (4, b"o"), (0, b"hell"), (4, b"o")] {
            let verifiers = &verifiers;
            scope.spawn(move || {
                let mut verifier = verifiers.verifier("l", at).unwrap();
                piece.iter().for_each(|byte| verifier.update(&[*byte]));
                verifier.finish().unwrap();
                let mut verifier = verifiers.verifier("l", at).unwrap();
                verifier.update(b"x");
                assert!(matches!(verifier.finish(), Err(Error::Mismatch { .. })));
            });
        }
    });
    assert!(matches!(verifiers.verifier("d/a", 5), Err(Error::NotFound { .. })));
    assert!(matches!(verifiers.verifier("d", 0), Err(Error::NotFound { .. })));
    assert!(matches!(reader.open_file("d"), Err(Error::NotRegular { .. })));
    assert!(matches!(reader.open_file("no"), Err(Error::NotFound { .. })));
    let tree: &dyn Tree = &reader;
    let dir = tree.lookup(tree.root(), b"d").unwrap().unwrap();
    let file = tree.lookup(dir, b"a").unwrap().unwrap();
    let ends = [0, 3, 4, 5, u64::MAX].map(|at| tree.piece_end(file, at).unwrap());
    assert_eq!(ends, [Some(4), Some(4), Some(5), None, None]);
    assert!(tree.piece_end(dir, 0).is_err());
    let opened = reader.open_file("l").unwrap();
    let mut content = [0; 3];
    opened.read_exact_at(Offset::new(2), &mut content).unwrap();
    assert_eq!((&content, opened.size().unwrap()), (b"llo", 5));
}

#[test]
fn an_empty_input_is_an_empty_tar() {
    let write = WriteOptions { streams: Streams::AtLeast(10), ..WriteOptions::default() };
    let (blob, built) = Build { write, ..Build::default() }.from_source([], Vec::new()).unwrap();
    assert_eq!(built.summary.entries, 1, "the landmark");
    assert_eq!(Reader::open(blob, &OpenOptions::default()).unwrap().entries(), 1);
}
