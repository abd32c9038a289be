//! Layouts and archives of the tests, made with `dunnage-inputs`, and what the tests ask about the results.

use std::{
    fs,
    path::{Path, PathBuf},
};

use dunnage_digest::Progress;
pub(crate) use dunnage_inputs::layout::{
    Layer as MadeLayer, Layout as Making, REF, annotated, blob_path, config,
    media::{CONFIG, GZIP, INDEX, MANIFEST, TAR, ZSTD},
    packed, platform, unpacked,
};
use dunnage_inputs::tarball::{self, Entry, Format};
use dunnage_oci::{Conversion, Converted, Error, Image, ImageOptions, Images, Layout, Limits};
use dunnage_tree::{CompareOptions, Overlay, compare};
use serde_json::Value;
use tempfile::TempDir;

/// A directory with layouts in it.
pub(crate) struct Here {
    dir: TempDir,
}

impl Here {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn make(&self, name: &str) -> Making {
        Making::create(&self.path(name))
    }

    pub(crate) fn open(&self, name: &str) -> Layout {
        Layout::open(&self.path(name), &Limits::default()).unwrap()
    }

    /// Converts `from`, or the only image, into the layout `to`.
    pub(crate) fn convert(
        &self,
        from: (&str, Option<&str>),
        to: (&str, Option<&str>),
        options: &ImageOptions,
    ) -> Result<Converted, Error> {
        let source = Layout::open(&self.path(from.0), &Limits::default())?;
        let conversion = Conversion::plan(&source, from.1, options.clone())?;
        let done = std::sync::Mutex::new(0);
        let to_layout = Layout::create(&self.path(to.0), &Limits::default())?;
        let converted =
            conversion.run(&to_layout, to.1, dunnage_digest::Progress::to(&|now| *done.lock().unwrap() = now))?;
        assert!(*done.lock().unwrap() <= conversion.total_bytes());
        Ok(converted)
    }
}

/// A tar of these files, all of one time; a name that ends with `/` is a directory.
pub(crate) fn tarball(files: &[(&str, &str)]) -> Vec<u8> {
    let entry = |(name, content): &(&str, &str)| match name.ends_with('/') {
        true => Entry::dir(name).mode(0o755),
        false => Entry::file(name, *content).mode(0o644),
    };
    let entries: Vec<Entry> = files.iter().map(|file| entry(file).mtime(1_700_000_000)).collect();
    tarball::tarball(Format::Ustar, &entries)
}

/// Three layers: the second replaces and removes files of the first, the third hides a directory.
pub(crate) fn three_tars() -> [Vec<u8>; 3] {
    let long = "0123456789abcdef".repeat(4096);
    [
        tarball(&[
            ("etc/", ""),
            ("etc/motd", "hello"),
            ("etc/gone", "x"),
            ("opt/", ""),
            ("opt/a", "a"),
            ("big", &long),
        ]),
        tarball(&[("etc/", ""), ("etc/motd", "hello again"), ("etc/.wh.gone", ""), ("bin/", ""), ("bin/tool", "#!")]),
        tarball(&[("opt/", ""), ("opt/.wh..wh..opq", ""), ("opt/b", "b")]),
    ]
}

/// The layout `in` with one image of three layers, compressed with gzip, not at all, and with zstd; tagged `latest`.
pub(crate) fn three_layers(here: &Here) -> Making {
    let mut making = here.make("in");
    let tars = three_tars();
    let layers: Vec<MadeLayer> =
        [GZIP, TAR, ZSTD].iter().zip(&tars).map(|(kind, tar)| making.layer(kind, tar)).collect();
    let image = making.image("amd64", &layers);
    making.tag("latest", &image);
    making
}

pub(crate) fn read_json(layout: &Path, digest: &str) -> Value {
    serde_json::from_slice(&fs::read(blob_path(layout, digest)).unwrap()).unwrap()
}

/// The manifest of the only image of a tag.
pub(crate) fn manifest(layout: &Path, tag: &str) -> Value {
    read_json(layout, entry(layout, tag)["digest"].as_str().unwrap())
}

pub(crate) fn entry(layout: &Path, tag: &str) -> Value {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    entries.iter().find(|entry| entry["annotations"][REF] == tag).unwrap().clone()
}

/// The file trees of two images are the same.
#[track_caller]
pub(crate) fn assert_same_files(a: (&dyn Images, &Image), b: (&dyn Images, &Image)) {
    let open = |(images, image): (&dyn Images, &Image)| -> Overlay { image.tree(images, &Default::default()).unwrap() };
    let found = compare(&open(a), &open(b), &CompareOptions::default(), Progress::none()).unwrap();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, Vec::<String>::new());
}

/// The error with all its causes.
pub(crate) fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
