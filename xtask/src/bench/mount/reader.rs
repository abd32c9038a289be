//! The program that reads: the same for every contender.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use dunnage_conformance::random::Random;

/// Regular files below a directory, in the order in which a walk meets them.
pub(super) struct Files {
    names: Vec<(PathBuf, u64)>,
    pub(super) bytes: u64,
}

impl Files {
    pub(super) fn below(root: &Path) -> Result<Self> {
        let mut files = Self { names: Vec::new(), bytes: 0 };
        files.add(root, Path::new(""))?;
        Ok(files)
    }

    fn add(&mut self, root: &Path, dir: &Path) -> Result<()> {
        let entries = fs::read_dir(root.join(dir)).with_context(|| format!("cannot list `{}`", dir.display()))?;
        let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (name, meta) = (dir.join(entry.file_name()), entry.metadata()?);
            if meta.is_dir() {
                self.add(root, &name)?;
            } else if meta.is_file() {
                self.bytes += meta.len();
                self.names.push((name, meta.len()));
            }
        }
        Ok(())
    }
}

/// Reads all files, shared out among `readers` in turn; seconds.
pub(super) fn sequential(root: &Path, files: &Files, readers: usize) -> Result<f64> {
    let start = Instant::now();
    let read = thread::scope(|scope| {
        let readers: Vec<_> = (0..readers)
            .map(|reader| scope.spawn(move || read_all(root, files.names.iter().skip(reader).step_by(readers))))
            .collect();
        readers.into_iter().map(join).sum::<Result<u64>>()
    })?;
    ensure!(read == files.bytes, "read {read} bytes of {}", files.bytes);
    Ok(start.elapsed().as_secs_f64())
}

fn read_all<'f>(root: &Path, files: impl Iterator<Item = &'f (PathBuf, u64)>) -> Result<u64> {
    let (mut block, mut bytes) = (vec![0; 1 << 20], 0);
    for (name, _) in files {
        let path = root.join(name);
        let mut file = File::open(&path).with_context(|| format!("cannot open `{}`", path.display()))?;
        loop {
            match file.read(&mut block).with_context(|| format!("cannot read `{}`", path.display()))? {
                0 => break,
                len => bytes += len as u64,
            }
        }
    }
    Ok(bytes)
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| anyhow::bail!("a reader panicked"))
}

/// Reads of all four readers together.
pub(super) const READS: usize = 4000;

/// Reads 4 KiB here and there, each byte as likely as the next; four readers; seconds.
pub(super) fn random(root: &Path, files: &Files) -> Result<f64> {
    const READERS: usize = 4;
    let start = Instant::now();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS as u64)
            .map(|seed| {
                scope.spawn(move || -> Result<()> {
                    let (mut random, mut block) = (Random::new(0x4a11 + seed), [0; 4096]);
                    for _ in 0..READS / READERS {
                        let mut at = random.below(files.bytes);
                        let found = files.names.iter().find(|(_, size)| {
                            let here = at < *size;
                            at = if here { at } else { at - size };
                            here
                        });
                        let (name, _) = found.context("a place in no file")?;
                        File::open(root.join(name))?.read_at(&mut block, at & !4095)?;
                    }
                    Ok(())
                })
            })
            .collect();
        readers.into_iter().try_for_each(join)
    })?;
    Ok(start.elapsed().as_secs_f64())
}

/// `find -ls`; seconds.
pub(super) fn find(root: &Path) -> Result<f64> {
    let start = Instant::now();
    let status = Command::new("find").arg(root).arg("-ls").stdout(Stdio::null()).status().context("cannot run find")?;
    ensure!(status.success(), "find failed");
    Ok(start.elapsed().as_secs_f64())
}

/// Requests of all readers together.
pub(super) const REQUESTS: usize = 40_000;

/// Asks for the attributes of an open file, which the mount must not let the kernel keep; seconds.
pub(super) fn price(root: &Path, readers: usize) -> Result<f64> {
    let names = ["etc/passwd", "etc/group", "etc/fstab", "etc/profile"];
    let start = Instant::now();
    thread::scope(|scope| {
        let readers: Vec<_> = names
            .iter()
            .take(readers)
            .map(|name| {
                scope.spawn(move || -> Result<()> {
                    let file = File::open(root.join(name)).with_context(|| format!("cannot open `{name}`"))?;
                    for _ in 0..REQUESTS / readers {
                        file.metadata()?;
                    }
                    Ok(())
                })
            })
            .collect();
        readers.into_iter().try_for_each(join)
    })?;
    Ok(start.elapsed().as_secs_f64())
}
