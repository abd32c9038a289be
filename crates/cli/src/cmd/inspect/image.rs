//! What an image consists of.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result};
use dunnage_estargz::TOC_DIGEST_ANNOTATION;
use dunnage_oci::{Error, Image, ImageLayer};
use serde::Serialize;

use crate::{
    args::Inspect,
    context::{Context, usage},
    exit::Exit,
    print::{Out, bytes, count, row, schema},
    source::{ImageSource, name_of, title},
};

pub(super) fn run(context: &Context, args: &Inspect, source: &ImageSource) -> Result<Exit> {
    if args.digest {
        return Err(usage(
            "the digests of an image are in it already",
            "leave --digest out; `dunnage verify` compares them",
        ));
    }
    let failed = || format!("cannot read {}", name_of(&args.source));
    let images = source.contents.images.iter().map(|image| Manifest::of(source, image).with_context(failed));
    let entry = &source.contents.entry;
    let page = Page {
        schema: schema("inspect-image"),
        source: title(&args.source),
        format: "OCI image",
        tag: entry.tag().map(str::to_owned),
        media_type: entry.media_type().to_owned(),
        digest: entry.digest().to_string(),
        size: entry.size(),
        images: images.collect::<Result<_>>()?,
        others: source.contents.others.iter().map(|other| other.digest().to_string()).collect(),
    };
    let mut out = Out::stdout()?;
    out.either(context, &page)?;
    out.finish()?;
    Ok(Exit::DONE)
}

#[derive(Serialize)]
struct Page {
    schema: String,
    source: String,
    format: &'static str,
    tag: Option<String>,
    media_type: String,
    digest: String,
    size: u64,
    images: Vec<Manifest>,
    /// Digests of manifests that are no image.
    others: Vec<String>,
}

#[derive(Serialize)]
struct Manifest {
    platform: String,
    digest: String,
    size: u64,
    media_type: String,
    config: String,
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Layer {
    media_type: String,
    digest: String,
    size: u64,
    diff_id: String,
    /// What its bytes say it is; nothing if they are not there.
    format: Option<&'static str>,
    #[serde(skip)]
    format_text: String,
    toc: Option<Toc>,
    annotations: BTreeMap<String, String>,
}

/// What a table of contents says.
#[derive(Serialize)]
struct Toc {
    digest: String,
    /// Whether it is the one that the manifest names; nothing if the manifest names none.
    is_named: Option<bool>,
    entries: u64,
    chunks: u64,
    streams: u64,
}

impl Manifest {
    fn of(source: &ImageSource, image: &Image) -> Result<Self, Error> {
        Ok(Self {
            platform: image.platform.to_string(),
            digest: image.manifest.digest().to_string(),
            size: image.manifest.size(),
            media_type: image.manifest.media_type().to_owned(),
            config: image.config.digest().to_string(),
            layers: image.layers.iter().map(|layer| Layer::of(source, layer)).collect::<Result<_, _>>()?,
        })
    }
}

impl Layer {
    fn of(source: &ImageSource, layer: &ImageLayer) -> Result<Self, Error> {
        let descriptor = &layer.descriptor;
        let mut facts = Self {
            media_type: descriptor.media_type().to_owned(),
            digest: descriptor.digest().to_string(),
            size: descriptor.size(),
            diff_id: layer.diff_id.to_string(),
            format: None,
            format_text: "not there".to_owned(),
            toc: None,
            annotations: descriptor.annotations().clone(),
        };
        let (format, reader) = match source.layout.open_layer(layer, source.open_options()) {
            Ok(opened) => opened,
            Err(Error::NoBlob { .. }) => return Ok(facts),
            Err(error) => return Err(error),
        };
        (facts.format, facts.format_text) = (Some(format.name()), format.to_string());
        facts.toc = reader.map(|reader| {
            let digest = reader.toc_digest().to_string();
            Toc {
                is_named: descriptor.annotation(TOC_DIGEST_ANNOTATION).map(|named| named == digest),
                digest,
                entries: reader.entries(),
                chunks: reader.chunks(),
                streams: reader.streams() as u64,
            }
        });
        Ok(facts)
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.source, self.format)?;
        row(f, "digest", &self.digest)?;
        row(f, "media type", &self.media_type)?;
        for image in &self.images {
            let size = image.layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
            writeln!(f, "{}: {} layers, {}", image.platform, image.layers.len(), bytes(size))?;
            row(f, "manifest", &image.digest)?;
            row(f, "config", &image.config)?;
            for (number, layer) in image.layers.iter().enumerate() {
                let number = number.saturating_add(1);
                writeln!(f, "  layer {number}: {}, {}", layer.format_text, bytes(layer.size))?;
                layer.fmt(f)?;
            }
        }
        for other in &self.others {
            row(f, "no image", other)?;
        }
        Ok(())
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |label: &str, value: &dyn fmt::Display| row(f, &format!("  {label}"), value);
        line("media type", &self.media_type)?;
        line("digest", &self.digest)?;
        line("diff id", &self.diff_id)?;
        if let Some(toc) = &self.toc {
            let named = match toc.is_named {
                Some(true) => "as the manifest says",
                Some(false) => "which is NOT what the manifest says",
                None => "which the manifest does not name",
            };
            line("toc digest", &format_args!("{}, {named}", toc.digest))?;
            let (entries, chunks, streams) = (count(toc.entries), count(toc.chunks), count(toc.streams));
            line("toc", &format_args!("{entries} entries, {chunks} chunks in {streams} streams"))?;
        }
        for (name, value) in &self.annotations {
            line("", &format_args!("{}={}", name.escape_debug(), value.escape_debug()))?;
        }
        Ok(())
    }
}
