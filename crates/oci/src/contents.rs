//! What is in an image, for reading: its manifests, their layers, and the files that these make together.

use std::{collections::BTreeMap, fs::File, sync::Arc};

use dunnage_digest::{DiffId, Digest};
use dunnage_estargz::{LAYER_DIGEST_ANNOTATION, OpenOptions, Packing, Reader};
use dunnage_tree::{Overlay, Tree, tar::TarTree};

use crate::{
    Descriptor, Error, Layout, Platform,
    document::{ImageNode, read_tree, toc_image},
    format::{Format, Named, Outside, open_toc, packing},
    input::{LayerInput, spool},
    progress::Watch,
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
    /// Its table of contents, if the layout has it as a blob of its own.
    pub toc: Option<Descriptor>,
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
        let tocs = self.outside_tocs(entry.tag())?;
        root.images(&mut |image| images.push(Image::new(image, &tocs)));
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
        let outside = Outside { layout: self, toc: layer.toc.as_ref() };
        open_toc(file, options, outside).map_err(|error| layer.failed(error))
    }

    /// The files of an image: its layers stacked, whiteouts applied.
    ///
    /// A layer whose table of contents is the one that the manifest names is read where it lies, and every chunk compared
    /// with its digest when it is read. One that names a table which is not there, or another, is refused. Any other is read through first, compared with its digests, and unpacked into a
    /// temporary file without a name.
    ///
    /// # Errors
    ///
    /// [`Error::NoBlob`], [`Error::Mismatch`], [`Error::DiffId`], [`Error::TocDigest`],
    /// [`Error::Inconsistent`], [`Error::Layer`], [`Error::Limit`].
    pub fn tree(&self, image: &Image, options: &OpenOptions) -> Result<Overlay, Error> {
        let layers = image.layers.iter().map(|layer| self.layer_tree(layer, options));
        Ok(Overlay::new(layers.collect::<Result<_, _>>()?))
    }

    fn layer_tree(&self, layer: &ImageLayer, options: &OpenOptions) -> Result<Arc<dyn Tree>, Error> {
        let named = Named { layer: &layer.name, descriptor: &layer.descriptor };
        if named.any() {
            let (format, reader) = self.open_layer(layer, options)?;
            named.check(format, reader.as_ref().map(Reader::toc_digest))?;
            if let Some(reader) = reader {
                return Ok(Arc::new(reader));
            }
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
    pub(crate) fn new(image: &ImageNode, tocs: &OutsideTocs) -> Self {
        let count = image.layers.len();
        let layers = image.layers.iter().enumerate().map(|(number, (descriptor, diff_id))| ImageLayer {
            name: layer_name(number, count, descriptor),
            descriptor: descriptor.clone(),
            diff_id: *diff_id,
            toc: tocs.get(&descriptor.digest()).cloned(),
        });
        Self {
            manifest: image.descriptor.clone(),
            config: image.config.clone(),
            platform: image.platform.clone(),
            layers: layers.collect(),
        }
    }
}

/// Tables of contents that are blobs of their own, by the layers they belong to.
pub(crate) type OutsideTocs = BTreeMap<Digest, Descriptor>;

/// What the tag of an image with tables of contents ends with.
pub(crate) const TOC_SUFFIX: &str = "-esgztoc";

impl Layout {
    /// The tables of contents that the layout has for the image with this tag. None if it has no such image.
    pub(crate) fn outside_tocs(&self, tag: Option<&str>) -> Result<OutsideTocs, Error> {
        let mut tocs = OutsideTocs::new();
        let Some(tag) = tag.map(|tag| format!("{tag}{TOC_SUFFIX}")) else { return Ok(tocs) };
        for entry in self.entries()?.into_iter().filter(|entry| entry.tag() == Some(&tag)) {
            for toc in toc_image(self, &entry)? {
                if let Some(layer) = toc.annotation(LAYER_DIGEST_ANNOTATION).and_then(|text| text.parse().ok()) {
                    tocs.insert(layer, toc);
                }
            }
        }
        Ok(tocs)
    }
}

/// What a layer is called in errors.
pub(crate) fn layer_name(number: usize, count: usize, descriptor: &Descriptor) -> String {
    format!("layer {} of {count} ({})", number.saturating_add(1), descriptor.digest())
}
