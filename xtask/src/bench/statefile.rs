//! What state files cost: writing, reading and verifying a payload of 1 GiB, ours beside gVisor's own package.
//!
//! Each measurement is a process of its own, and its wall time that of the operation proper, as the program reports it;
//! processor time and memory are the process's. Inputs are in the page cache and outputs in memory, so that no disk is
//! measured; the payload is read and dropped. Both sides are handed the payload 1 MiB at a time and are asked for it so. Of the
//! rounds, which alternate between the sides, the best counts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    Options, remove, size,
    table::{Goal, Row, Table},
    text, timed, warm,
};
use crate::{
    inputs::payload,
    measure::{self, Cost, best_cost},
    peers::Peer,
    workspace::{Metadata, capture, cargo, scratch_dir},
};

const PAYLOAD: u64 = 1 << 30;
/// Any case fits into it.
const PEAK_MIB: f64 = 64.0;
/// How much slower than a plain copy something without a key and without compression may be.
const OF_A_COPY: f64 = 0.9;
const KEY: &[u8] = b"a key of thirty-two bytes, as is";

/// A kind of file, and how many times faster than the reference ours is to be.
struct Form {
    /// Start of the figures' names.
    name: &'static str,
    compression: &'static str,
    is_keyed: bool,
    /// Writing and reading; nothing where both are bound by copying.
    aims: Option<(f64, f64)>,
}

const FORMS: [Form; 4] = [
    Form { name: "none", compression: "none", is_keyed: false, aims: None },
    Form { name: "none_keyed", compression: "none", is_keyed: true, aims: Some((2.0, 1.7)) },
    Form { name: "flate", compression: FLATE, is_keyed: false, aims: Some((2.0, 2.8)) },
    Form { name: "flate_keyed", compression: FLATE, is_keyed: true, aims: Some((2.0, 2.8)) },
];
const FLATE: &str = "flate-best-speed";

struct Bench<'o> {
    options: &'o Options,
    dunnage: PathBuf,
    /// Does one thing in its own process and says how long that took.
    example: PathBuf,
    peer: Option<Peer>,
    payload: PathBuf,
    key: PathBuf,
    /// In memory, where there is room.
    dir: tempfile::TempDir,
    table: Table,
}

/// `cargo xtask bench statefile`.
pub(super) fn run(options: &Options) -> Result<Table> {
    let peer = if options.peers { Peer::build("statefile", false)? } else { None };
    println!("building the released command");
    capture(cargo().args(["build", "--release", "--package", "dunnage"]))?;
    capture(cargo().args([
        "build",
        "--release",
        "--package",
        "dunnage-statefile",
        "--all-features",
        "--example",
        "state_bench",
    ]))?;
    let release = Metadata::load()?.target_directory.join("release");
    let memory = Path::new("/dev/shm");
    let dir =
        if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir_in(scratch_dir("bench")?)? };
    let key = dir.path().join("key");
    fs::write(&key, KEY).context("cannot write a key")?;
    let payload = payload(PAYLOAD)?;
    warm(&payload)?;
    let mut bench = Bench {
        options,
        dunnage: release.join("dunnage"),
        example: release.join("examples/state_bench"),
        peer,
        payload,
        key,
        dir,
        table: Table::default(),
    };
    for form in &FORMS {
        bench.write(form)?;
        bench.read(form)?;
    }
    bench.verify()?;
    Ok(bench.table)
}

impl Bench<'_> {
    fn wanted(&self, what: &str) -> bool {
        self.options.only.as_deref().is_none_or(|part| what.contains(part))
    }

    /// A run of our program.
    fn ours(&self, args: &[&str]) -> Result<Cost> {
        timed(measure::run(&self.example, args)?)
    }

    fn key_of(&self, form: &Form) -> Result<&str> {
        if form.is_keyed { text(&self.key) } else { Ok("-") }
    }

    fn flags_of(&self, form: &Form) -> Vec<String> {
        if form.is_keyed { vec![format!("--key-file={}", self.key.display())] } else { Vec::new() }
    }

    /// The reference writes a file.
    fn theirs_written(&self, peer: &Peer, form: &Form, out: &Path) -> Result<Cost> {
        remove(out)?;
        let mut args = vec!["write".to_owned(), format!("--compression={}", form.compression)];
        args.extend(self.flags_of(form));
        args.extend([self.payload.display().to_string(), out.display().to_string()]);
        timed(measure::run(peer.program(), &args)?)
    }

    fn ours_written(&self, form: &Form, out: &Path) -> Result<Cost> {
        remove(out)?;
        self.ours(&["write", form.compression, self.key_of(form)?, text(&self.payload)?, text(out)?])
    }

    fn write(&mut self, form: &Form) -> Result<()> {
        let figure = format!("write_{}", form.name);
        if !self.wanted(&figure) {
            return Ok(());
        }
        let (our_out, their_out) = (self.dir.path().join("ours"), self.dir.path().join("theirs"));
        let copy_out = self.dir.path().join("copy");
        let (mut ours, mut theirs, mut copies) = (Vec::new(), Vec::new(), Vec::new());
        let mut sizes = (0, None);
        for _ in 0..self.options.rounds {
            if let Some(peer) = &self.peer {
                theirs.push(self.theirs_written(peer, form, &their_out)?);
                sizes.1 = Some(size(&their_out)?);
                remove(&their_out)?;
            }
            if form.aims.is_none() {
                copies.push(self.ours(&["copy", text(&self.payload)?, text(&copy_out)?])?);
                remove(&copy_out)?;
            }
            ours.push(self.ours_written(form, &our_out)?);
            sizes.0 = size(&our_out)?;
            remove(&our_out)?;
        }
        self.rows("write", form, (&ours, &theirs, &copies), Some(sizes));
        Ok(())
    }

    fn read(&mut self, form: &Form) -> Result<()> {
        let figure = format!("read_{}", form.name);
        if !self.wanted(&figure) {
            return Ok(());
        }
        let file = self.file(form)?;
        let (mut ours, mut theirs, mut copies) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.options.rounds {
            if let Some(peer) = &self.peer {
                let mut args = vec!["read".to_owned(), "--hash=false".to_owned()];
                args.extend(self.flags_of(form));
                args.push(file.display().to_string());
                theirs.push(timed(measure::run(peer.program(), &args)?)?);
            }
            if form.aims.is_none() {
                copies.push(self.ours(&["drain", text(&file)?])?);
            }
            ours.push(self.ours(&["read", self.key_of(form)?, text(&file)?])?);
        }
        self.rows("read", form, (&ours, &theirs, &copies), None);
        remove(&file)
    }

    /// `dunnage state verify`, whole processes.
    fn verify(&mut self) -> Result<()> {
        let [.., form] = &FORMS;
        if !self.wanted("verify_flate_keyed") {
            return Ok(());
        }
        let file = self.file(form)?;
        let args = ["state", "verify", text(&file)?, "--key-file", text(&self.key)?, "--progress", "none"];
        let runs = (0..self.options.rounds).map(|_| measure::run(&self.dunnage, &args));
        let cost = best_cost(&runs.collect::<Result<Vec<_>>>()?);
        self.table.push(Row {
            input: "1 GiB",
            what: "dunnage state verify, flate keyed".to_owned(),
            figure: "verify_flate_keyed".to_owned(),
            goals: vec![Goal::cores(1.7, &cost), Goal::peak(PEAK_MIB, &cost)],
            cost,
            size: None,
            ratio: None,
            worked: Some(PAYLOAD),
        });
        remove(&file)
    }

    /// A file to be read: the reference's where there is one.
    fn file(&self, form: &Form) -> Result<PathBuf> {
        let file = self.dir.path().join("file");
        match &self.peer {
            Some(peer) => self.theirs_written(peer, form, &file)?,
            None => self.ours_written(form, &file)?,
        };
        Ok(file)
    }

    /// One row for each side, and one for the plain copy.
    fn rows(
        &mut self,
        verb: &str,
        form: &Form,
        (ours, theirs, copies): (&[Cost], &[Cost], &[Cost]),
        sizes: Option<(u64, Option<u64>)>,
    ) {
        let what = format!("{verb} {}", form.name.replace('_', " "));
        let figure = format!("{verb}_{}", form.name);
        let cost = best_cost(ours);
        let times_faster = |others: &[Cost]| (!others.is_empty()).then(|| best_cost(others).wall / cost.wall);
        let ratio = times_faster(theirs);
        let of_copy = times_faster(copies);
        let row = |what: String, figure: String, cost: Cost, size| Row {
            input: "1 GiB",
            what,
            figure,
            cost,
            size,
            ratio: None,
            worked: Some(PAYLOAD),
            goals: Vec::new(),
        };
        if !theirs.is_empty() {
            let size = sizes.and_then(|(_, theirs)| theirs);
            self.table.push(row(format!("{what}, reference"), format!("{figure}_reference"), best_cost(theirs), size));
        }
        if !copies.is_empty() {
            let copied = if verb == "write" { "plain buffered copy" } else { "plain buffered reading" };
            self.table.push(row(copied.to_owned(), format!("{figure}_copy"), best_cost(copies), None));
        }
        let aim = form.aims.map(|(write, read)| if verb == "write" { write } else { read });
        let mut goals = Vec::new();
        goals.extend(aim.and_then(|aim| Goal::ratio(aim, ratio)));
        goals.extend(of_copy.map(|got| Goal::of_copy(OF_A_COPY, got)));
        goals.extend(sizes.and_then(|(ours, theirs)| Goal::size(0.0, ours, theirs)));
        goals.push(Goal::peak(PEAK_MIB, &cost));
        let size = sizes.map(|(ours, _)| ours);
        self.table.push(Row { ratio, goals, ..row(format!("{what}, ours"), figure, cost, size) });
    }
}
