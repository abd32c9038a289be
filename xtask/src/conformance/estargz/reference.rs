//! The reference's side: its blob of the same input and options, and what it says of blobs.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use dunnage_conformance::{
    dump::{Line, parse},
    layer,
};
use dunnage_digest::Digest;

use super::{
    blob::{Blob, comparable},
    combination::{Combination, Form, Mode},
};
use crate::peers::{Peer, Report};

/// What the reference made.
pub(super) struct Theirs {
    pub(super) path: PathBuf,
    pub(super) blob: Blob,
    pub(super) diff_id: String,
    pub(super) toc_digest: Digest,
    /// For the layer's descriptor.
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) dump: Arc<Vec<Line>>,
    /// The TOC's document, as the reference finds it.
    pub(super) toc: Vec<u8>,
    /// Chunks and bytes, verified by us.
    pub(super) verified: [u64; 2],
    /// What it unpacks to, by us.
    pub(super) tar: Vec<u8>,
}

/// What the reference shows of its own blobs, by all that this depends on.
#[derive(Debug, Default)]
pub(super) struct Dumps(Mutex<BTreeMap<(&'static str, Mode), Slot>>);

type Slot = Arc<Mutex<Option<Arc<Vec<Line>>>>>;

impl Dumps {
    fn get(&self, combination: &Combination<'_>, make: impl FnOnce() -> Result<Vec<Line>>) -> Result<Arc<Vec<Line>>> {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry((combination.input.name, combination.mode)).or_default())
        };
        // Under the lock of this one, so that it is made once.
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match &*slot {
            Some(dump) => Arc::clone(dump),
            None => Arc::clone(slot.insert(Arc::new(make()?))),
        })
    }
}

/// The reference, and the settings with which it reads blobs of one combination.
#[derive(Clone, Copy)]
pub(super) struct Reference<'a> {
    pub(super) peer: &'a Peer,
    pub(super) combination: &'a Combination<'a>,
    pub(super) scratch: &'a Path,
}

impl Reference<'_> {
    /// Writes the blob of the combination.
    pub(super) fn write(&self, dumps: &Dumps) -> Result<Theirs> {
        let path = self.scratch.join("theirs.esgz");
        let toc_path = toc_path(&path);
        let report = self.ask(self.combination.their_args(&path, &toc_path, self.scratch)?)?;
        let toc_digest: Digest = report.text("toc_digest")?.parse()?;
        let dump = dumps.get(self.combination, || self.dump(&path))?;
        let toc = self.toc(&path, true)?;
        let external = self.combination.form == Form::External;
        let blob = Blob { bytes: fs::read(&path)?, toc: external.then(|| fs::read(&toc_path)).transpose()? };
        let tar = layer::unpack(blob.bytes.as_slice()).context("we unpack theirs")?;
        let verified = blob.verify(&toc_digest, 2).context("we verify theirs")?;
        let (diff_id, annotations) = (report.text("diff_id")?.to_owned(), report.texts("annotations")?);
        Ok(Theirs { path, blob, diff_id, toc_digest, annotations, dump, toc, verified, tar })
    }

    /// Puts a blob of ours where the reference can read it.
    pub(super) fn place(&self, blob: &Blob) -> Result<PathBuf> {
        let path = self.scratch.join("ours.esgz");
        fs::write(&path, &blob.bytes)?;
        if let Some(toc) = &blob.toc {
            fs::write(toc_path(&path), toc)?;
        }
        Ok(path)
    }

    /// Has every chunk checked; how many there were, and their bytes.
    pub(super) fn verify(&self, blob: &Path, toc_digest: &Digest) -> Result<[u64; 2]> {
        let mut flags = vec![format!("--toc-digest={toc_digest}")];
        if self.combination.is_shared() {
            // It can check such blobs chunk by chunk only (defect Q16).
            flags.push("--min-chunk".to_owned());
        }
        let report = self.read("verify", flags, blob, &[])?;
        Ok([report.number("chunks")?, report.number("bytes")?])
    }

    pub(super) fn dump(&self, blob: &Path) -> Result<Vec<Line>> {
        let out = self.scratch.join("dump.jsonl");
        self.read("dump", Vec::new(), blob, &[&out])?;
        let lines = parse(&fs::read_to_string(&out)?).context("cannot read the peer's dump")?;
        Ok(comparable(lines))
    }

    /// The TOC's document: as it is stored, or encoded again.
    pub(super) fn toc(&self, blob: &Path, raw: bool) -> Result<Vec<u8>> {
        let out = self.scratch.join("toc.json");
        let flags = if raw { vec!["--raw".to_owned()] } else { Vec::new() };
        self.read("toc", flags, blob, &[&out])?;
        fs::read(&out).context("the peer wrote no TOC")
    }

    pub(super) fn unpack(&self, blob: &Path) -> Result<Vec<u8>> {
        let out = self.scratch.join("unpacked.tar");
        self.read("unpack", vec!["--hash=false".to_owned()], blob, &[&out])?;
        fs::read(&out).context("the peer unpacked nothing")
    }

    /// Runs a subcommand that reads a blob.
    pub(super) fn read(&self, subcommand: &str, flags: Vec<String>, blob: &Path, rest: &[&Path]) -> Result<Report> {
        let form = self.combination.form;
        let mut args = vec![subcommand.to_owned(), format!("--compression={}", form.name())];
        if form == Form::External {
            args.push(format!("--toc={}", toc_path(blob).display()));
        }
        args.extend(flags);
        args.extend([blob].iter().chain(rest).map(|path| path.display().to_string()));
        self.ask(args)
    }

    /// Runs the peer on one processor, since two combinations run at once.
    fn ask(&self, args: Vec<String>) -> Result<Report> {
        self.peer.run_on(Some(1), args)
    }
}

/// Where the TOC of a blob is, if it is apart.
fn toc_path(blob: &Path) -> PathBuf {
    blob.with_extension("toc")
}
