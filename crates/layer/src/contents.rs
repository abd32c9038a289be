//! What is in an image, for reading: its manifests, their layers, and the files that these make together.

use std::{fs::File, sync::Arc};

use dunnage_digest::{DiffId, Mismatch};
use dunnage_estargz::{OpenOptions, Packing, Reader, TOC_DIGEST_ANNOTATION};
use dunnage_tree::{Overlay, Tree, tar::TarTree};

use crate::{
    Descriptor, Error, Layout, Platform,
    document::{ImageNode, read_tree},
    format::{Format, open_toc, packing},
    input::{LayerInput, spool},
    watch::Watch,
};

/// Everything that one entry of a layout leads to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Contents {
    /// The entry itself.
    pub entry: Descriptor,
    /// The images, in the order in which they are listed.
    pub images: Vec<Image>,
    /// Manifests of what is no image: signatures, attestations.
    pub others: Vec<Descriptor>,
}

/// One image: a manifest for one platform.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Image {
    /// Its manifest.
    pub manifest: Descriptor,
    /// Its configuration.
    pub config: Descriptor,
    /// What it is for.
    pub platform: Platform,
    /// Its layers, lowest first.
    pub layers: Vec<ImageLayer>,
}

/// A layer of an image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImageLayer {
    /// What it is called in errors.
    pub name: String,
    /// Its blob.
    pub descriptor: Descriptor,
    /// What its content has to hash to, as the configuration says.
    pub diff_id: DiffId,
}

impl ImageLayer {
    pub(crate) fn failed(&self, source: dunnage_estargz::Error) -> Error {
        Error::Layer { layer: self.name.clone(), source }
    }
}

impl Layout {
    /// Reads all documents of the image with this tag (of the only image if there is no tag), and checks that they agree.
    ///
    /// # Errors
    ///
    /// [`Error::NoTag`], [`Error::ManyTags`], [`Error::NoPlatform`]; [`Error::Malformed`], [`Error::Unsupported`],
    /// [`Error::Inconsistent`], [`Error::Mismatch`], [`Error::NoBlob`] and [`Error::Limit`] for the documents;
    /// [`Error::Io`].
    pub fn contents(&self, tag: Option<&str>, platforms: &[Platform]) -> Result<Contents, Error> {
        let entry = self.resolve(tag)?;
        let root = read_tree(self, &entry, platforms)?;
        let (mut images, mut others) = (Vec::new(), Vec::new());
        root.images(&mut |image| images.push(Image::new(image)));
        root.others(&mut |other| others.push(other.descriptor.clone()));
        Ok(Contents { entry, images, others })
    }

    /// The form of a layer, and its table of contents if it has one.
    ///
    /// The table is that of the blob; whether it is the one that the manifest means is still to be compared.
    ///
    /// # Errors
    ///
    /// [`Error::NoBlob`], [`Error::Mismatch`] for another size, [`Error::Layer`] for a table that cannot be one.
    pub fn open_layer(
        &self,
        layer: &ImageLayer,
        options: &OpenOptions,
    ) -> Result<(Format, Option<Reader<File>>), Error> {
        let file = self.open_blob(&layer.descriptor)?;
        let (format, _) = packing(&file).map_err(|error| layer.failed(error))?;
        let toc = open_toc(file, options).map_err(|error| layer.failed(error))?;
        Ok(toc.map_or((format, None), |(format, reader)| (format, Some(reader))))
    }

    /// The files of an image: its layers stacked, whiteouts applied.
    ///
    /// A layer whose table of contents is the one that the manifest names is read where it lies, and every chunk compared
    /// with its digest when it is read. Any other is read through first, compared with its digests, and unpacked into a
    /// temporary file without a name.
    ///
    /// # Errors
    ///
    /// [`Error::NoBlob`], [`Error::Mismatch`], [`Error::DiffId`], [`Error::TocDigest`], [`Error::Layer`],
    /// [`Error::Limit`].
    pub fn tree(&self, image: &Image, options: &OpenOptions) -> Result<Overlay, Error> {
        let layers = image.layers.iter().map(|layer| self.layer_tree(layer, options));
        Ok(Overlay::new(layers.collect::<Result<_, _>>()?))
    }

    fn layer_tree(&self, layer: &ImageLayer, options: &OpenOptions) -> Result<Arc<dyn Tree>, Error> {
        if let Some(named) = layer.descriptor.annotation(TOC_DIGEST_ANNOTATION)
            && let (_, Some(reader)) = self.open_layer(layer, options)?
        {
            let named = named.parse().map_err(|error| Error::Malformed {
                document: layer.name.clone(),
                expected: format!("a digest as `{TOC_DIGEST_ANNOTATION}` ({error})"),
                got: format!("`{}`", named.escape_debug()),
            })?;
            let mismatch = Mismatch::check(&named, reader.toc_digest());
            mismatch.map_err(|source| Error::TocDigest { layer: layer.name.clone(), source })?;
            return Ok(Arc::new(reader));
        }
        let limits = &options.limits.tar;
        let tree = |file| TarTree::open(file, limits).map_err(|error| layer.failed(error.into()));
        let file = self.open_blob(&layer.descriptor)?;
        let (_, packing) = packing(&file).map_err(|error| layer.failed(error))?;
        let (cancel, size) = (dunnage_digest::Cancel::new(), layer.descriptor.size());
        let watch = Watch::new(&cancel, &|_| ());
        let share = watch.share(size);
        let input = LayerInput {
            layout: self,
            descriptor: &layer.descriptor,
            name: &layer.name,
            file: &file,
            payload_len: None,
            unpacked_limit: limits.unpacked,
            share: &share,
        };
        if packing == Packing::Plain {
            input.read(&layer.diff_id, |_| Ok(()))?;
            return Ok(Arc::new(tree(file)?));
        }
        let plain = input.read(&layer.diff_id, spool)?;
        Ok(Arc::new(tree(plain)?))
    }
}

impl Image {
    pub(crate) fn new(image: &ImageNode) -> Self {
        let count = image.layers.len();
        let layers = image.layers.iter().enumerate().map(|(number, (descriptor, diff_id))| ImageLayer {
            name: layer_name(number, count, descriptor),
            descriptor: descriptor.clone(),
            diff_id: *diff_id,
        });
        Self {
            manifest: image.descriptor.clone(),
            config: image.config.clone(),
            platform: image.platform.clone(),
            layers: layers.collect(),
        }
    }
}

/// What a layer is called in errors.
pub(crate) fn layer_name(number: usize, count: usize, descriptor: &Descriptor) -> String {
    format!("layer {} of {count} ({})", number.saturating_add(1), descriptor.digest())
}
