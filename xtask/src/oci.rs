//! OCI layouts with images of our making, for what converts them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use dunnage_digest::{Algorithm, Digest};
use serde_json::{Value, json};

/// Starts a layout without images.
pub(crate) fn start(layout: &Path) -> Result<()> {
    fs::create_dir_all(layout.join("blobs/sha256")).context("cannot create a layout")?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
        .context("cannot write the mark of a layout")
}

/// Writes the index of a layout: images by tag.
pub(crate) fn tag<const N: usize>(layout: &Path, images: [(&str, Value); N]) -> Result<()> {
    let tagged: Vec<Value> = images
        .into_iter()
        .map(|(tag, image)| with(image, "annotations", json!({"org.opencontainers.image.ref.name": tag})))
        .collect();
    let index = json!({"schemaVersion": 2, "manifests": tagged});
    fs::write(layout.join("index.json"), index.to_string()).context("cannot write the index of a layout")
}

/// A layer of an image that is being made.
pub(crate) struct Layer {
    descriptor: Value,
    diff_id: String,
}

impl Layer {
    /// Writes the blob of this tar, compressed with gzip or as it is.
    pub(crate) fn make(layout: &Path, tar: &[u8], is_packed: bool) -> Result<Self> {
        let diff_id = Digest::of(Algorithm::Sha256, tar).to_string();
        let descriptor = if is_packed {
            let packed = dunnage_conformance::layer::gzip(tar)?;
            put(layout, "application/vnd.oci.image.layer.v1.tar+gzip", &packed)?
        } else {
            put(layout, "application/vnd.oci.image.layer.v1.tar", tar)?
        };
        Ok(Self { descriptor, diff_id })
    }
}

fn put(layout: &Path, media_type: &str, bytes: &[u8]) -> Result<Value> {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    fs::write(layout.join("blobs/sha256").join(digest.to_hex()), bytes).context("cannot write a blob")?;
    Ok(json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()}))
}

/// Writes the configuration and the manifest of an image; its descriptor.
pub(crate) fn image(layout: &Path, architecture: &str, layers: &[&Layer]) -> Result<Value> {
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let history: Vec<Value> = layers.iter().map(|_| json!({"created_by": "xtask"})).collect();
    let config = json!({
        "architecture": architecture, "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Cmd": ["/bin/sh"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
    });
    let config = put(layout, "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes())?;
    let layers: Vec<&Value> = layers.iter().map(|layer| &layer.descriptor).collect();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers});
    let descriptor = put(layout, kind, manifest.to_string().as_bytes())?;
    Ok(with(descriptor, "platform", json!({"os": "linux", "architecture": architecture})))
}

/// The same object with one more field.
fn with(mut object: Value, key: &str, value: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
    object
}

/// Writes an index of these; its descriptor.
pub(crate) fn index(layout: &Path, manifests: &[Value]) -> Result<Value> {
    let kind = "application/vnd.oci.image.index.v1+json";
    let document = json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests});
    put(layout, kind, document.to_string().as_bytes())
}
