//! OCI image layouts: documents are JSON, and blobs whatever a test wants them to be.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Media types of documents and layers.
pub mod media {
    /// An image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An image configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A layer that is a plain tar.
    pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer compressed with gzip.
    pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer compressed with zstd.
    pub const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
}

/// The annotation that names an image in a layout.
pub const REF: &str = "org.opencontainers.image.ref.name";

/// A layout that is being made. Every call leaves a valid layout on disk.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    entries: Vec<Value>,
}

/// A layer: the descriptor of its blob, and the digest of its tar.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the words of the specification")]
pub struct Layer {
    pub descriptor: Value,
    pub diff_id: String,
}

impl Layout {
    /// A layout without images.
    #[must_use]
    pub fn create(path: &Path) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let layout = Self { path: path.to_owned(), entries: Vec::new() };
        layout.write_index();
        layout
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a blob; its digest.
    pub fn blob(&self, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        fs::write(blob_path(&self.path, &digest), bytes).unwrap();
        digest
    }

    /// Writes a blob; its descriptor.
    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Value {
        json!({"mediaType": media_type, "digest": self.blob(bytes), "size": bytes.len()})
    }

    /// Writes a document; its descriptor.
    pub fn put_json(&self, media_type: &str, document: &Value) -> Value {
        self.put(media_type, document.to_string().as_bytes())
    }

    /// Writes a layer of this tar, compressed as its media type says.
    pub fn layer(&self, media_type: &str, tar: &[u8]) -> Layer {
        Layer { descriptor: self.put(media_type, &packed(media_type, tar)), diff_id: digest(tar) }
    }

    /// Writes an image of these layers; the descriptor of its manifest.
    pub fn image(&self, architecture: &str, layers: &[Layer]) -> Value {
        self.image_of(&config(architecture, layers), (media::MANIFEST, media::CONFIG), layers)
    }

    /// The same with another configuration, and other media types for manifest and configuration.
    pub fn image_of(&self, config: &Value, (manifest, kind): (&str, &str), layers: &[Layer]) -> Value {
        let config = self.put_json(kind, config);
        let layers: Vec<&Value> = layers.iter().map(|layer| &layer.descriptor).collect();
        let document = json!({"schemaVersion": 2, "mediaType": manifest, "config": config, "layers": layers});
        self.put_json(manifest, &document)
    }

    /// Writes an index of these manifests; its descriptor.
    pub fn index(&self, media_type: &str, manifests: &[Value]) -> Value {
        self.put_json(media_type, &json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}))
    }

    /// Makes `descriptor` an entry of the layout: by this name, or without one if the name is empty.
    pub fn tag(&mut self, name: &str, descriptor: &Value) {
        let entry = if name.is_empty() { descriptor.clone() } else { annotated(descriptor.clone(), REF, name) };
        self.entries.push(entry);
        self.write_index();
    }

    fn write_index(&self) {
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        fs::write(self.path.join("index.json"), index.to_string()).unwrap();
    }
}

/// `sha256:` and 64 digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Where a layout keeps the blob of this digest.
#[must_use]
pub fn blob_path(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// A configuration for these layers.
#[must_use]
pub fn config(architecture: &str, layers: &[Layer]) -> Value {
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let history: Vec<Value> = layers.iter().map(|_| json!({"created_by": "dunnage-inputs"})).collect();
    json!({
        "created": "2026-01-01T00:00:00Z", "architecture": architecture, "os": "linux",
        "config": {"Env": ["A=b"], "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
    })
}

/// The same descriptor for a platform, `os/architecture` or `os/architecture/variant`.
#[must_use]
pub fn platform(mut descriptor: Value, text: &str) -> Value {
    let parts: Vec<&str> = text.split('/').collect();
    descriptor["platform"] = json!({"os": parts[0], "architecture": parts[1]});
    if let Some(variant) = parts.get(2) {
        descriptor["platform"]["variant"] = (*variant).into();
    }
    descriptor
}

/// The same descriptor with one more annotation.
#[must_use]
pub fn annotated(mut descriptor: Value, name: &str, value: &str) -> Value {
    descriptor["annotations"][name] = value.into();
    descriptor
}

/// A tar, compressed as the end of the media type says.
#[must_use]
pub fn packed(media_type: &str, tar: &[u8]) -> Vec<u8> {
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

/// The tar of a blob, by the first bytes of which one can tell its compression.
#[must_use]
pub fn unpacked(blob: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    match blob {
        [0x1f, 0x8b, ..] => drop(flate2::read::MultiGzDecoder::new(blob).read_to_end(&mut tar).unwrap()),
        [0x28, 0xb5, ..] => tar = zstd::decode_all(blob).unwrap(),
        _ => tar = blob.to_vec(),
    }
    tar
}
