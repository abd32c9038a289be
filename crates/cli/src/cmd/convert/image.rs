//! All layers of an image, and the documents that lead to them.

use std::{fmt, fs::File, io::BufReader, path::Path, time::Instant};

use anyhow::{Context as _, Result};
use dunnage_estargz::compose::Missing;
use dunnage_oci::{
    Conversion, Converted, ConvertedLayer, ConvertedManifest, ImageOptions, Limits, Outcome, Record, Reference,
    SameTag, TarBytes, Target as ImageTarget,
};
use serde::Serialize;

use super::layer::{prioritized, write_options};
use crate::{
    args::{Convert, Target},
    context::Context,
    exit::Exit,
    failure::usage,
    print::{Out, bytes, counted, row, schema},
    progress::Progress,
    source::{check_image_options, image_at, name_of, platform_name, title},
};

pub(super) fn run(context: &Context, args: &Convert, to: &Reference) -> Result<Exit> {
    let Some(from) = image_at(&args.source)? else {
        let message = format!("an image is made of an image, and {} is none", name_of(&args.source));
        return Err(usage(message, "name an image, such as oci:DIR[:TAG] or an archive"));
    };
    check_image_options(context, &args.source)?;
    let options = options(context, args)?;
    let start = Instant::now();
    let failed = || format!("cannot convert {} into {}", name_of(&args.source), name_of(&args.dest));
    let done = convert(context, &from, to, options).with_context(failed)?;
    for manifest in &done.manifests {
        for name in &manifest.missed {
            let platform = platform_name(manifest.platform.as_ref());
            context.note(&format!("{name}: not in any layer for {platform}, so not put first"));
        }
    }
    if !context.quiet || context.json {
        let mut out = Out::stdout()?;
        out.either(
            context.json,
            &Report::new("convert", (&args.source, &args.dest), &done, start.elapsed().as_secs_f64()),
        )?;
        out.finish()?;
    }
    Ok(Exit::DONE)
}

fn convert(
    context: &Context,
    from: &Reference,
    to: &Reference,
    options: ImageOptions,
) -> Result<Converted, dunnage_oci::Error> {
    let source = from.open(&Limits::default())?;
    let plan = Conversion::plan(source.as_ref(), from.name.as_deref(), options)?;
    let destination = to.create(&Limits::default())?;
    let progress = Progress::start(context, "convert", Some(plan.total_bytes()));
    let report = |done| progress.set(done);
    plan.run(destination.as_ref(), to.name.as_deref(), dunnage_digest::Progress::to(&report))
}

fn options(context: &Context, args: &Convert) -> Result<ImageOptions> {
    let target = if args.to == Target::Tar { ImageTarget::Tar } else { ImageTarget::Toc };
    let mut options = ImageOptions {
        target,
        prioritized: prioritized(args)?,
        missing: if args.allow_missing { Missing::Report } else { Missing::Refuse },
        tar: if args.lossless { TarBytes::Lossless } else { TarBytes::Rewrite },
        threads: context.threads,
        platforms: context.platforms.clone(),
        same_tag: if args.no_clobber { SameTag::Refuse } else { SameTag::Replace },
        ..ImageOptions::default()
    };
    if target == ImageTarget::Tar {
        options.write.limits = context.limits.clone();
    } else {
        options.write = write_options(context, args)?;
    }
    if let Some(path) = &args.record {
        let failed = || format!("cannot read the record `{}`", path.display());
        let file = File::open(path).with_context(failed)?;
        options.record = Record::read(BufReader::new(file)).with_context(failed)?;
    }
    Ok(options)
}

/// The report on an image that was written.
#[derive(Serialize)]
pub(in crate::cmd) struct Report {
    schema: String,
    source: String,
    source_digest: String,
    dest: String,
    tag: Option<String>,
    media_type: String,
    digest: String,
    size: u64,
    manifests: Vec<Manifest>,
    toc_image: Option<TocImage>,
    seconds: f64,
}

#[derive(Serialize)]
struct TocImage {
    tag: String,
    digest: String,
}

#[derive(Serialize)]
struct Manifest {
    source_digest: String,
    digest: String,
    is_image: bool,
    platform: Option<String>,
    layers: Vec<Layer>,
    missed: Vec<String>,
}

#[derive(Serialize)]
struct Layer {
    outcome: &'static str,
    source: Blob,
    #[serde(flatten)]
    blob: Blob,
    toc_digest: Option<String>,
    missed: Vec<String>,
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Blob {
    media_type: String,
    digest: String,
    size: u64,
    diff_id: String,
}

impl Report {
    pub(in crate::cmd) fn new(verb: &str, (source, dest): (&Path, &Path), done: &Converted, seconds: f64) -> Self {
        Self {
            schema: schema(&format!("{verb}-image")),
            source: title(source),
            source_digest: done.source.to_string(),
            dest: title(dest),
            tag: done.tag.clone(),
            media_type: done.media_type.clone(),
            digest: done.digest.to_string(),
            size: done.size,
            manifests: done.manifests.iter().map(Manifest::new).collect(),
            toc_image: done
                .toc_image
                .as_ref()
                .map(|(tag, digest)| TocImage { tag: tag.clone(), digest: digest.to_string() }),
            seconds,
        }
    }
}

impl Manifest {
    fn new(manifest: &ConvertedManifest) -> Self {
        Self {
            source_digest: manifest.source.to_string(),
            digest: manifest.digest.to_string(),
            is_image: manifest.is_image,
            platform: manifest.platform.as_ref().map(ToString::to_string),
            layers: manifest.layers.iter().map(Layer::new).collect(),
            missed: manifest.missed.clone(),
        }
    }

    /// `3 converted, 1 kept`.
    fn outcomes(&self) -> String {
        let names = [Outcome::Converted, Outcome::Kept, Outcome::Absent].map(Outcome::name);
        let counted = names.into_iter().filter_map(|name| {
            let count = self.layers.iter().filter(|layer| layer.outcome == name).count();
            (count > 0).then(|| format!("{count} {name}"))
        });
        counted.collect::<Vec<_>>().join(", ")
    }
}

impl Layer {
    fn new(layer: &ConvertedLayer) -> Self {
        Self {
            outcome: layer.outcome.name(),
            source: Blob {
                media_type: layer.source_media_type.clone(),
                digest: layer.source.to_string(),
                size: layer.source_size,
                diff_id: layer.source_diff_id.to_string(),
            },
            blob: Blob {
                media_type: layer.media_type.clone(),
                digest: layer.digest.to_string(),
                size: layer.size,
                diff_id: layer.diff_id.to_string(),
            },
            toc_digest: layer.toc_digest.as_ref().map(ToString::to_string),
            missed: layer.missed.clone(),
            annotations: layer.annotations.clone(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = self.manifests.iter().filter(|manifest| manifest.is_image).count();
        let tag = self.tag.as_ref().map_or_else(String::new, |tag| format!(" `{}`", tag.escape_debug()));
        writeln!(
            f,
            "{}: image{tag}, {}, from {}",
            self.dest,
            counted(images as u64, "platform", "platforms"),
            self.source
        )?;
        row(f, "digest", &self.digest)?;
        row(f, "time", format_args!("{:.2} s", self.seconds))?;
        for manifest in &self.manifests {
            let platform = manifest.platform.as_deref().unwrap_or("unknown");
            if !manifest.is_image {
                row(f, platform, format_args!("{}: no image, copied unchanged", manifest.digest))?;
                continue;
            }
            row(f, platform, format_args!("{}: layers: {}", manifest.digest, manifest.outcomes()))?;
            for layer in &manifest.layers {
                let (old, new) = (&layer.source, &layer.blob);
                writeln!(f, "    {:<10}{} to {}  {}", layer.outcome, bytes(old.size), bytes(new.size), new.digest)?;
            }
        }
        if let Some(toc_image) = &self.toc_image {
            row(f, "toc image", format_args!("`{}`, {}", toc_image.tag.escape_debug(), toc_image.digest))?;
        }
        Ok(())
    }
}
