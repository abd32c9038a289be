//! eStargz, gzip profile: each combination of input, level, chunk size, order and mode, both ways.
//!
//! Ours to the reference: it verifies every chunk, shows the same tree with the same content as for its own blob of the
//! same input and options, and encodes our TOC to the same bytes. Theirs to us: the same the other way round. Beside that:
//! the tar inside is equal byte for byte (which is what DiffIDs cover besides the TOC), lossless gives the input back, the
//! bytes do not depend on threads or on whether the input is a file or a pipe, and GNU tar lists the layer.
//!
//! A prioritized order needs the whole input; the lossless writer takes it as it comes. So that pair does not exist.

use std::{
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use dunnage_conformance::{
    dump::{Line, clean, dump, first_difference, parse},
    layer, parallel,
    random::Random,
};
use dunnage_digest::Digest;
use dunnage_estargz::{Codec, Limits, Summary, Toc, TocType};

use super::{Options, tally::Tally};
use crate::{
    inputs::{Generated, debian_root, generated},
    peers::Peer,
    workspace::{capture, scratch_dir},
};

const LEVELS: [i32; 3] = [1, 6, 9];
const CHUNKS: [u64; 3] = [0, 4096, 1 << 20];

/// Generated inputs. `chunky` is for large chunks, the others for headers.
const GENERATED: [Generated; 6] = [
    Generated { format: "ustar", ..shape("ustar", 11) },
    Generated { format: "pax", ..shape("pax", 12) },
    Generated { format: "gnu", ..shape("gnu", 13) },
    Generated { entries: 600, ..shape("mixed", 14) },
    Generated { entries: 14, max_size: 2_300_000, ..shape("chunky", 15) },
    Generated { utf8: false, ..shape("not-utf8", 16) },
];

const fn shape(name: &'static str, seed: u64) -> Generated {
    Generated { name, seed, entries: 300, max_size: 20_000, format: "mixed", duplicates: true, utf8: true }
}

/// An input, and what to put first when something is put first.
struct Input {
    name: String,
    /// The tar for builds, which may say names twice.
    tar: PathBuf,
    /// The tar for appending and for pipes, which does not.
    once: PathBuf,
    prioritized: Vec<String>,
    /// Whether all names are UTF-8; then our TOC is byte-equal to theirs but for the offsets.
    utf8: bool,
    /// Small enough to run every codec and thread count each time.
    small: bool,
    /// What the reference shows of its own blobs, by what it depends on: order and mode, not level or chunk size.
    dumps: [Mutex<Option<Arc<Vec<Line>>>>; 3],
}

#[derive(Clone, Copy)]
struct Combination<'i> {
    input: &'i Input,
    level: i32,
    chunk: u64,
    prioritized: bool,
    lossless: bool,
    /// Which codec a large input takes in this combination.
    turn: usize,
}

/// Runs all combinations, two at a time.
pub(super) fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let peer = if options.peers { Peer::build("estargz", options.no_skips)? } else { None };
    let inputs = inputs(options, peer.as_ref())?;
    let mut combinations = combinations(&inputs, options.quick);
    // The long ones first, so that no core waits for the other at the end.
    combinations.sort_by_key(|combination| combination.input.small);
    let dir = tempfile::tempdir_in(scratch_dir("conformance")?).context("cannot create a scratch directory")?;
    let tallies = parallel::map(&combinations, |combination| combination.run(peer.as_ref(), dir.path()));
    let made: u64 = tallies.iter().map(|tally| tally.made).sum();
    let failed: usize = tallies.iter().map(|tally| tally.failures.len()).sum();
    for input in &inputs {
        let count = combinations.iter().filter(|combination| combination.input.name == input.name).count();
        println!("  input {}: {count} combinations", input.name);
    }
    let (count, against) = (combinations.len(), if peer.is_some() { "" } else { " (no peer)" });
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "conformance estargz{against}: {count} combinations, {made} comparisons, {failed} failures, {seconds:.0} s"
    );
    if failed > 0 {
        bail!("estargz: {failed} failures");
    }
    Ok(())
}

fn inputs(options: &Options, peer: Option<&Peer>) -> Result<Vec<Input>> {
    let wanted = |name: &str| options.input.as_deref().is_none_or(|part| name.contains(part));
    let mut inputs = Vec::new();
    for spec in GENERATED.iter().filter(|spec| wanted(spec.name)) {
        let tar = generated(spec, peer)?;
        let once = generated(&Generated { duplicates: false, ..*spec }, peer)?;
        inputs.push(Input {
            name: spec.name.to_owned(),
            prioritized: names(&tar, spec.seed)?,
            tar,
            once,
            utf8: spec.utf8,
            small: true,
            dumps: Default::default(),
        });
    }
    if !options.quick && wanted("debian") {
        match debian_root()? {
            Some(tar) => inputs.push(Input {
                name: "debian".to_owned(),
                prioritized: names(&tar, 1)?,
                once: tar.clone(),
                tar,
                utf8: true,
                small: false,
                dumps: Default::default(),
            }),
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
    let there: std::collections::BTreeSet<Vec<u8>> =
        toc.entries.iter().map(|entry| clean(entry.name.as_bytes())).collect();
    let has_parents = |name: &str| {
        let path = clean(name.as_bytes());
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.into_iter().all(|end| path.get(..end).is_some_and(|parent| there.contains(parent)))
    };
    let usable =
        |name: &str| !name.contains(['\n', '\r', '\u{fffd}']) && !name.contains("landmark") && has_parents(name);
    let mut random = Random::new(seed);
    let all = toc.entries.iter().filter(|entry| entry.kind != TocType::Chunk && usable(&entry.name));
    let mut names: Vec<String> = all.filter(|_| random.below(5) == 0).map(|entry| entry.name.clone()).collect();
    for at in (1..names.len()).rev() {
        names.swap(at, random.below(at as u64 + 1) as usize);
    }
    names.truncate(60);
    Ok(names)
}

fn combinations<'i>(inputs: &'i [Input], quick: bool) -> Vec<Combination<'i>> {
    let mut all = Vec::new();
    for input in inputs {
        for (l, &level) in LEVELS.iter().enumerate() {
            for (c, &chunk) in CHUNKS.iter().enumerate() {
                if quick && (level != 6 || chunk > 4096) {
                    continue;
                }
                for (m, (prioritized, lossless)) in
                    [(false, false), (true, false), (false, true)].into_iter().enumerate()
                {
                    all.push(Combination { input, level, chunk, prioritized, lossless, turn: l + c + m });
                }
            }
        }
    }
    all
}

/// What both ways need of a blob of ours.
struct Ours {
    codec: &'static str,
    blob: Vec<u8>,
    summary: Summary,
    /// What it unpacks to, by us.
    tar: Vec<u8>,
}

/// What the reference made of the same.
struct Theirs {
    path: PathBuf,
    blob: Vec<u8>,
    diff_id: String,
    dump: Arc<Vec<Line>>,
    toc: Vec<u8>,
    /// Chunks and bytes, verified by us.
    verified: [u64; 2],
    /// What it unpacks to, by us.
    tar: Vec<u8>,
}

impl Combination<'_> {
    fn name(&self) -> String {
        let order = if self.prioritized { "prioritized" } else { "as it comes" };
        let mode = if self.lossless { "lossless" } else { "lossy" };
        format!("{} level {} chunk {} {order} {mode}", self.input.name, self.level, self.chunk)
    }

    fn tar(&self) -> &Path {
        if self.lossless { &self.input.once } else { &self.input.tar }
    }

    fn prioritized(&self) -> &[String] {
        if self.prioritized { &self.input.prioritized } else { &[] }
    }

    /// All comparisons, in a directory of their own below `dir`.
    fn run(&self, peer: Option<&Peer>, dir: &Path) -> Tally {
        let begin = Instant::now();
        let mut tally = Tally::new(self.name());
        let scratch = dir.join(tally.name.replace(' ', "-"));
        if let Err(error) = self.check(&mut tally, peer, &scratch) {
            tally.failures.push(format!("{error:#}"));
        }
        // What is left goes with `dir`.
        let _ = fs::remove_dir_all(&scratch);
        if !self.input.small || !tally.failures.is_empty() {
            let (name, comparisons, seconds) = (&tally.name, tally.made, begin.elapsed().as_secs_f64());
            println!("  {name}: {comparisons} comparisons, {} failures, {seconds:.1} s", tally.failures.len());
        }
        for failure in &tally.failures {
            println!("    FAILED {failure}");
        }
        tally
    }

    fn check(&self, tally: &mut Tally, peer: Option<&Peer>, scratch: &Path) -> Result<()> {
        fs::create_dir_all(scratch).with_context(|| format!("cannot create `{}`", scratch.display()))?;
        let theirs = peer.map(|peer| self.theirs(peer, scratch)).transpose()?;
        if let Some(theirs) = &theirs {
            self.check_theirs(tally, theirs)?;
        }
        let codecs = layer::codecs();
        for (index, &(name, codec)) in codecs.iter().enumerate() {
            if !self.input.small && index != self.turn % codecs.len() {
                continue;
            }
            let (blob, summary) = self.write(codec, 2)?;
            let tar = layer::unpack(blob.as_slice()).context("we unpack ours")?;
            let ours = Ours { codec: name, blob, summary, tar };
            self.check_ours(tally, &ours, codec)?;
            self.check_with_tar(tally, &ours, theirs.as_ref(), scratch)?;
            if let (Some(peer), Some(theirs)) = (peer, &theirs) {
                self.check_pair(tally, peer, &ours, theirs, scratch)?;
            }
        }
        Ok(())
    }

    fn write(&self, codec: Codec, threads: usize) -> Result<(Vec<u8>, Summary)> {
        let write = layer::options(codec, self.level, self.chunk, threads)?;
        if self.lossless {
            return Ok(layer::append_lossless(BufReader::new(open(self.tar())?), &write)?);
        }
        let (blob, built) = layer::build(open(self.tar())?, &write, self.prioritized())?;
        Ok((blob, built.summary))
    }

    /// The reference's blob of the same input and options, and what it says about it.
    fn theirs(&self, peer: &Peer, scratch: &Path) -> Result<Theirs> {
        let path = scratch.join("theirs.esgz");
        let mut args = vec![
            if self.lossless { "append" } else { "build" }.to_owned(),
            format!("--level={}", self.level),
            format!("--chunk-size={}", self.chunk),
        ];
        if self.lossless {
            args.push("--lossless".to_owned());
        } else {
            args.push("--parallelism=1".to_owned());
        }
        if self.prioritized {
            let list = scratch.join("prioritized.txt");
            fs::write(&list, self.input.prioritized.join("\n"))?;
            args.push(format!("--prioritized={}", list.display()));
        }
        args.push(self.tar().display().to_string());
        args.push(path.display().to_string());
        let report = ask(peer, args)?;
        let toc_digest: Digest = report.text("toc_digest")?.parse()?;
        let diff_id = report.text("diff_id")?.to_owned();
        let dump = {
            // Under the lock, so that it is made once.
            let [plain, first, lossless] = &self.input.dumps;
            let slot = if self.lossless {
                lossless
            } else if self.prioritized {
                first
            } else {
                plain
            };
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            match &*slot {
                Some(dump) => Arc::clone(dump),
                None => Arc::clone(slot.insert(Arc::new(their_dump(peer, &path, scratch)?))),
            }
        };
        let toc = their_toc(peer, &path, scratch, true)?;
        let blob = fs::read(&path)?;
        let tar = layer::unpack(blob.as_slice()).context("we unpack theirs")?;
        let verified = layer::verify(blob.as_slice(), &toc_digest, 2).context("we verify theirs")?;
        let verified = [verified.chunks, verified.bytes];
        Ok(Theirs { path, blob, diff_id, dump, toc, verified, tar })
    }

    /// Their blob, read by us.
    fn check_theirs(&self, tally: &mut Tally, theirs: &Theirs) -> Result<()> {
        let blob = theirs.blob.as_slice();
        if let Some(toc) = tally.works("we parse their TOC", Toc::parse(&theirs.toc, &Limits::default())) {
            tally.same_bytes("their TOC, encoded by us", &toc.to_json(), &decoded(&theirs.toc));
            if let Some(dump) = tally.works("we read theirs", our_dump(blob, &toc)) {
                tally.nothing("their tree, ours against their dump", first_difference(&dump, &theirs.dump));
            }
        }
        if let Some(whole) = tally.works("their blob inflates", layer::inflate(blob)) {
            tally.same("their DiffID", &layer::sha256(&whole).to_string(), &theirs.diff_id);
        }
        if self.lossless {
            tally.same("their lossless blob, unpacked by us", &layer::sha256(&theirs.tar), &digest_of(self.tar())?);
        }
        Ok(())
    }

    /// Our blob, by itself.
    fn check_ours(&self, tally: &mut Tally, ours: &Ours, codec: Codec) -> Result<()> {
        let (blob, summary, name) = (ours.blob.as_slice(), &ours.summary, ours.codec);
        tally.same(&format!("{name}: blob digest"), &layer::sha256(blob), &summary.blob);
        let json = layer::toc_json(blob);
        tally.same(&format!("{name}: TOC digest"), &layer::sha256(&json), &summary.toc_digest);
        tally.works(&format!("{name}: we verify ours"), layer::verify(blob, &summary.toc_digest, 2));
        let whole = layer::inflate(blob)?;
        tally.same(&format!("{name}: DiffID"), &layer::sha256(&whole), summary.diff_id.digest());
        tally.same(&format!("{name}: uncompressed size"), &(whole.len() as u64), &summary.uncompressed_len);
        let tar = &ours.tar;
        tally.same(&format!("{name}: unpacked is the front of what inflates"), &whole.starts_with(tar), &true);
        if self.lossless {
            tally.same(&format!("{name}: lossless, unpacked"), &layer::sha256(tar), &digest_of(self.tar())?);
        }
        // Large inputs prove it at one level; small ones each time.
        if self.input.small || self.level == 6 {
            for threads in [1, 8] {
                let same = self.write(codec, threads)?.0 == blob;
                tally.same(&format!("{name}: the same bytes with {threads} threads"), &same, &true);
            }
            if !self.prioritized {
                self.check_pipe(tally, name, codec)?;
            }
        }
        Ok(())
    }

    /// A build from a pipe gives what a build from a file gives.
    fn check_pipe(&self, tally: &mut Tally, name: &str, codec: Codec) -> Result<()> {
        if !self.input.small && self.lossless {
            return Ok(());
        }
        let write = layer::options(codec, self.level, self.chunk, 2)?;
        let file = layer::build(open(&self.input.once)?, &write, &[])?.0;
        let mut cat = Command::new("cat").arg(&self.input.once).stdout(std::process::Stdio::piped()).spawn()?;
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
        let path = scratch.join("ours.esgz");
        fs::write(&path, &ours.blob)?;
        let list = |path: &Path, verbose: &str| {
            let args = ["--quoting-style=escape", verbose, "-t", "-z", "-f"];
            capture(Command::new("tar").env("TZ", "UTC").args(args).arg(path))
        };
        let name = ours.codec;
        let listed = tally.works(&format!("{name}: GNU tar lists ours"), list(&path, "-v"));
        if let (Some(listed), Some(theirs)) = (listed, theirs.filter(|_| self.input.small || self.level == 6)) {
            let wanted = list(&theirs.path, "-v")?;
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

    /// Our blob, read by the reference and compared with its own.
    fn check_pair(&self, tally: &mut Tally, peer: &Peer, ours: &Ours, theirs: &Theirs, scratch: &Path) -> Result<()> {
        let (path, name) = (scratch.join("ours.esgz"), ours.codec);
        let verified = verify(peer, &path, &ours.summary.toc_digest.to_string());
        if let Some(verified) = tally.works(&format!("{name}: the reference verifies ours"), verified) {
            let what = format!("{name}: chunks and bytes, the reference in ours against us in theirs");
            tally.same(&what, &verified, &theirs.verified);
        }
        if let Some(dump) = tally.works(&format!("{name}: the reference reads ours"), their_dump(peer, &path, scratch))
        {
            let what = format!("{name}: the reference's dump, ours against theirs");
            tally.nothing(&what, first_difference(&dump, &theirs.dump));
        }
        let json = layer::toc_json(&ours.blob);
        let again = their_toc(peer, &path, scratch, false);
        if let Some(again) = tally.works(&format!("{name}: the reference parses our TOC"), again) {
            tally.same_bytes(&format!("{name}: our TOC, encoded by the reference"), &decoded(&json), &again);
        }
        let raw = their_toc(peer, &path, scratch, true)?;
        tally.same_bytes(&format!("{name}: our TOC as the reference finds it"), &json, &raw);
        let toc = Toc::parse(&json, &Limits::default())?;
        let what = format!("{name}: our TOC against theirs, offsets aside");
        let their_json = if self.input.utf8 { theirs.toc.clone() } else { decoded(&theirs.toc) };
        tally.same_bytes(&what, &without_offsets(&json), &without_offsets(&their_json));
        if let Some(dump) = tally.works(&format!("{name}: we read ours"), our_dump(&ours.blob, &toc)) {
            tally.nothing(&format!("{name}: our tree against their dump"), first_difference(&dump, &theirs.dump));
        }
        tally.same_bytes(&format!("{name}: the tar inside, ours against theirs"), &ours.tar, &theirs.tar);
        let out = scratch.join("unpacked.tar");
        let unpacked = ask(peer, ["unpack".as_ref(), "--hash=false".as_ref(), path.as_os_str(), out.as_os_str()]);
        if tally.works(&format!("{name}: the reference unpacks ours"), unpacked).is_some() {
            tally.same_bytes(&format!("{name}: our tar as the reference unpacks it"), &fs::read(&out)?, &ours.tar);
        }
        Ok(())
    }
}

/// Runs the peer on one processor, since two combinations run at once.
fn ask<S: AsRef<std::ffi::OsStr>>(peer: &Peer, args: impl IntoIterator<Item = S>) -> Result<crate::peers::Report> {
    peer.run_on(Some(1), args)
}

fn verify(peer: &Peer, blob: &Path, toc_digest: &str) -> Result<[u64; 2]> {
    let report = ask(peer, ["verify".to_owned(), format!("--toc-digest={toc_digest}"), blob.display().to_string()])?;
    Ok([report.number("chunks")?, report.number("bytes")?])
}

fn their_dump(peer: &Peer, blob: &Path, scratch: &Path) -> Result<Vec<Line>> {
    let out = scratch.join("dump.jsonl");
    ask(peer, ["dump".as_ref(), blob.as_os_str(), out.as_os_str()])?;
    let lines = parse(&fs::read_to_string(&out)?).context("cannot read the peer's dump")?;
    Ok(comparable(lines))
}

fn our_dump(blob: &[u8], toc: &Toc) -> Result<Vec<Line>> {
    Ok(comparable(dump(&layer::open(blob)?, toc, true)?))
}

/// The root aside, whose link count the reference takes from whether it has an entry (defect Q21).
fn comparable(mut lines: Vec<Line>) -> Vec<Line> {
    for line in lines.iter_mut().filter(|line| line.path.is_empty()) {
        line.num_link = 0;
    }
    lines
}

fn their_toc(peer: &Peer, blob: &Path, scratch: &Path, raw: bool) -> Result<Vec<u8>> {
    let out = scratch.join("toc.json");
    let mut args = vec!["toc".as_ref()];
    if raw {
        args.push("--raw".as_ref());
    }
    args.extend([blob.as_os_str(), out.as_os_str()]);
    ask(peer, args)?;
    fs::read(&out).context("the peer wrote no TOC")
}

/// A TOC document without the digits of its offsets, which depend on the compressor.
fn without_offsets(json: &[u8]) -> Vec<u8> {
    let line = |line: &[u8]| if line.starts_with(b"\t\t\t\"offset\": ") { b"offset".to_vec() } else { line.to_vec() };
    json.split(|&byte| byte == b'\n').map(line).collect::<Vec<_>>().join(&b'\n')
}

/// A TOC document with U+FFFD as such. Go writes the escape for a byte that is not UTF-8 and the character for the
/// character, so once decoded, nobody can tell which it was.
fn decoded(json: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(json).replace("\\ufffd", "\u{fffd}").into_bytes()
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open `{}`", path.display()))
}

fn digest_of(path: &Path) -> Result<Digest> {
    Ok(layer::sha256(&fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?))
}
