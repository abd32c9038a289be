//! Converting images: every layer once, then the documents that lead to them.
//!
//! 1. *Plan.* All documents are read and checked, and the layers in them gathered. Layers that are the same blob with the
//!    same prioritized files are one job.
//! 2. *Work.* Jobs run side by side, the largest first. Each returns a value; nothing is shared but the layout that blobs
//!    are written to.
//! 3. *Rewrite.* Descriptors, configurations, manifests and indexes, from the leaves up. A document in which nothing
//!    changes stays the blob it was.
//! 4. *Commit.* Everything is brought to disk, then the index of the layout is replaced.
//!
//! The order in which jobs end decides nothing, so the result does not depend on the number of threads.

mod jobs;
mod layer;
mod report;
mod rewrite;
mod toc_image;
mod work;

use std::{collections::BTreeMap, thread};

use dunnage_digest::{Digest, Progress};
use dunnage_estargz::{WriteOptions, compose::Missing, footer::Format as TocFormat};

pub use self::report::{Converted, ConvertedLayer, ConvertedManifest, Outcome};
use self::{
    jobs::{CopyJob, Job, run_jobs},
    layer::LayerJob,
    rewrite::Rewrite,
    toc_image::write_toc_image,
};
use crate::{
    Descriptor, Destination, Error, Images, Platform, Record, SameTag,
    claims::is_about_toc,
    contents::{OutsideTocs, TOC_SUFFIX, layer_name, outside_tocs},
    destination::LayerForm,
    document::{ImageNode, Node, read_tree},
    layout::tagged,
    media::LayerType,
    progress::Watch,
};

/// What layers become.
///
/// The format of a layer with a table of contents is that of [`WriteOptions::compressor`], so the two cannot contradict
/// each other: eStargz by default; with an `ExternalTocCompressor` the tables of contents go into an image of their own,
/// whose tag is that of the image followed by `-esgztoc`; zstd:chunked as the reference or as containers/storage writes it.
/// The last keeps tars bit for bit always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: with a table of contents or without")]
pub enum Target {
    /// Layers with a table of contents, which can be read lazily.
    #[default]
    Toc,
    /// Tars without compression. The compressor is not used.
    Tar,
}

/// Whether the tar inside of a layer is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: it is kept or not")]
pub enum TarBytes {
    /// The layer is written again, with landmarks. A runtime that pulls lazily reads this best.
    #[default]
    Rewrite,
    /// It is kept bit for bit.
    Lossless,
}

/// How to convert an image.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct ImageOptions {
    /// Whether the new layers have tables of contents.
    pub target: Target,
    /// How to write them. `threads` is overwritten by that of the image.
    pub write: WriteOptions,
    /// Files to put first, in every layer that has them.
    pub prioritized: Vec<String>,
    /// Files to put first, in the order in which a container read them.
    pub record: Record,
    /// Whether a file of `prioritized` may be missing in all layers of a manifest. Files of the record may always be missing.
    pub missing: Missing,
    /// Whether tars are kept bit for bit.
    pub tar: TarBytes,
    /// Layers that are worked on at once, and threads for each of them; 0 for as many as the machine has.
    pub threads: usize,
    /// Only images for these platforms; all if empty.
    pub platforms: Vec<Platform>,
    /// Whether an image of the same name in the destination is replaced.
    pub same_tag: SameTag,
}

/// An image that is going to be converted. Its documents have been read and checked.
///
/// Use it to change the layers of an image; [`Copying`](crate::Copying) keeps them.
#[derive(Debug)]
pub struct Conversion<'s> {
    source: &'s dyn Images,
    entry: Descriptor,
    root: Node,
    options: ImageOptions,
    mode: Mode,
    jobs: Vec<Job>,
    /// The job of each layer, by manifest and number.
    by_layer: BTreeMap<(Digest, usize), usize>,
    total: u64,
    /// Tables of contents that the source has for its layers.
    tocs: OutsideTocs,
}

/// Whether layers are converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Its layers are converted to the target, and its documents are those of OCI.
    Convert,
    /// Every blob stays as it is.
    Copy,
}

/// The most layers that are converted at once, whatever the number of threads: memory grows with both.
const AT_ONCE: usize = 8;

impl<'s> Conversion<'s> {
    /// Reads and checks all documents of an image. [`Images::resolve`] says how `name` finds it.
    ///
    /// # Errors
    ///
    /// [`Error::NoTag`], [`Error::ManyTags`], [`Error::NoPlatform`]; [`Error::Malformed`], [`Error::Unsupported`],
    /// [`Error::Inconsistent`], [`Error::Mismatch`], [`Error::NoBlob`] and [`Error::Limit`] for its documents;
    /// [`Error::Record`]; [`Error::Misuse`] for options that exclude each other.
    pub fn plan(source: &'s dyn Images, name: Option<&str>, options: ImageOptions) -> Result<Self, Error> {
        options.check()?;
        Self::prepare(source, name, options, Mode::Convert)
    }

    pub(crate) fn prepare(
        source: &'s dyn Images,
        name: Option<&str>,
        options: ImageOptions,
        mode: Mode,
    ) -> Result<Self, Error> {
        let entry = source.resolve(name)?;
        let root = read_tree(source, &entry, &options.platforms)?;
        let tocs = outside_tocs(source, entry.tag())?;
        let (jobs, by_layer) = (Vec::new(), BTreeMap::new());
        let mut conversion = Self { source, entry, root, options, mode, jobs, by_layer, total: 0, tocs };
        conversion.gather()?;
        Ok(conversion)
    }

    /// Bytes of all blobs that will be read: the progress counts up to this.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.total
    }

    /// Converts into `to`, which may be the layout of the source, under the name `name`; without one, under the name that
    /// the image had. Reports to `progress` how many bytes of the blobs are done.
    ///
    /// Nothing leads to the new blobs before the end. If this fails, a layout has the images it had, and blobs that no
    /// document refers to.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`], [`Error::DiffId`] and [`Error::NoBlob`] for layers that contradict the image,
    /// [`Error::Layer`] for one that cannot be converted, [`Error::NotFound`] for a prioritized file,
    /// [`Error::TagExists`], [`Error::Io`], [`Error::Cancelled`]; [`Error::Misuse`] for a target that the destination
    /// cannot hold.
    pub fn run(&self, to: &dyn Destination, name: Option<&str>, progress: Progress<'_>) -> Result<Converted, Error> {
        if to.layers() == LayerForm::PlainTars && (self.options.target, self.mode) != (Target::Tar, Mode::Convert) {
            let message =
                format!("`{}` holds layers as plain tars: convert to tar, or write to oci-archive:FILE", to.name());
            return Err(Error::Misuse(message));
        }
        let tag = to.choose_name(name, self.entry.tag())?;
        let tag = tag.as_deref();
        if let Some(tag) = tag
            && self.options.same_tag == SameTag::Refuse
            && to.has_name(tag)?
        {
            return Err(Error::TagExists { layout: to.name().to_owned(), tag: tag.to_owned() });
        }
        let toc_tag = match (self.options.format(), tag) {
            (Some(TocFormat::ExternalToc), None) => {
                let message = "tables of contents are found by the tag of their image, and this one has none";
                return Err(Error::Misuse(message.to_owned()));
            }
            (Some(TocFormat::ExternalToc), Some(tag)) => Some(format!("{tag}{TOC_SUFFIX}")),
            _ => None,
        };
        let threads = match self.options.threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let watch = Watch::new(progress);
        let write = WriteOptions { threads, ..self.options.write.clone() };
        let work =
            work::Work { source: self.source, to, options: &self.options, mode: self.mode, write, watch: &watch };
        let done = run_jobs(&self.jobs, threads.min(AT_ONCE), &work)?;
        let mut rewrite = Rewrite::new(self, to, &done);
        let (root, _) = rewrite.node(&self.root)?;
        let manifests = rewrite.manifests;
        let entry = tagged(&self.entry.lead_to(root.media_type(), root.digest(), root.size())?, tag)?;
        let mut entries = vec![entry];
        if let Some(tag) = &toc_tag {
            entries.push(tagged(&write_toc_image(to, &done)?, Some(tag))?);
        }
        let written = to.finish(&entries, self.options.same_tag)?;
        let root = written.first().unwrap_or(&root);
        Ok(Converted {
            tag: tag.map(str::to_owned),
            media_type: root.media_type().to_owned(),
            digest: root.digest(),
            size: root.size(),
            source: self.entry.digest(),
            manifests,
            toc_image: toc_tag.zip(entries.get(1).map(Descriptor::digest)),
        })
    }

    /// Makes a job of every blob that has to be read.
    fn gather(&mut self) -> Result<(), Error> {
        let (mut images, mut others) = (Vec::new(), Vec::new());
        self.root.images(&mut |image| images.push(image));
        self.root.others(&mut |other| others.push(other));
        let mut jobs = Vec::new();
        let mut by_key = BTreeMap::new();
        for image in images {
            let manifest = image.descriptor.digest();
            let lists = self.prioritized(image)?;
            let count = image.layers.len();
            for (number, ((descriptor, diff_id), prioritized)) in image.layers.iter().zip(lists).enumerate() {
                let Some(kind) = LayerType::parse(descriptor.media_type()) else { continue };
                // The claims of the descriptor decide whether the layer can stay as it is, or be missing.
                let about = descriptor.annotations().iter().filter(|(name, _)| is_about_toc(name));
                let about: Vec<(String, String)> = about.map(|(name, value)| (name.clone(), value.clone())).collect();
                let may_be_absent = !kind.distributable && descriptor.has_urls();
                let blob = (descriptor.digest(), descriptor.size(), *diff_id);
                let key = (blob, prioritized.clone(), about, may_be_absent);
                let job = *by_key.entry(key).or_insert_with(|| {
                    let name = layer_name(number, count, descriptor);
                    let (descriptor, diff_id) = (descriptor.clone(), *diff_id);
                    let toc = self.tocs.get(&descriptor.digest()).cloned();
                    jobs.push(Job::Layer(Box::new(LayerJob { name, descriptor, kind, diff_id, prioritized, toc })));
                    jobs.len().saturating_sub(1)
                });
                self.by_layer.insert((manifest, number), job);
            }
        }
        let mut copied = std::collections::BTreeSet::new();
        for other in others {
            for descriptor in std::iter::once(&other.descriptor).chain(&other.blobs) {
                if copied.insert((descriptor.digest(), descriptor.size())) {
                    jobs.push(Job::Copy(Box::new(CopyJob { descriptor: descriptor.clone() })));
                }
            }
        }
        self.total = jobs.iter().fold(0, |total: u64, job| total.saturating_add(job.descriptor().size()));
        self.jobs = jobs;
        Ok(())
    }

    /// The prioritized files in each layer of an image.
    fn prioritized(&self, image: &ImageNode) -> Result<Vec<Vec<String>>, Error> {
        let mut lists = self.options.record.per_layer(&image.descriptor.digest(), image.layers.len())?;
        for list in &mut lists {
            let recorded = std::mem::take(list);
            let named = self.options.prioritized.iter().cloned();
            for file in named.chain(recorded) {
                if !list.contains(&file) {
                    list.push(file);
                }
            }
        }
        Ok(lists)
    }
}

impl Conversion<'_> {
    /// The prioritized files in the layer of a job.
    fn prioritized_in(&self, job: usize) -> Option<&[String]> {
        match self.jobs.get(job)? {
            Job::Layer(job) => Some(&job.prioritized),
            Job::Copy(_) => None,
        }
    }
}

impl ImageOptions {
    /// The format of layers with a table of contents; `None` for tars.
    fn format(&self) -> Option<TocFormat> {
        (self.target == Target::Toc).then(|| self.write.compressor.format())
    }

    fn check(&self) -> Result<(), Error> {
        let has_order = !self.prioritized.is_empty() || !self.record.is_empty();
        let wrong = match (has_order, self.format(), self.tar) {
            (_, Some(format @ (TocFormat::Stargz | TocFormat::Other(_))), _) => {
                return Err(Error::Misuse(format!("images cannot have layers of the format {format}")));
            }
            (true, None, _) => "files can be put in front in layers that are pulled lazily, not in tars",
            (true, Some(TocFormat::StorageChunked), _) | (true, _, TarBytes::Lossless) => {
                "a tar that is kept bit for bit cannot have files put in front"
            }
            _ => return Ok(()),
        };
        Err(Error::Misuse(wrong.to_owned()))
    }
}
