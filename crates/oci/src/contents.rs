//! The contents of an image, for reading: its manifests, their layers, and the tree of files that the layers make.

use std::{collections::BTreeMap, fs::File, sync::Arc};

use dunnage_digest::{DiffId, Digest, Progress};
use dunnage_estargz::{OpenOptions, Reader, annotations::LAYER_DIGEST_ANNOTATION, input::Packing};
use dunnage_tree::{Overlay, Tree, tar::TarTree};

use crate::{
    Blob, Descriptor, Error, Images, Layout, Platform,
    document::{ImageNode, read_tree, toc_image},
    format::{Format, Outside, open_toc, packing},
    input::{LayerInput, spool},
    progress::Watch,
};

/// Everything that one name leads to: the images, one a platform, and the manifests about them.
///
/// [`Contents::read`] is the way to read an image: it checks the documents, and [`Image::tree`] opens the files.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Contents {
    /// The entry itself.
    pub entry: Descriptor,
    /// The images, in the order in which they are listed.
    pub images: Vec<Image>,
    /// Manifests that are no images: signatures, attestations.
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
    /// The platform that it runs on.
    pub platform: Platform,
    /// Its layers, lowest first.
    pub layers: Vec<ImageLayer>,
}

/// A layer of an image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImageLayer {
    /// Its name in messages.
    pub name: String,
    /// Its blob.
    pub descriptor: Descriptor,
    /// The digest of its unpacked content, as the configuration says.
    pub diff_id: DiffId,
    /// Its table of contents, if that is a blob of its own.
    pub toc: Option<Descriptor>,
}

impl Contents {
    /// Reads all documents of an image and checks that they agree. [`Images::resolve`] says how `name` finds it;
    /// `platforms` selects images of an index, all of them if it is empty.
    ///
    /// # Errors
    ///
    /// [`Error::NoTag`], [`Error::NoImage`], [`Error::ManyTags`], [`Error::NoPlatform`]; [`Error::Malformed`],
    /// [`Error::Unsupported`], [`Error::Inconsistent`], [`Error::Mismatch`], [`Error::NoBlob`] and [`Error::Limit`] for
    /// the documents; [`Error::Io`].
    pub fn read(images: &dyn Images, name: Option<&str>, platforms: &[Platform]) -> Result<Self, Error> {
        Self::of(images, images.resolve(name)?, platforms)
    }

    /// The same for an image that was found already.
    pub(crate) fn of(images: &dyn Images, entry: Descriptor, platforms: &[Platform]) -> Result<Self, Error> {
        let root = read_tree(images, &entry, platforms)?;
        let (mut found, mut others) = (Vec::new(), Vec::new());
        let tocs = outside_tocs(images, entry.tag())?;
        root.images(&mut |image| found.push(Image::new(image, &tocs)));
        root.others(&mut |other| others.push(other.descriptor.clone()));
        Ok(Self { entry, images: found, others })
    }
}

impl ImageLayer {
    /// Opens the blob of this layer, detects its format, and reads its table of contents if it has one.
    ///
    /// `images` is the place that the layer was read from. The table is the one in the blob. Whether the manifest names
    /// the same one is still to be checked.
    ///
    /// # Errors
    ///
    /// [`Error::NoBlob`], [`Error::Mismatch`] for another size, [`Error::Layer`] for a malformed table of contents.
    pub fn open(&self, images: &dyn Images, options: &OpenOptions) -> Result<(Format, Option<Reader<Blob>>), Error> {
        let blob = images.blob(&self.descriptor)?;
        let outside = Outside { images, toc: self.toc.as_ref() };
        open_toc(blob, options, outside).map_err(|error| self.failed(error))
    }

    /// The files of this layer alone, its whiteouts as they are. See [`Image::tree`].
    ///
    /// # Errors
    ///
    /// As [`Image::tree`].
    pub fn tree(&self, images: &dyn Images, options: &OpenOptions) -> Result<Arc<dyn Tree>, Error> {
        let claims = self.claims();
        if claims.any() {
            let (format, reader) = self.open(images, options)?;
            claims.check(format, reader.as_ref().map(Reader::toc_digest))?;
            if let Some(reader) = reader {
                return Ok(Arc::new(reader));
            }
        }
        let limits = &options.limits.tar;
        let failed = |error: dunnage_tree::Error| self.failed(error.into());
        let blob = images.blob(&self.descriptor)?;
        let (_, packing) = packing(&blob).map_err(|error| self.failed(error))?;
        let watch = Watch::new(Progress::none());
        let share = watch.share(self.descriptor.size());
        let input = LayerInput {
            descriptor: &self.descriptor,
            name: &self.name,
            blob: &blob,
            payload_len: None,
            unpacked_limit: limits.unpacked,
            share: &share,
        };
        if packing == Packing::Plain {
            input.read(&self.diff_id, |_| Ok(()))?;
            return Ok(Arc::new(TarTree::open(blob, limits).map_err(failed)?));
        }
        let plain = input.read(&self.diff_id, spool)?;
        Ok(Arc::new(TarTree::open(plain, limits).map_err(failed)?))
    }

    pub(crate) fn failed(&self, source: dunnage_estargz::Error) -> Error {
        Error::Layer { layer: self.name.clone(), source }
    }
}

impl Layout {
    /// [`Contents::read`] of this layout.
    ///
    /// # Errors
    ///
    /// As [`Contents::read`].
    pub fn contents(&self, tag: Option<&str>, platforms: &[Platform]) -> Result<Contents, Error> {
        Contents::read(self, tag, platforms)
    }

    /// [`ImageLayer::open`] in this layout, with the file of the blob.
    ///
    /// # Errors
    ///
    /// As [`ImageLayer::open`].
    pub fn open_layer(
        &self,
        layer: &ImageLayer,
        options: &OpenOptions,
    ) -> Result<(Format, Option<Reader<File>>), Error> {
        let file = self.blob_file(&layer.descriptor)?;
        let outside = Outside { images: self, toc: layer.toc.as_ref() };
        open_toc(file, options, outside).map_err(|error| layer.failed(error))
    }

    /// [`Image::tree`] in this layout.
    ///
    /// # Errors
    ///
    /// As [`Image::tree`].
    pub fn tree(&self, image: &Image, options: &OpenOptions) -> Result<Overlay, Error> {
        image.tree(self, options)
    }
}

impl Image {
    /// The files of this image: its layers stacked, whiteouts applied. `images` is the place that the image was read from.
    ///
    /// A layer with a table of contents that the manifest names is read in place: every chunk is compared with its digest
    /// when it is read. If the table is missing or is not the named one, this fails. Any other layer is first read from
    /// front to back and compared with its digest and diff ID; a compressed one is unpacked into a temporary file without a
    /// name.
    ///
    /// # Errors
    ///
    /// [`Error::NoBlob`], [`Error::Mismatch`], [`Error::DiffId`], [`Error::TocDigest`],
    /// [`Error::Inconsistent`], [`Error::Layer`], [`Error::Limit`].
    pub fn tree(&self, images: &dyn Images, options: &OpenOptions) -> Result<Overlay, Error> {
        let layers = self.layers.iter().map(|layer| layer.tree(images, options));
        Ok(Overlay::new(layers.collect::<Result<_, _>>()?))
    }

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

/// The tag of an image with tables of contents ends with this.
pub(crate) const TOC_SUFFIX: &str = "-esgztoc";

/// The tables of contents that `images` has as an image of their own, for the image with this tag. None if there is no
/// such image, or if its tag is ambiguous.
pub(crate) fn outside_tocs(images: &dyn Images, tag: Option<&str>) -> Result<OutsideTocs, Error> {
    let mut tocs = OutsideTocs::new();
    let Some(tag) = tag.map(|tag| format!("{tag}{TOC_SUFFIX}")) else { return Ok(tocs) };
    let entry = match images.resolve(Some(&tag)) {
        Ok(entry) => entry,
        Err(Error::NoTag { .. } | Error::NoImage { .. } | Error::ManyTags { .. } | Error::Empty { .. }) => {
            return Ok(tocs);
        }
        Err(error) => return Err(error),
    };
    for toc in toc_image(images, &entry)? {
        if let Some(layer) = toc.annotation(LAYER_DIGEST_ANNOTATION).and_then(|text| text.parse().ok()) {
            tocs.insert(layer, toc);
        }
    }
    Ok(tocs)
}

/// The name of a layer in messages.
pub(crate) fn layer_name(number: usize, count: usize, descriptor: &Descriptor) -> String {
    format!("layer {} of {count} ({})", number.saturating_add(1), descriptor.digest())
}
