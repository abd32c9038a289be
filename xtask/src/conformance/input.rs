//! What goes in: generated trees, each for something that tars can hold, and a Debian root.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use dunnage_conformance::{dump::clean, layer, random::Random};
use dunnage_digest::Digest;
use dunnage_estargz::{
    codec::Codec,
    toc::{TocEntry, TocType},
};

use super::Options;
use crate::{
    inputs::{Generated, debian_root, generated},
    peers::Peer,
};

/// Generated inputs. `chunky` is for large chunks, the others for headers.
const GENERATED: [Generated; 6] = [
    Generated { format: "ustar", ..shape("ustar", 11) },
    Generated { format: "pax", ..shape("pax", 12) },
    Generated { format: "gnu", ..shape("gnu", 13) },
    Generated { entries: 600, ..shape("mixed", 14) },
    Generated { entries: 14, max_size: 2_300_000, ..shape("chunky", 15) },
    Generated { utf8: false, ..shape("not-utf8", 16) },
];

/// All inputs by name, the large one last.
pub(super) const NAMES: [&str; 7] = {
    let [ustar, pax, gnu, mixed, chunky, not_utf8] = GENERATED;
    [ustar.name, pax.name, gnu.name, mixed.name, chunky.name, not_utf8.name, DEBIAN]
};

/// The only large input.
pub(super) const DEBIAN: &str = "debian";

const fn shape(name: &'static str, seed: u64) -> Generated {
    Generated { name, seed, entries: 300, max_size: 20_000, format: "mixed", duplicates: true, utf8: true }
}

/// An input, and what to put first when something is put first.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) name: &'static str,
    /// The tar for builds, which may say names twice.
    pub(super) tar: PathBuf,
    /// The tar for appending and for pipes, which does not.
    pub(super) once: PathBuf,
    pub(super) prioritized: Vec<String>,
    /// Whether all names are UTF-8.
    pub(super) utf8: bool,
    /// Small enough to run every codec and thread count each time.
    pub(super) small: bool,
}

/// The inputs that are asked for and can be had.
pub(super) fn inputs(options: &Options, peer: Option<&Peer>) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for spec in GENERATED.iter().filter(|spec| options.wants_input(spec.name)) {
        let tar = generated(spec, peer)?;
        let once = generated(&Generated { duplicates: false, ..*spec }, peer)?;
        let prioritized = names(&tar, spec.seed)?;
        inputs.push(Input { name: spec.name, prioritized, tar, once, utf8: spec.utf8, small: true });
    }
    if !options.quick && options.wants_input(DEBIAN) {
        match debian_root()? {
            Some(tar) => {
                let prioritized = names(&tar, 1)?;
                inputs.push(Input { name: DEBIAN, prioritized, once: tar.clone(), tar, utf8: true, small: false });
            }
            None if options.no_skips => bail!("input debian-root was skipped, and no skips are allowed"),
            None => {}
        }
    }
    Ok(inputs)
}

/// Some names of a tar, in another order. The reference wants every directory above a prioritized file to have an entry
/// of its own, and a list of names is text with one name a line.
fn names(tar: &Path, seed: u64) -> Result<Vec<String>> {
    let write = layer::options(Codec::Zlib, 0, 0, 2)?;
    let (blob, _) = layer::build(open(tar)?, &write, &[])?;
    let toc = layer::toc(&blob)?;
    let there: BTreeSet<Vec<u8>> = toc.entries.iter().map(|entry| clean(entry.name.as_bytes())).collect();
    let has_parents = |name: &str| {
        let path = clean(name.as_bytes());
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.into_iter().all(|end| path.get(..end).is_some_and(|parent| there.contains(parent)))
    };
    let usable =
        |name: &str| !name.contains(['\n', '\r', '\u{fffd}']) && !name.contains("landmark") && has_parents(name);
    let mut random = Random::new(seed);
    // The target of a hard link is put first with it.
    let has_target = |entry: &TocEntry| entry.kind != TocType::Hardlink || has_parents(&entry.link_name);
    let all =
        toc.entries.iter().filter(|entry| entry.kind != TocType::Chunk && usable(&entry.name) && has_target(entry));
    let mut names: Vec<String> = all.filter(|_| random.below(5) == 0).map(|entry| entry.name.clone()).collect();
    for at in (1..names.len()).rev() {
        names.swap(at, random.below(at as u64 + 1) as usize);
    }
    names.truncate(60);
    Ok(names)
}

pub(super) fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open `{}`", path.display()))
}

pub(super) fn digest_of(path: &Path) -> Result<Digest> {
    Ok(layer::sha256(&std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?))
}
