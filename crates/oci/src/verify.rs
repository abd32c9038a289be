//! Verifies an image: compares each blob with its descriptor, each layer with the configuration and its annotations.

use std::collections::BTreeSet;

use dunnage_digest::{Progress, VerifyingReader};
use dunnage_estargz::{Limits as LayerLimits, OpenOptions, Reader, audit::Audit, footer::Format as TocFormat};
use dunnage_tree::tar::{self, Header};

use crate::{
    Descriptor, Error, Format, ImageLayer, Images, Platform,
    contents::{Image, outside_tocs},
    document::{Node, read_tree},
    format::{Outside, open_toc},
    images::{blob_name, read_failed},
    input::LayerInput,
    media::LayerType,
    parallel::largest_first,
    progress::{Share, Watch},
};

/// How to check an image.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct VerifyOptions {
    /// Ceilings for layers.
    pub limits: LayerLimits,
    /// Layers that are checked at once; 0 for as many as the machine has processors.
    pub threads: usize,
    /// Only images for these platforms; all if empty.
    pub platforms: Vec<Platform>,
    /// How much is compared.
    pub depth: Depth,
}

/// How much of an image is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Depth {
    /// Every digest in the image.
    #[default]
    Digests,
    /// Also the tables of contents with the tars they describe, entry by entry.
    Audit,
}

/// An image that is going to be verified. Its documents have been read and checked.
///
/// Use it before trusting an image that arrived from elsewhere: it reads every blob.
#[derive(Debug)]
pub struct Verification<'l> {
    images: &'l dyn Images,
    options: VerifyOptions,
    jobs: Vec<Job>,
    done: VerifiedImage,
}

#[derive(Debug)]
enum Job {
    Layer(Box<ImageLayer>),
    Blob(Box<Descriptor>),
}

/// The counts of an image that is sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedImage {
    /// Images, one for each platform.
    pub images: u64,
    /// Blobs, documents included, each counted once.
    pub blobs: u64,
    /// Bytes of the blobs.
    pub bytes: u64,
    /// Layers among the blobs.
    pub layers: u64,
    /// Layers with a table of contents that an annotation names.
    pub tocs: u64,
    /// Layers with a table of contents that no annotation names, so readers do not use it.
    pub unnamed_tocs: u64,
    /// Entries in the tars of the layers.
    pub entries: u64,
    /// Chunks that match the digests in their tables of contents.
    pub chunks: u64,
    /// Layers that are missing, as they may: their media type says that they are not distributed.
    pub absent: u64,
}

impl<'l> Verification<'l> {
    /// Reads and checks all documents of an image. [`Images::resolve`] says how `name` finds it.
    ///
    /// # Errors
    ///
    /// As [`Contents::read`](crate::Contents::read).
    pub fn plan(images: &'l dyn Images, name: Option<&str>, options: VerifyOptions) -> Result<Self, Error> {
        let entry = images.resolve(name)?;
        let root = read_tree(images, &entry, &options.platforms)?;
        let tocs = outside_tocs(images, entry.tag())?;
        let mut plan = Self { images, options, jobs: Vec::new(), done: VerifiedImage::default() };
        let (mut documents, mut layers, mut blobs) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        gather(&root, &mut |descriptor| {
            documents.insert((descriptor.digest(), descriptor.size()));
        });
        let (mut found, mut others) = (Vec::new(), Vec::new());
        root.images(&mut |image| found.push(Image::new(image, &tocs)));
        root.others(&mut |other| others.push(other));
        plan.done.images = found.len() as u64;
        for layer in found.into_iter().flat_map(|image| image.layers) {
            let (descriptor, named) = (&layer.descriptor, layer.descriptor.annotations().clone());
            blobs.insert((descriptor.digest(), descriptor.size()));
            if let Some(toc) = &layer.toc {
                blobs.insert((toc.digest(), toc.size()));
            }
            if layers.insert((descriptor.digest(), descriptor.size(), layer.diff_id, named)) {
                plan.jobs.push(Job::Layer(Box::new(layer)));
            }
        }
        for descriptor in others.into_iter().flat_map(|other| std::iter::once(&other.descriptor).chain(&other.blobs)) {
            let key = (descriptor.digest(), descriptor.size());
            if !documents.contains(&key) && blobs.insert(key) {
                plan.jobs.push(Job::Blob(Box::new(descriptor.clone())));
            }
        }
        let all = documents.union(&blobs);
        (plan.done.blobs, plan.done.bytes) = all.fold((0, 0), |(count, bytes): (u64, u64), (_, size)| {
            (count.saturating_add(1), bytes.saturating_add(*size))
        });
        Ok(plan)
    }

    /// Bytes of all blobs that will be read: the progress counts up to this.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.jobs.iter().fold(0, |total: u64, job| total.saturating_add(job.descriptor().size()))
    }

    /// Reads all blobs: digest and size of each, the diff ID of each layer and that it is a tar to its end, its table of
    /// contents against its annotation, and its chunks against the table.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`], [`Error::NoBlob`], [`Error::DiffId`], [`Error::TocDigest`], [`Error::Inconsistent`],
    /// [`Error::Layer`], of the first layer that has one; [`Error::Limit`], [`Error::Io`], [`Error::Cancelled`].
    pub fn run(&self, progress: Progress<'_>) -> Result<VerifiedImage, Error> {
        let threads = match self.options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let watch = Watch::new(progress);
        let check = |job: &Job| {
            watch.check()?;
            let share = watch.share(job.descriptor().size());
            match job {
                Job::Layer(layer) => self.layer(layer, &share),
                Job::Blob(descriptor) => self.blob(descriptor, &share).map(|()| VerifiedImage::default()),
            }
        };
        let found = largest_first(&self.jobs, |job| job.descriptor().size(), threads, &watch, check)?;
        Ok(found.into_iter().fold(self.done, VerifiedImage::and))
    }

    fn blob(&self, descriptor: &Descriptor, share: &Share<'_>) -> Result<(), Error> {
        let stream = self.images.stream(descriptor)?;
        let mut whole = VerifyingReader::new(share.reader(stream), descriptor.digest(), descriptor.size());
        let read = std::io::copy(&mut whole, &mut std::io::sink()).map(drop);
        read.map_err(|error| read_failed(descriptor.digest(), &blob_name(self.images, descriptor), error))
    }

    fn layer(&self, layer: &ImageLayer, share: &Share<'_>) -> Result<VerifiedImage, Error> {
        let mut found = VerifiedImage { layers: 1, ..VerifiedImage::default() };
        let descriptor = &layer.descriptor;
        let may_be_absent = LayerType::parse(descriptor.media_type()).is_some_and(|kind| !kind.distributable);
        if may_be_absent && descriptor.has_urls() && !self.images.has_blob(descriptor)? {
            return Ok(VerifiedImage { absent: 1, ..VerifiedImage::default() });
        }
        let blob = self.images.blob(descriptor)?;
        // Errors of the table of contents wait: if the blob is damaged, its digest is the better message.
        let options = OpenOptions { limits: self.options.limits.clone(), threads: 1, ..OpenOptions::default() };
        let outside = Outside { images: self.images, toc: layer.toc.as_ref() };
        let toc = open_toc(&blob, &options, outside);
        let reader = toc.as_ref().ok().and_then(|(_, reader)| reader.as_ref());
        let input = LayerInput {
            descriptor,
            name: &layer.name,
            blob: &blob,
            payload_len: reader.map(|reader| reader.footer().payload_len),
            unpacked_limit: self.options.limits.tar.unpacked,
            share,
        };
        let (entries, unpacked) = input.read_counted(&layer.diff_id, |tar| {
            let mut entries = tar::Reader::new(tar, self.options.limits.tar.clone());
            let (mut header, mut count) = (Header::default(), 0_u64);
            while entries.next_header(&mut header)? {
                count = count.saturating_add(1);
            }
            Ok(count)
        })?;
        found.entries = entries;
        let (format, reader) = toc.map_err(|error| layer.failed(error))?;
        let is_named = layer.claims().check(format, reader.as_ref().map(Reader::toc_digest))?;
        let failed = |error| layer.failed(error);
        let Some(reader) = reader else { return Ok(found) };
        if is_named {
            found.tocs = 1
        } else {
            found.unnamed_tocs = 1
        }
        layer.claims().check_places(&reader, unpacked)?;
        if format != Format::Toc(TocFormat::Stargz) {
            found.chunks = reader.verify(1, share.without_reports()).map_err(failed)?.chunks;
        }
        if self.options.depth == Depth::Audit {
            reader.audit(share.without_reports()).and_then(Audit::agreed).map_err(failed)?;
        }
        Ok(found)
    }
}

impl Job {
    const fn descriptor(&self) -> &Descriptor {
        match self {
            Self::Layer(layer) => &layer.descriptor,
            Self::Blob(descriptor) => descriptor,
        }
    }
}

impl VerifiedImage {
    fn and(self, more: Self) -> Self {
        Self {
            images: self.images.saturating_add(more.images),
            blobs: self.blobs.saturating_sub(more.absent).saturating_add(more.blobs),
            bytes: self.bytes.saturating_add(more.bytes),
            layers: self.layers.saturating_add(more.layers),
            tocs: self.tocs.saturating_add(more.tocs),
            unnamed_tocs: self.unnamed_tocs.saturating_add(more.unnamed_tocs),
            entries: self.entries.saturating_add(more.entries),
            chunks: self.chunks.saturating_add(more.chunks),
            absent: self.absent.saturating_add(more.absent),
        }
    }
}

/// Hands the descriptors of all documents that were read to `visit`.
fn gather(node: &Node, visit: &mut dyn FnMut(&Descriptor)) {
    match node {
        Node::Index(index) => {
            visit(&index.descriptor);
            index.children.iter().for_each(|child| gather(child, visit));
        }
        Node::Image(image) => {
            visit(&image.descriptor);
            visit(&image.config);
        }
        // Some of these were not read.
        Node::Other(_) => {}
    }
}
