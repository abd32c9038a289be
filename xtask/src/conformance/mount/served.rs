//! Mounts that are taken off whatever happens.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::workspace::capture;

/// The command, mounting in the foreground.
pub(super) struct Served {
    pub(super) path: PathBuf,
    pub(super) server: Child,
}

impl Served {
    /// Returns when the mount answers.
    pub(super) fn start(dunnage: &Path, source: &Path, at: &Path, args: &[&str]) -> Result<Self> {
        fs::create_dir_all(at).with_context(|| format!("cannot create `{}`", at.display()))?;
        let mut mount = Command::new(dunnage);
        mount.arg("mount").arg(source).arg(at).args(args).stdout(Stdio::piped());
        let mut server = mount.spawn().context("cannot run the command")?;
        let mut line = String::new();
        if let Some(stdout) = server.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let served = Self { path: at.to_owned(), server };
        ensure!(line.starts_with("mounted "), "`{}` was not mounted: {line}", source.display());
        Ok(served)
    }

    /// Takes it off and waits for the server to end.
    pub(super) fn stop(mut self, dunnage: &Path) -> Result<()> {
        capture(Command::new(dunnage).arg("umount").arg(&self.path))?;
        let status = self.server.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if is_mounted(&self.path).is_ok_and(|found| !found.is_empty()) {
            let _ = Command::new("umount").arg("-l").arg(&self.path).status();
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A mount of overlayfs.
pub(super) struct Overlaid {
    pub(super) path: PathBuf,
}

impl Overlaid {
    /// Stacks `layers`, uppermost first.
    pub(super) fn new(layers: &[&Path], at: &Path) -> Result<Self> {
        fs::create_dir_all(at).with_context(|| format!("cannot create `{}`", at.display()))?;
        let layers: Vec<String> = layers.iter().map(|layer| layer.display().to_string()).collect();
        let layers = format!("lowerdir={}", layers.join(":"));
        capture(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(at))?;
        Ok(Self { path: at.to_owned() })
    }
}

impl Drop for Overlaid {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.path).status();
    }
}

/// The mount points at `dir` or below it.
pub(super) fn is_mounted(dir: &Path) -> Result<Vec<String>> {
    let table = fs::read_to_string("/proc/mounts").context("cannot read the mount table")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    Ok(points.filter(|point| Path::new(point).starts_with(dir)).map(str::to_owned).collect())
}
