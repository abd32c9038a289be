//! Layouts by hand: documents are JSON, and blobs whatever a test wants them to be.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use dunnage_digest::{Algorithm, Digest, Progress};
use dunnage_oci::{Conversion, Converted, Error, Image, ImageOptions, Layout, Limits};
use dunnage_tree::{
    CompareOptions, Overlay, compare,
    tar::{self, EntryType, Header},
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub(crate) const REF: &str = "org.opencontainers.image.ref.name";

/// A directory with layouts in it.
pub(crate) struct Here {
    dir: TempDir,
}

/// A layout that is being made.
pub(crate) struct Making {
    pub(crate) path: PathBuf,
    entries: Vec<Value>,
}

/// A layer: its blob's descriptor, and the digest of its content.
#[derive(Clone)]
pub(crate) struct MadeLayer {
    pub(crate) descriptor: Value,
    pub(crate) diff_id: String,
}

impl Here {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn make(&self, name: &str) -> Making {
        let path = self.path(name);
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let making = Making { path, entries: Vec::new() };
        making.write_index();
        making
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
        let converted = conversion.run(&to_layout, to.1, &|now| *done.lock().unwrap() = now)?;
        assert!(*done.lock().unwrap() <= conversion.total_bytes());
        Ok(converted)
    }
}

impl Making {
    pub(crate) fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        fs::write(self.blob_path(&digest.to_string()), bytes).unwrap();
        digest
    }

    pub(crate) fn blob_path(&self, digest: &str) -> PathBuf {
        blob_path(&self.path, digest)
    }

    /// The descriptor of a new blob.
    pub(crate) fn put(&self, media_type: &str, bytes: &[u8]) -> Value {
        json!({"mediaType": media_type, "digest": self.blob(bytes).to_string(), "size": bytes.len()})
    }

    pub(crate) fn put_json(&self, media_type: &str, document: &Value) -> Value {
        self.put(media_type, document.to_string().as_bytes())
    }

    /// A layer of this tar, compressed as its media type says.
    pub(crate) fn layer(&self, media_type: &str, tar: &[u8]) -> MadeLayer {
        let diff_id = Digest::of(Algorithm::Sha256, tar).to_string();
        MadeLayer { descriptor: self.put(media_type, &packed(media_type, tar)), diff_id }
    }

    /// An image of these layers; the descriptor of its manifest.
    pub(crate) fn image(&self, architecture: &str, layers: &[MadeLayer]) -> Value {
        self.image_of(&config(architecture, layers), (MANIFEST, CONFIG), layers)
    }

    pub(crate) fn image_of(&self, config: &Value, types: (&str, &str), layers: &[MadeLayer]) -> Value {
        let config = self.put_json(types.1, config);
        let layers: Vec<&Value> = layers.iter().map(|layer| &layer.descriptor).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": types.0, "config": config, "layers": layers});
        self.put_json(types.0, &manifest)
    }

    pub(crate) fn index(&self, media_type: &str, manifests: &[Value]) -> Value {
        self.put_json(media_type, &json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}))
    }

    /// Makes `descriptor` an entry of the layout.
    pub(crate) fn tag(&mut self, tag: &str, descriptor: &Value) {
        let mut entry = descriptor.clone();
        if !tag.is_empty() {
            entry["annotations"][REF] = tag.into();
        }
        self.entries.push(entry);
        self.write_index();
    }

    fn write_index(&self) {
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        fs::write(self.path.join("index.json"), index.to_string()).unwrap();
    }
}

pub(crate) fn blob_path(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

pub(crate) fn config(architecture: &str, layers: &[MadeLayer]) -> Value {
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    json!({
        "created": "2026-01-01T00:00:00Z", "architecture": architecture, "os": "linux",
        "config": {"Env": ["A=b"], "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
}

pub(crate) fn platform(mut descriptor: Value, text: &str) -> Value {
    let parts: Vec<&str> = text.split('/').collect();
    descriptor["platform"] = json!({"os": parts[0], "architecture": parts[1]});
    if let Some(variant) = parts.get(2) {
        descriptor["platform"]["variant"] = (*variant).into();
    }
    descriptor
}

pub(crate) fn annotated(mut descriptor: Value, name: &str, value: &str) -> Value {
    descriptor["annotations"][name] = value.into();
    descriptor
}

pub(crate) fn packed(media_type: &str, tar: &[u8]) -> Vec<u8> {
    if media_type.ends_with("gzip") {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(tar).unwrap();
        gzip.finish().unwrap()
    } else if media_type.ends_with("zstd") {
        zstd::encode_all(tar, 1).unwrap()
    } else {
        tar.to_vec()
    }
}

/// All that a blob unpacks to, by whatever it is compressed with.
pub(crate) fn unpacked(blob: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    match blob {
        [0x1f, 0x8b, ..] => drop(flate2::read::MultiGzDecoder::new(blob).read_to_end(&mut tar).unwrap()),
        [0x28, 0xb5, ..] => tar = zstd::decode_all(blob).unwrap(),
        _ => tar = blob.to_vec(),
    }
    tar
}

/// A tar of these files, all of one time; a name that ends with `/` is a directory.
pub(crate) fn tarball(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in files {
        let entry = if name.ends_with('/') { EntryType::Directory } else { EntryType::File };
        let mode = if name.ends_with('/') { 0o755 } else { 0o644 };
        let size = content.len() as u64;
        let mtime = Some(dunnage_tree::Mtime { secs: 1_700_000_000, nanos: 0 });
        let header = Header { name: (*name).into(), entry, size, mode, mtime, ..Header::default() };
        tar::encode_header(&header, &mut archive).unwrap();
        archive.extend_from_slice(content.as_bytes());
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.extend_from_slice(&tar::END);
    archive
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
pub(crate) fn assert_same_files(a: (&Layout, &Image), b: (&Layout, &Image)) {
    let open = |(layout, image): (&Layout, &Image)| -> Overlay { layout.tree(image, &Default::default()).unwrap() };
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
