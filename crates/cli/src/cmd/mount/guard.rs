//! A second process that takes the mount off when its server was killed, which can then do nothing itself.
//!
//! It waits at a pipe whose other end the server alone holds, so that it learns of the end of the server whatever ended it.
//! A server that has ended well says so first: then nothing is left to do, and the place may soon be somebody else's.

use std::{
    fs,
    io::{self, PipeWriter, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, Stdio},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use dunnage_tree::fuse::{self, Mount};
use rustix::io::Errno;

use super::signals::Signals;

/// The guard of one mount. When this is dropped, it does its work and ends.
pub(super) struct Guard {
    line: Option<PipeWriter>,
    reaper: Option<JoinHandle<()>>,
}

impl Guard {
    pub(super) fn start(mount: &Mount) -> io::Result<Self> {
        let path = mount.path();
        let device = device_at(path).ok_or_else(|| io::Error::other("it is not in the mount table"))?;
        // Closed in every program that is started, so that nobody else holds our end.
        let (theirs, ours) = io::pipe()?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["umount", "--once-closed", &device, "--"])
            .arg(path)
            .current_dir("/")
            .stdin(theirs)
            // A caller that reads our output to its end must not wait for the guard.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut guard = Self { line: Some(ours), reaper: None };
        let reap = move || drop(child.wait());
        match thread::Builder::new().name("guard".to_owned()).spawn(reap) {
            Ok(reaper) => guard.reaper = Some(reaper),
            Err(error) => {
                guard.dismiss();
                return Err(error);
            }
        }
        Ok(guard)
    }

    /// Ends it without anything taken off.
    pub(super) fn dismiss(self) {
        if let Some(mut line) = self.line.as_ref() {
            // It may have been killed itself.
            let _ = line.write_all(b".");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.line.take());
        if let Some(reaper) = self.reaper.take() {
            // It has nothing to panic about.
            let _ = reaper.join();
        }
    }
}

/// The work of the guard: waits until the server is gone, and takes `dir` off if it is still its mount, by the device number.
pub(super) fn keep(dir: &Path, device: &str) -> Result<()> {
    // What ends the processes of a terminal ends the server first.
    let _blocked = Signals::block()?;
    // It fails only for the leader of a process group.
    let _ = rustix::process::setsid();
    let mut said = Vec::new();
    io::stdin().read_to_end(&mut said).context("cannot wait for the server")?;
    // The number alone may have been given out again by now, to a mount that somebody answers for. With the server its
    // end of the connection is closed, so this one does not keep us waiting.
    if said.is_empty() && device_at(dir).as_deref() == Some(device) && is_dead(dir) {
        fuse::unmount(dir)?;
    }
    Ok(())
}

/// Whether a mount is there that nobody answers for.
fn is_dead(path: &Path) -> bool {
    matches!(rustix::fs::statfs(path), Err(Errno::NOTCONN | Errno::CONNABORTED))
}

/// Device number of the mount at `path`, as `MAJOR:MINOR`. The mount itself is not asked: it may have no server any more.
fn device_at(path: &Path) -> Option<String> {
    let table = fs::read("/proc/self/mountinfo").ok()?;
    let point = escape(path.as_os_str().as_bytes());
    // `ID PARENT MAJOR:MINOR ROOT POINT ...`; the last of several is the one that is seen.
    let mut lines = table.split(|&byte| byte == b'\n').rev();
    let line = lines.find(|line| line.split(|&byte| byte == b' ').nth(4) == Some(&point))?;
    let device = line.split(|&byte| byte == b' ').nth(2)?;
    String::from_utf8(device.to_vec()).ok()
}

/// A path as the mount table has it.
fn escape(path: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len());
    for &byte in path {
        match byte {
            b' ' => escaped.extend_from_slice(b"\\040"),
            b'\t' => escaped.extend_from_slice(b"\\011"),
            b'\n' => escaped.extend_from_slice(b"\\012"),
            b'\\' => escaped.extend_from_slice(b"\\134"),
            _ => escaped.push(byte),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_as_the_mount_table_has_them() {
        assert_eq!(escape(b"/a b\tc\nd\\e\xff"), b"/a\\040b\\011c\\012d\\134e\xff");
        assert!(device_at(Path::new("/proc")).is_some_and(|device| device.split_once(':').is_some()));
        assert_eq!(device_at(Path::new("/proc/self")), None);
    }
}
