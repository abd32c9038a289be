//! Whether an image is sound: every blob, every diff ID, every table of contents.

use std::{fmt, time::Instant};

use dunnage_oci::{Depth, Error, Verification, VerifiedImage, VerifyOptions};
use serde::Serialize;

use super::ImageSource;
use crate::{
    args::{self, Verify},
    context::Context,
    page::Page,
    print::{bytes, counted, rate, row, schema},
    progress::Progress,
    source::title,
};

impl ImageSource {
    pub(super) fn check(&self, context: &Context, args: &args::Verify) -> Result<Page, Error> {
        let start = Instant::now();
        let options = VerifyOptions {
            limits: context.limits.clone(),
            threads: context.threads,
            platforms: context.platforms.clone(),
            depth: if args.deep { Depth::Audit } else { Depth::Digests },
        };
        let plan = Verification::plan(self.images.as_ref(), self.reference.name.as_deref(), options)?;
        let progress = Progress::start(context, "verify", Some(plan.total_bytes()));
        let verified = plan.run(dunnage_digest::Progress::to(&|done| progress.set(done)))?;
        Ok(Page::new(Report::new(args, self.format(), &verified, start.elapsed().as_secs_f64())))
    }
}

#[derive(Serialize)]
struct Report {
    schema: String,
    source: String,
    format: &'static str,
    images: u64,
    blobs: u64,
    bytes: u64,
    layers: u64,
    absent: u64,
    entries: u64,
    tocs: u64,
    unnamed_tocs: u64,
    chunks: u64,
    deep: bool,
    seconds: f64,
    bytes_per_second: u64,
}

impl Report {
    fn new(args: &Verify, format: &'static str, verified: &VerifiedImage, seconds: f64) -> Self {
        Self {
            schema: schema("verify-image"),
            source: title(&args.source),
            format,
            images: verified.images,
            blobs: verified.blobs,
            bytes: verified.bytes,
            layers: verified.layers,
            absent: verified.absent,
            entries: verified.entries,
            tocs: verified.tocs,
            unnamed_tocs: verified.unnamed_tocs,
            chunks: verified.chunks,
            deep: args.deep,
            seconds,
            bytes_per_second: rate(verified.bytes, seconds),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} for {}, sound", self.source, self.format, counted(self.images, "platform", "platforms"))?;
        let speed = bytes(self.bytes_per_second);
        let blobs = counted(self.blobs, "blob matches its digest", "blobs match their digests");
        row(f, "checked", format_args!("{blobs}; {} in {:.2} s ({speed}/s)", bytes(self.bytes), self.seconds))?;
        let layers = counted(self.layers, "layer matches its diff ID", "layers match their diff IDs");
        row(f, "layers", format_args!("{layers}; {}", counted(self.entries, "entry", "entries")))?;
        if self.absent > 0 {
            row(f, "absent", format_args!("{} that may not be distributed", counted(self.absent, "layer", "layers")))?;
        }
        if self.tocs > 0 {
            let tocs = counted(self.tocs, "is", "are");
            let chunks = counted(self.chunks, "chunk matches its digest", "chunks match their digests");
            row(f, "toc", format_args!("{tocs} what the manifest says; {chunks}"))?;
        }
        if self.unnamed_tocs > 0 {
            let tocs = counted(self.unnamed_tocs, "layer has", "layers have");
            row(
                f,
                "",
                format_args!("{tocs} a table of contents that the manifest does not name: lazy pulls ignore it"),
            )?;
        }
        if self.deep && self.tocs > 0 {
            row(f, "deep", "the tables of contents and the tars agree")?;
        }
        Ok(())
    }
}
