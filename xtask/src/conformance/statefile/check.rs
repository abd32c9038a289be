//! The comparisons of one combination.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use dunnage_conformance::layer;
use dunnage_statefile::{Compression, Dialect};

use super::{CALLS, Combination, KEY, MIB, Peers, Tally, ours};
use crate::peers::{Peer, Report};

/// The metadata key that the library owns.
const TIMESTAMP: &str = "_timestamp";

impl Combination<'_> {
    /// Both directions, and what the other dialects' readers make of the file.
    pub(super) fn check(&self, tally: &mut Tally, peers: &Peers, scratch: &Path) -> Result<()> {
        let payload_file = scratch.join("payload");
        fs::write(&payload_file, self.payload())?;
        let peer = peers.iter().find(|(dialect, _)| *dialect == self.dialect).map(|(_, peer)| peer);
        let Some(peer) = peer else {
            let ours = ours::write(self, CALLS[0], "2024-06-18 19:27:12.123456789 +0000 UTC", 2)?;
            return self.read_by_us(tally, "ours", &ours, None);
        };
        let our_file = scratch.join("ours");
        let their_file = scratch.join("theirs");
        // Compressed bytes do not depend on the calls, though the format lets them.
        let mut last = (Vec::new(), String::new());
        for (turn, calls) in CALLS.into_iter().enumerate() {
            self.written_by(peer, calls, &payload_file, &their_file)?;
            let theirs = fs::read(&their_file)?;
            if turn == 0 || self.compression == Compression::None {
                self.read_by_us(tally, "theirs", &theirs, None)?;
            }
            let timestamp = ours::metadata(&theirs)?.remove(TIMESTAMP).context("their file has no time")?;
            let ours = ours::write(self, calls, &timestamp, 2)?;
            if self.compression == Compression::None {
                tally.same_bytes(&format!("the file, ours against theirs, calls {turn}"), &ours, &theirs);
            } else {
                let front = |bytes: &[u8]| bytes.get(..ours::front_len(self, &theirs)).unwrap_or_default().to_vec();
                tally.same_bytes("the header", &front(&ours), &front(&theirs));
                tally.same("ours: no larger than theirs", &(ours.len() <= theirs.len()), &true);
            }
            last = (ours, timestamp);
        }
        let (ours, timestamp) = last;
        if self.size <= 5 * MIB + 7 {
            for threads in [1, 7] {
                let same = ours::write(self, CALLS[1], &timestamp, threads)? == ours;
                tally.same(&format!("ours: the same bytes with {threads} threads"), &same, &true);
            }
        }
        self.read_by_us(tally, "ours", &ours, Some(&timestamp))?;
        if self.compression == Compression::None {
            let uniform = ours::write_uniform(self, &timestamp)?;
            self.read_by_us(tally, "ours, frames of 1 MiB", &uniform, Some(&timestamp))?;
            fs::write(&our_file, &uniform)?;
            self.read_by_them(tally, peer, &our_file, &timestamp)?;
        }
        fs::write(&our_file, &ours)?;
        self.read_by_them(tally, peer, &our_file, &timestamp)?;
        // One chunk and a bit tells as much as many chunks.
        if self.size <= MIB + 1 {
            self.read_as_others(tally, peers, &our_file, &ours)?;
            self.read_with_other_keys(tally, peer, &our_file, &ours)?;
        }
        Ok(())
    }

    fn written_by(&self, peer: &Peer, calls: &[usize], payload: &Path, out: &Path) -> Result<Report> {
        let calls: Vec<String> = calls.iter().map(ToString::to_string).collect();
        let mut args = vec![
            "write".to_owned(),
            format!("--compression={}", self.compression),
            format!("--calls={}", calls.join(",")),
            format!("--metadata={}", self.inputs.metadata_file.display()),
        ];
        args.extend(self.is_keyed.then(|| format!("--key-file={}", self.inputs.key.display())));
        args.extend([payload.display().to_string(), out.display().to_string()]);
        peer.run_on(Some(1), args)
    }

    /// A file in this form, read by us: told what it is and finding out, from both ends, and verified.
    fn read_by_us(&self, tally: &mut Tally, whose: &str, bytes: &[u8], timestamp: Option<&str>) -> Result<()> {
        for pinned in [None, Some(self.dialect)] {
            let how = if pinned.is_some() { "as what it is" } else { "finding out" };
            let read = match pinned {
                None => ours::read_finding_out(bytes, self.key()),
                pinned => ours::read(bytes, self.key(), pinned),
            };
            let Some(read) = tally.works(&format!("{whose}: we read it, {how}"), read) else { continue };
            tally.same(&format!("{whose}: the payload, {how}"), &(read.payload == self.payload()), &true);
            let mut metadata = read.metadata;
            let time = metadata.remove(TIMESTAMP);
            if let Some(wanted) = timestamp {
                tally.same(&format!("{whose}: the time, {how}"), &time.as_deref(), &Some(wanted));
            }
            tally.same(&format!("{whose}: the metadata, {how}"), &metadata, &self.metadata());
        }
        if let Some(verified) =
            tally.works(&format!("{whose}: we verify it"), ours::verify(bytes, self.key(), self.dialect))
        {
            tally.same(&format!("{whose}: bytes verified"), &verified, &(self.size as u64));
        }
        for (at, len) in [(0, 1), (MIB - 2, 4), (self.size.saturating_sub(10), 10), (self.size / 2, 70_000)] {
            let wanted = self.payload().get(at..self.size.min(at + len)).unwrap_or_default();
            let piece = ours::piece(bytes, self.key(), self.dialect, at as u64, wanted.len());
            if let Some(piece) = tally.works(&format!("{whose}: we read {} bytes at {at}", wanted.len()), piece) {
                tally.same_bytes(&format!("{whose}: {} bytes at {at}", wanted.len()), &piece, wanted);
            }
        }
        Ok(())
    }

    /// What went into the metadata, with what the writer adds besides the time.
    fn metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = self.inputs.metadata.clone();
        metadata.insert(Compression::KEY.to_owned(), self.compression.as_str().to_owned());
        metadata
    }

    /// Our file, read by the reference.
    fn read_by_them(&self, tally: &mut Tally, peer: &Peer, file: &Path, timestamp: &str) -> Result<()> {
        for call in [MIB, 1000] {
            let report = peer.run_on(Some(1), self.read_args(file, self.is_keyed, &[format!("--call={call}")]))?;
            tally.same("they read it", &report.text("error")?, &"");
            tally.same("their bytes", &report.number("bytes")?, &(self.size as u64));
            tally.same("their payload", &report.text("sha256")?.to_owned(), &hash(self.payload()));
            let mut metadata = report.texts("metadata")?;
            tally.same("their time", &metadata.remove(TIMESTAMP).as_deref(), &Some(timestamp));
            tally.same("their metadata", &metadata, &self.metadata());
        }
        Ok(())
    }

    fn read_args(&self, file: &Path, is_keyed: bool, flags: &[String]) -> Vec<String> {
        let mut args = vec!["read".to_owned()];
        args.extend(flags.iter().cloned());
        args.extend(is_keyed.then(|| format!("--key-file={}", self.inputs.key.display())));
        args.push(file.display().to_string());
        args
    }

    /// A reader of each other dialect, theirs and ours told to be one.
    fn read_as_others(&self, tally: &mut Tally, peers: &Peers, file: &Path, bytes: &[u8]) -> Result<()> {
        for (dialect, peer) in peers.iter().filter(|(dialect, _)| *dialect != self.dialect) {
            let what = format!("read as {dialect}");
            let theirs = peer.run_on(Some(1), self.read_args(file, self.is_keyed, &[]))?;
            let (error, is_sound) = (theirs.text("error")?, self.reads_as(*dialect));
            if is_sound {
                tally.same(&format!("{what}, theirs"), &error, &"");
                tally.same(
                    &format!("{what}, their payload"),
                    &theirs.text("sha256")?.to_owned(),
                    &hash(self.payload()),
                );
            }
            same_reading(tally, &what, &theirs, ours::read(bytes, self.key(), Some(*dialect)), is_sound)?;
        }
        Ok(())
    }

    /// Whether a reader of that dialect reads it rightly.
    fn reads_as(&self, reader: Dialect) -> bool {
        use Dialect::{A, B, C, D};
        match (self.compression, self.is_keyed) {
            (Compression::FlateBestSpeed, true) => true,
            (Compression::FlateBestSpeed, false) => (self.dialect == D) == (reader == D),
            (Compression::None, true) => {
                // Without a frame there is nothing to tell them apart by.
                self.size == 0 || matches!(self.dialect, A | B) == matches!(reader, A | B)
            }
            (Compression::None, false) => match (self.dialect, reader) {
                (B, C) | (C, B) => true,
                (A, B | C) | (B | C, A) => self.size == 0,
                (writer, reader) => writer == reader,
            },
        }
    }

    /// With a key that is not its own, without the one it has, with one that it has not.
    fn read_with_other_keys(&self, tally: &mut Tally, peer: &Peer, file: &Path, bytes: &[u8]) -> Result<()> {
        let args = |key: Option<&Path>| {
            let mut args = vec!["read".to_owned()];
            args.extend(key.map(|key| format!("--key-file={}", key.display())));
            args.push(file.display().to_string());
            args
        };
        let other: Vec<u8> = KEY.iter().rev().copied().collect();
        let with_other = peer.run_on(Some(1), args(Some(&self.inputs.other_key)))?;
        tally.same("with another key, they refuse it", &with_other.text("error")?.is_empty(), &false);
        tally.same("with another key, they open it", &with_other.text("sha256")?.to_owned(), &hash(&[]));
        for pinned in [None, Some(self.dialect)] {
            tally.same("with another key, we refuse it", &ours::read(bytes, Some(&other), pinned).is_err(), &true);
        }
        if self.is_keyed {
            let theirs = peer.run_on(Some(1), args(None))?;
            same_reading(tally, "without its key", &theirs, ours::read(bytes, None, Some(self.dialect)), false)?;
            // A file that ends behind its header MAC may as well be one of dialect D with 32 bytes of payload.
            if self.compression != Compression::None || self.size > 0 {
                tally.same("without its key, we ask for it", &ours::read(bytes, None, None).is_err(), &true);
            }
        }
        Ok(())
    }
}

/// What they read is what we read; what they refuse, we refuse. If it is not `sound`, we may refuse more.
fn same_reading(
    tally: &mut Tally,
    what: &str,
    theirs: &Report,
    ours: Result<ours::Read>,
    is_sound: bool,
) -> Result<()> {
    let error = theirs.text("error")?;
    match ours {
        Ok(read) if error.is_empty() => {
            tally.same(&format!("{what}: the same payload"), &hash(&read.payload), &theirs.text("sha256")?.to_owned());
        }
        Ok(read) => {
            let ours = format!("{} bytes", read.payload.len());
            tally.same(&format!("{what}: refused, as they do"), &ours, &error.to_owned());
        }
        Err(error) if is_sound => drop(tally.works::<(), _>(what, Err(error))),
        Err(_) => tally.same(&format!("{what}: refused"), &true, &true),
    }
    Ok(())
}

fn hash(bytes: &[u8]) -> String {
    let digest = layer::sha256(bytes).to_string();
    digest.strip_prefix("sha256:").unwrap_or(&digest).to_owned()
}
