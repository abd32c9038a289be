//! `dunnage verify`: every digest that a source carries, or at least every byte.

mod image;

use std::{fmt, time::Instant};

use anyhow::{Context as _, Result};
use dunnage_digest::{Cancel, ErrorKind};
use dunnage_estargz::TOC_TAR_NAME;
use dunnage_tree::{
    Limits, Walk,
    tar::{EntryType, Header, Reader},
};
use serde::Serialize;

use crate::{
    args::Verify,
    cmd::state,
    context::{Context, usage},
    exit::{Exit, Failure},
    print::{Out, bytes, counted, rate, row, schema},
    progress::Progress,
    source::{self, Access, Layer, Source, name_of, title},
};

pub(super) fn run(context: &Context, args: &Verify) -> Result<Exit> {
    let source = source::open(context, &args.source, Access::Random)?;
    if let Some(image) = source.image() {
        return image::run(context, args, image);
    }
    if let Some(state) = source.state() {
        if args.deep {
            let message = format!("--deep is for layers, and {} is: {}", name_of(&args.source), source.format());
            return Err(usage(message, "leave it out: all of it is read anyway"));
        }
        return state::verify(context, &args.source, state, &args.key);
    }
    if args.key.key_file.is_some() || args.key.key_fd.is_some() {
        let message = format!("a key is for state files, and {} is: {}", name_of(&args.source), source.format());
        return Err(usage(message, "leave it out"));
    }
    let failed = || format!("{} is not sound", name_of(&args.source));
    let start = Instant::now();
    let report = match source.layer() {
        Some(layer) => {
            let mut report = layer_is_sound(context, layer).with_context(failed)?;
            if args.deep {
                agrees_with_its_tar(context, layer).with_context(failed)?;
                report.deep = Some(true);
            }
            report
        }
        None if args.deep => {
            let message = format!("--deep is for layers, and {} is: {}", name_of(&args.source), source.format());
            return Err(usage(message, "leave it out: all of it is read anyway"));
        }
        None => is_readable(context, source.as_ref()).with_context(failed)?,
    };
    let seconds = start.elapsed().as_secs_f64();
    let report = Report {
        source: title(&args.source),
        format: source.format(),
        seconds,
        bytes_per_second: rate(report.bytes, seconds),
        ..report
    };
    let mut out = Out::stdout()?;
    out.either(context, &report)?;
    out.finish()?;
    Ok(Exit::DONE)
}

/// All chunks and files of a layer match their digests.
fn layer_is_sound(context: &Context, layer: &Layer) -> Result<Report> {
    let total = if Progress::is_wanted(context) { Some(content_bytes(layer)?) } else { None };
    let progress = Progress::start(context, "verify", total);
    let verified = layer.reader.verify(context.threads, &Cancel::new(), &|done| progress.set(done))?;
    Ok(Report {
        entries: layer.reader.entries(),
        files: verified.files,
        bytes: verified.bytes,
        chunks: Some(verified.chunks),
        toc_digest: Some(layer.reader.toc_digest().to_string()),
        toc_digest_compared: Some(context.toc_digest.is_some()),
        ..Report::default()
    })
}

fn content_bytes(layer: &Layer) -> Result<u64> {
    let mut total = 0_u64;
    let mut walk = Walk::new(&layer.reader).limits(Limits::trusted());
    while let Some(visit) = walk.advance()? {
        total = total.saturating_add(visit.attr.size);
    }
    Ok(total)
}

/// What the TOC says is what the tar in the layer says, so that lazy and full pulls see the same files.
fn agrees_with_its_tar(context: &Context, layer: &Layer) -> Result<()> {
    let progress = Progress::start(context, "compare", None);
    let audit = layer.audit(&progress)?;
    if audit.stray > 0 {
        let bytes = counted(audit.stray, "byte", "bytes");
        context.note(&format!("behind the end of the tar there are {bytes} that are not zero; nobody reads them"));
    }
    Ok(())
}

/// An archive is well formed to its last byte; a directory can be read.
fn is_readable(context: &Context, source: &dyn Source) -> Result<Report> {
    let progress = Progress::start(context, "verify", source.tar_total());
    let mut report = Report::default();
    let mut entries = Reader::new(source.tar(&progress)?, context.tree_limits().clone());
    let mut header = Header::default();
    let mut block = vec![0; 1 << 20];
    let mut ends_with_toc = false;
    while entries.next_header(&mut header)? {
        report.entries = report.entries.saturating_add(1);
        ends_with_toc = header.name == TOC_TAR_NAME.as_bytes();
        if header.entry != EntryType::File {
            continue;
        }
        report.files = report.files.saturating_add(1);
        loop {
            let len = entries.read_payload(&mut block)?;
            report.bytes = report.bytes.saturating_add(len as u64);
            if len < block.len() {
                break;
            }
        }
    }
    while entries.read_trailing(&mut block)? > 0 {}
    // Made to be a layer, and now taken for an archive.
    if ends_with_toc && source.blob().is_some() && !source.is_plain_tar() {
        let message = "it ends with a table of contents, but not with the footer of a layer";
        return Err(Failure::new(ErrorKind::Malformed, message).into());
    }
    for name in source.left_out() {
        context.note(&format!("{name}: socket, which has no content"));
    }
    Ok(report)
}

#[derive(Serialize)]
struct Report {
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

impl Default for Report {
    fn default() -> Self {
        Self {
            schema: schema("verify"),
            source: String::new(),
            format: "",
            entries: 0,
            files: 0,
            bytes: 0,
            chunks: None,
            toc_digest: None,
            toc_digest_compared: None,
            deep: None,
            seconds: 0.0,
            bytes_per_second: 0,
        }
    }
}

impl fmt::Display for Report {
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
                row(f, "", "not compared with a manifest: give --toc-digest what its annotation says")?;
            }
            (None, _) => {}
        }
        if self.deep == Some(true) {
            row(f, "deep", "the table of contents and the tar agree")?;
        }
        Ok(())
    }
}
