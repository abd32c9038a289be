//! The comparisons of one combination.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use dunnage_conformance::{dump::first_difference, layer};
use dunnage_estargz::{
    Limits, Summary,
    annotations::{MANIFEST_CHECKSUM_ANNOTATION, MANIFEST_POSITION_ANNOTATION, TOC_DIGEST_ANNOTATION},
    codec::Codec,
    read::find_footer,
    toc::Toc,
    write::Streams,
};

use super::{
    blob::Blob,
    combination::{Combination, Form, Mode},
    pre_read,
    reference::{Dumps, Reference, Theirs},
};
use crate::{
    conformance::{
        decoded,
        input::{digest_of, open},
        tally::Tally,
    },
    peers::Peer,
    workspace::capture,
};

/// What both ways need of a blob of ours.
struct Ours {
    codec: &'static str,
    blob: Blob,
    summary: Summary,
    /// What it unpacks to, by us.
    tar: Vec<u8>,
}

impl Combination<'_> {
    /// All comparisons, in a directory of their own below `dir`.
    pub(super) fn run(&self, peer: Option<&Peer>, dumps: &Dumps, dir: &Path) -> Tally {
        Tally::run(self.name(), dir, |tally, scratch| self.check(tally, peer, dumps, scratch))
    }

    fn check(&self, tally: &mut Tally, peer: Option<&Peer>, dumps: &Dumps, scratch: &Path) -> Result<()> {
        let reference = peer.map(|peer| Reference { peer, combination: self, scratch });
        let theirs = reference.as_ref().map(|reference| reference.write(dumps)).transpose()?;
        if let (Some(reference), Some(theirs)) = (&reference, &theirs) {
            self.check_theirs(tally, reference, theirs)?;
        }
        let codecs = self.codecs();
        for (index, &(name, codec)) in codecs.iter().enumerate() {
            if !self.input.small && index != self.turn % codecs.len() {
                continue;
            }
            let (blob, summary) = self.write(codec, 2)?;
            let tar = layer::unpack(blob.bytes.as_slice()).context("we unpack ours")?;
            let ours = Ours { codec: name, blob, summary, tar };
            self.check_ours(tally, &ours, codec)?;
            self.check_with_tar(tally, &ours, theirs.as_ref(), scratch)?;
            if let (Some(reference), Some(theirs)) = (&reference, &theirs) {
                self.check_pair(tally, reference, &ours, theirs)?;
            }
        }
        Ok(())
    }

    /// Their blob, read by us.
    fn check_theirs(&self, tally: &mut Tally, reference: &Reference<'_>, theirs: &Theirs) -> Result<()> {
        if let Some(toc) = tally.works("we parse their TOC", Toc::parse(&theirs.toc, &Limits::default())) {
            tally.same_bytes("their TOC, encoded by us", &toc.to_json(), &decoded(&theirs.toc));
            if let Some(dump) = tally.works("we read theirs", theirs.blob.dump()) {
                tally.nothing("their tree, ours against their dump", first_difference(&dump, &theirs.dump));
            }
        }
        if let Some(whole) = tally.works("their blob inflates", layer::inflate(theirs.blob.bytes.as_slice())) {
            tally.same("their DiffID", &layer::sha256(&whole).to_string(), &theirs.diff_id);
        }
        if self.is_lossless() {
            tally.same("their lossless blob, unpacked by us", &layer::sha256(&theirs.tar), &digest_of(self.tar())?);
        }
        if self.form != Form::Gzip {
            tally.same_bytes("their TOC, as we find it", &theirs.blob.toc_json(), &theirs.toc);
            tally.same("their TOC digest", &layer::sha256(&theirs.toc), &theirs.toc_digest);
        }
        if self.form == Form::Zstd {
            check_position(tally, "theirs", &theirs.blob, &theirs.annotations);
        }
        if self.is_shared() {
            pre_read::check(tally, "theirs", reference, &theirs.path, &theirs.blob)?;
        }
        Ok(())
    }

    /// Our blob, by itself.
    fn check_ours(&self, tally: &mut Tally, ours: &Ours, codec: Codec) -> Result<()> {
        let (blob, summary, name) = (ours.blob.bytes.as_slice(), &ours.summary, ours.codec);
        tally.same(&format!("{name}: blob digest"), &layer::sha256(blob), &summary.blob);
        let json = ours.blob.toc_json();
        tally.same(&format!("{name}: TOC digest"), &layer::sha256(&json), &summary.toc_digest);
        tally.works(&format!("{name}: we verify ours"), ours.blob.verify(&summary.toc_digest, 2));
        let whole = layer::inflate(blob)?;
        tally.same(&format!("{name}: DiffID"), &layer::sha256(&whole), summary.diff_id.digest());
        tally.same(&format!("{name}: uncompressed size"), &(whole.len() as u64), &summary.uncompressed_len);
        let tar = &ours.tar;
        tally.same(&format!("{name}: unpacked is the front of what inflates"), &whole.starts_with(tar), &true);
        if self.is_lossless() {
            tally.same(&format!("{name}: lossless, unpacked"), &layer::sha256(tar), &digest_of(self.tar())?);
        }
        if self.form != Form::Gzip {
            // The TOC is no part of the tar stream then.
            tally.same(&format!("{name}: unpacked is what inflates"), &(whole.len() == tar.len()), &true);
            let annotation = summary.annotations.get(TOC_DIGEST_ANNOTATION).map(String::as_str);
            let wanted = summary.toc_digest.to_string();
            tally.same(&format!("{name}: annotation of the TOC"), &annotation, &Some(wanted.as_str()));
        }
        if self.form == Form::Zstd {
            let annotations = summary.annotations.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
            check_position(tally, name, &ours.blob, &annotations.collect());
        }
        // Large inputs prove it at one level; small ones each time.
        if self.input.small || self.level == 6 {
            for threads in [1, 8] {
                let (again, _) = self.write(codec, threads)?;
                let same = again.bytes == blob && again.toc == ours.blob.toc;
                tally.same(&format!("{name}: the same bytes with {threads} threads"), &same, &true);
            }
            if self.mode != Mode::Prioritized {
                self.check_pipe(tally, name, codec)?;
            }
        }
        Ok(())
    }

    /// A build from a pipe gives what a build from a file gives.
    fn check_pipe(&self, tally: &mut Tally, name: &str, codec: Codec) -> Result<()> {
        if !self.input.small && self.is_lossless() {
            return Ok(());
        }
        let write = self.options(codec, 2)?;
        let file = layer::build(open(&self.input.once)?, &write, &[])?.0;
        let mut cat = Command::new("cat").arg(&self.input.once).stdout(Stdio::piped()).spawn()?;
        let pipe = cat.stdout.take().context("cat has an output")?;
        let piped = layer::plan(&write, &[]).from_stream(pipe, Vec::new());
        cat.wait()?;
        if let Some((blob, _)) = tally.works(&format!("{name}: build from a pipe"), piped) {
            tally.same(&format!("{name}: the same bytes from a pipe"), &(blob == file), &true);
        }
        Ok(())
    }

    /// GNU tar reads the layer, and lists in it what it lists in theirs.
    fn check_with_tar(&self, tally: &mut Tally, ours: &Ours, theirs: Option<&Theirs>, scratch: &Path) -> Result<()> {
        let name = ours.codec;
        let listed = tally.works(&format!("{name}: GNU tar lists ours"), self.list(&ours.blob, scratch));
        if let (Some(listed), Some(theirs)) = (listed, theirs.filter(|_| self.input.small || self.level == 6)) {
            let wanted = self.list(&theirs.blob, scratch)?;
            // Only the size of the TOC may differ, and with it the width of the size column.
            let plain = |text: &str| -> Vec<String> {
                let lines = text.lines().filter(|line| !line.ends_with(" stargz.index.json"));
                lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
            };
            let (listed, wanted) = (plain(&listed), plain(&wanted));
            let different = listed.iter().zip(&wanted).find(|(a, b)| a != b);
            tally.nothing(
                &format!("{name}: GNU tar's list, ours against theirs"),
                different.map(|(a, b)| format!("`{a}` against `{b}`")),
            );
            tally.same(&format!("{name}: lines of GNU tar's list"), &listed.len(), &wanted.len());
        }
        Ok(())
    }

    fn list(&self, blob: &Blob, scratch: &Path) -> Result<String> {
        let path = scratch.join("listed");
        let mut tar = Command::new("tar");
        tar.env("TZ", "UTC").args(["--quoting-style=escape", "-v", "-t"]);
        if self.form == Form::Zstd {
            // It would call the zstd program, which need not be there; the library behind that is the same.
            fs::write(&path, layer::inflate(blob.bytes.as_slice())?)?;
        } else {
            fs::write(&path, &blob.bytes)?;
            tar.arg("-z");
        }
        capture(tar.arg("-f").arg(path))
    }

    /// Our blob, read by the reference and compared with its own.
    fn check_pair(&self, tally: &mut Tally, reference: &Reference<'_>, ours: &Ours, theirs: &Theirs) -> Result<()> {
        let (path, name) = (reference.place(&ours.blob)?, ours.codec);
        let verified = reference.verify(&path, &ours.summary.toc_digest);
        if let Some(verified) = tally.works(&format!("{name}: the reference verifies ours"), verified) {
            let what = format!("{name}: chunks and bytes, the reference in ours against us in theirs");
            tally.same(&what, &verified, &theirs.verified);
        }
        if let Some(dump) = tally.works(&format!("{name}: the reference reads ours"), reference.dump(&path)) {
            let what = format!("{name}: the reference's dump, ours against theirs");
            tally.nothing(&what, first_difference(&dump, &theirs.dump));
        }
        let json = ours.blob.toc_json();
        let again = reference.toc(&path, false);
        if let Some(again) = tally.works(&format!("{name}: the reference parses our TOC"), again) {
            tally.same_bytes(&format!("{name}: our TOC, encoded by the reference"), &decoded(&json), &again);
        }
        let toc = Toc::parse(&json, &Limits::default())?;
        let raw = reference.toc(&path, true)?;
        tally.same_bytes(&format!("{name}: our TOC as the reference finds it"), &json, &raw);
        let what = format!("{name}: our TOC against theirs, offsets aside");
        let without = |json: &[u8]| without_offsets(json, self.is_shared());
        tally.same_bytes(&what, &without(&json), &without(&theirs.toc));
        if let Some(dump) = tally.works(&format!("{name}: we read ours"), ours.blob.dump()) {
            tally.nothing(&format!("{name}: our tree against their dump"), first_difference(&dump, &theirs.dump));
        }
        tally.same_bytes(&format!("{name}: the tar inside, ours against theirs"), &ours.tar, &theirs.tar);
        if let Some(tar) = tally.works(&format!("{name}: the reference unpacks ours"), reference.unpack(&path)) {
            tally.same_bytes(&format!("{name}: our tar as the reference unpacks it"), &tar, &ours.tar);
        }
        if self.form != Form::Gzip {
            // Nothing but the tar is in the stream, so it has to be the same for both.
            tally.same(&format!("{name}: DiffID"), &ours.summary.diff_id.to_string(), &theirs.diff_id);
        }
        if self.is_shared() {
            pre_read::check(tally, name, reference, &path, &ours.blob)?;
        }
        if matches!(self.streams, Streams::CompressedAtLeast(_)) {
            // Compressed sizes differ a little, and with them where streams end.
            let (ours, theirs) = (streams(&toc), streams(&Toc::parse(&theirs.toc, &Limits::default())?));
            let far = ours.abs_diff(theirs) > 1 + theirs / 10;
            let counts = format!("{ours} against {theirs}");
            tally.nothing(&format!("{name}: number of streams, ours against theirs"), far.then_some(counts));
        }
        Ok(())
    }
}

/// What the annotations of a zstd:chunked layer say is so.
fn check_position(tally: &mut Tally, whose: &str, blob: &Blob, annotations: &BTreeMap<String, String>) {
    let says = |key: &str| annotations.get(key).cloned().unwrap_or_default();
    if let Some(footer) = tally.works(&format!("{whose}: footer"), find_footer(&blob.bytes.as_slice())) {
        let (at, len, plain) = (footer.toc_at().get(), footer.toc_len(), blob.toc_json().len());
        let position = format!("{at}:{len}:{plain}:1");
        tally.same(
            &format!("{whose}: annotation of the TOC's position"),
            &says(MANIFEST_POSITION_ANNOTATION),
            &position,
        );
        let stored = blob.bytes.get(at as usize..).and_then(|rest| rest.get(..len as usize)).unwrap_or_default();
        let checksum = layer::sha256(stored).to_string();
        tally.same(&format!("{whose}: annotation of the stored TOC"), &says(MANIFEST_CHECKSUM_ANNOTATION), &checksum);
    }
}

/// Streams that hold content.
fn streams(toc: &Toc) -> usize {
    toc.entries
        .iter()
        .filter(|entry| entry.chunk_digest.is_some())
        .map(|entry| entry.offset)
        .collect::<BTreeSet<_>>()
        .len()
}

/// A TOC document without the digits of its offsets, which depend on the compressor; where files share streams, without
/// its offsets, since the first stream is at offset 0, which is not written down, and where others end differs.
fn without_offsets(json: &[u8], is_shared: bool) -> Vec<u8> {
    let is_offset =
        |line: &[u8]| line.starts_with(b"\t\t\t\"offset\": ") || line.starts_with(b"\t\t\t\"innerOffset\": ");
    let lines = json.split(|&byte| byte == b'\n').filter(|line| !(is_shared && is_offset(line)));
    let line = |line: &[u8]| if is_offset(line) { b"offset".to_vec() } else { line.to_vec() };
    lines.map(line).collect::<Vec<_>>().join(&b'\n')
}
