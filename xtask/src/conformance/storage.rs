//! zstd:chunked in the form of containers/storage: combinations of input and level, both ways.
//!
//! Ours to the reference: its whole way of pulling a layer in parts, which compares the TOC with the tar headers entry by
//! entry, checks each file's digest and puts the tar together again; and its TOC and tar headers against ours, byte for
//! byte but for what depends on the compressor. Theirs to us: verified, unpacked, and the same tree as that of an ordinary
//! layer of the same tar. What that form cannot hold, both refuse.

use std::{collections::BTreeMap, fs, io::BufReader, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunnage_conformance::{
    dump::{Line, dump, first_difference},
    layer,
};
use dunnage_digest::Progress;
use dunnage_estargz::{
    Limits, Summary, WriteOptions,
    annotations::{STORAGE_CHECKSUM_ANNOTATION, STORAGE_POSITION_ANNOTATION, STORAGE_TAR_SPLIT_ANNOTATION},
    codec::{Codec, StorageCompressor, ZstdLevel},
    read::find_footer,
    toc::Toc,
    write::NonUtf8,
};
use serde_json::Value;

use super::{
    Options, decoded,
    input::{Input, inputs, open},
    run_all,
    tally::Tally,
};
use crate::{inputs::cuts, peers::Peer};

/// The reference's fastest, what nearly everybody uses for zstd, and the reference's own default.
const LEVELS: [i32; 3] = [1, 3, 10];

/// An input at a level.
#[derive(Clone, Copy)]
struct Combination<'i> {
    input: &'i Input,
    level: i32,
}

/// A layer in this form, with the annotations by which it is read.
struct Blob {
    bytes: Vec<u8>,
    annotations: BTreeMap<String, String>,
}

/// Runs all combinations, two at a time.
pub(super) fn run(options: &Options) -> Result<()> {
    let generator = if options.peers { Peer::build("estargz", options.no_skips)? } else { None };
    let peer = if options.peers { Peer::build("storage", options.no_skips)? } else { None };
    let mut inputs = inputs(options, generator.as_ref())?;
    if options.wants_input("cuts") {
        let tar = cuts()?;
        inputs.push(Input { name: "cuts", once: tar.clone(), tar, prioritized: Vec::new(), utf8: true, small: true });
    }
    let mut combinations = Vec::new();
    for input in &inputs {
        let levels =
            LEVELS.iter().filter(|level| if input.small { !options.quick || **level == 3 } else { **level == 3 });
        combinations.extend(levels.map(|&level| Combination { input, level }));
    }
    combinations.retain(|combination| options.wants(&combination.name()));
    combinations.sort_by_key(|combination| combination.input.small);
    run_all("storage", peer.is_some(), &combinations, |combination, dir| combination.run(peer.as_ref(), dir))
}

impl Combination<'_> {
    fn name(&self) -> String {
        format!("storage {} level {}", self.input.name, self.level)
    }

    fn run(&self, peer: Option<&Peer>, dir: &Path) -> Tally {
        Tally::run(self.name(), dir, |tally, scratch| self.check(tally, peer, scratch))
    }

    fn check(&self, tally: &mut Tally, peer: Option<&Peer>, scratch: &Path) -> Result<()> {
        let tar = fs::read(&self.input.once)?;
        let tree = self.tree()?;
        let theirs = peer.map(|peer| self.theirs(tally, peer, scratch, &tar)).transpose()?;
        if let Some(theirs) = &theirs {
            self.check_blob(tally, "theirs", theirs, &tar, &tree)?;
        }
        self.check_refused(tally, peer, scratch)?;
        if !self.input.utf8 {
            return Ok(());
        }
        let (ours, summary) = self.write(2, NonUtf8::Refuse)?;
        tally.same("ours: blob digest", &layer::sha256(&ours.bytes), &summary.blob);
        tally.same("ours: DiffID", summary.diff_id.digest(), &layer::sha256(&tar));
        tally.same("ours: uncompressed size", &summary.uncompressed_len, &(tar.len() as u64));
        let annotation = ours.annotations.get(STORAGE_CHECKSUM_ANNOTATION).cloned().unwrap_or_default();
        tally.same("ours: TOC digest", &summary.toc_digest.to_string(), &annotation);
        self.check_blob(tally, "ours", &ours, &tar, &tree)?;
        // One more write is enough of a large input.
        for threads in if self.input.small { [1, 8].as_slice() } else { &[1] } {
            let same = self.write(*threads, NonUtf8::Refuse)?.0.bytes == ours.bytes;
            tally.same(&format!("ours: the same bytes with {threads} threads"), &same, &true);
        }
        if let (Some(peer), Some(theirs)) = (peer, &theirs) {
            self.check_pair(tally, peer, scratch, &ours, theirs)?;
        }
        Ok(())
    }

    /// Our layer.
    fn write(&self, threads: usize, non_utf8: NonUtf8) -> Result<(Blob, Summary), dunnage_estargz::Error> {
        let compressor = Arc::new(StorageCompressor::new(ZstdLevel::new(self.level)?));
        let write = WriteOptions { compressor, threads, non_utf8, ..WriteOptions::default() };
        let tar = fs::File::open(&self.input.once).map_err(|source| dunnage_estargz::Error::Input { source })?;
        let (bytes, summary) = layer::append_lossless(BufReader::new(tar), &write)?;
        let annotations = summary.annotations.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Ok((Blob { bytes, annotations }, summary))
    }

    /// The reference's layer.
    fn theirs(&self, tally: &mut Tally, peer: &Peer, scratch: &Path, tar: &[u8]) -> Result<Blob> {
        let path = scratch.join("theirs.zst");
        let level = format!("--level={}", self.level);
        let (input, out) = (self.input.once.display().to_string(), path.display().to_string());
        let report = peer.run_on(Some(1), ["compress".to_owned(), level, input, out])?;
        let blob = Blob { bytes: fs::read(&path)?, annotations: report.texts("annotations")? };
        tally.same("theirs: DiffID", &report.text("diff_id")?.to_owned(), &layer::sha256(tar).to_string());
        tally.same(
            "theirs: blob digest",
            &report.text("blob_digest")?.to_owned(),
            &layer::sha256(&blob.bytes).to_string(),
        );
        Ok(blob)
    }

    /// The tree of an ordinary layer of the same tar, without what this form does not have.
    fn tree(&self) -> Result<Vec<Line>> {
        let write = layer::options(Codec::Libdeflate, 1, 0, 2)?;
        let (blob, _) = layer::append_lossless(BufReader::new(open(&self.input.once)?), &write)?;
        Ok(without_names(dump(&layer::open(blob.as_slice())?, &layer::toc(&blob)?, true)?))
    }

    /// A blob, read by us.
    fn check_blob(&self, tally: &mut Tally, whose: &str, blob: &Blob, tar: &[u8], tree: &[Line]) -> Result<()> {
        let bytes = blob.bytes.as_slice();
        let json = layer::toc_json(bytes);
        check_position(tally, whose, blob, json.len())?;
        let Some(reader) = tally.works(&format!("{whose}: we open it"), layer::open(bytes)) else { return Ok(()) };
        let toc_digest = blob.annotations.get(STORAGE_CHECKSUM_ANNOTATION).context("no digest of the TOC")?.parse()?;
        tally.works(&format!("{whose}: its TOC is the one that the annotation names"), reader.verify_toc(&toc_digest));
        tally.works(&format!("{whose}: we verify it"), reader.verify(2, Progress::none()));
        if let Some(unpacked) = tally.works(&format!("{whose}: we unpack it"), layer::unpack(bytes)) {
            tally.same_bytes(&format!("{whose}: the tar"), &unpacked, tar);
        }
        if let Some(inflated) = tally.works(&format!("{whose}: it inflates"), layer::inflate(bytes)) {
            tally.same_bytes(&format!("{whose}: what unaware runtimes see"), &inflated, tar);
        }
        let Some(toc) = tally.works(&format!("{whose}: we parse the TOC"), Toc::parse(&json, &Limits::default()))
        else {
            return Ok(());
        };
        tally.same_bytes(&format!("{whose}: the TOC, encoded by us"), &toc.to_storage_json(), &decoded(&json));
        if let Some(lines) = tally.works(&format!("{whose}: we read it"), dump(&reader, &toc, true)) {
            let what = format!("{whose}: the tree, against that of an ordinary layer");
            tally.nothing(&what, first_difference(&without_names(lines), tree));
        }
        Ok(())
    }

    /// Our layer, read by the reference and compared with its own.
    fn check_pair(&self, tally: &mut Tally, peer: &Peer, scratch: &Path, ours: &Blob, theirs: &Blob) -> Result<()> {
        let raw = scratch.join("toc.json");
        let read = ours.read(peer, scratch, "read-toc", &format!("--raw={}", raw.display()));
        let diff_id = layer::sha256(&fs::read(&self.input.once)?).to_string();
        if let Some(report) = tally.works("the reference pulls ours in parts", read) {
            tally.same("the DiffID that the reference finds", &report.text("diff_id")?.to_owned(), &diff_id);
            let toc_digest = ours.annotations.get(STORAGE_CHECKSUM_ANNOTATION).cloned().unwrap_or_default();
            tally.same("the TOC digest that the reference finds", &report.text("toc_digest")?.to_owned(), &toc_digest);
            tally.same_bytes("our TOC as the reference finds it", &fs::read(&raw)?, &layer::toc_json(&ours.bytes));
        }
        let what = "our TOC against theirs, what depends on the compressor aside";
        tally.same_bytes(what, &plain(&layer::toc_json(&ours.bytes)), &plain(&layer::toc_json(&theirs.bytes)));
        let split = scratch.join("tar-split");
        let mut lines = Vec::new();
        for (whose, blob) in [("ours", ours), ("theirs", theirs)] {
            let read = blob.read(peer, scratch, "untar-split", &format!("--tar-split={}", split.display()));
            let Some(report) = tally.works(&format!("{whose}: the tar from headers and frames"), read) else {
                continue;
            };
            tally.same(&format!("{whose}: its digest"), &report.text("diff_id")?.to_owned(), &diff_id);
            lines.push(tar_split(&fs::read_to_string(&split)?)?);
        }
        if let [ours, theirs] = lines.as_slice() {
            let at = (0..ours.len().max(theirs.len())).find(|&at| ours.get(at) != theirs.get(at));
            let differ = |at| format!("line {at}: {:?} against {:?}", ours.get(at), theirs.get(at));
            tally.nothing("our tar headers against theirs", at.map(differ));
        }
        Ok(())
    }

    /// Two entries of one name, and names that are not UTF-8.
    fn check_refused(&self, tally: &mut Tally, peer: Option<&Peer>, scratch: &Path) -> Result<()> {
        if self.input.tar != self.input.once {
            let twice = Input { once: self.input.tar.clone(), ..self.input.clone() };
            let write = Combination { input: &twice, ..*self }.write(2, NonUtf8::Replace);
            tally.same("we refuse a name that is there twice", &write.is_err(), &true);
            if let Some(peer) = peer {
                let out = scratch.join("refused.zst").display().to_string();
                let write = peer.run(["compress".to_owned(), self.input.tar.display().to_string(), out]);
                let text = write.err().map(|error| format!("{error:#}")).unwrap_or_default();
                let refused = text.contains("duplicates of file paths not supported");
                tally.same("the reference refuses a name that is there twice", &refused, &true);
            }
        }
        if !self.input.utf8 {
            for non_utf8 in [NonUtf8::Refuse, NonUtf8::Replace] {
                let write = self.write(2, non_utf8);
                tally.same(&format!("we refuse names that are not UTF-8 ({non_utf8:?})"), &write.is_err(), &true);
            }
        }
        Ok(())
    }
}

impl Blob {
    /// Has the reference read the layer.
    fn read(&self, peer: &Peer, scratch: &Path, subcommand: &str, flag: &str) -> Result<crate::peers::Report> {
        let (path, annotations) = (scratch.join("layer.zst"), scratch.join("annotations.json"));
        fs::write(&path, &self.bytes)?;
        fs::write(&annotations, serde_json::to_vec(&self.annotations)?)?;
        let (annotations, out) = (format!("--annotations={}", annotations.display()), scratch.join("out"));
        let (path, out) = (path.display().to_string(), out.display().to_string());
        peer.run_on(Some(1), [subcommand.to_owned(), annotations, flag.to_owned(), path, out])
    }
}

/// What the annotations say is so.
fn check_position(tally: &mut Tally, whose: &str, blob: &Blob, toc_len: usize) -> Result<()> {
    let footer = find_footer(&blob.bytes.as_slice())?;
    let (at, len) = (footer.toc_at().get(), footer.toc_len());
    let says = |key: &str| blob.annotations.get(key).cloned().unwrap_or_default();
    tally.same(&format!("{whose}: position"), &says(STORAGE_POSITION_ANNOTATION), &format!("{at}:{len}:{toc_len}:1"));
    let stored = blob.bytes.get(at as usize..).and_then(|rest| rest.get(..len as usize)).unwrap_or_default();
    tally.same(&format!("{whose}: checksum"), &says(STORAGE_CHECKSUM_ANNOTATION), &layer::sha256(stored).to_string());
    // The frame with the tar headers comes next, behind a header of its own.
    let split = says(STORAGE_TAR_SPLIT_ANNOTATION);
    tally.same(
        &format!("{whose}: position of the tar headers"),
        &split.starts_with(&format!("{}:", at + len + 8)),
        &true,
    );
    tally.same(&format!("{whose}: annotations"), &blob.annotations.len(), &3);
    Ok(())
}

/// A dump without names of owners, and without the time 0, which an ordinary layer cannot tell from none.
fn without_names(mut lines: Vec<Line>) -> Vec<Line> {
    for line in &mut lines {
        line.user.clear();
        line.group.clear();
        if line.mtime == "1970-01-01T00:00:00Z" {
            line.mtime.clear();
        }
    }
    lines
}

/// A TOC without where things are and without the digest of the compressed tar headers.
fn plain(json: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(json);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    // A quote inside of a string would be escaped, so these are keys.
    let keys = ["\"offset\":", "\"endOffset\":", "\"tarSplitDigest\":"];
    while let Some((at, key)) = keys.iter().filter_map(|key| rest.find(key).map(|at| (at, key))).min() {
        let (before, behind) = rest.split_at(at + key.len());
        out.push_str(before);
        rest = behind.trim_start_matches(|c: char| c != ',' && c != '}');
    }
    out.push_str(rest);
    out.into_bytes()
}

/// Lines of tar headers; those that follow each other without a file between them as one, since where a long run of
/// padding is cut depends on how it is read.
fn tar_split(text: &str) -> Result<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    let mut run: Option<Vec<u8>> = None;
    for (number, line) in text.lines().enumerate() {
        let mut parsed: Value = serde_json::from_str(line)?;
        let position = parsed.get("position").and_then(Value::as_u64);
        anyhow::ensure!(position == Some(number as u64), "line {number} says it is {position:?}");
        if parsed.get("type").and_then(Value::as_u64) == Some(2) {
            let payload = parsed.get_mut("payload").map(Value::take);
            let payload = payload.as_ref().and_then(Value::as_str).context("a segment without payload")?;
            run.get_or_insert_default().extend(STANDARD.decode(payload)?);
            continue;
        }
        lines.extend(run.take().map(|run| run.escape_ascii().to_string()));
        // The position depends on how padding was cut.
        lines.push(line.split(",\"position\":").next().unwrap_or(line).to_owned());
    }
    lines.extend(run.take().map(|run| run.escape_ascii().to_string()));
    Ok(lines)
}
