//! What mounting costs: a layer and a zstd:chunked one, mounted by us, beside the tree unpacked on disk and squashfuse.
//!
//! Measured, from outside, by one reader program: reading all files front to back, with one reader and with two; reads of
//! 4 KiB anywhere, four readers; `find -ls` over 100 000 names; requests that do nothing, for the price of one. *Cold* is
//! a fresh mount after the kernel has dropped its caches, *warm* the same again. All take turns in each round. Left out:
//! mounting itself, memory.

mod contender;
mod reader;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use self::{
    contender::{Contender, Kind, install},
    reader::{Files, find, price, random, sequential},
};
use super::{
    Options,
    table::{Goal, Row, Table},
};
use crate::{
    inputs::{debian_root, small_files},
    measure::{Cost, median},
    workspace::{Metadata, capture, cargo, is_root, scratch_dir},
};

/// `cargo xtask bench mount`.
pub(super) fn run(options: &Options) -> Result<Table> {
    if !is_root() {
        bail!("bench mount takes root: it mounts, and drops the caches of the kernel");
    }
    install()?;
    println!("building the released command");
    capture(cargo().args(["build", "--release", "--package", "dunnage"]))?;
    let dunnage = Metadata::load()?.target_directory.join("release/dunnage");
    let dir = tempfile::tempdir_in(scratch_dir("mount")?).context("cannot create a scratch directory")?;
    let mut bench = Bench { options, table: Table::default() };
    if let Some(debian) = debian_root()?.filter(|_| bench.wants("debian")) {
        let contenders = Contender::all(&dunnage, &debian, &dir.path().join("debian"))?;
        bench.files(&contenders)?;
        bench.prices(&dunnage, &contenders)?;
    }
    if bench.wants("names") {
        let contenders = Contender::all(&dunnage, &small_files(100_000)?, &dir.path().join("names"))?;
        bench.names(&contenders)?;
    }
    Ok(bench.table)
}

/// How often a warm operation is measured in a round: it is so short that one measurement is mostly chance.
const WARM: usize = 7;

struct Bench<'o> {
    options: &'o Options,
    table: Table,
}

/// What one contender took in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    cold: f64,
    warm: f64,
    two: f64,
    random: f64,
}

impl Bench<'_> {
    fn wants(&self, name: &str) -> bool {
        self.options.only.as_deref().is_none_or(|part| name.contains(part))
    }

    /// Content: all of it, and here and there.
    fn files(&mut self, contenders: &[Contender]) -> Result<()> {
        let disk = contenders.first().context("nothing to measure")?;
        let files = Files::below(&disk.mount()?.path)?;
        let mut rounds = vec![Vec::new(); contenders.len()];
        for _ in 0..self.options.rounds {
            for (contender, rounds) in contenders.iter().zip(&mut rounds) {
                let mut round = Round::default();
                let mounted = contender.fresh()?;
                round.cold = sequential(&mounted.path, &files, 1)?;
                let warm = (0..WARM).map(|_| sequential(&mounted.path, &files, 1)).collect::<Result<Vec<_>>>()?;
                round.warm = median(warm);
                drop(mounted);
                round.two = sequential(&contender.fresh()?.path, &files, 2)?;
                round.random = random(&contender.fresh()?.path, &files)?;
                rounds.push(round);
            }
        }
        let of = |kind: Kind, part: fn(&Round) -> f64| {
            let at = contenders.iter().position(|contender| contender.kind == kind);
            at.and_then(|at| rounds.get(at)).map_or(f64::NAN, |rounds| median(rounds.iter().map(part)))
        };
        let bytes = files.bytes;
        for Contender { kind, name, .. } in contenders {
            let cold = of(*kind, |round| round.cold);
            let ratio = of(Kind::Squashfuse, |round| round.cold) / cold;
            let is_goal = matches!(kind, Kind::Estargz | Kind::ZstdChunked);
            let goal = is_goal.then(|| Goal::ratio(1.5, Some(ratio))).flatten();
            self.row("debian", format!("cold, all files, {name}"), cold, Some(bytes), Some(ratio), goal);
            let warm = of(*kind, |round| round.warm);
            let ratio = of(Kind::Disk, |round| round.warm) / warm;
            let goal = (*kind == Kind::Estargz).then(|| Goal::ratio(0.8, Some(ratio))).flatten();
            self.row("debian", format!("warm, all files, {name}"), warm, Some(bytes), Some(ratio), goal);
            let two = of(*kind, |round| round.two);
            let ratio = cold / two;
            let goal = (*kind == Kind::Estargz).then(|| Goal::ratio(1.6, Some(ratio))).flatten();
            self.row("debian", format!("cold, all files, two readers, {name}"), two, Some(bytes), Some(ratio), goal);
            let random = of(*kind, |round| round.random);
            let ratio = of(Kind::Squashfuse, |round| round.random) / random;
            self.row(
                "debian",
                format!("cold, {} reads of 4 KiB, {name}", reader::READS),
                random,
                None,
                Some(ratio),
                None,
            );
        }
        Ok(())
    }

    /// Names and attributes.
    fn names(&mut self, contenders: &[Contender]) -> Result<()> {
        let mut rounds = vec![Vec::new(); contenders.len()];
        for _ in 0..self.options.rounds {
            for (contender, rounds) in contenders.iter().zip(&mut rounds) {
                let mounted = contender.fresh()?;
                let cold = find(&mounted.path)?;
                let warm = (0..WARM).map(|_| find(&mounted.path)).collect::<Result<Vec<_>>>()?;
                rounds.push(Round { cold, warm: median(warm), ..Round::default() });
            }
        }
        let of = |kind: Kind, part: fn(&Round) -> f64| {
            let at = contenders.iter().position(|contender| contender.kind == kind);
            at.and_then(|at| rounds.get(at)).map_or(f64::NAN, |rounds| median(rounds.iter().map(part)))
        };
        for Contender { kind, name, .. } in contenders {
            for (when, part) in [("cold", (|round| round.cold) as fn(&Round) -> f64), ("warm", |round| round.warm)] {
                let took = of(*kind, part);
                let ratio = of(Kind::Squashfuse, part) / took;
                // Warm, nobody is asked but the kernel, so there all are alike.
                let goal = (*kind == Kind::Estargz).then(|| Goal::ratio(2.0, Some(ratio))).flatten();
                self.row("names", format!("{when}, find -ls, {name}"), took, None, Some(ratio), goal);
            }
        }
        Ok(())
    }

    /// What a request costs that nothing is done for: the price of the channel, by threads that listen.
    fn prices(&mut self, dunnage: &Path, contenders: &[Contender]) -> Result<()> {
        let Some(layer) = contenders.iter().find(|contender| contender.kind == Kind::Estargz) else { return Ok(()) };
        for (threads, readers) in [(1, 1), (2, 1), (4, 1), (1, 4), (2, 4), (4, 4)] {
            let mut took = Vec::new();
            for _ in 0..self.options.rounds {
                let mounted = layer.mount_with(dunnage, &["--lifetime", "0", "--threads", &threads.to_string()])?;
                took.push(price(&mounted.path, readers)?);
            }
            let what = format!("{} requests, {threads} threads, {readers} readers", reader::REQUESTS);
            self.row("debian", what, median(took), None, None, None);
        }
        Ok(())
    }

    fn row(
        &mut self,
        input: &'static str,
        what: String,
        wall: f64,
        size: Option<u64>,
        ratio: Option<f64>,
        goal: Option<Goal>,
    ) {
        let mut cost = Cost::default();
        cost.wall = wall;
        let figure = format!("mount_{input}_{}", what.replace(", ", "_").replace([' ', '-', ':'], "_"));
        self.table.push(Row {
            input,
            what,
            figure,
            cost,
            size,
            ratio,
            worked: size,
            goals: goal.into_iter().collect(),
        });
    }
}
