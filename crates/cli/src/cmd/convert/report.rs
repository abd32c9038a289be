//! The result of a conversion: digests, sizes, and the annotations for the layer's descriptor.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write},
};

use dunnage_estargz::Summary;
use serde::Serialize;

use crate::{
    args::{Convert, Target},
    context::Context,
    print::{Out, bytes, count, rate, row, schema},
    sink::is_stdout,
    source::title,
};

/// The result.
pub(super) enum Made {
    Layer { summary: Box<Summary>, missed: Vec<String> },
    Tar { digest: String, bytes: u64 },
}

impl Made {
    /// The TOC, if it is stored elsewhere.
    pub(super) fn external_toc(&self) -> Option<&[u8]> {
        match self {
            Self::Layer { summary, .. } => summary.external_toc.as_deref(),
            Self::Tar { .. } => None,
        }
    }

    pub(super) fn into_report(self, context: &Context, args: &Convert, format: &'static str, seconds: f64) -> Report {
        let mut report = Report {
            schema: schema("convert"),
            source: title(&args.source),
            source_format: format,
            dest: if is_stdout(&args.dest) { "standard output".to_owned() } else { args.dest.display().to_string() },
            format: match args.to {
                Target::Estargz => "eStargz layer",
                Target::ZstdChunked => "zstd:chunked layer",
                Target::ZstdChunkedStorage => "zstd:chunked layer in the form of containers/storage",
                Target::Tar => "tar",
            },
            blob: String::new(),
            size: 0,
            diff_id: String::new(),
            uncompressed_size: 0,
            toc_digest: None,
            toc: None,
            unpacks_to: None,
            payload_size: None,
            entries: None,
            missed: Vec::new(),
            annotations: BTreeMap::new(),
            threads: context.threads,
            seconds,
            bytes_per_second: 0,
        };
        match self {
            Self::Layer { summary, missed } => {
                report.blob = summary.blob.to_string();
                report.size = summary.blob_len;
                report.diff_id = summary.diff_id.to_string();
                report.uncompressed_size = summary.uncompressed_len;
                report.payload_size = Some(summary.payload_len);
                report.entries = Some(summary.entries);
                report.unpacks_to = summary.input.map(|proof| proof.digest.to_string());
                report.toc = args.toc_out.as_ref().map(|path| path.display().to_string());
                report.annotations = summary.annotations;
                report.toc_digest = Some(summary.toc_digest.to_string());
                report.missed = missed;
            }
            Self::Tar { digest, bytes } => {
                report.diff_id.clone_from(&digest);
                report.blob = digest;
                report.size = bytes;
                report.uncompressed_size = bytes;
            }
        }
        report.bytes_per_second = rate(report.uncompressed_size, seconds);
        report
    }
}

/// The report at the end.
#[derive(Serialize)]
pub(super) struct Report {
    schema: String,
    source: String,
    source_format: &'static str,
    dest: String,
    format: &'static str,
    blob: String,
    size: u64,
    diff_id: String,
    uncompressed_size: u64,
    toc_digest: Option<String>,
    /// Where the table of contents is, if not in the layer.
    toc: Option<String>,
    /// Of a lossless conversion: the digest of the input, which was compared with what the layer unpacks to.
    unpacks_to: Option<String>,
    payload_size: Option<u64>,
    entries: Option<u64>,
    /// Files to put first that were not there.
    pub(super) missed: Vec<String>,
    annotations: BTreeMap<&'static str, String>,
    threads: usize,
    seconds: f64,
    /// Of the uncompressed tar.
    bytes_per_second: u64,
}

#[derive(Serialize)]
struct Annotations<'a> {
    schema: String,
    annotations: &'a BTreeMap<&'static str, String>,
}

impl Report {
    pub(super) fn print_annotations(&self, context: &Context, out: &mut Out) -> io::Result<()> {
        if context.json {
            return out.json(&Annotations { schema: schema("annotations"), annotations: &self.annotations });
        }
        for (name, value) in &self.annotations {
            writeln!(out, "{name}={value}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.dest, self.format)?;
        if let Some(entries) = self.entries {
            write!(f, " with {} entries", count(entries))?;
        }
        writeln!(f, ", from {} ({})", self.source, self.source_format)?;
        let size = format_args!("{} ({} bytes)", bytes(self.size), count(self.size));
        if self.toc_digest.is_some() {
            row(f, "size", format_args!("{size}, unpacked {}", bytes(self.uncompressed_size)))?;
        } else {
            row(f, "size", size)?;
        }
        row(f, "time", format_args!("{:.2} s, {}/s", self.seconds, bytes(self.bytes_per_second)))?;
        row(f, "blob", &self.blob)?;
        if let Some(toc_digest) = &self.toc_digest {
            row(f, "diff id", &self.diff_id)?;
            row(f, "toc digest", toc_digest)?;
            if let Some(toc) = &self.toc {
                row(f, "toc", format_args!("in {toc}"))?;
            }
            if let Some(input) = &self.unpacks_to {
                row(f, "unpacks to", format_args!("{input}, the input"))?;
            }
            writeln!(f, "  annotations for the layer's descriptor:")?;
            for (name, value) in &self.annotations {
                writeln!(f, "    {name}={value}")?;
            }
        }
        Ok(())
    }
}
