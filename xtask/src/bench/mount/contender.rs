//! The contenders: the same files on disk, mounted by us, mounted by squashfuse.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::workspace::{capture, has_program};

/// The kind of a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Disk,
    Estargz,
    ZstdChunked,
    /// The unpacked tree, mounted by us: the kernel reads its files itself.
    Directory,
    /// The same, read through us.
    NoPassthrough,
    Squashfuse,
}

/// One of the file systems that are compared.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    /// What it mounts; the tree itself for the disk.
    source: PathBuf,
    at: PathBuf,
    dunnage: PathBuf,
}

/// A mounted one; unmounted when it is dropped.
pub(super) struct Mounted {
    pub(super) path: PathBuf,
    is_mount: bool,
}

impl Contender {
    /// Makes all forms of the tree in `tar` below `dir`.
    pub(super) fn all(dunnage: &Path, tar: &Path, dir: &Path) -> Result<Vec<Self>> {
        let tree = dir.join("tree");
        fs::create_dir_all(&tree).with_context(|| format!("cannot create `{}`", tree.display()))?;
        capture(Command::new("tar").args(["--numeric-owner", "--xattrs", "-xf"]).arg(tar).arg("-C").arg(&tree))?;
        let squashed = dir.join("tree.squashfs");
        let mut squash = Command::new("mksquashfs");
        capture(squash.arg(&tree).arg(&squashed).args(["-comp", "zstd", "-quiet", "-no-progress"]))?;
        let convert = |to: &str| -> Result<PathBuf> {
            let out = dir.join(to);
            capture(Command::new(dunnage).arg("convert").arg(tar).arg(&out).args(["--to", to, "--progress", "none"]))?;
            Ok(out)
        };
        let all = [
            (Kind::Disk, "on disk", tree.clone()),
            (Kind::Estargz, "eStargz", convert("estargz")?),
            (Kind::ZstdChunked, "zstd:chunked", convert("zstd-chunked")?),
            (Kind::Directory, "directory", tree.clone()),
            (Kind::NoPassthrough, "directory, read by us", tree),
            (Kind::Squashfuse, "squashfuse_ll", squashed),
        ];
        let at = dir.join("mounted");
        fs::create_dir_all(&at).with_context(|| format!("cannot create `{}`", at.display()))?;
        let new = |(kind, name, source)| Self { kind, name, source, at: at.clone(), dunnage: dunnage.to_owned() };
        Ok(all.map(new).into())
    }

    pub(super) fn mount(&self) -> Result<Mounted> {
        match self.kind {
            Kind::Disk => return Ok(Mounted { path: self.source.clone(), is_mount: false }),
            Kind::Squashfuse => drop(capture(Command::new("squashfuse_ll").arg(&self.source).arg(&self.at))?),
            Kind::NoPassthrough => return self.mount_with(&self.dunnage, &["--no-passthrough"]),
            _ => return self.mount_with(&self.dunnage, &[]),
        }
        Ok(Mounted { path: self.at.clone(), is_mount: true })
    }

    /// Mounted by us, with these arguments too.
    pub(super) fn mount_with(&self, dunnage: &Path, args: &[&str]) -> Result<Mounted> {
        let mut mount = Command::new(dunnage);
        mount.arg("mount").arg(&self.source).arg(&self.at).arg("--daemon").args(args);
        // Its standard error would stay open in the background.
        let status = mount.stdout(std::process::Stdio::null()).status().context("cannot run the command")?;
        anyhow::ensure!(status.success(), "cannot mount `{}`", self.source.display());
        Ok(Mounted { path: self.at.clone(), is_mount: true })
    }

    /// Mounted anew, with nothing in the caches of the kernel.
    pub(super) fn fresh(&self) -> Result<Mounted> {
        rustix::fs::sync();
        fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop the caches of the kernel")?;
        self.mount()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_mount
            && let Err(error) = capture(Command::new("umount").arg(&self.path))
        {
            println!("`{}` stays mounted: {error:#}", self.path.display());
        }
    }
}

/// Installs what we compare with, where it is missing.
pub(super) fn install() -> Result<()> {
    if has_program("squashfuse_ll") && has_program("mksquashfs") {
        return Ok(());
    }
    println!("installing squashfuse and squashfs-tools");
    capture(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    capture(install.args(["install", "-y", "-qq", "--no-install-recommends", "squashfuse", "squashfs-tools"]))?;
    Ok(())
}
