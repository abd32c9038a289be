//! gVisor's state files: keys, compressions, sizes of payload and the four dialects that are written, both ways.
//!
//! The reference is gVisor's own package, built once at a revision of each dialect. Theirs to us: recognised, read in
//! order, read here and there, and verified, with the payload and the metadata that went in. Ours to them: the same, and
//! of uncompressed files, the same bytes as theirs for the same metadata, time and calls. A file of one dialect is
//! also given to the readers of the others: whatever they make of it, our reader that is told to read that dialect has to
//! make of it too, except where the reference takes something wrong for a sound payload and we can tell.

mod check;
mod ours;

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use dunnage_statefile::{Compression, Dialect};

use super::{Options, run_all, tally::Tally};
use crate::{inputs::payload, peers::Peer, workspace::scratch_dir};

/// Around the chunk size, and far above it.
const SIZES: [usize; 7] = [0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB + 7, 64 * MIB];
const MIB: usize = 1 << 20;

/// Bytes of each Write call, which decide how uncompressed payload is framed.
const CALLS: [&[usize]; 2] = [&[32 << 10], &[3, MIB, MIB - 3, 2 * MIB + 1, 4096, 10, MIB + 1]];

const KEY: &[u8] = b"a key of thirty-two bytes, as is";

/// The revisions of the reference, and what each writes.
const DIALECTS: [(Dialect, Option<&str>); 4] =
    [(Dialect::A, Some("a")), (Dialect::B, Some("b")), (Dialect::C, Some("c")), (Dialect::D, None)];

/// The reference at each revision; nothing where there is no Go.
type Peers = Vec<(Dialect, Peer)>;

/// The payload of a state file.
#[derive(Clone, Copy, Debug)]
struct Combination<'i> {
    dialect: Dialect,
    compression: Compression,
    is_keyed: bool,
    /// Bytes of payload.
    size: usize,
    inputs: &'i Inputs,
}

/// What all combinations share.
#[derive(Debug)]
struct Inputs {
    /// All payloads begin alike.
    payload: Vec<u8>,
    key: PathBuf,
    other_key: PathBuf,
    metadata: BTreeMap<String, String>,
    metadata_file: PathBuf,
    /// Kept until the end.
    _dir: tempfile::TempDir,
}

/// Runs all combinations, two at a time.
pub(super) fn run(options: &Options) -> Result<()> {
    if !options.wants_input("statefile") {
        return Ok(());
    }
    let mut peers = Peers::new();
    if options.peers {
        for (dialect, modules) in DIALECTS {
            peers.extend(Peer::build_with("statefile", modules, options.no_skips)?.map(|peer| (dialect, peer)));
        }
    }
    let inputs = Inputs::make()?;
    let mut combinations = Vec::new();
    for (dialect, _) in DIALECTS {
        for compression in [Compression::None, Compression::FlateBestSpeed] {
            for is_keyed in [false, true] {
                for size in SIZES {
                    combinations.push(Combination { dialect, compression, is_keyed, size, inputs: &inputs });
                }
            }
        }
    }
    let largest = SIZES.iter().copied().max();
    combinations.retain(|it| {
        let is_left_out = if options.quick {
            it.size > MIB + 1
        } else {
            // The reference takes a second for each of these when it compresses.
            options.sample && Some(it.size) == largest && it.dialect != Dialect::D
        };
        !is_left_out && options.wants(&it.name())
    });
    // The long ones first, so that no core waits for the other at the end.
    combinations.sort_by_key(|combination| usize::MAX - combination.size);
    let directions = if peers.is_empty() { 0 } else { combinations.len() };
    println!("  state files: {directions} combinations in each direction");
    run_all("statefile", !peers.is_empty(), &combinations, |combination, dir| {
        Tally::run(combination.name(), dir, |tally, scratch| combination.check(tally, &peers, scratch))
    })
}

impl Inputs {
    fn make() -> Result<Self> {
        let largest = SIZES.iter().copied().max().unwrap_or_default();
        let path = payload(largest as u64)?;
        let payload = fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let dir = tempfile::tempdir_in(scratch_dir("conformance")?)?;
        let file = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
            let path = dir.path().join(name);
            fs::write(&path, bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
            Ok(path)
        };
        // Everything that Go's encoder writes in a way of its own.
        let metadata: BTreeMap<String, String> = [
            ("Z", "1"),
            ("a", "3"),
            ("é", "4"),
            ("", "5"),
            ("a<b>&c", "q\"b\\s/ \u{8}\u{c}\n\r\t\0\u{1f}\u{7f} \u{2028}\u{2029} é 😀 ok"),
            ("container_count", "1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let metadata_file = file("metadata.json", &serde_json::to_vec(&metadata)?)?;
        let mut other = KEY.to_vec();
        other.reverse();
        Ok(Self {
            payload,
            key: file("key", KEY)?,
            other_key: file("other-key", &other)?,
            metadata,
            metadata_file,
            _dir: dir,
        })
    }
}

impl Combination<'_> {
    fn name(&self) -> String {
        let Self { dialect, compression, is_keyed, size, .. } = self;
        let key = if *is_keyed { "keyed" } else { "unkeyed" };
        format!("statefile {dialect} {key} {compression} {size} bytes")
    }

    fn key(&self) -> Option<&'static [u8]> {
        self.is_keyed.then_some(KEY)
    }

    fn payload(&self) -> &[u8] {
        self.inputs.payload.get(..self.size).unwrap_or_default()
    }
}
