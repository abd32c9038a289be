//! Copying images from one place to another.
//!
//! Between layouts and OCI archives every blob stays what it is, so all digests do. An archive for Docker has neither
//! manifests nor compressed layers: layers are unpacked bit for bit, so configuration and diff IDs stay and blob digests
//! change.

use dunnage_digest::Progress;
use dunnage_estargz::{Limits as LayerLimits, WriteOptions};

use crate::{
    Conversion, Converted, Destination, Error, ImageOptions, Images, LayerForm, Platform, SameTag, TarBytes, Target,
    convert::Mode,
};

/// How to copy an image.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct CopyOptions {
    /// Ceilings for layers that have to be unpacked.
    pub limits: LayerLimits,
    /// Blobs that are copied at once; 0 for as many as the machine has processors.
    pub threads: usize,
    /// Only images for these platforms; all if empty.
    pub platforms: Vec<Platform>,
    /// Whether an image of the same name in the destination is replaced.
    pub same_tag: SameTag,
}

/// An image that is going to be copied. Its documents have been read and checked.
///
/// Use it where the image should stay the same; [`Conversion`] changes its layers. Every blob is compared with its digest on
/// the way.
///
/// ```no_run
/// use dunnage_digest::Progress;
/// use dunnage_oci::{CopyOptions, Copying, Limits, Reference};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let parse = |text: &str| Reference::parse(text.as_ref()).transpose().ok_or("no reference")?.map_err(Box::<dyn std::error::Error>::from);
/// let (from, to) = (parse("docker-archive:saved.tar")?, parse("oci:layout:v1")?);
/// let source = from.open(&Limits::default())?;
/// let plan = Copying::plan(&*source, from.name.as_deref(), CopyOptions::default())?;
/// let destination = to.create(&Limits::default())?;
/// let copied = plan.run(&*destination, to.name.as_deref(), Progress::none())?;
/// println!("{}, digests changed: {}", copied.image.digest, copied.blobs_changed);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Copying<'s> {
    source: &'s dyn Images,
    name: Option<String>,
    options: CopyOptions,
    plan: Conversion<'s>,
}

/// An image that was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// The image, before and after.
    pub image: Converted,
    /// Whether blobs have other digests than in the source. Diff IDs and configurations are always the same.
    pub blobs_changed: bool,
}

impl<'s> Copying<'s> {
    /// Reads and checks all documents of an image. [`Images::resolve`] says how `name` finds it.
    ///
    /// # Errors
    ///
    /// As [`Contents::read`](crate::Contents::read).
    pub fn plan(source: &'s dyn Images, name: Option<&str>, options: CopyOptions) -> Result<Self, Error> {
        let plan = Conversion::prepare(source, name, image_options(&options), Mode::Copy)?;
        Ok(Self { source, name: name.map(str::to_owned), options, plan })
    }

    /// Bytes of all blobs that will be read: the progress counts up to this.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.plan.total_bytes()
    }

    /// Copies into `to` under the name `name`; without one, under the name that the image has in the source.
    ///
    /// Nothing leads to the new blobs before the end, and the source may be the destination.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] and [`Error::NoBlob`] for blobs that contradict the image, [`Error::DiffId`] and
    /// [`Error::Layer`] for layers that have to be unpacked, [`Error::TagExists`], [`Error::Exists`], [`Error::Io`],
    /// [`Error::Cancelled`]; [`Error::Misuse`] for an image of several platforms where the destination holds one.
    pub fn run(&self, to: &dyn Destination, name: Option<&str>, progress: Progress<'_>) -> Result<Copied, Error> {
        if to.layers() == LayerForm::Any {
            let image = self.plan.run(to, name, progress)?;
            return Ok(Copied { blobs_changed: false, image });
        }
        let options = image_options(&self.options);
        let plan = Conversion::prepare(self.source, self.name.as_deref(), options, Mode::Convert)?;
        let image = plan.run(to, name, progress)?;
        let layers = image.manifests.iter().flat_map(|manifest| &manifest.layers);
        let blobs_changed =
            image.digest != image.source || layers.into_iter().any(|layer| layer.digest != layer.source);
        Ok(Copied { blobs_changed, image })
    }
}

fn image_options(options: &CopyOptions) -> ImageOptions {
    let write = WriteOptions { limits: options.limits.clone(), ..WriteOptions::default() };
    ImageOptions {
        target: Target::Tar,
        tar: TarBytes::Lossless,
        write,
        threads: options.threads,
        platforms: options.platforms.clone(),
        same_tag: options.same_tag,
        ..ImageOptions::default()
    }
}
