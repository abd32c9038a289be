//! Inputs too large to keep: made once under target/inputs, or streamed and never kept.

mod cuts;
mod payload;

use std::{
    fs::{self, File},
    io::{BufWriter, Read as _, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use dunnage_conformance::{
    generate::{Spec, tree},
    random::Random,
    tarball::{Format, file_header, tarball},
};
use dunnage_tree::{
    Limits,
    tar::{self, EntryType, Header},
};

use crate::{
    peers::Peer,
    workspace::{capture, has_program, inputs_dir, is_root},
};

pub(crate) use self::{cuts::cuts, payload::payload};

/// A Debian root as debootstrap makes it (minbase, this machine's release), as a tar with sorted names.
///
/// `None`, and a line that says why, where that cannot be made.
pub(crate) fn debian_root() -> Result<Option<PathBuf>> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suite =
        release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).map(|name| name.trim_matches('"'));
    let suite = suite.filter(|_| release.lines().any(|line| line == "ID=debian")).unwrap_or("stable");
    let dir = inputs_dir()?;
    let tar = dir.join(format!("debian-{suite}.tar"));
    if tar.is_file() {
        return Ok(Some(tar));
    }
    let reason = match () {
        () if !is_root() => Some("debootstrap needs root"),
        () if !has_program("debootstrap") => Some("no debootstrap on this machine"),
        () => None,
    };
    if let Some(reason) = reason {
        println!("SKIPPED input debian-root: {reason}");
        return Ok(None);
    }
    let root = dir.join("debian-root.partial");
    remove(&root)?;
    println!("making {} with debootstrap, once", tar.display());
    capture(Command::new("debootstrap").arg("--variant=minbase").arg(suite).arg(&root))?;
    remove(&root.join("var/cache/apt/archives"))?;
    let partial = dir.join("debian.tar.partial");
    capture(
        Command::new("tar").args(["--sort=name", "--numeric-owner", "-cf"]).arg(&partial).arg("-C").arg(&root).arg("."),
    )?;
    remove(&root)?;
    fs::rename(&partial, &tar).context("cannot move the Debian root into place")?;
    Ok(Some(tar))
}

/// `count` files of 1 to 512 bytes that look like text, 1000 in a directory.
pub(crate) fn small_files(count: u64) -> Result<PathBuf> {
    let tar = inputs_dir()?.join(format!("small-{count}.tar"));
    make(&tar, |out| {
        let mut random = Random::new(0x5a11);
        for index in 0..count {
            let len = 1 + random.below(512) as usize;
            let content = random.text(len);
            out.write_all(&file_header(
                &format!("dir{:03}/file{index:06}.txt", index / 1000),
                len as u64,
                1_700_000_000,
            ))?;
            out.write_all(&content)?;
            pad(out, len as u64)?;
        }
        out.write_all(&[0; 1024])
    })?;
    Ok(tar)
}

/// Writes a tar of 64 MiB files, half noise and half text, with `bytes` of content in all.
pub(crate) fn stream(bytes: u64, out: impl Write) -> Result<()> {
    const FILE: u64 = 64 << 20;
    const PIECE: usize = 1 << 20;
    let mut out = BufWriter::with_capacity(PIECE, out);
    let mut random = Random::new(0x57e4);
    let mut noise = vec![0; PIECE];
    random.fill(&mut noise);
    let text = random.text(PIECE);
    let mut left = bytes;
    let mut number = 0_u64;
    while left > 0 {
        let size = left.min(FILE);
        out.write_all(&file_header(&format!("stream/file{number:05}.bin"), size, 1_700_000_000))?;
        let mut to_write = size;
        let mut half = false;
        while to_write > 0 {
            let len = to_write.min(PIECE as u64) as usize;
            if half {
                // Rotated, so that no two pieces are alike.
                let at = random.below(PIECE as u64) as usize;
                let (head, tail) = text.split_at(at);
                out.write_all(tail.get(..len.min(tail.len())).unwrap_or_default())?;
                out.write_all(head.get(..len.saturating_sub(tail.len())).unwrap_or_default())?;
            } else {
                let mask = random.next().to_le_bytes();
                for word in noise.chunks_exact_mut(8) {
                    for (byte, mask) in word.iter_mut().zip(mask) {
                        *byte = byte.rotate_left(3) ^ mask;
                    }
                }
                out.write_all(noise.get(..len).unwrap_or_default())?;
            }
            half = !half;
            to_write -= len as u64;
        }
        pad(&mut out, size)?;
        left -= size;
        number += 1;
    }
    out.write_all(&[0; 1024])?;
    out.flush()?;
    Ok(())
}

/// Zeros up to the next block.
pub(crate) fn pad(out: &mut impl Write, size: u64) -> std::io::Result<()> {
    out.write_all(&vec![0; (size.wrapping_neg() % 512) as usize])
}

/// A generated tree with every kind of entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generated {
    /// What it is called in reports.
    pub(crate) name: &'static str,
    pub(crate) seed: u64,
    pub(crate) entries: u64,
    pub(crate) max_size: u64,
    /// `ustar`, `pax`, `gnu` or `mixed`.
    pub(crate) format: &'static str,
    /// Whether names appear twice.
    pub(crate) duplicates: bool,
    /// Whether all names are UTF-8.
    pub(crate) utf8: bool,
}

/// Makes a generated tree: with the peer where there is one, else with the suite's own tar writer.
pub(crate) fn generated(spec: &Generated, peer: Option<&Peer>) -> Result<PathBuf> {
    let by = if peer.is_some() { "go" } else { "own" };
    let names = if spec.utf8 { "utf8" } else { "bytes" };
    let twice = if spec.duplicates { "twice" } else { "once" };
    let tar = inputs_dir()?.join(format!(
        "gen-{by}-{}-{:x}-{}-{}-{names}-{twice}.tar",
        spec.format, spec.seed, spec.entries, spec.max_size
    ));
    if tar.is_file() {
        return Ok(tar);
    }
    let Some(peer) = peer else {
        let format = match spec.format {
            "ustar" => Format::Ustar,
            "gnu" => Format::Gnu,
            _ => Format::Pax,
        };
        let shape = Spec {
            entries: spec.entries,
            max_size: spec.max_size,
            format,
            xattrs: true,
            odd_names: true,
            duplicates: spec.duplicates,
        };
        make(&tar, |out| out.write_all(&tarball(format, &tree(spec.seed, &shape))))?;
        return Ok(tar);
    };
    let partial = tar.with_extension("partial");
    peer.run([
        "gen-tar".to_owned(),
        format!("--seed={}", spec.seed),
        format!("--entries={}", spec.entries),
        format!("--max-size={}", spec.max_size),
        format!("--format={}", spec.format),
        format!("--names={}", if spec.utf8 { "odd-utf8" } else { "odd" }),
        "--xattrs".to_owned(),
        format!("--duplicates={}", spec.duplicates),
        partial.display().to_string(),
    ])?;
    let whole = fs::read(&partial).context("cannot read a generated tar")?;
    make(&tar, |out| out.write_all(&without_stale_links(&whole)?))?;
    Ok(tar)
}

/// The tar without hard links whose target comes again after them. There the reference hands out the content of the later
/// entry and we that of the earlier one, on purpose.
fn without_stale_links(tar: &[u8]) -> std::io::Result<Vec<u8>> {
    let reader = || tar::Reader::new(tar, Limits::trusted()).keep_raw(true);
    let clean = |name: &[u8]| -> Vec<u8> {
        let parts = name.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".");
        parts.collect::<Vec<_>>().join(&b'/')
    };
    let (mut entries, mut header) = (Vec::new(), Header::default());
    let mut all = reader();
    while all.next_header(&mut header)? {
        let target = (header.entry == EntryType::HardLink).then(|| clean(&header.link));
        entries.push(Linked { name: clean(&header.name), target, is_dropped: false });
    }
    loop {
        let stale = entries.iter().enumerate().position(|(at, entry)| entry.is_stale(at, &entries));
        match stale.and_then(|at| entries.get_mut(at)) {
            Some(entry) => entry.is_dropped = true,
            None => break,
        }
    }
    let (mut kept, mut all, mut padding) = (Vec::with_capacity(tar.len()), reader(), 0);
    for entry in &entries {
        all.next_header(&mut header)?;
        let raw = all.raw();
        // Of a dropped entry, only the padding of the one before it stays. A link has no content of its own.
        kept.extend_from_slice(if entry.is_dropped { raw.get(..padding).unwrap_or_default() } else { raw });
        padding = 0;
        if !entry.is_dropped {
            let from = kept.len();
            all.read_to_end(&mut kept)?;
            padding = (kept.len() - from).wrapping_neg() % 512;
        }
    }
    all.next_header(&mut header)?;
    kept.extend_from_slice(all.raw());
    Ok(kept)
}

/// An entry, and the target if it is a hard link.
struct Linked {
    name: Vec<u8>,
    target: Option<Vec<u8>>,
    is_dropped: bool,
}

impl Linked {
    /// Whether it is a link to something that comes again after it, or that is not there before it.
    fn is_stale(&self, at: usize, all: &[Self]) -> bool {
        let Some(target) = self.target.as_ref().filter(|_| !self.is_dropped) else { return false };
        let named = all.iter().enumerate().filter(|(_, other)| !other.is_dropped && other.name == *target);
        let places: Vec<usize> = named.map(|(place, _)| place).collect();
        places.iter().any(|&place| place > at) || places.iter().all(|&place| place >= at)
    }
}

/// Writes a file once: under another name first, so that half a file is never taken for a whole one.
fn make(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    if path.is_file() {
        return Ok(());
    }
    let partial = path.with_extension("partial");
    let file = File::create(&partial).with_context(|| format!("cannot create `{}`", partial.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    write(&mut out).and_then(|()| out.flush()).with_context(|| format!("cannot write `{}`", partial.display()))?;
    fs::rename(&partial, path).with_context(|| format!("cannot move `{}` into place", path.display()))
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", dir.display()))
        }
        _ => Ok(()),
    }
}
