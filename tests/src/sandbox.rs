//! A directory to extract to, with canaries around it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::PathBuf,
};

use tempfile::TempDir;

/// A temporary directory that holds an empty directory `in`, and beside it a file and a directory with a file, a hard
/// link and a symlink, whose content, modes, owners, links and times are written down.
#[derive(Debug)]
pub struct Sandbox {
    dir: TempDir,
    before: Vec<String>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// A new one. Panics if the host does not let us.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| dir.path().join(name);
        let make = || {
            fs::create_dir(at("in"))?;
            fs::create_dir_all(at("out/dir"))?;
            fs::write(at("canary"), "alive")?;
            fs::write(at("out/canary"), "alive too")?;
            fs::hard_link(at("canary"), at("out/hard"))?;
            symlink("../canary", at("out/link"))?;
            fs::set_permissions(at("canary"), Permissions::from_mode(0o600))?;
            fs::set_permissions(at("out/dir"), Permissions::from_mode(0o700))
        };
        make().expect("canaries");
        let mut sandbox = Self { dir, before: Vec::new() };
        sandbox.before = sandbox.outside();
        sandbox
    }

    /// The directory to extract to.
    #[must_use]
    pub fn inside(&self) -> PathBuf {
        self.dir.path().join("in")
    }

    /// All that is known about what lies outside `in`.
    fn outside(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut left = vec![self.dir.path().to_owned()];
        while let Some(path) = left.pop() {
            if path == self.inside() {
                continue;
            }
            let stat = fs::symlink_metadata(&path).expect("a canary");
            // The sandbox itself changes when `in` does.
            let time = if path == self.dir.path() { (0, 0) } else { (stat.mtime(), stat.mtime_nsec()) };
            let content = if stat.is_file() { fs::read(&path).expect("a canary") } else { Vec::new() };
            let (mode, links, inode, owner) = (stat.mode(), stat.nlink(), stat.ino(), (stat.uid(), stat.gid()));
            lines.push(format!("{} {mode:o} {links} {inode} {owner:?} {time:?} {content:?}", path.display()));
            if stat.is_dir() {
                left.extend(fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()));
            }
        }
        lines.sort();
        lines
    }

    /// Panics if anything outside `in` is not as it was.
    #[track_caller]
    pub fn assert_untouched(&self) {
        assert_eq!(self.outside(), self.before);
    }
}
