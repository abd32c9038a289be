//! The pages of everything with files: counts of the files, and that all of them can be read.

use std::{collections::BTreeMap, fmt, fs::File, time::Instant};

use anyhow::{Context as _, Result};
use dunnage_digest::{Cursor, ErrorKind, Hasher, HashingReader, ReadAt};
use dunnage_estargz::{
    Reader,
    compose::{NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK},
    input::Packing,
    read::Prefetch,
    toc::TOC_TAR_NAME,
};
use dunnage_tree::{
    Kind, Tree, Walk,
    tar::{self, EntryType, Header},
};
use serde::Serialize;

use super::{Source, name_of, title};
use crate::{
    args,
    context::Context,
    failure::Failure,
    page,
    print::{bytes, count, counted, rate, row, schema},
    progress::Progress,
    report::Digests,
};

/// The parts of the page that only some kinds have.
#[derive(Default)]
pub(super) struct Extra<'s> {
    /// The bytes of the whole.
    pub(super) file: Option<&'s File>,
    pub(super) digests: Option<Digests>,
    pub(super) layer: Option<Facts>,
}

/// The page of `inspect`.
pub(super) fn page(
    context: &Context,
    args: &args::Inspect,
    source: &dyn Source,
    extra: Extra<'_>,
) -> Result<page::Page> {
    let failed = || format!("cannot read {}", name_of(&args.source));
    let content = source.tree().and_then(|tree| Content::of(context, tree.as_ref())).with_context(failed)?;
    Ok(page::Page::new(Page {
        schema: schema("inspect"),
        source: title(&args.source),
        format: source.about().format,
        size: extra.file.map(ReadAt::size).transpose()?,
        digests: extra.digests,
        content,
        layer: extra.layer,
        report: args.report.as_ref().map(|path| path.display().to_string()),
    }))
}

/// Digests of a file, as stored and decompressed.
pub(super) fn digests(context: &Context, file: &File) -> Result<Digests> {
    let size = ReadAt::size(file)?;
    let progress = Progress::start(context, "digest", Some(size.saturating_mul(2)));
    let all = |reader: Box<dyn std::io::Read + '_>| -> Result<_> {
        let mut reader = HashingReader::new(reader, Hasher::sha256());
        std::io::copy(&mut reader, &mut std::io::sink())?;
        let (_, digest, len) = reader.finish();
        Ok((digest.to_string(), len))
    };
    let (blob, _) = all(Box::new(progress.watch(Cursor::new(file)?)))?;
    let (packing, whole) = Packing::peek(progress.watch(Cursor::new(file)?))?;
    let (diff_id, unpacked) = all(packing.decompressed(whole)?)?;
    Ok(Digests { blob, diff_id, unpacked })
}

#[derive(Serialize)]
struct Page {
    schema: String,
    source: String,
    format: &'static str,
    /// Bytes of the blob.
    size: Option<u64>,
    digests: Option<Digests>,
    content: Content,
    layer: Option<Facts>,
    /// The file with the layout.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<String>,
}

/// Counts over the tree.
#[derive(Default, Serialize)]
struct Content {
    entries: u64,
    /// By kind; further names of one file count as hard links.
    kinds: BTreeMap<&'static str, u64>,
    bytes: u64,
    largest: u64,
}

impl Content {
    fn of(context: &Context, tree: &dyn Tree) -> Result<Self> {
        let mut content = Self::default();
        let mut linked = std::collections::HashSet::new();
        let mut walk = Walk::new(tree).limits(context.tree_limits().clone());
        while let Some(visit) = walk.advance()? {
            if visit.path.is_empty() {
                continue;
            }
            let kind = match visit.attr.kind {
                kind if kind != Kind::Directory && visit.attr.links > 1 && !linked.insert(visit.node) => "hard_links",
                Kind::File => {
                    content.bytes = content.bytes.saturating_add(visit.attr.size);
                    content.largest = content.largest.max(visit.attr.size);
                    "files"
                }
                Kind::Directory => "directories",
                Kind::Symlink => "symlinks",
                Kind::CharDevice => "character_devices",
                Kind::BlockDevice => "block_devices",
                Kind::Fifo => "fifos",
                Kind::Socket => "sockets",
            };
            content.entries = content.entries.saturating_add(1);
            let number = content.kinds.entry(kind).or_default();
            *number = number.saturating_add(1);
        }
        Ok(content)
    }
}

/// `1 hard link`, `2 directories`.
fn named(kind: &str, number: u64) -> String {
    let many = kind.replace('_', " ");
    let one = match many.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => many.strip_suffix('s').unwrap_or(&many).to_owned(),
    };
    counted(number, &one, &many)
}

/// The figures of a layer, from its own table of contents.
#[derive(Serialize)]
pub(super) struct Facts {
    toc_digest: String,
    toc_entries: u64,
    /// Bytes of the TOC, decompressed.
    toc_bytes: u64,
    chunks: u64,
    streams: u64,
    landmark: Option<&'static str>,
    /// Bytes before the landmark: worth fetching first.
    prefetch_bytes: Option<u64>,
    payload_size: u64,
    toc_size: u64,
    footer_size: u64,
}

impl Facts {
    pub(super) fn of(reader: &Reader<File>) -> Self {
        let footer = reader.footer();
        let (landmark, prefetch_bytes) = match reader.prefetch() {
            Prefetch::Unsaid => (None, None),
            Prefetch::Nothing => (Some(NO_PREFETCH_LANDMARK), Some(0)),
            Prefetch::Before(offset) => (Some(PREFETCH_LANDMARK), Some(offset.get())),
        };
        Self {
            toc_digest: reader.toc_digest().to_string(),
            toc_entries: reader.entries(),
            toc_bytes: reader.toc_len(),
            chunks: reader.chunks(),
            streams: reader.streams() as u64,
            landmark,
            prefetch_bytes,
            payload_size: footer.payload_len,
            toc_size: footer.toc_len(),
            footer_size: footer.footer_len,
        }
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.source, self.format)?;
        if let Some(size) = self.size {
            row(f, "size", format_args!("{} ({} bytes)", bytes(size), count(size)))?;
        }
        if let Some(digests) = &self.digests {
            row(f, "blob", &digests.blob)?;
            row(f, "diff id", &digests.diff_id)?;
            row(f, "unpacked", format_args!("{} ({} bytes)", bytes(digests.unpacked), count(digests.unpacked)))?;
        }
        let kinds: Vec<String> = self.content.kinds.iter().map(|(kind, number)| named(kind, *number)).collect();
        row(f, "entries", format_args!("{} ({})", count(self.content.entries), kinds.join(", ")))?;
        let (all, largest) = (bytes(self.content.bytes), bytes(self.content.largest));
        row(f, "content", format_args!("{all}, largest file {largest}"))?;
        let Some(layer) = &self.layer else { return Ok(()) };
        row(f, "toc digest", &layer.toc_digest)?;
        row(f, "toc", format_args!("{} entries, {}", count(layer.toc_entries), bytes(layer.toc_bytes)))?;
        row(f, "chunks", format_args!("{} in {} streams", count(layer.chunks), count(layer.streams)))?;
        match (layer.landmark, layer.prefetch_bytes) {
            (Some(name), Some(prefetch)) => row(f, "prefetch", format_args!("{} ({name})", bytes(prefetch)))?,
            _ => row(f, "prefetch", "no landmark")?,
        }
        let (payload, toc) = (bytes(layer.payload_size), bytes(layer.toc_size));
        row(f, "layout", format_args!("payload {payload}, toc {toc}, footer {} bytes", layer.footer_size))?;
        self.report.as_ref().map_or(Ok(()), |path| row(f, "report", path))
    }
}

/// A source that was read to its end and found sound.
#[derive(Default)]
pub(super) struct Verified {
    pub(super) entries: u64,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) chunks: Option<u64>,
    pub(super) toc_digest: Option<String>,
    pub(super) toc_digest_compared: Option<bool>,
    pub(super) deep: Option<bool>,
}

impl Verified {
    pub(super) fn page(self, args: &args::Verify, format: &'static str, start: Instant) -> page::Page {
        let seconds = start.elapsed().as_secs_f64();
        page::Page::new(Verification {
            schema: schema("verify"),
            source: title(&args.source),
            format,
            entries: self.entries,
            files: self.files,
            bytes: self.bytes,
            chunks: self.chunks,
            toc_digest: self.toc_digest,
            toc_digest_compared: self.toc_digest_compared,
            deep: self.deep,
            seconds,
            bytes_per_second: rate(self.bytes, seconds),
        })
    }
}

/// The page of `verify` for a source without digests: an archive is well formed to its last byte, a directory can be read.
pub(super) fn read_all(context: &Context, args: &args::Verify, source: &dyn Source) -> Result<page::Page> {
    let start = Instant::now();
    let verified = is_readable(context, source).with_context(|| format!("{} is not sound", name_of(&args.source)))?;
    Ok(verified.page(args, source.about().format, start))
}

fn is_readable(context: &Context, source: &dyn Source) -> Result<Verified> {
    let mut input = source.input(context)?;
    let progress = Progress::start(context, "verify", input.total());
    let mut verified = Verified::default();
    let mut entries = tar::Reader::new(input.tar(&progress)?, context.tree_limits().clone());
    let mut header = Header::default();
    let mut block = vec![0; 1 << 20];
    let mut ends_with_toc = false;
    while entries.next_header(&mut header)? {
        verified.entries = verified.entries.saturating_add(1);
        ends_with_toc = header.name == TOC_TAR_NAME.as_bytes();
        if header.entry != EntryType::File {
            continue;
        }
        verified.files = verified.files.saturating_add(1);
        loop {
            let len = entries.read_payload(&mut block)?;
            verified.bytes = verified.bytes.saturating_add(len as u64);
            if len < block.len() {
                break;
            }
        }
    }
    while entries.read_trailing(&mut block)? > 0 {}
    drop(entries);
    // It was written as a layer, and lost its end.
    if ends_with_toc && input.is_compressed() {
        let message = "it ends with a table of contents, but not with the footer of a layer";
        return Err(Failure::new(ErrorKind::Malformed, message).into());
    }
    for name in input.left_out() {
        context.note(&format!("{name}: a socket, which has no content"));
    }
    Ok(verified)
}

#[derive(Serialize)]
struct Verification {
    schema: String,
    source: String,
    format: &'static str,
    entries: u64,
    files: u64,
    bytes: u64,
    chunks: Option<u64>,
    toc_digest: Option<String>,
    /// Whether the TOC digest is that of a manifest, as far as the caller said so.
    toc_digest_compared: Option<bool>,
    deep: Option<bool>,
    seconds: f64,
    bytes_per_second: u64,
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}, sound", self.source, self.format)?;
        let mut what = counted(self.files, "file", "files");
        if let Some(chunks) = self.chunks {
            what = format!("{what}, {} match their digests", counted(chunks, "chunk", "chunks"));
        } else {
            what = format!("{what} read; it carries no digests");
        }
        let speed = bytes(self.bytes_per_second);
        row(f, "checked", format_args!("{what}; {} in {:.2} s ({speed}/s)", bytes(self.bytes), self.seconds))?;
        match (&self.toc_digest, self.toc_digest_compared) {
            (Some(digest), Some(true)) => row(f, "toc digest", format_args!("{digest}, as given"))?,
            (Some(digest), _) => {
                row(f, "toc digest", digest)?;
                row(f, "", "not compared with a manifest: --toc-digest takes the digest that its annotation names")?;
            }
            (None, _) => {}
        }
        if self.deep == Some(true) {
            row(f, "deep", "the table of contents and the tar agree")?;
        }
        Ok(())
    }
}
