//! Reading from slow sources, and the memory of a mount of many layers.
//!
//! | row         | measured                                                                                  |
//! |-------------|-------------------------------------------------------------------------------------------|
//! | `slow`      | 32 readers of distinct chunks of a source with 100 ms a read: time, fetches in flight      |
//! | `silent`    | 1000 reads of a source that never answers, interrupted: time until the last reader is back |
//! | `image`     | random reads of 4 KiB over an image of 20 layers for a minute: most memory of the server   |
//!
//! The last row takes root and `/dev/fuse`, and is left out without them.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    os::unix::fs::FileExt,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use dunnage_digest::{Cancel, ErrorKind, Offset, ReadAt, ReadRequest};
use dunnage_estargz::{OpenOptions, Reader, WriteOptions, Writer};
use dunnage_inputs::{
    layout::{Layout, media},
    random::Random,
    tarball::{Entry, Format, tarball},
};
use dunnage_tree::{NodeId, Tree};

use super::{
    Options,
    table::{Goal, Row, Table},
};
use crate::{
    measure::Cost,
    workspace::{Metadata, capture, cargo, is_root, scratch_dir},
};

/// `cargo xtask bench latency`.
pub(super) fn run(options: &Options) -> Result<Table> {
    let mut table = Table::default();
    let wants = |name: &str| options.only.as_deref().is_none_or(|part| name.contains(part));
    if wants("slow") {
        table.push(slow()?);
    }
    if wants("silent") {
        table.push(silent()?);
    }
    if wants("image") {
        if is_root() && fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok() {
            table.push(image()?);
        } else {
            println!("left out: image takes root and /dev/fuse");
        }
    }
    Ok(table)
}

/// Bytes of a chunk: as incompressible content of the default size would be fetched.
const CHUNK: usize = 1 << 20;
const READERS: usize = 32;

/// A layer in memory that waits before it answers, or waits until the request ends.
struct Slow {
    bytes: Vec<u8>,
    delay: Duration,
    is_silent: AtomicBool,
    waiting: AtomicUsize,
    most: AtomicUsize,
}

impl ReadAt for Slow {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        self.read_exact_at_for(at, buf, &ReadRequest::default())
    }

    fn read_exact_at_for(&self, at: Offset, buf: &mut [u8], request: &ReadRequest<'_>) -> io::Result<()> {
        self.most.fetch_max(self.waiting.fetch_add(1, SeqCst) + 1, SeqCst);
        let start = Instant::now();
        let waited = loop {
            if let Err(error) = request.check() {
                break Err(error);
            }
            let left = self.delay.saturating_sub(start.elapsed());
            if left.is_zero() && !self.is_silent.load(SeqCst) {
                break Ok(());
            }
            thread::sleep(left.clamp(Duration::from_millis(1), Duration::from_millis(20)));
        };
        self.waiting.fetch_sub(1, SeqCst);
        waited?;
        self.bytes.read_exact_at(at, buf)
    }
}

/// A layer with one file of `chunks` chunks, opened over a slow source.
fn layer(chunks: usize) -> Result<(Reader<Arc<Slow>>, Arc<Slow>)> {
    let mut content = vec![0; chunks * CHUNK];
    Random::new(12).fill(&mut content);
    let tar = tarball(Format::Ustar, &[Entry::file("noise", content)]);
    let mut writer = Writer::new(Vec::new(), &WriteOptions { chunk_size: CHUNK as u64, ..WriteOptions::default() })?;
    writer.append_tar(tar.as_slice())?;
    let source = Arc::new(Slow {
        bytes: writer.finish()?.0,
        delay: Duration::from_millis(100),
        is_silent: AtomicBool::new(false),
        waiting: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    });
    Ok((Reader::open(Arc::clone(&source), &OpenOptions::default())?, source))
}

fn noise(tree: &dyn Tree) -> Result<NodeId> {
    tree.lookup(tree.root(), b"noise")?.context("the file is not in the layer")
}

fn slow() -> Result<Row> {
    let (reader, source) = layer(READERS)?;
    let node = noise(&reader)?;
    source.most.store(0, SeqCst);
    let start = Instant::now();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                let reader = &reader;
                scope.spawn(move || reader.read_at(node, (number * CHUNK) as u64, &mut [0; 4096]))
            })
            .collect();
        readers.into_iter().try_for_each(|reader| -> Result<()> {
            ensure!(reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?? == 4096, "a read is short");
            Ok(())
        })
    })?;
    let wall = start.elapsed().as_secs_f64();
    let in_flight = source.most.load(SeqCst) as f64;
    let what = format!("{READERS} readers, 100 ms a read");
    let goals = vec![
        Goal { what: "in flight", figure: "in_flight", limit: 16.0, got: in_flight, at_least: true },
        Goal { what: "s", figure: "reach", limit: 0.35, got: wall, at_least: false },
    ];
    Ok(row("slow", what, wall, goals))
}

fn silent() -> Result<Row> {
    const READS: usize = 1000;
    let (reader, source) = layer(READERS)?;
    let (reader, cancel) = (Arc::new(reader), Cancel::new());
    let node =
        dunnage_tree::Tree::lookup(&*reader, reader.root(), b"noise")?.context("the file is not in the layer")?;
    source.is_silent.store(true, SeqCst);
    let before = threads()?;
    let mut readers = Vec::new();
    for number in 0..READS {
        let (reader, cancel) = (Arc::clone(&reader), cancel.clone());
        let read = move || {
            let at = (number % READERS * CHUNK) as u64;
            let ended = reader.read_at_for(node, at, &mut [0; 4096], &ReadRequest::cancelled_by(&cancel));
            (ended.map_err(|error| error.kind()), Instant::now())
        };
        readers.push(thread::Builder::new().stack_size(256 << 10).spawn(read)?);
    }
    // The cache bounds the bytes that are fetched at once, so that some readers wait for it and others for the source.
    while source.waiting.load(SeqCst) < READERS / 2 {
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    cancel.cancel();
    let mut wall = Duration::ZERO;
    for reader in readers {
        let (ended, at) = reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?;
        ensure!(ended == Err(ErrorKind::Cancelled), "a read ended with {ended:?}");
        wall = wall.max(at.saturating_duration_since(start));
    }
    let left = threads()?.saturating_sub(before) as f64;
    let goals = vec![
        Goal { what: "s", figure: "reach", limit: 1.0, got: wall.as_secs_f64(), at_least: false },
        Goal { what: "threads left", figure: "threads_left", limit: 64.0, got: left, at_least: false },
    ];
    Ok(row("silent", format!("{READS} reads, interrupted"), wall.as_secs_f64(), goals))
}

fn threads() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/task").context("cannot list threads")?.count())
}

const LAYERS: usize = 20;
/// Content of a layer: half of it can be compressed.
const LAYER: usize = 40 << 20;
const SECONDS: u64 = 60;

fn image() -> Result<Row> {
    println!("building the released command");
    capture(cargo().args(["build", "--release", "--package", "dunnage"]))?;
    let dunnage = Metadata::load()?.target_directory.join("release/dunnage");
    let dir = tempfile::tempdir_in(scratch_dir("latency")?).context("cannot create a scratch directory")?;
    let mut plain = Layout::create(&dir.path().join("plain"));
    let layers: Vec<_> = (0..LAYERS)
        .map(|number| {
            let content = Random::new(number as u64).mixed(LAYER);
            plain.layer(media::TAR, &tarball(Format::Ustar, &[Entry::file(&format!("layer-{number:02}"), content)]))
        })
        .collect();
    let image = plain.image("amd64", &layers);
    plain.tag("", &image);
    let name = |layout: &Path| format!("oci:{}", layout.display());
    let (converted, at) = (dir.path().join("estargz"), dir.path().join("at"));
    let mut convert = Command::new(&dunnage);
    convert.arg("convert").arg(name(plain.path())).arg(name(&converted)).args(["--to", "estargz", "--level", "1"]);
    capture(convert.args(["--progress", "none"]))?;
    fs::create_dir(&at).context("cannot create the mount point")?;
    let mut mount = Command::new(&dunnage);
    let mut server = mount.arg("mount").arg(name(&converted)).arg(&at).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(stdout) = server.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let measured = if line.starts_with("mounted ") { strain(&at, server.id()) } else { Err(anyhow::anyhow!(line)) };
    let taken_off = capture(Command::new(&dunnage).arg("umount").arg(&at));
    if taken_off.is_err() {
        server.kill().context("the server cannot be ended")?;
    }
    server.wait().context("the server cannot be waited for")?;
    let (reads, most_kib) = measured?;
    taken_off?;
    let mut cost = Cost::default();
    cost.wall = SECONDS as f64;
    cost.peak_kib = most_kib;
    let goals = vec![Goal::peak(192.0, &cost)];
    Ok(Row { cost, ..row("image", format!("{LAYERS} layers, {reads} reads of 4 KiB"), SECONDS as f64, goals) })
}

/// Reads past the cache of the kernel, everywhere, with eight readers. Returns their reads, and the most memory of the
/// server in KiB.
fn strain(at: &Path, server: u32) -> Result<(u64, u64)> {
    let (ended, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let most = thread::scope(|scope| {
        let readers: Vec<_> = (0..8)
            .map(|seed| {
                let (ended, reads) = (&ended, &reads);
                scope.spawn(move || -> Result<()> {
                    let (mut random, mut block) = (Random::new(seed), [0; 4096]);
                    while !ended.load(SeqCst) {
                        let name = format!("layer-{:02}", random.below(LAYERS as u64));
                        let file = File::open(at.join(&name)).with_context(|| format!("cannot open `{name}`"))?;
                        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
                        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random)?;
                        let place = random.below((LAYER - block.len()) as u64) & !4095;
                        FileExt::read_exact_at(&file, &mut block, place)
                            .with_context(|| format!("cannot read `{name}`"))?;
                        reads.fetch_add(1, SeqCst);
                    }
                    Ok(())
                })
            })
            .collect();
        let (start, mut most) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(SECONDS) && readers.iter().all(|reader| !reader.is_finished()) {
            thread::sleep(Duration::from_millis(100));
            most = most.max(resident(server).unwrap_or(0));
        }
        ended.store(true, SeqCst);
        for reader in readers {
            match reader.join() {
                Ok(read) => read?,
                Err(_) => bail!("a reader panicked"),
            }
        }
        Ok(most)
    })?;
    Ok((reads.load(SeqCst), most))
}

/// Resident memory of a process, in KiB.
fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn row(input: &'static str, what: String, wall: f64, goals: Vec<Goal>) -> Row {
    let mut cost = Cost::default();
    cost.wall = wall;
    Row { input, what, figure: format!("latency_{input}"), cost, size: None, ratio: None, worked: None, goals }
}
