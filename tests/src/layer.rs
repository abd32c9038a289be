//! Layers in few words: build, open, verify, take apart and put together again.

use std::{
    io::{self, Read},
    sync::Arc,
};

use dunnage_digest::{Algorithm, Digest, Progress, ReadAt};
use dunnage_estargz::{
    Build, Built, Error, Limits, OpenOptions, Reader, Summary, WriteOptions, Writer,
    codec::{Codec, ExternalTocDecompressor, GzipCompressor, Level},
    compose::Missing,
    footer::Format,
    read::{Landmarks, find_footer},
    toc::Toc,
    trust::Verified,
    write::NonUtf8,
};

use crate::stored;

/// The codecs that this build has, with the names that goldens use.
#[must_use]
pub fn codecs() -> Vec<(&'static str, Codec)> {
    vec![
        ("zlib", Codec::Zlib),
        #[cfg(feature = "libdeflate")]
        ("libdeflate", Codec::Libdeflate),
    ]
}

/// Options with the four things that tests vary; names that are not UTF-8 are replaced, as the reference does.
pub fn options(codec: Codec, level: i32, chunk_size: u64, threads: usize) -> Result<WriteOptions, Error> {
    let compressor = Arc::new(GzipCompressor::new(codec, Level::new(level)?));
    Ok(WriteOptions { chunk_size, compressor, threads, non_utf8: NonUtf8::Replace, ..WriteOptions::default() })
}

/// Builds from bytes or a file.
pub fn build<R: ReadAt>(input: R, write: &WriteOptions, prioritized: &[String]) -> Result<(Vec<u8>, Built), Error> {
    plan(write, prioritized).from_source(input, Vec::new())
}

/// The build that [`build`] does.
#[must_use]
pub fn plan(write: &WriteOptions, prioritized: &[String]) -> Build {
    Build { write: write.clone(), prioritized: prioritized.to_vec(), missing: Missing::Refuse }
}

/// Appends one tar, headers re-encoded.
pub fn append<R: Read>(input: R, write: &WriteOptions) -> Result<(Vec<u8>, Summary), Error> {
    let mut writer = Writer::new(Vec::new(), write)?;
    writer.append_tar(input)?;
    writer.finish()
}

/// Appends one tar bit for bit.
pub fn append_lossless<R: Read>(input: R, write: &WriteOptions) -> Result<(Vec<u8>, Summary), Error> {
    let mut writer = Writer::new(Vec::new(), write)?;
    writer.append_tar_lossless(input)?;
    writer.finish()
}

/// Opens a blob; landmarks are part of the tree, as they are for the reference.
pub fn open<R: ReadAt + Send + Sync>(blob: R) -> Result<Reader<R>, Error> {
    open_with(blob, None)
}

/// Opens a blob whose compressed TOC may be stored elsewhere.
pub fn open_with<R: ReadAt + Send + Sync>(blob: R, external_toc: Option<Vec<u8>>) -> Result<Reader<R>, Error> {
    open_within(blob, external_toc, &Limits::default())
}

/// The same under other limits.
pub fn open_within<R>(blob: R, external_toc: Option<Vec<u8>>, limits: &Limits) -> Result<Reader<R>, Error>
where
    R: ReadAt + Send + Sync,
{
    let limits = limits.clone();
    let mut options = OpenOptions { limits, landmarks: Landmarks::Show, threads: 1, ..OpenOptions::default() };
    if let Some(toc) = external_toc {
        options.decompressors.push(Arc::new(ExternalTocDecompressor::new(move || Ok(toc.clone()))));
    }
    Reader::open(blob, &options)
}

/// Opens a blob, demands this TOC digest and checks every chunk.
pub fn verify<R: ReadAt + Send + Sync>(blob: R, toc_digest: &Digest, threads: usize) -> Result<Verified, Error> {
    let reader = open(blob)?;
    reader.verify_toc(toc_digest)?;
    reader.verify(threads, Progress::none())
}

/// The tar inside, without TOC.
pub fn unpack<R: ReadAt + Send>(blob: R) -> Result<Vec<u8>, Error> {
    let mut tar = Vec::new();
    dunnage_estargz::unpack(blob)?.read_to_end(&mut tar).map_err(|source| Error::Input { source })?;
    Ok(tar)
}

/// Bytes of the footer: 51, or 47 of the older form.
#[must_use]
pub fn footer_len(blob: &[u8]) -> usize {
    let tail = &blob[blob.len() - 51..];
    if tail.starts_with(&[0x1f, 0x8b]) && tail[12..16] == *b"SG\x16\0" { 51 } else { 47 }
}

/// Where the TOC member starts, by the footer's digits alone.
#[must_use]
pub fn toc_offset(blob: &[u8]) -> usize {
    let end = blob.len() - 13 - b"STARGZ".len();
    let digits = std::str::from_utf8(&blob[end - 16..end]).expect("a footer holds digits");
    usize::from_str_radix(digits, 16).expect("a footer holds hex digits")
}

/// The TOC document in a blob, as stored. Not by the reader under test, but for the place of it.
#[must_use]
pub fn toc_json(blob: &[u8]) -> Vec<u8> {
    let footer = find_footer(&blob).expect("a footer");
    match footer.format {
        Format::Estargz | Format::Stargz => toc_member_json(&blob[toc_offset(blob)..]),
        _ => {
            let at = footer.toc_at().get() as usize;
            zstd::decode_all(&blob[at..at + footer.toc_len() as usize]).expect("the TOC frame decompresses")
        }
    }
}

/// The TOC document in a gzip member. Not by the reader under test.
#[must_use]
pub fn toc_member_json(member: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    flate2::bufread::GzDecoder::new(member).read_to_end(&mut tar).expect("the TOC member inflates");
    let entries = crate::tarview::entries(&tar);
    assert_eq!(entries.len(), 1, "the TOC member holds one entry");
    entries.into_iter().next().expect("one entry").content
}

/// The TOC, parsed.
pub fn toc(blob: &[u8]) -> Result<Toc, Error> {
    Toc::parse(&toc_json(blob), &Limits::default())
}

/// The same payload with another TOC.
#[must_use]
pub fn with_toc(blob: &[u8], json: &[u8]) -> Vec<u8> {
    stored::blob(&blob[..toc_offset(blob)], json)
}

/// Everything that an unaware runtime sees: all members or frames, decompressed one after the other. Not by the code
/// under test.
pub fn inflate<R: Read>(blob: R) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut blob = io::BufReader::with_capacity(1 << 20, blob);
    let is_gzip = io::BufRead::fill_buf(&mut blob)?.starts_with(&[0x1f, 0x8b]);
    if is_gzip {
        flate2::bufread::MultiGzDecoder::new(blob).read_to_end(&mut all)?;
    } else {
        zstd::Decoder::with_buffer(blob)?.read_to_end(&mut all)?;
    }
    Ok(all)
}

/// What an ordinary builder of images makes of a tar: one gzip member.
pub fn gzip(tar: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    io::Write::write_all(&mut gzip, tar)?;
    gzip.finish()
}

/// SHA-256 of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Whether a gzip member starts at `at`: the specification's `check_gzip_has_streams` for one offset.
#[must_use]
pub fn is_member_start(blob: &[u8], at: u64) -> bool {
    blob.get(at as usize..).is_some_and(|rest| {
        let mut first = [0; 1];
        rest.starts_with(&[0x1f, 0x8b, 8]) && flate2::bufread::GzDecoder::new(rest).read(&mut first).is_ok()
    })
}
