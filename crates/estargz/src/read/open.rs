//! Finding and loading the TOC.
//!
//! Inflating and hashing run on one thread, parsing and indexing on another; the document itself is never in memory.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use crossbeam_channel::bounded;
use dunnage_digest::{Cursor, Digest, Hasher, Offset, ReadAt, Section, read_full};

use super::{
    builder::Builder,
    decoders::Maker,
    index::Index,
    options::{OpenOptions, Versions},
};
use crate::{
    Error,
    codec::{
        Decompressor, ExternalTocDecompressor, GzipDecompressor, LegacyGzipDecompressor, StorageDecompressor,
        TocDigestOf, ZstdDecompressor,
    },
    footer::{EXTERNAL_FOOTER_LEN, Footer, TocPlace},
    toc::{Ended, Progress, TocParser},
};

/// A TOC, loaded.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) index: Index,
    pub(super) footer: Footer,
    pub(super) decompressor: Arc<dyn Decompressor>,
    pub(super) maker: Maker,
    pub(super) toc_digest: Digest,
    pub(super) toc_len: u64,
    pub(super) tar_split_digest: Option<Digest>,
}

/// A format to try, and whose decoders it uses.
type Known = (Maker, Arc<dyn Decompressor>);

/// All formats that are tried, in order.
pub(super) fn known(options: &OpenOptions) -> Vec<Known> {
    let mut known: Vec<Known> = vec![
        (Maker::Gzip, Arc::new(GzipDecompressor::new())),
        (Maker::Gzip, Arc::new(LegacyGzipDecompressor::new())),
        (Maker::Zstd, Arc::new(ZstdDecompressor::new())),
        (Maker::Zstd, Arc::new(StorageDecompressor::new())),
    ];
    known.extend(options.decompressors.iter().map(|own| (Maker::Other(Arc::clone(own)), Arc::clone(own))));
    // The last one recognises a TOC that is stored elsewhere when the options do not say where.
    known.push((Maker::Gzip, Arc::new(ExternalTocDecompressor::new(|| Ok(Vec::new())))));
    known
}

/// A footer, and the bytes that were read on the way to it.
pub(super) struct Found {
    pub(super) footer: Footer,
    pub(super) decompressor: Arc<dyn Decompressor>,
    maker: Maker,
    /// The end of the blob.
    tail: Vec<u8>,
    tail_at: u64,
}

/// Looks for the footer of one of the `known` formats in the last bytes of a blob, at least `ahead` of them.
pub(super) fn search<R: ReadAt>(source: &R, known: &[Known], ahead: u64) -> Result<Found, Error> {
    let failed = |source| Error::Read { what: "the size of the blob", at: Offset::ZERO, source };
    let blob_len = source.size().map_err(failed)?;
    let fitting: Vec<_> = known.iter().filter(|(_, known)| known.footer_len() as u64 <= blob_len).collect();
    let tail_len = fitting.iter().map(|(_, known)| known.footer_len() as u64).max();
    let tail_len = tail_len.ok_or(Error::TooSmall { expected: EXTERNAL_FOOTER_LEN as u64, got: blob_len })?;
    let tail_len = tail_len.max(ahead.min(blob_len));
    let mut tail = vec![0; usize::try_from(tail_len).unwrap_or(usize::MAX)];
    let tail_at = blob_len.saturating_sub(tail_len);
    let at = Offset::new(tail_at);
    source.read_exact_at(at, &mut tail).map_err(|source| Error::Read { what: "the footer", at, source })?;
    let mut reasons = Vec::new();
    for (maker, decompressor) in fitting {
        let start = tail.len().saturating_sub(decompressor.footer_len());
        let bytes = tail.get(start..).unwrap_or_default();
        match decompressor.parse_footer(bytes, blob_len) {
            Ok(footer) => {
                let (maker, decompressor) = (maker.clone(), Arc::clone(decompressor));
                return Ok(Found { footer, decompressor, maker, tail, tail_at });
            }
            // A footer that differs from its first byte on belongs to another format, and gives no reason.
            Err(Error::Malformed { at, .. }) if at.get() == tail_at.saturating_add(start as u64) => {}
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(Error::NoFooter { reasons })
}

/// Finds the footer of a layer, by the formats that the options name.
pub(super) fn find<R: ReadAt>(source: &R, options: &OpenOptions) -> Result<Found, Error> {
    let start = Instant::now();
    let ahead = ahead(source, options)?;
    let found = search(source, &known(options), ahead)?;
    options.telemetry.footer_read(start);
    Ok(found)
}

/// How many bytes at the end of the blob to read at once.
fn ahead<R: ReadAt>(source: &R, options: &OpenOptions) -> Result<u64, Error> {
    let Some(hint) = options.toc_offset else { return Ok(0) };
    let failed = |source| Error::Read { what: "the size of the blob", at: Offset::ZERO, source };
    let blob_len = source.size().map_err(failed)?;
    let ahead = blob_len
        .checked_sub(hint.get())
        .ok_or_else(|| Error::Misuse(format!("the TOC cannot start at offset {hint} of a blob of {blob_len} bytes")))?;
    // A hint that is far off takes no more memory than the largest TOC would.
    Ok(ahead.min(options.limits.toc_compressed))
}

/// Loads the TOC that a footer points to.
pub(super) fn load<R: ReadAt + Sync>(source: &R, found: Found, options: &OpenOptions) -> Result<Opened, Error> {
    let Found { footer, decompressor, maker, tail, tail_at } = found;
    let limits = &options.limits;
    let at = footer.toc_at();
    if footer.toc_len() > limits.toc_compressed {
        let (limit, asked) = (limits.toc_compressed, footer.toc_len());
        return Err(Error::Limit { what: "compressed TOC", limit, asked });
    }
    let failed = |source| Error::Read { what: "the TOC", at, source };
    let start = Instant::now();
    let mut is_here = false;
    let raw: Option<Box<dyn Read + Send + '_>> = match footer.toc {
        TocPlace::Outside => None,
        TocPlace::Inside { at, len, .. } => {
            let from = at.get().checked_sub(tail_at).and_then(|from| usize::try_from(from).ok());
            let here = from.zip(usize::try_from(len).ok()).and_then(|(from, len)| tail.get(from..)?.get(..len));
            is_here = here.is_some();
            Some(match here {
                Some(bytes) => Box::new(bytes),
                None => Box::new(Cursor::new(Section::new(source, at, len)).map_err(failed)?),
            })
        }
    };
    // Where the TOC is known by the digest of its stored bytes, that is taken while they are read.
    let stored = match decompressor.toc_digest_covers() {
        TocDigestOf::Document => None,
        TocDigestOf::Stored => Some(Arc::new(Mutex::new(Hasher::sha256()))),
    };
    let raw: Option<Box<dyn Read + Send + '_>> = match (raw, &stored) {
        (Some(raw), Some(hasher)) => Some(Box::new(Hashed { raw, hasher: Arc::clone(hasher) })),
        (raw, _) => raw,
    };
    let json = decompressor.toc_json(raw, &footer)?;
    let mut sink = Sink { parser: TocParser::new(limits), builder: Builder::new(options, &footer) };
    let (document, toc_len) = match options.threads {
        1 => read_here(json, &mut sink, at)?,
        _ => read_beside(json, &mut sink, at)?,
    };
    if !is_here {
        options.telemetry.toc_read(start);
    }
    let Sink { parser, mut builder } = sink;
    let Ended { version: got, tar_split_digest } = parser.finish(&mut |entry| builder.add(&entry))?;
    if got != 1 && options.versions != Versions::Any {
        return Err(Error::Version { got });
    }
    let index = builder.finish()?;
    options.telemetry.toc_deserialized(start);
    let toc_digest = match stored {
        None => document,
        Some(hasher) => hasher.lock().unwrap_or_else(PoisonError::into_inner).clone().finish(),
    };
    Ok(Opened { index, footer, decompressor, maker, toc_digest, toc_len, tar_split_digest })
}

/// A TOC document, to be read once more.
pub(crate) struct Document<'a> {
    pub(crate) json: Box<dyn Read + Send + 'a>,
    pub(crate) covers: TocDigestOf,
    /// For the bytes read so far.
    pub(crate) hasher: Hasher,
}

pub(super) fn document<'a, R: ReadAt + Sync>(
    source: &'a R,
    footer: &Footer,
    decompressor: &dyn Decompressor,
) -> Result<Document<'a>, Error> {
    let raw: Option<Box<dyn Read + Send + 'a>> = match footer.toc {
        TocPlace::Outside => None,
        TocPlace::Inside { at, len, .. } => {
            let failed = |source| Error::Read { what: "the TOC", at, source };
            Some(Box::new(Cursor::new(Section::new(source, at, len)).map_err(failed)?))
        }
    };
    let json = decompressor.toc_json(raw, footer)?;
    Ok(Document { json, covers: decompressor.toc_digest_covers(), hasher: Hasher::sha256() })
}

/// Stored bytes, hashed on their way.
struct Hashed<'a> {
    raw: Box<dyn Read + Send + 'a>,
    hasher: Arc<Mutex<Hasher>>,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.raw.read(buf)?;
        let mut hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        hasher.update(buf.get(..len).unwrap_or_default());
        Ok(len)
    }
}

struct Sink {
    parser: TocParser,
    builder: Builder,
}

impl Sink {
    fn take(&mut self, block: &[u8]) -> Result<Progress, Error> {
        let builder = &mut self.builder;
        self.parser.feed(block, &mut |entry| builder.add(&entry))
    }
}

/// Bytes of the document that are handed on at a time.
const BLOCK: usize = 128 << 10;
/// Blocks between the two threads.
const AHEAD: usize = 4;

fn read_here(mut json: Box<dyn Read + Send + '_>, sink: &mut Sink, at: Offset) -> Result<(Digest, u64), Error> {
    let (mut hasher, mut len) = (Hasher::sha256(), 0_u64);
    let mut block = vec![0; BLOCK];
    loop {
        let filled = fill(&mut json, &mut block, at)?;
        let bytes = block.get(..filled).unwrap_or_default();
        if bytes.is_empty() {
            return Ok((hasher.finish(), len));
        }
        hasher.update(bytes);
        len = len.saturating_add(filled as u64);
        sink.take(bytes)?;
    }
}

fn read_beside(mut json: Box<dyn Read + Send + '_>, sink: &mut Sink, at: Offset) -> Result<(Digest, u64), Error> {
    let (full, blocks) = bounded::<Result<Vec<u8>, Error>>(AHEAD);
    let (empty, used) = bounded::<Vec<u8>>(AHEAD.saturating_add(2));
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let (mut hasher, mut len) = (Hasher::sha256(), 0_u64);
            loop {
                let mut block = used.try_recv().unwrap_or_default();
                block.resize(BLOCK, 0);
                match fill(&mut json, &mut block, at) {
                    Ok(0) => return (hasher.finish(), len),
                    Ok(filled) => {
                        block.truncate(filled);
                        hasher.update(&block);
                        len = len.saturating_add(filled as u64);
                        // The other end is gone if the document was refused.
                        if full.send(Ok(block)).is_err() {
                            return (hasher.finish(), len);
                        }
                    }
                    Err(error) => {
                        let _ = full.send(Err(error));
                        return (hasher.finish(), len);
                    }
                }
            }
        });
        for block in blocks {
            let block = block?;
            sink.take(&block)?;
            // A full lane merely costs an allocation.
            let _ = empty.try_send(block);
        }
        reader.join().map_err(|_| Error::Worker)
    })
}

/// Reads until the block is full or the document ends.
fn fill(json: &mut dyn Read, block: &mut [u8], at: Offset) -> Result<usize, Error> {
    read_full(json, block).map_err(|source| Error::Read { what: "the TOC", at, source })
}
