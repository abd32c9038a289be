//! Mounting in tests, and trees to mount.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use dunnage_tree::{
    Limits, Mtime, Tree,
    fuse::{Mount, MountOptions},
    tar::{self, EntryType, Format, Header, TarTree},
};
use tempfile::TempDir;

/// A mount and its directory, both gone when it is dropped.
pub(crate) struct Mounted {
    pub(crate) mount: Mount,
    // Dropped after the mount.
    dir: TempDir,
}

impl Mounted {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }
}

/// Mounts `tree`; `None` where nothing can be mounted.
pub(crate) fn mount(test: &str, tree: Arc<dyn Tree>, options: &MountOptions) -> Option<Mounted> {
    if !can_mount(test) {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = Mount::new(tree, dir.path(), options).unwrap();
    Some(Mounted { mount, dir })
}

/// Whether something can be mounted; if not, says that the test is skipped.
pub(crate) fn can_mount(test: &str) -> bool {
    if fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() {
        return skip(test, "/dev/fuse cannot be opened");
    }
    let privileged = rustix::process::geteuid().is_root();
    let helper = std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|dir| dir.join("fusermount3").is_file());
    if !privileged && !helper {
        return skip(test, "neither root nor fusermount3");
    }
    true
}

/// Whether the test runs as root; if not, says that it is skipped.
pub(crate) fn is_root(test: &str) -> bool {
    rustix::process::geteuid().is_root() || skip(test, "it takes root")
}

pub(crate) fn skip(test: &str, reason: &str) -> bool {
    println!("SKIPPED {test} {reason}");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{test} was skipped: {reason}");
    false
}

/// What a tar holds.
#[derive(Default)]
pub(crate) struct Archive(Vec<u8>);

impl Archive {
    pub(crate) fn add(mut self, name: &str, entry: EntryType, change: impl FnOnce(&mut Header), body: &[u8]) -> Self {
        let mut header = Header {
            name: name.into(),
            entry,
            size: body.len() as u64,
            mode: 0o644,
            format: Format::Pax,
            mtime: Some(Mtime { secs: 1_600_000_000, nanos: 0 }),
            uid: i64::from(rustix::process::geteuid().as_raw()),
            ..Header::default()
        };
        change(&mut header);
        tar::encode_header(&header, &mut self.0).unwrap();
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len() + tar::padding(body.len() as u64) as usize, 0);
        self
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.add(name, EntryType::Directory, |header| header.mode = 0o755, b"")
    }

    pub(crate) fn file(self, name: &str, body: &[u8]) -> Self {
        self.add(name, EntryType::File, |_| (), body)
    }

    pub(crate) fn tree(mut self) -> TarTree<Vec<u8>> {
        self.0.extend_from_slice(&tar::END);
        TarTree::open(self.0, &Limits::default()).unwrap()
    }
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}
