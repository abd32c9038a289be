//! Finding and loading the TOC.
//!
//! Inflating and hashing run on one thread, parsing and indexing on another; the document itself is never in memory.

use std::{io::Read, sync::Arc, thread};

use crossbeam_channel::bounded;
use dunnage_digest::{Cursor, Digest, Hasher, Offset, ReadAt, Section};

use super::{builder::Builder, index::Index};
use crate::{
    Decompressor, Error, Footer, GzipDecompressor, LEGACY_FOOTER_LEN, LegacyGzipDecompressor, Limits,
    toc::{Progress, TocParser},
};

/// Whether landmarks are part of the tree. Lookups by path find them either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: a yes or no")]
pub enum Landmarks {
    /// Left out, as a container should not see them.
    #[default]
    Hide,
    /// Listed.
    Show,
}

/// Which content is handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: a yes or no")]
pub enum Trust {
    /// Only what matches a digest of the TOC.
    #[default]
    Verified,
    /// Also content that the TOC has no digest for. What has one is still checked.
    Unverified,
}

/// How to open a layer.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct OpenOptions {
    /// Ceilings for the blob.
    pub limits: Limits,
    /// Threads for loading the TOC: 1, or 0 and everything else for two.
    pub threads: usize,
    /// Whether landmarks are part of the tree. Default: hidden.
    pub landmarks: Landmarks,
    /// Which content is handed out. Default: only what matches a digest.
    pub trust: Trust,
    /// Further formats, tried after gzip and legacy gzip.
    pub decompressors: Vec<Arc<dyn Decompressor>>,
}

/// A TOC, loaded.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) index: Index,
    pub(super) footer: Footer,
    pub(super) decompressor: Arc<dyn Decompressor>,
    pub(super) toc_digest: Digest,
    pub(super) toc_len: u64,
}

pub(super) fn open<R: ReadAt + Sync>(source: &R, options: &OpenOptions) -> Result<Opened, Error> {
    let failed = |source| Error::Read { what: "the size of the blob", at: Offset::ZERO, source };
    let blob_len = source.size().map_err(failed)?;
    let known: [Arc<dyn Decompressor>; 2] =
        [Arc::new(GzipDecompressor::new()), Arc::new(LegacyGzipDecompressor::new())];
    let all = known.into_iter().chain(options.decompressors.iter().map(Arc::clone));
    let fitting: Vec<_> = all.filter(|known| known.footer_len() as u64 <= blob_len).collect();
    let tail_len = fitting.iter().map(|known| known.footer_len()).max();
    let tail_len = tail_len.ok_or(Error::TooSmall { expected: LEGACY_FOOTER_LEN as u64, got: blob_len })?;
    let mut tail = vec![0; tail_len];
    let at = Offset::new(blob_len.saturating_sub(tail_len as u64));
    source.read_exact_at(at, &mut tail).map_err(|source| Error::Read { what: "the footer", at, source })?;
    let mut reasons = Vec::new();
    for decompressor in fitting {
        let bytes = tail.get(tail_len.saturating_sub(decompressor.footer_len())..).unwrap_or_default();
        match decompressor.parse_footer(bytes, blob_len) {
            Ok(footer) => return load(source, footer, decompressor, options),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(Error::NoFooter { reasons })
}

fn load<R: ReadAt + Sync>(
    source: &R,
    footer: Footer,
    decompressor: Arc<dyn Decompressor>,
    options: &OpenOptions,
) -> Result<Opened, Error> {
    let limits = &options.limits;
    if footer.toc_len > limits.toc_compressed {
        let (limit, asked) = (limits.toc_compressed, footer.toc_len);
        return Err(Error::Limit { what: "compressed TOC", limit, asked });
    }
    let failed = |source| Error::Read { what: "the TOC", at: footer.toc, source };
    let raw = Cursor::new(Section::new(source, footer.toc, footer.toc_len)).map_err(failed)?;
    let json = decompressor.toc_json(Box::new(raw), &footer)?;
    let mut sink = Sink { parser: TocParser::new(limits), builder: Builder::new(limits, footer.payload_len) };
    let (toc_digest, toc_len) = match options.threads {
        1 => read_here(json, &mut sink, footer.toc)?,
        _ => read_beside(json, &mut sink, footer.toc)?,
    };
    let Sink { parser, mut builder } = sink;
    match parser.finish(&mut |entry| builder.add(&entry))? {
        1 => {}
        got => return Err(Error::Version { got }),
    }
    Ok(Opened { index: builder.finish()?, footer, decompressor, toc_digest, toc_len })
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
                        // If nobody takes it, the document was refused.
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
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match json.read(rest) {
            Ok(0) => break,
            Ok(len) => filled = filled.saturating_add(len),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Read { what: "the TOC", at, source }),
        }
    }
    Ok(filled)
}
