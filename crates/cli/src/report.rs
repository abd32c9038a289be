//! Which bytes of a layer hold what: gathered here, shown as text, JSON or a page.

mod html;
mod json;
mod page;
mod save;
mod svg;
mod text;
mod words;

use std::{collections::BTreeMap, fmt, io};

use anyhow::Result;
use dunnage_digest::{Cursor, Hasher, HashingReader, ReadAt};
use dunnage_estargz::{
    Reader,
    annotations::{
        MANIFEST_CHECKSUM_ANNOTATION, MANIFEST_POSITION_ANNOTATION, STORAGE_CHECKSUM_ANNOTATION,
        STORAGE_POSITION_ANNOTATION, TOC_DIGEST_ANNOTATION, UNCOMPRESSED_SIZE_ANNOTATION,
    },
    codec::{Level, ZstdLevel},
    footer::Format,
    report::{Group, LayoutOptions, LayoutReport, MeasureOptions, Measured, StreamKind},
};
use serde::Serialize;

pub(crate) use self::save::{Form, save};
use crate::{
    context::Context,
    print::{bytes, row, schema},
    progress::Progress,
};

/// A report, of a layer or of all layers of an image.
pub(crate) enum Document {
    Layer(Box<Report>),
    Image(ImageReport),
}

/// Digests of a blob, as stored and decompressed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Digests {
    pub(crate) blob: String,
    pub(crate) diff_id: String,
    /// Bytes of the blob, decompressed.
    pub(crate) unpacked: u64,
}

/// The layout of a layer, and everything else on its page.
pub(crate) struct Report {
    /// The source, as results call it.
    source: String,
    format: &'static str,
    toc_digest: String,
    /// The annotations of the layer's descriptor, as far as they are known.
    annotations: BTreeMap<&'static str, String>,
    pub(crate) digests: Option<Digests>,
    layout: LayoutReport,
    measured: Option<Measured>,
}

/// The layouts of the layers of an image, each layer once.
#[derive(Serialize)]
pub(crate) struct ImageReport {
    schema: String,
    source: String,
    digest: String,
    layers: Vec<Section>,
}

/// A layer of an image.
#[derive(Serialize)]
pub(crate) struct Section {
    /// The platforms whose images have it.
    pub(crate) platforms: Vec<String>,
    /// How it is called on the page: `layer 1 of 2`.
    pub(crate) name: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) format: String,
    /// `None` for a layer without a table of contents, and for one that is not there.
    pub(crate) layout: Option<Report>,
}

impl ImageReport {
    pub(crate) fn new(source: String, digest: String, layers: Vec<Section>) -> Self {
        Self { schema: schema("layout-image"), source, digest, layers }
    }
}

impl Report {
    /// The layout of a layer; compared with one ordinary stream if `measure` says so, at the level in it if there is one.
    pub(crate) fn of<R: ReadAt + Sync>(
        context: &Context,
        measure: Option<Option<i32>>,
        (source, format): (String, &'static str),
        reader: &Reader<R>,
        digests: Option<Digests>,
    ) -> Result<Self> {
        let layout = reader.layout(&LayoutOptions::default())?;
        let kind = layout.stream_kind;
        let measured = measure.map(|level| measured(context, reader, kind, level)).transpose()?;
        let annotations = annotations(reader, digests.as_ref())?;
        let toc_digest = reader.toc_digest().to_string();
        Ok(Self { source, format, toc_digest, annotations, digests, layout, measured })
    }

    /// Whether the areas are others than the directories of the root.
    fn has_deeper_areas(&self) -> bool {
        let tops = &self.layout.top_level;
        let is_top = |group: &Group| *group == Group::Elsewhere || tops.iter().any(|top| top.group == *group);
        !self.layout.areas.iter().all(|area| is_top(&area.group))
    }

    /// The words for one stream, and for several.
    const fn stream_words(&self) -> (&'static str, &'static str) {
        match self.layout.stream_kind {
            StreamKind::Gzip => ("gzip member", "gzip members"),
            StreamKind::Zstd => ("zstd frame", "zstd frames"),
            _ => ("stream", "streams"),
        }
    }
}

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json::Layout::of(self).serialize(serializer)
    }
}

impl Serialize for Document {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Layer(report) => report.serialize(serializer),
            Self::Image(image) => image.serialize(serializer),
        }
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(report) => report.fmt(f),
            Self::Image(image) => image.fmt(f),
        }
    }
}

impl fmt::Display for ImageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: image", self.source)?;
        row(f, "digest", &self.digest)?;
        for layer in &self.layers {
            writeln!(f, "\n{}, for {}", layer.name, layer.platforms.join(", "))?;
            match &layer.layout {
                Some(report) => report.fmt(f)?,
                None => {
                    writeln!(f, "{}: {}", layer.digest, layer.format)?;
                    row(f, "size", bytes(layer.size))?;
                }
            }
        }
        Ok(())
    }
}

fn annotations<R: ReadAt + Sync>(
    reader: &Reader<R>,
    digests: Option<&Digests>,
) -> Result<BTreeMap<&'static str, String>> {
    let footer = reader.footer();
    let toc_digest = reader.toc_digest().to_string();
    let position = || format!("{}:{}:{}:1", footer.toc_at().get(), footer.toc_len(), reader.toc_len());
    let mut annotations = BTreeMap::new();
    match footer.format {
        // Its digest is that of the TOC as it is stored.
        Format::StorageChunked => {
            annotations.insert(STORAGE_CHECKSUM_ANNOTATION, toc_digest);
            annotations.insert(STORAGE_POSITION_ANNOTATION, position());
        }
        Format::ZstdChunked => {
            let mut stored = HashingReader::new(
                Cursor::new(dunnage_digest::Section::new(reader.source(), footer.toc_at(), footer.toc_len()))?,
                Hasher::sha256(),
            );
            io::copy(&mut stored, &mut io::sink())?;
            annotations.insert(MANIFEST_CHECKSUM_ANNOTATION, stored.finish().1.to_string());
            annotations.insert(MANIFEST_POSITION_ANNOTATION, position());
            annotations.insert(TOC_DIGEST_ANNOTATION, toc_digest);
        }
        _ => {
            annotations.insert(TOC_DIGEST_ANNOTATION, toc_digest);
        }
    }
    if let Some(digests) = digests {
        annotations.insert(UNCOMPRESSED_SIZE_ANNOTATION, digests.unpacked.to_string());
    }
    Ok(annotations)
}

fn measured<R: ReadAt + Sync>(
    context: &Context,
    reader: &Reader<R>,
    kind: StreamKind,
    level: Option<i32>,
) -> Result<Measured> {
    let mut options = MeasureOptions::default();
    if let Some(level) = level {
        match kind {
            StreamKind::Zstd => options.zstd = ZstdLevel::new(level)?,
            _ => options.gzip = Level::new(level)?,
        }
    }
    let progress = Progress::start(context, "measure", Some(reader.footer().payload_len));
    Ok(reader.measure(&options, &mut |done| progress.set(done))?)
}
