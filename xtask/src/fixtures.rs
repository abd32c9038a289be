//! The files under fixtures/, made from seeds, and the manifest that lists them.
//!
//! A maker is a function in a module below here and makes all files of one family; the manifest names it.

mod estargz;
mod kept;
mod statefile;
mod tar;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use dunnage_digest::{Algorithm, Digest};

use crate::workspace::root;

/// A file and how it came about.
#[derive(Debug)]
pub(crate) struct Fixture {
    /// Path below fixtures/.
    pub(crate) path: String,
    /// The function that made it, as `module::function`.
    pub(crate) maker: &'static str,
    /// The seed it was given; 0 for vectors that are fixed byte for byte.
    pub(crate) seed: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Fixture {
    /// A file without a seed, kept compressed with `.z` behind its name if it has more than 64 KiB.
    pub(crate) fn kept(path: String, maker: &'static str, bytes: Vec<u8>) -> Self {
        if bytes.len() <= 64 << 10 {
            return Self { path, maker, seed: 0, bytes };
        }
        Self { path: format!("{path}.z"), maker, seed: 0, bytes: kept::gzip(&bytes) }
    }
}

/// `cargo xtask fixtures`.
pub(crate) fn run(check: bool) -> Result<()> {
    let fixtures = make()?;
    let manifest = manifest(&fixtures);
    let mut wanted = BTreeMap::new();
    wanted.insert(PathBuf::from("MANIFEST.toml"), manifest.into_bytes());
    for fixture in fixtures {
        if wanted.insert(PathBuf::from(&fixture.path), fixture.bytes).is_some() {
            bail!("two makers make `{}`", fixture.path);
        }
    }
    let dir = root().join("fixtures");
    if !check {
        write_all(&dir, &wanted)?;
        println!("fixtures: {} files", wanted.len());
        return Ok(());
    }
    let temporary = tempfile::tempdir().context("cannot create a temporary directory")?;
    write_all(temporary.path(), &wanted)?;
    let (made, kept) = (read_all(temporary.path())?, read_all(&dir)?);
    let mut wrong = Vec::new();
    for (path, bytes) in &made {
        match kept.get(path) {
            None => wrong.push(format!("`{}` is missing", path.display())),
            Some(kept) if kept != bytes => {
                wrong.push(format!("`{}` differs from what its maker makes", path.display()))
            }
            Some(_) => {}
        }
    }
    wrong.extend(
        kept.keys().filter(|path| !made.contains_key(*path)).map(|path| format!("`{}` has no maker", path.display())),
    );
    for line in &wrong {
        eprintln!("fixtures: {line}");
    }
    if !wrong.is_empty() {
        bail!("{} fixtures are not as made; `cargo xtask fixtures` makes them again", wrong.len());
    }
    println!("fixtures: {} files, all as made", made.len());
    Ok(())
}

fn make() -> Result<Vec<Fixture>> {
    let mut fixtures = estargz::all()?;
    fixtures.extend(statefile::all()?);
    fixtures.extend(tar::all());
    fixtures.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(fixtures)
}

fn manifest(fixtures: &[Fixture]) -> String {
    let mut text = String::from("# Written by `cargo xtask fixtures`; makers are functions in xtask/src/fixtures/.\n");
    for fixture in fixtures {
        let digest = Digest::of(Algorithm::Sha256, &fixture.bytes).to_hex();
        let Fixture { path, maker, seed, bytes } = fixture;
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n[[fixture]]\npath   = \"{path}\"\nmaker  = \"{maker}\"\nseed   = {seed:#x}\nbytes  = {}\nsha256 = \"{digest}\"\n",
            bytes.len()
        );
    }
    text
}

fn write_all(dir: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    for (path, bytes) in files {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create `{}`", parent.display()))?;
        }
        fs::write(&path, bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

fn read_all(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut ahead = vec![dir.to_path_buf()];
    while let Some(next) = ahead.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("cannot list `{}`", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                ahead.push(path);
            } else {
                let bytes = fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
                files.insert(path.strip_prefix(dir).unwrap_or(&path).to_path_buf(), bytes);
            }
        }
    }
    Ok(files)
}
