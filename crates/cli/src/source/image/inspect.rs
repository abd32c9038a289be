//! The page of an image, and the layouts of its layers.

use std::{collections::BTreeMap, fmt};

use anyhow::Result;
use dunnage_estargz::Reader;
use dunnage_oci::{Blob, Error, Image, ImageLayer};
use serde::Serialize;

use super::ImageSource;
use crate::{
    args,
    context::Context,
    page,
    print::{bytes, count, row, schema},
    report::{Document, ImageReport, Report, Section},
    source::title,
};

impl ImageSource {
    pub(super) fn page(&self, args: &args::Inspect) -> Result<page::Page> {
        let entry = &self.contents.entry;
        let images = self.contents.images.iter().map(|image| Manifest::of(self, image));
        Ok(page::Page::new(Page {
            schema: schema("inspect-image"),
            source: title(&args.source),
            format: self.format(),
            tag: entry.tag().map(str::to_owned),
            media_type: entry.media_type().to_owned(),
            digest: entry.digest().to_string(),
            size: entry.size(),
            images: images.collect::<Result<_, _>>()?,
            others: self.contents.others.iter().map(|other| other.digest().to_string()).collect(),
            report: args.report.as_ref().map(|path| path.display().to_string()),
        }))
    }

    /// The layouts of all layers, each layer once, however many platforms have it.
    pub(super) fn report(&self, context: &Context, args: &args::Inspect) -> Result<Document> {
        let mut sections: Vec<Section> = Vec::new();
        for image in &self.contents.images {
            let platform = image.platform.to_string();
            for (number, layer) in (1_usize..).zip(&image.layers) {
                let digest = layer.descriptor.digest().to_string();
                if let Some(known) = sections.iter_mut().find(|section| section.digest == digest) {
                    if !known.platforms.contains(&platform) {
                        known.platforms.push(platform.clone());
                    }
                    continue;
                }
                let mut section = Section {
                    platforms: vec![platform.clone()],
                    name: format!("layer {number} of {}", image.layers.len()),
                    digest,
                    size: layer.descriptor.size(),
                    format: "not there".to_owned(),
                    layout: None,
                };
                if let Some((format, reader)) = self.open_layer(layer)? {
                    section.format = format.to_string();
                    let named = (layer.name.clone(), format.name());
                    let report = reader.map(|reader| Report::of(context, args.measure, named, &reader, None));
                    section.layout = report.transpose()?;
                }
                sections.push(section);
            }
        }
        let digest = self.contents.entry.digest().to_string();
        Ok(Document::Image(ImageReport::new(title(&args.source), digest, sections)))
    }

    /// A layer and its table of contents; `None` if the layer is not there.
    fn open_layer(&self, layer: &ImageLayer) -> Result<Option<Opened>, Error> {
        match layer.open(self.images.as_ref(), &self.open) {
            Err(Error::NoBlob { .. }) => Ok(None),
            other => other.map(Some),
        }
    }
}

/// The format of a layer, and its table of contents if it has one.
type Opened = (dunnage_oci::Format, Option<Reader<Blob>>);

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
    /// The file with the layouts.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<String>,
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
    /// The format that its bytes have; `None` if they are not there.
    format: Option<&'static str>,
    #[serde(skip)]
    format_text: String,
    toc: Option<Toc>,
    annotations: BTreeMap<String, String>,
}

/// The figures of a table of contents.
#[derive(Serialize)]
struct Toc {
    digest: String,
    /// Whether it is the one that the manifest names; `None` if the manifest names none.
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
        let Some((format, reader)) = source.open_layer(layer)? else { return Ok(facts) };
        (facts.format, facts.format_text) = (Some(format.name()), format.to_string());
        if let Some(reader) = reader {
            let is_named = match layer.check_toc(format, Some(reader.toc_digest())) {
                Ok(is_named) => is_named.then_some(true),
                Err(Error::TocDigest { .. } | Error::Inconsistent { .. }) => Some(false),
                Err(error) => return Err(error),
            };
            facts.toc = Some(Toc {
                is_named,
                digest: reader.toc_digest().to_string(),
                entries: reader.entries(),
                chunks: reader.chunks(),
                streams: reader.streams() as u64,
            });
        }
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
        self.report.as_ref().map_or(Ok(()), |path| row(f, "report", path))
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
                Some(false) => "but the manifest names another",
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
