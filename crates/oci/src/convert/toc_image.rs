//! The image that holds the tables of contents of another one: one layer for each, found by the digest of the layer it
//! belongs to. All platforms share it.
//!
//! Specification: eStargz, section 8.3.

use std::collections::BTreeSet;

use dunnage_estargz::annotations::LAYER_DIGEST_ANNOTATION;

use super::jobs::Done;
use crate::{
    Descriptor, Destination, Error,
    destination::put,
    json::Object,
    media::{CONFIG, LAYER_GZIP, MANIFEST},
};

/// The configuration of an image that nobody runs.
const NOTHING: &[u8] = b"{}";

/// Writes the image; its descriptor.
pub(super) fn write_toc_image(to: &dyn Destination, done: &[Done]) -> Result<Descriptor, Error> {
    let tocs = done.iter().flatten().filter_map(|layer| {
        let (digest, size) = layer.toc_blob?;
        Some((digest, layer.digest, size))
    });
    // In order of their digests; layers that came out the same count once.
    let tocs: BTreeSet<_> = tocs.collect();
    let mut layers = Vec::with_capacity(tocs.len());
    for (digest, layer, size) in tocs {
        let mut descriptor = Descriptor::new(LAYER_GZIP, digest, size)?;
        descriptor.annotate(|_| false, [(LAYER_DIGEST_ANNOTATION, layer.to_string().as_str())])?;
        layers.push(descriptor);
    }
    let config = Descriptor::new(CONFIG, put(to, NOTHING)?, NOTHING.len() as u64)?;
    let mut manifest = Object::default();
    manifest.set("schemaVersion", &2)?;
    manifest.set("mediaType", MANIFEST)?;
    manifest.set("config", &config)?;
    manifest.set("layers", &layers)?;
    let bytes = manifest.to_bytes()?;
    Descriptor::new(MANIFEST, put(to, &bytes)?, bytes.len() as u64)
}
