//! Two directories, entry by entry, as system calls show them.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::sorted;

/// Compares all but content: how many entries there are, and what differs.
pub(super) fn compare(a: &Path, b: &Path, links_of_directories: bool) -> Result<(u64, Vec<String>)> {
    let mut comparison =
        Comparison { a, b, links_of_directories, entries: 0, differences: Vec::new(), inodes: HashMap::new() };
    comparison.directory(Path::new(""))?;
    Ok((comparison.entries, comparison.differences))
}

struct Comparison<'d> {
    a: &'d Path,
    b: &'d Path,
    links_of_directories: bool,
    entries: u64,
    differences: Vec<String>,
    /// Which file of one side is which of the other, where there are several names.
    inodes: HashMap<u64, u64>,
}

impl Comparison<'_> {
    fn directory(&mut self, dir: &Path) -> Result<()> {
        self.entry(dir)?;
        let (ours, theirs) = (sorted(&self.a.join(dir))?, sorted(&self.b.join(dir))?);
        for name in ours.symmetric_difference(&theirs) {
            self.differences.push(format!("`{}` is on one side only", dir.join(name).display()));
        }
        for name in ours.intersection(&theirs) {
            let path = dir.join(name);
            if fs::symlink_metadata(self.a.join(&path))?.is_dir() {
                self.directory(&path)?;
            } else {
                self.entry(&path)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path) -> Result<()> {
        self.entries += 1;
        let side = |root: &Path| -> Result<(PathBuf, fs::Metadata)> {
            let path = root.join(path);
            let meta = fs::symlink_metadata(&path).with_context(|| format!("cannot look at `{}`", path.display()))?;
            Ok((path, meta))
        };
        let ((a, one), (b, two)) = (side(self.a)?, side(self.b)?);
        let mut differ = |what: &str, one: String, two: String| {
            if one != two {
                self.differences.push(format!("{what} of `{}`: {one} and {two}", path.display()));
            }
        };
        differ("mode", format!("{:o}", one.mode()), format!("{:o}", two.mode()));
        differ("owner", format!("{}:{}", one.uid(), one.gid()), format!("{}:{}", two.uid(), two.gid()));
        differ("time", one.mtime().to_string(), two.mtime().to_string());
        if !one.is_dir() {
            differ("size", one.size().to_string(), two.size().to_string());
        }
        if !one.is_dir() || self.links_of_directories {
            differ("links", one.nlink().to_string(), two.nlink().to_string());
        }
        if one.is_symlink() {
            differ("target", format!("{:?}", fs::read_link(&a)?), format!("{:?}", fs::read_link(&b)?));
        }
        if one.file_type().is_char_device() || one.file_type().is_block_device() {
            differ("device", format!("{:x}", one.rdev()), format!("{:x}", two.rdev()));
        }
        differ("attributes", format!("{:?}", xattrs(&a)?), format!("{:?}", xattrs(&b)?));
        if !one.is_dir() && one.nlink() > 1 {
            let known = *self.inodes.entry(one.ino()).or_insert(two.ino());
            differ("file behind the name", known.to_string(), two.ino().to_string());
        }
        Ok(())
    }
}

fn xattrs(path: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let failed = || format!("cannot read attributes of `{}`", path.display());
    let mut names = vec![0; 64 << 10];
    let len = rustix::fs::llistxattr(path, &mut names[..]).with_context(failed)?;
    let mut found = Vec::new();
    let names = names.get(..len).unwrap_or_default();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..]).with_context(failed)?;
        value.truncate(len);
        found.push((String::from_utf8_lossy(name).into_owned(), value));
    }
    found.sort();
    Ok(found)
}
