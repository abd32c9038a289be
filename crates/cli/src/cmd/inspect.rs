//! `dunnage inspect`: what a source is, and what is inside; for a layer, also which of its bytes hold what.

mod checkpoint;
mod html;
mod json;
mod page;
mod report;
mod svg;
mod text;

mod image;

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result};
use dunnage_digest::{Hasher, HashingReader, ReadAt};
use dunnage_estargz::{NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK, Prefetch};
use dunnage_tree::{Kind, Tree, Walk};
use serde::Serialize;

use crate::{
    args::Inspect,
    context::{Context, usage},
    exit::Exit,
    print::{Out, bytes, count, counted, row, schema},
    progress::Progress,
    source::{self, Access, Layer, Source, is_stdin, name_of, title},
};

use self::report::{Form, Report};

pub(super) fn run(context: &Context, args: &Inspect) -> Result<Exit> {
    let form = args.report.as_deref().map(Form::of).transpose()?;
    if !is_stdin(&args.source) && checkpoint::is_one(&args.source) {
        return checkpoint::run(context, args);
    }
    let source = source::open(context, &args.source, Access::Random)?;
    if let Some(state) = source.state() {
        if args.digest || args.layout || args.report.is_some() {
            let message =
                format!("{} is a state file: --digest, --layout and --report are for layers", name_of(&args.source));
            return Err(usage(message, "leave them out; `dunnage state verify` checks it"));
        }
        return crate::cmd::state::inspect(context, &args.source, state);
    }
    if let Some(image) = source.image() {
        return image::run(context, args, image);
    }
    let failed = || format!("cannot read {}", name_of(&args.source));
    let mut digests = if args.digest { digests(context, source.as_ref()).with_context(failed)? } else { None };
    let mut out = Out::stdout()?;
    if args.layout || form.is_some() {
        let report = Report::of(context, args, source.as_ref(), digests.take())?;
        if let (Some(form), Some(path)) = (form, &args.report) {
            report.save(form, path)?;
        }
        if args.layout {
            out.either(context, &report)?;
            out.finish()?;
            return Ok(Exit::DONE);
        }
        digests = report.digests;
    }
    let page = Page {
        schema: schema("inspect"),
        source: title(&args.source),
        format: source.format(),
        size: source.blob().map(ReadAt::size).transpose()?,
        digests,
        content: Content::of(context, &source.tree().with_context(failed)?).with_context(failed)?,
        layer: source.layer().map(Facts::of),
        report: args.report.as_ref().map(|path| path.display().to_string()),
    };
    out.either(context, &page)?;
    out.finish()?;
    Ok(Exit::DONE)
}

/// Digests of the whole, as stored and decompressed; nothing for what is no one blob.
fn digests(context: &Context, source: &dyn Source) -> Result<Option<Digests>> {
    let Some(blob) = source.blob() else { return Ok(None) };
    let size = ReadAt::size(blob)?;
    let progress = Progress::start(context, "digest", Some(size.saturating_mul(2)));
    let all = |reader| -> Result<_> {
        let mut reader = HashingReader::new(reader, Hasher::sha256());
        std::io::copy(&mut reader, &mut std::io::sink())?;
        let (_, digest, len) = reader.finish();
        Ok((digest.to_string(), len))
    };
    let (blob_digest, _) = all(source::stored(blob, &progress)?)?;
    let (diff_id, unpacked) = all(source::unpacked(blob, &progress)?)?;
    Ok(Some(Digests { blob: blob_digest, diff_id, unpacked }))
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

/// Of the whole, as stored and decompressed.
#[derive(Serialize)]
struct Digests {
    blob: String,
    diff_id: String,
    /// Bytes of the blob, decompressed.
    unpacked: u64,
}

/// What the tree consists of.
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
                Kind::File if visit.attr.links > 1 && !linked.insert(visit.node) => "hard_links",
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

/// What a layer says about itself.
#[derive(Serialize)]
struct Facts {
    toc_digest: String,
    toc_entries: u64,
    /// Bytes of the TOC, decompressed.
    toc_bytes: u64,
    chunks: u64,
    streams: u64,
    landmark: Option<&'static str>,
    /// Bytes in front of the landmark that are worth fetching first.
    prefetch_bytes: Option<u64>,
    payload_size: u64,
    toc_size: u64,
    footer_size: u64,
}

impl Facts {
    fn of(layer: &Layer) -> Self {
        let (reader, footer) = (&layer.reader, layer.reader.footer());
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
