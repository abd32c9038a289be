//! An image in a layout or an archive: its layers stacked, whiteouts applied.
//!
//! `oci:DIR:TAG`, `oci-archive:FILE:TAG` and `docker-archive:FILE:NAME` name it; [`Reference`] says how. A directory with the
//! files of a layout, and a file that is an archive of images, are the image in them without a prefix.

mod inspect;
mod verify;

use std::{
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use anyhow::{Context as _, Result};
use dunnage_estargz::OpenOptions;
use dunnage_oci::{Contents, Image, Images, Limits, Platform, Reference, Store};
use dunnage_tree::{ExportOptions, Overlay, Tree};

use super::{About, Candidate, Input, Kind, Source, directory::export_options, name_of};
use crate::{args, context::Context, failure::usage, options::Uses, page::Page, report::Document};

/// Images in layouts and archives.
pub(super) static KIND: Kind = Kind {
    name: "image",
    prefixes: &["oci:", "oci-archive:", "docker-archive:"],
    uses: Uses {
        name: "images",
        options: &[
            "platform",
            "max-toc-bytes",
            "max-entries",
            "max-unpacked",
            "unverified",
            "layout",
            "report",
            "measure",
            "deep",
            "cache",
            "sparse",
        ],
    },
    open: ImageSource::detect,
};

/// The place and name of the image that `path` leads to, by its prefix or by its content; `None` if it is no image.
pub(crate) fn image_at(path: &Path) -> Result<Option<Reference>> {
    if let Some(reference) = named_image(path)? {
        return Ok(Some(reference));
    }
    Ok(if path.exists() { dunnage_oci::detect(path)?.map(|store| Reference::to(store, path)) } else { None })
}

/// The place and name of the image that `path` names by a prefix; `None` for a plain path.
pub(crate) fn named_image(path: &Path) -> Result<Option<Reference>> {
    Ok(Reference::parse(path.as_os_str())?)
}

/// An image, or those for several platforms.
struct ImageSource {
    images: Arc<dyn Images>,
    reference: Reference,
    contents: Contents,
    open: OpenOptions,
    export: ExportOptions,
    tree: OnceLock<Arc<Overlay>>,
}

impl ImageSource {
    fn detect(context: &Context, candidate: &Candidate<'_>) -> Result<Option<Box<dyn Source>>> {
        let reference = match candidate {
            Candidate::Named(path) => named_image(path)?,
            Candidate::Directory(path) | Candidate::File(_, Some(path)) => image_at(path)?,
            // Standard input has no path of its own, but the kernel gives its descriptor one.
            Candidate::File(file, None) => image_at(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())))?,
        };
        let Some(reference) = reference else { return Ok(None) };
        let images = reference.open(&Limits::default())?;
        let contents = Contents::read(images.as_ref(), reference.name.as_deref(), &context.platforms)?;
        let (open, export) = (context.open_options(), export_options(context));
        Ok(Some(Box::new(Self { images, reference, contents, open, export, tree: OnceLock::new() })))
    }

    /// The format in words.
    const fn format(&self) -> &'static str {
        match self.reference.store {
            Store::OciArchive => "OCI image archive",
            Store::DockerArchive => "Docker image archive",
            _ => "OCI image",
        }
    }

    /// The image, if it is clear which.
    fn only(&self) -> Result<&Image> {
        match self.contents.images.as_slice() {
            [image] => Ok(image),
            [] => {
                let kind = self.contents.entry.media_type().escape_debug();
                Err(usage(format!("the tag names no image, only an artifact of type `{kind}`"), "name the image"))
            }
            several => {
                let platforms: Vec<String> = several.iter().map(|image| image.platform.to_string()).collect();
                let message = format!("there are images for {} platforms: {}", several.len(), platforms.join(", "));
                Err(usage(message, "--platform picks one"))
            }
        }
    }

    fn files(&self) -> Result<&Arc<Overlay>> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree);
        }
        let tree = self.only()?.tree(self.images.as_ref(), &self.open)?;
        Ok(self.tree.get_or_init(|| Arc::new(tree)))
    }
}

impl Source for ImageSource {
    fn about(&self) -> About {
        About { is_stacked: true, ..About::new(&KIND, self.format()) }
    }

    fn tree(&self) -> Result<Arc<dyn Tree>> {
        Ok(Arc::clone(self.files()?) as Arc<dyn Tree>)
    }

    fn inspect(&self, _: &Context, args: &args::Inspect, _: Option<&Document>) -> Result<Page> {
        self.page(args).with_context(|| format!("cannot read {}", name_of(&args.source)))
    }

    fn document(&self, context: &Context, args: &args::Inspect) -> Result<Document> {
        self.report(context, args).with_context(|| format!("cannot read {}", name_of(&args.source)))
    }

    fn verify(&self, context: &Context, args: &args::Verify) -> Result<Page> {
        if context.given.has("unverified") {
            let message = format!(
                "--unverified hands out files, and verify hands out none: {} is: OCI image",
                name_of(&args.source)
            );
            return Err(usage(message, "leave --unverified out"));
        }
        self.check(context, args).with_context(|| format!("{} is not sound", name_of(&args.source)))
    }

    fn input(&self, _: &Context) -> Result<Input<'_>> {
        Ok(Input::of_tree(self.files()?.as_ref(), self.export.clone()))
    }
}

/// The platform as results show it; `unknown` if there is none.
pub(crate) fn platform_name(platform: Option<&Platform>) -> String {
    platform.map_or_else(|| "unknown".to_owned(), ToString::to_string)
}
