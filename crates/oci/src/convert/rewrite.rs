//! The documents of an image, from the leaves up: new descriptors where something changed, everything else as it was.

use dunnage_digest::Digest;
use dunnage_estargz::compose::Missing;

use super::{Conversion, ConvertedLayer, ConvertedManifest, Mode, Outcome, jobs::Done, layer::LayerDone};
use crate::{
    Descriptor, Destination, Error,
    claims::is_about_toc,
    destination::{put, put_as},
    document::{ImageNode, Index, Node, Other},
    json::Object,
    media::{LayerType, to_oci},
};

pub(super) struct Rewrite<'r> {
    conversion: &'r Conversion<'r>,
    to: &'r dyn Destination,
    done: &'r [Done],
    pub(super) manifests: Vec<ConvertedManifest>,
}

impl<'r> Rewrite<'r> {
    pub(super) const fn new(conversion: &'r Conversion<'r>, to: &'r dyn Destination, done: &'r [Done]) -> Self {
        Self { conversion, to, done, manifests: Vec::new() }
    }

    /// Writes the new documents of a node. Returns its descriptor, and whether it changed.
    pub(super) fn node(&mut self, node: &Node) -> Result<(Descriptor, bool), Error> {
        match node {
            Node::Index(index) => self.index(index),
            Node::Image(image) => self.image(image),
            Node::Other(other) => {
                self.other(other);
                Ok((other.descriptor.clone(), false))
            }
        }
    }

    fn other(&mut self, other: &Other) {
        let digest = other.descriptor.digest();
        self.manifests.push(ConvertedManifest {
            source: digest,
            digest,
            is_image: false,
            platform: other.descriptor.platform().cloned(),
            layers: Vec::new(),
            missed: Vec::new(),
        });
    }

    fn index(&mut self, index: &Index) -> Result<(Descriptor, bool), Error> {
        let mut changed = index.filtered;
        let mut children = Vec::with_capacity(index.children.len());
        for child in &index.children {
            let (child, is_new) = self.node(child)?;
            changed |= is_new;
            children.push(child);
        }
        let mut document = index.document.clone();
        document.set("manifests", &children)?;
        self.document(&index.descriptor, document, changed)
    }

    fn image(&mut self, image: &ImageNode) -> Result<(Descriptor, bool), Error> {
        let manifest = image.descriptor.digest();
        let mut changed = false;
        let (mut descriptors, mut layers) = (Vec::new(), Vec::new());
        for (number, (descriptor, diff_id)) in image.layers.iter().enumerate() {
            let done = self.layer(&manifest, number)?;
            let new = match self.conversion.mode {
                Mode::Convert => layer_descriptor(descriptor, done)?,
                Mode::Copy => descriptor.clone(),
            };
            changed |= text(&new)? != text(descriptor)?;
            layers.push(ConvertedLayer {
                outcome: done.outcome,
                source_media_type: descriptor.media_type().to_owned(),
                source: descriptor.digest(),
                source_size: descriptor.size(),
                source_diff_id: *diff_id,
                media_type: new.media_type().to_owned(),
                digest: done.digest,
                size: done.size,
                diff_id: done.diff_id,
                toc_digest: done.toc_digest,
                annotations: done.annotations.clone(),
                missed: done.missed.clone(),
            });
            descriptors.push(new);
        }
        let (config, is_new) = self.config(image, &layers)?;
        let mut document = image.document.clone();
        document.set("config", &config)?;
        document.set("layers", &descriptors)?;
        let (descriptor, changed) = self.document(&image.descriptor, document, changed || is_new)?;
        let missed = self.missed(&manifest, &layers)?;
        self.manifests.push(ConvertedManifest {
            source: manifest,
            digest: descriptor.digest(),
            is_image: true,
            platform: Some(image.platform.clone()),
            layers,
            missed,
        });
        Ok((descriptor, changed))
    }

    fn layer(&self, manifest: &Digest, number: usize) -> Result<&'r LayerDone, Error> {
        let job = self.conversion.by_layer.get(&(*manifest, number));
        job.and_then(|&job| self.done.get(job)?.as_ref()).ok_or(Error::Worker)
    }

    /// The configuration: its diff IDs are those of the layers, and nothing else changes.
    fn config(&self, image: &ImageNode, layers: &[ConvertedLayer]) -> Result<(Descriptor, bool), Error> {
        let media_type = self.media_type(&image.config);
        let is_new_type = media_type != image.config.media_type();
        if layers.iter().all(|layer| layer.diff_id == layer.source_diff_id) {
            self.copy(&image.config)?;
            let config = image.config.lead_to(media_type, image.config.digest(), image.config.size())?;
            return Ok((config, is_new_type));
        }
        let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
        let (mut rootfs, mut document) = (image.rootfs.clone(), image.config_document.clone());
        rootfs.set("diff_ids", &diff_ids)?;
        document.set("rootfs", &rootfs)?;
        let bytes = document.to_bytes()?;
        let digest = put(self.to, &bytes)?;
        Ok((image.config.lead_to(media_type, digest, bytes.len() as u64)?, true))
    }

    /// Writes a manifest or an index if anything in it changed, and copies it otherwise.
    fn document(&self, old: &Descriptor, mut document: Object, changed: bool) -> Result<(Descriptor, bool), Error> {
        let media_type = self.media_type(old);
        if !changed && media_type == old.media_type() {
            self.copy(old)?;
            return Ok((old.clone(), false));
        }
        if document.has("mediaType") {
            document.set("mediaType", media_type)?;
        }
        let bytes = document.to_bytes()?;
        let digest = put(self.to, &bytes)?;
        Ok((old.lead_to(media_type, digest, bytes.len() as u64)?, true))
    }

    /// The media type of a document: that of OCI after a conversion.
    fn media_type<'d>(&self, document: &'d Descriptor) -> &'d str {
        match self.conversion.mode {
            Mode::Convert => to_oci(document.media_type()),
            Mode::Copy => document.media_type(),
        }
    }

    /// A document stays the blob it was.
    fn copy(&self, descriptor: &Descriptor) -> Result<(), Error> {
        if self.to.has_blob(&descriptor.digest(), descriptor.size())? {
            return Ok(());
        }
        let bytes = self.conversion.source.document(descriptor)?;
        put_as(self.to, &descriptor.digest(), &bytes)
    }

    /// Prioritized files that no layer of an image has.
    fn missed(&self, manifest: &Digest, layers: &[ConvertedLayer]) -> Result<Vec<String>, Error> {
        let options = &self.conversion.options;
        let mut missed = Vec::new();
        let wanted = (0..layers.len()).filter_map(|number| self.conversion.by_layer.get(&(*manifest, number)));
        let lists: Vec<_> = wanted.filter_map(|&job| self.conversion.prioritized_in(job)).collect();
        for file in lists.iter().copied().flatten() {
            let is_found = layers.iter().zip(&lists).any(|(layer, list)| {
                list.contains(file) && layer.outcome == Outcome::Converted && !layer.missed.contains(file)
            });
            if !is_found && !missed.contains(file) {
                missed.push(file.clone());
            }
        }
        if options.missing == Missing::Refuse
            && let Some(name) = missed.iter().find(|file| options.prioritized.contains(file))
        {
            return Err(Error::NotFound { manifest: *manifest, name: name.clone() });
        }
        Ok(missed)
    }
}

/// The descriptor of a layer after its conversion: the type of its new compression, no annotation of a table of contents
/// that is gone, those of the new one.
fn layer_descriptor(old: &Descriptor, done: &LayerDone) -> Result<Descriptor, Error> {
    let media_type = LayerType::parse(old.media_type()).map_or(old.media_type(), |kind| kind.oci(done.suffix));
    let mut new = old.lead_to(media_type, done.digest, done.size)?;
    if done.outcome == Outcome::Converted {
        let diff_id = done.diff_id.to_string();
        let content = old.annotation(CONTENT_ANNOTATION).map(|_| (CONTENT_ANNOTATION, diff_id.as_str()));
        let set = done.annotations.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(content);
        new.annotate(is_about_toc, set)?;
    }
    Ok(new)
}

/// Annotation by which some builders repeat the diff ID.
const CONTENT_ANNOTATION: &str = "containerd.io/uncompressed";

fn text(descriptor: &Descriptor) -> Result<String, Error> {
    serde_json::to_string(descriptor).map_err(|error| Error::Misuse(format!("a descriptor cannot be written: {error}")))
}
