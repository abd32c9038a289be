//! An image in an OCI image layout: its layers stacked, whiteouts applied.
//!
//! `oci:DIR` is the only image in DIR, `oci:DIR:TAG` the one with that tag. Both directories and tags may have colons in
//! them. Therefore: if all that stands behind `oci:` exists, it is DIR. Otherwise DIR ends at the last colon where something
//! exists that is called so, and if nothing is, at the first colon.

use std::{
    ffi::OsStr,
    fs::File,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use anyhow::Result;
use dunnage_oci::{Contents, Image, Layout, Limits, Platform};
use dunnage_tree::{ExportOptions, Overlay, TarExport, Tree};

use super::Source;
use crate::{
    context::{Context, usage},
    progress::Progress,
};

/// Where an image is, as people say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageRef {
    pub(crate) dir: PathBuf,
    pub(crate) tag: Option<String>,
}

impl ImageRef {
    /// What `path` says; nothing if it is a path and no more.
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
                format!("`{}` has no tag behind its colon", path.display()),
                "say oci:DIR:TAG or oci:DIR",
            ));
        };
        Ok(Some(Self { dir: dir_at(at), tag: Some(tag.to_owned()) }))
    }
}

/// An image, or those for several platforms.
pub(crate) struct ImageSource {
    pub(crate) layout: Layout,
    pub(crate) tag: Option<String>,
    pub(crate) contents: Contents,
    open: dunnage_estargz::OpenOptions,
    export: ExportOptions,
    tree: OnceLock<Overlay>,
}

impl ImageSource {
    pub(super) fn open(context: &Context, reference: &ImageRef) -> Result<Self> {
        let layout = Layout::open(&reference.dir, &Limits::default())?;
        let contents = layout.contents(reference.tag.as_deref(), &context.platforms)?;
        let export = ExportOptions { limits: context.tree_limits().clone(), ..ExportOptions::default() };
        let (open, tag) = (context.open_options(), reference.tag.clone());
        Ok(Self { layout, tag, contents, open, export, tree: OnceLock::new() })
    }

    /// The image, if it is clear which.
    fn only(&self) -> Result<&Image> {
        match self.contents.images.as_slice() {
            [image] => Ok(image),
            [] => Err(usage("there is no image in it, only something that is about one", "name the image")),
            several => {
                let platforms: Vec<String> = several.iter().map(|image| image.platform.to_string()).collect();
                let message = format!("there are images for {} platforms: {}", several.len(), platforms.join(", "));
                Err(usage(message, "--platform picks one"))
            }
        }
    }

    fn files(&self) -> Result<&Overlay> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree);
        }
        let tree = self.layout.tree(self.only()?, &self.open)?;
        Ok(self.tree.get_or_init(|| tree))
    }

    /// How to open its layers.
    pub(crate) const fn open_options(&self) -> &dunnage_estargz::OpenOptions {
        &self.open
    }
}

impl Source for ImageSource {
    fn format(&self) -> &'static str {
        "OCI image"
    }

    fn blob(&self) -> Option<&File> {
        None
    }

    fn tree(&self) -> Result<Box<dyn Tree + '_>> {
        Ok(Box::new(self.files()?))
    }

    fn into_tree(self: Box<Self>) -> Result<Arc<dyn Tree>> {
        Ok(Arc::new(self.layout.tree(self.only()?, &self.open)?))
    }

    fn tar<'s>(&'s self, progress: &'s Progress) -> Result<Box<dyn Read + 's>> {
        Ok(Box::new(progress.watch(TarExport::new(self.files()?, self.export.clone()))))
    }

    fn tar_total(&self) -> Option<u64> {
        None
    }

    fn image(&self) -> Option<&ImageSource> {
        Some(self)
    }
}

/// What an image is for, in a result; `unknown` for what is for nothing.
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
