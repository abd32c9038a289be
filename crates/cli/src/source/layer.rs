//! A layer with a table of contents: eStargz, the older stargz, zstd:chunked.

use std::{fs::File, sync::Arc, time::Instant};

use anyhow::{Context as _, Result};
use dunnage_estargz::{Reader, audit::Audit, footer::Format};
use dunnage_tree::{Limits, Tree, Walk};

use super::{About, Candidate, Input, Kind, Source, contents, directory::export_options, name_of, title};
use crate::{
    args,
    context::Context,
    failure::usage,
    options::Uses,
    page::Page,
    print::counted,
    progress::Progress,
    report::{Document, Report},
};

/// Layers with a table of contents.
pub(super) static KIND: Kind = Kind {
    name: "layer",
    prefixes: &[],
    uses: Uses {
        name: "layers",
        options: &[
            "max-toc-bytes",
            "max-entries",
            "max-unpacked",
            "toc",
            "toc-digest",
            "unverified",
            "digest",
            "layout",
            "report",
            "measure",
            "deep",
            "cache",
            "sparse",
        ],
    },
    open: Layer::detect,
};

/// A layer with a table of contents.
#[derive(Debug)]
struct Layer {
    reader: Arc<Reader<File>>,
}

impl Layer {
    fn detect(context: &Context, candidate: &Candidate<'_>) -> Result<Option<Box<dyn Source>>> {
        let Candidate::File(file, _) = candidate else { return Ok(None) };
        let Ok(reader) = Reader::detect(file.try_clone()?, &context.open_options())? else { return Ok(None) };
        if context.toc.is_some() && reader.footer().format != Format::ExternalToc {
            let message = "--toc is for layers with a table of contents elsewhere, and it is: a layer with its own";
            return Err(usage(message, "leave --toc out"));
        }
        if let Some(expected) = &context.toc_digest {
            reader.verify_toc(expected)?;
        }
        Ok(Some(Box::new(Self { reader: Arc::new(reader) })))
    }

    /// Makes sure that the TOC and the tar in the layer agree, so that lazy and full pulls see the same files.
    fn audit(&self, context: &Context) -> Result<Audit, dunnage_estargz::Error> {
        let progress = Progress::start(context, "compare", None);
        self.reader.audit(dunnage_digest::Progress::to(&|done| progress.set(done)))?.agreed()
    }

    fn content_bytes(&self) -> Result<u64> {
        let mut total = 0_u64;
        let mut walk = Walk::new(self.reader.as_ref()).limits(Limits::trusted());
        while let Some(visit) = walk.advance()? {
            total = total.saturating_add(visit.attr.size);
        }
        Ok(total)
    }

    /// All chunks and files match their digests.
    fn is_sound(&self, context: &Context, args: &args::Verify) -> Result<contents::Verified> {
        let reader = &self.reader;
        let total = if Progress::is_wanted(context) { Some(self.content_bytes()?) } else { None };
        let progress = Progress::start(context, "verify", total);
        let verified = reader.verify(context.threads, dunnage_digest::Progress::to(&|done| progress.set(done)))?;
        drop(progress);
        if args.deep {
            let audit = self.audit(context)?;
            if audit.stray > 0 {
                let bytes = counted(audit.stray, "non-zero byte", "non-zero bytes");
                context.note(&format!("{bytes} after the end of the tar are ignored"));
            }
        }
        Ok(contents::Verified {
            entries: reader.entries(),
            files: verified.files,
            bytes: verified.bytes,
            chunks: Some(verified.chunks),
            toc_digest: Some(reader.toc_digest().to_string()),
            toc_digest_compared: Some(context.toc_digest.is_some()),
            deep: args.deep.then_some(true),
        })
    }
}

impl Source for Layer {
    fn about(&self) -> About {
        let format = match self.reader.footer().format {
            Format::Estargz => "eStargz layer",
            Format::Stargz => "stargz layer",
            Format::ExternalToc => "eStargz layer with an external table of contents",
            Format::ZstdChunked => "zstd:chunked layer",
            Format::StorageChunked => "zstd:chunked layer in the form of containers/storage",
            _ => "layer",
        };
        About::new(&KIND, format)
    }

    fn tree(&self) -> Result<Arc<dyn Tree>> {
        Ok(Arc::clone(&self.reader) as Arc<dyn Tree>)
    }

    fn inspect(&self, context: &Context, args: &args::Inspect, document: Option<&Document>) -> Result<Page> {
        let file = self.reader.source();
        let digests = match document {
            _ if !args.digest => None,
            Some(Document::Layer(report)) => report.digests.clone(),
            _ => Some(contents::digests(context, file)?),
        };
        let layer = Some(contents::Facts::of(&self.reader));
        contents::page(context, args, self, contents::Extra { file: Some(file), digests, layer })
    }

    fn document(&self, context: &Context, args: &args::Inspect) -> Result<Document> {
        let digests = if args.digest { Some(contents::digests(context, self.reader.source())?) } else { None };
        let named = (title(&args.source), self.about().format);
        let report = Report::of(context, args.measure, named, &self.reader, digests);
        Ok(Document::Layer(Box::new(report.with_context(|| format!("cannot read {}", name_of(&args.source)))?)))
    }

    fn verify(&self, context: &Context, args: &args::Verify) -> Result<Page> {
        let start = Instant::now();
        let verified = self.is_sound(context, args);
        let verified = verified.with_context(|| format!("{} is not sound", name_of(&args.source)))?;
        Ok(verified.page(args, self.about().format, start))
    }

    fn input(&self, context: &Context) -> Result<Input<'_>> {
        self.audit(context).context("it is not sound")?;
        // The tar in the layer has its holes as zeros: only a tar of the files can leave them out.
        if context.given.has("sparse") {
            return Ok(Input::of_tree(self.reader.as_ref(), export_options(context)));
        }
        Ok(Input::Layer(&self.reader))
    }
}
