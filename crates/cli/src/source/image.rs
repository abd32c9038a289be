//! An image in an OCI image layout: its layers stacked, whiteouts applied.
//!
//! `oci:DIR` is the only image in DIR, `oci:DIR:TAG` the one with that tag. Both directories and tags may have colons in
//! them. Therefore: if all of the text after `oci:` is the name of something that exists, it is DIR. Otherwise DIR ends at
//! the last colon before which the text is such a name, and if there is none, at the first colon.
//!
//! A directory with the files of a layout is an image as well, without a prefix.

mod inspect;
mod verify;

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use anyhow::{Context as _, Result};
use dunnage_estargz::OpenOptions;
use dunnage_oci::{Contents, Image, Layout, Limits, Platform};
use dunnage_tree::{ExportOptions, Overlay, Tree};

use super::{About, Candidate, Input, Kind, Source, directory::export_options, name_of};
use crate::{args, context::Context, failure::usage, options::Uses, page::Page, report::Document};

/// Images in layouts.
pub(super) static KIND: Kind = Kind {
    name: "image",
    prefixes: &["oci:"],
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
        ],
    },
    open: ImageSource::detect,
};

/// The name of an image: its layout, and its tag there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageRef {
    pub(crate) dir: PathBuf,
    pub(crate) tag: Option<String>,
}

impl ImageRef {
    /// The image that `path` names; `None` for a path without a prefix.
    pub(crate) fn parse(path: &Path) -> Result<Option<Self>> {
        let Some(rest) = path.as_os_str().as_bytes().strip_prefix(b"oci:") else { return Ok(None) };
        let as_path = |bytes: &[u8]| Path::new(OsStr::from_bytes(bytes)).to_owned();
        if rest.is_empty() {
            return Err(usage("`oci:` names no directory", "say oci:DIR or oci:DIR:TAG"));
        }
        let whole = as_path(rest);
        let colons: Vec<usize> = rest.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at).collect();
        let dir_at = |at: usize| as_path(rest.get(..at).unwrap_or_default());
        let known = colons.iter().rev().copied().find(|&at| at > 0 && dir_at(at).exists());
        let Some(at) = known.or_else(|| colons.first().copied()).filter(|_| !whole.exists()) else {
            return Ok(Some(Self { dir: whole, tag: None }));
        };
        let tag = rest.get(at.saturating_add(1)..).unwrap_or_default();
        let Some(tag) = std::str::from_utf8(tag).ok().filter(|tag| !tag.is_empty()) else {
            return Err(usage(
                format!("`{}` has no tag after its colon", path.display()),
                "say oci:DIR:TAG or oci:DIR",
            ));
        };
        Ok(Some(Self { dir: dir_at(at), tag: Some(tag.to_owned()) }))
    }
}

/// An image, or those for several platforms.
struct ImageSource {
    layout: Layout,
    tag: Option<String>,
    contents: Contents,
    open: OpenOptions,
    export: ExportOptions,
    tree: OnceLock<Arc<Overlay>>,
}

impl ImageSource {
    fn detect(context: &Context, candidate: &Candidate<'_>) -> Result<Option<Box<dyn Source>>> {
        let reference = match candidate {
            Candidate::Named(path) => ImageRef::parse(path)?,
            Candidate::Directory(path) if is_layout(path) => Some(ImageRef { dir: (*path).to_owned(), tag: None }),
            Candidate::Directory(_) | Candidate::File(..) => None,
        };
        let Some(reference) = reference else { return Ok(None) };
        let layout = Layout::open(&reference.dir, &Limits::default())?;
        let contents = layout.contents(reference.tag.as_deref(), &context.platforms)?;
        let (open, export) = (context.open_options(), export_options(context));
        Ok(Some(Box::new(Self { layout, tag: reference.tag, contents, open, export, tree: OnceLock::new() })))
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
        let tree = self.layout.tree(self.only()?, &self.open)?;
        Ok(self.tree.get_or_init(|| Arc::new(tree)))
    }
}

/// Whether a directory is an image layout: it has both files that every layout has.
fn is_layout(dir: &Path) -> bool {
    ["oci-layout", "index.json"].iter().all(|name| dir.join(name).is_file())
}

impl Source for ImageSource {
    fn about(&self) -> About {
        About { is_stacked: true, ..About::new(&KIND, "OCI image") }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_exists_is_told_from_a_tag() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().to_str().unwrap();
        for dir in ["a", "a:b", "a:b:c"] {
            std::fs::create_dir(temp.path().join(dir)).unwrap();
        }
        for (text, dir, tag) in [
            ("a", "a", None),
            ("a:b", "a:b", None),
            ("a:x", "a", Some("x")),
            ("a:b:x", "a:b", Some("x")),
            ("a:b:c:x", "a:b:c", Some("x")),
            ("a:x:y", "a", Some("x:y")),
            ("a:host.example/x:1.0", "a", Some("host.example/x:1.0")),
            ("new", "new", None),
            ("new:x", "new", Some("x")),
            ("new:x:y", "new", Some("x:y")),
        ] {
            let parsed = ImageRef::parse(Path::new(&format!("oci:{root}/{text}"))).unwrap().unwrap();
            let wanted = ImageRef { dir: temp.path().join(dir), tag: tag.map(str::to_owned) };
            assert_eq!(parsed, wanted, "{text}");
        }
        assert_eq!(ImageRef::parse(Path::new("./oci:a")).unwrap(), None);
        for bad in ["oci:", "oci:x:"] {
            assert!(ImageRef::parse(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
