//! Which bytes of a layer hold what: gathered here, shown as text, JSON or a page.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context as _, Result};
use dunnage_digest::{Cursor, Hasher, HashingReader, Section};
use dunnage_estargz::{
    Format, Group, LandmarkKind, LayoutOptions, LayoutReport, Level, MANIFEST_CHECKSUM_ANNOTATION,
    MANIFEST_POSITION_ANNOTATION, MeasureOptions, Measured, NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK, Plain,
    STORAGE_CHECKSUM_ANNOTATION, STORAGE_POSITION_ANNOTATION, StreamKind, TOC_DIGEST_ANNOTATION,
    UNCOMPRESSED_SIZE_ANNOTATION, ZstdLevel,
};
use serde::Serialize;

use super::{Digests, json, page};
use crate::{
    args::Inspect,
    context::{Context, usage},
    print::printable,
    progress::Progress,
    sink::{Clobber, Sink},
    source::{Layer, Source, name_of, title},
};

/// The layout of a layer, and what else goes onto its page.
pub(super) struct Report {
    /// The source as it was called.
    pub(super) source: String,
    pub(super) format: &'static str,
    pub(super) toc_digest: String,
    /// What belongs on the layer's descriptor, as far as it is known.
    pub(super) annotations: BTreeMap<&'static str, String>,
    pub(super) digests: Option<Digests>,
    pub(super) layout: LayoutReport,
    pub(super) measured: Option<Measured>,
}

/// What a report is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Page,
    Json,
    Text,
}

impl Form {
    /// By the end of the name.
    pub(super) fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("html" | "htm") => Ok(Self::Page),
            Some("json") => Ok(Self::Json),
            Some("txt") => Ok(Self::Text),
            _ => Err(usage(
                format!("--report `{}`: expected a name that ends with .html, .json or .txt", path.display()),
                "what is written follows from the end of the name",
            )),
        }
    }
}

impl Report {
    pub(super) fn of(context: &Context, args: &Inspect, source: &dyn Source, digests: Option<Digests>) -> Result<Self> {
        let Some(layer) = source.layer() else {
            let flag = if args.layout { "--layout" } else { "--report" };
            let message = format!("{flag} is for layers, and {} is: {}", name_of(&args.source), source.format());
            return Err(usage(message, "leave it out, or `dunnage convert` it to a layer first"));
        };
        let failed = || format!("cannot read {}", name_of(&args.source));
        let layout = layer.reader.layout(&LayoutOptions::default()).with_context(failed)?;
        let kind = layout.stream_kind;
        let measured =
            args.measure.map(|level| measure(context, layer, kind, level)).transpose().with_context(failed)?;
        let annotations = annotations(layer, digests.as_ref()).with_context(failed)?;
        let toc_digest = layer.reader.toc_digest().to_string();
        let (source, format) = (title(&args.source), source.format());
        Ok(Self { source, format, toc_digest, annotations, digests, layout, measured })
    }

    /// Writes it to a file, which appears whole or not at all.
    pub(super) fn save(&self, form: Form, path: &Path) -> Result<()> {
        let mut sink = Sink::create(path, Clobber::Replace)?;
        let bytes = match form {
            Form::Page => page::page(self).into_bytes(),
            Form::Json => {
                let mut json = serde_json::to_vec(self)?;
                json.push(b'\n');
                json
            }
            Form::Text => self.to_string().into_bytes(),
        };
        let failed = format!("cannot write {}", sink.name());
        sink.write_all(&bytes).context(failed)?;
        sink.commit()
    }

    /// Whether the areas are others than the directories of the root.
    pub(super) fn has_deeper_areas(&self) -> bool {
        let tops = &self.layout.top_level;
        let is_top = |group: &Group| *group == Group::Elsewhere || tops.iter().any(|top| top.group == *group);
        !self.layout.areas.iter().all(|area| is_top(&area.group))
    }

    /// What one stream is called, and several.
    pub(super) const fn stream_words(&self) -> (&'static str, &'static str) {
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

fn annotations(layer: &Layer, digests: Option<&Digests>) -> Result<BTreeMap<&'static str, String>> {
    let (reader, footer) = (&layer.reader, layer.reader.footer());
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
                Cursor::new(Section::new(reader.source(), footer.toc_at(), footer.toc_len()))?,
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

fn measure(context: &Context, layer: &Layer, kind: StreamKind, level: Option<i32>) -> Result<Measured> {
    let mut options = MeasureOptions::default();
    if let Some(level) = level {
        match kind {
            StreamKind::Zstd => options.zstd = ZstdLevel::new(level)?,
            _ => options.gzip = Level::new(level)?,
        }
    }
    let progress = Progress::start(context, "measure", Some(layer.reader.footer().payload_len));
    Ok(layer.reader.measure(&options, &mut |done| progress.set(done))?)
}

/// The stream that a layer was compared with: its kind and its level.
pub(super) fn plain(plain: Plain) -> (&'static str, i32) {
    match plain {
        Plain::Zstd(level) => ("zstd", level.get()),
        Plain::Gzip(level) => ("gzip", i32::from(level.get())),
        _ => ("stream", 0),
    }
}

/// The name of a landmark's file.
pub(super) const fn landmark_name(kind: LandmarkKind) -> &'static str {
    match kind {
        LandmarkKind::Prefetch => PREFETCH_LANDMARK,
        LandmarkKind::NoPrefetch => NO_PREFETCH_LANDMARK,
    }
}

/// A name for people: unprintable characters escaped, and the middle left out of one that is very long.
pub(super) fn shown(path: &[u8]) -> String {
    const MOST: usize = 160;
    let path = printable(path);
    let length = path.chars().count();
    if length <= MOST {
        return path.into_owned();
    }
    let (front, back) = (MOST / 3, MOST.saturating_sub(MOST / 3));
    let head: String = path.chars().take(front).collect();
    let tail: String = path.chars().skip(length.saturating_sub(back)).collect();
    format!("{head}…{tail}")
}

/// A group of files for people.
pub(super) fn group_name(group: &Group) -> String {
    match group {
        Group::Directory(path) => format!("{}/", shown(path)),
        Group::RestOf(path) => format!("{}/, the rest", shown(path)),
        Group::RootFiles => "files in the root".to_owned(),
        _ => "everything else".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_follows_from_the_name() {
        for (name, wanted) in [
            ("a.html", Some(Form::Page)),
            ("a.b/c.HTM", Some(Form::Page)),
            ("a.json", Some(Form::Json)),
            ("a.txt", Some(Form::Text)),
            ("html", None),
            ("a.pdf", None),
            ("-", None),
        ] {
            assert_eq!(Form::of(Path::new(name)).ok(), wanted, "{name}");
        }
    }

    #[test]
    fn very_long_names_lose_their_middle() {
        assert_eq!(shown(b"a/b"), "a/b");
        assert_eq!(shown(b"a\xff\n"), r"a\xff\n");
        let long = format!("{}/middle/{}", "é".repeat(400), "b".repeat(400));
        let short = shown(long.as_bytes());
        assert_eq!(short.chars().count(), 161);
        assert!(short.starts_with("éé") && short.contains("é…b") && short.ends_with("bb"), "{short}");
    }
}
