//! What eStargz costs: building, opening and verifying layers, ours beside the reference.
//!
//! Measured: whole processes for builds (start to end, output written to a file), the operation proper for opening and
//! verifying (as each side's program reports it; processor time and memory are the process's). Inputs are in the page
//! cache. Left out: fetching, unpacking to disk, mounting.

mod forms;
mod image;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::{
    Options, remove, size,
    table::{Goal, Row, Table},
    text, timed, warm,
};
use crate::{
    inputs::{debian_root, small_files},
    measure::{self, Cores, Cost, median_cost},
    peers::Peer,
    workspace::{Metadata, capture, cargo, scratch_dir},
};

/// Our side of a measurement.
struct Ours {
    /// The command, released.
    dunnage: PathBuf,
    /// Opens and verifies in its own process and says how long that took.
    example: PathBuf,
}

struct Bench<'o> {
    options: &'o Options,
    ours: Ours,
    peer: Option<Peer>,
    dir: PathBuf,
    table: Table,
}

/// `cargo xtask bench estargz`.
pub(super) fn run(options: &Options) -> Result<Table> {
    let peer = if options.peers { Peer::build("estargz", false)? } else { None };
    let mut bench = Bench { options, ours: Ours::build()?, peer, dir: scratch_dir("bench")?, table: Table::default() };
    let small = small_files(200_000)?;
    warm(&small)?;
    if let Some(debian) = debian_root()? {
        warm(&debian)?;
        bench.build("debian", &debian, 9, &[6])?;
        bench.build("debian", &debian, 6, &[1, 2, 3, 4, 5, 6])?;
        bench.verify("debian", &debian)?;
        bench.zstd("debian", &debian)?;
        bench.shared("debian", &debian)?;
        bench.random("debian", &debian)?;
    }
    bench.build("small", &small, 9, &[6])?;
    bench.open("small", &small)?;
    bench.verify("small", &small)?;
    bench.image()?;
    bench.pipe()?;
    Ok(bench.table)
}

impl Ours {
    fn build() -> Result<Self> {
        println!("building the released command");
        capture(cargo().args(["build", "--release", "--package", "dunnage"]))?;
        let example = ["--package", "dunnage-estargz", "--example", "bench", "--features", "libdeflate"];
        capture(cargo().args(["build", "--release"]).args(example))?;
        let release = Metadata::load()?.target_directory.join("release");
        Ok(Self { dunnage: release.join("dunnage"), example: release.join("examples/bench") })
    }

    fn convert(&self, input: &str, out: &Path, level: i32, stdin: Stdio) -> Result<Cost> {
        let level = level.to_string();
        self.convert_to("estargz", input, out, &["--level", &level, "--codec", "libdeflate"], stdin)
    }

    fn convert_to(&self, to: &str, input: &str, out: &Path, settings: &[&str], stdin: Stdio) -> Result<Cost> {
        remove(out)?;
        let mut args = vec!["convert", input, text(out)?, "--to", to, "--progress", "none"];
        args.extend(settings);
        measure::run_with(&self.dunnage, &args, stdin, Cores::All)
    }
}

impl Bench<'_> {
    fn wanted(&self, input: &str, what: &str) -> bool {
        let name = format!("{input} {what}");
        self.options.only.as_deref().is_none_or(|part| name.contains(part))
    }

    /// Building: the reference at `level`, ours at the fastest of `ours` that makes nothing larger.
    fn build(&mut self, input: &'static str, tar: &Path, level: i32, ours: &[i32]) -> Result<()> {
        if !self.wanted(input, &format!("build {level}")) {
            return Ok(());
        }
        let (our_out, their_out) = (self.dir.join("ours.esgz"), self.dir.join("theirs.esgz"));
        let source = tar.display().to_string();
        let theirs = |peer: &Peer| -> Result<Cost> {
            let args =
                ["build".to_owned(), format!("--level={level}"), source.clone(), their_out.display().to_string()];
            measure::run(peer.program(), &args)
        };
        let bound = match &self.peer {
            Some(peer) => {
                theirs(peer)?;
                size(&their_out)?
            }
            None => u64::MAX,
        };
        let mut chosen = ours.last().copied().unwrap_or(level);
        for &candidate in ours {
            self.ours.convert(&source, &our_out, candidate, Stdio::null())?;
            let got = size(&our_out)?;
            println!("  {input}: ours at level {candidate} makes {got} bytes, the reference at {level} makes {bound}");
            if got <= bound {
                chosen = candidate;
                break;
            }
        }
        let (mut our_costs, mut their_costs) = (Vec::new(), Vec::new());
        for _ in 0..self.options.rounds {
            if let Some(peer) = &self.peer {
                their_costs.push(theirs(peer)?);
            }
            our_costs.push(self.ours.convert(&source, &our_out, chosen, Stdio::null())?);
        }
        let bytes = (size(&our_out)?, size(&their_out).ok());
        let (what, figure) = (format!("build, ours level {chosen}"), format!("build_{input}_size_of_{level}"));
        self.pair(
            input,
            (what, format!("build, reference level {level}")),
            &figure,
            (&our_costs, &their_costs),
            (Some(bytes.0), bytes.1),
        );
        Ok(())
    }

    /// Opening: footer, TOC and index.
    fn open(&mut self, input: &'static str, tar: &Path) -> Result<()> {
        if !self.wanted(input, "open") {
            return Ok(());
        }
        let (our_blob, their_blob) = self.blobs(input, tar)?;
        let (mut our_costs, mut their_costs) = (Vec::new(), Vec::new());
        for _ in 0..self.options.rounds {
            if let Some(peer) = &self.peer {
                their_costs.push(timed(measure::run(peer.program(), &["open", text(&their_blob)?])?)?);
            }
            our_costs.push(timed(measure::run(&self.ours.example, &["open", text(&our_blob)?])?)?);
        }
        let what = ("open, ours".to_owned(), "open, reference".to_owned());
        self.pair(input, what, &format!("open_{input}"), (&our_costs, &their_costs), (None, None));
        Ok(())
    }

    /// Verifying every chunk, with one thread and with two. The blob is the reference's where there is one.
    fn verify(&mut self, input: &'static str, tar: &Path) -> Result<()> {
        if !self.wanted(input, "verify") {
            return Ok(());
        }
        let (our_blob, their_blob) = self.blobs(input, tar)?;
        let blob = if self.peer.is_some() { their_blob } else { our_blob };
        let (mut one, mut two, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.options.rounds {
            if let Some(peer) = &self.peer {
                theirs.push(timed(measure::run(peer.program(), &["verify", text(&blob)?])?)?);
            }
            one.push(timed(measure::run(&self.ours.example, &["verify", text(&blob)?, "1"])?)?);
            two.push(timed(measure::run(&self.ours.example, &["verify", text(&blob)?, "2"])?)?);
        }
        let (alone, both) = (median_cost(&one), median_cost(&two));
        let what = ("verify, ours 1 thread".to_owned(), "verify, reference".to_owned());
        self.pair(input, what, &format!("verify_{input}_1"), (&one, &theirs), (None, None));
        self.table.push(Row {
            input,
            what: "verify, ours 2 threads (ratio to 1)".to_owned(),
            figure: format!("verify_{input}_2"),
            ratio: Some(alone.wall / both.wall),
            cost: both,
            size: None,
            worked: None,
            goals: Vec::new(),
        });
        Ok(())
    }

    /// A layer much larger than memory should be, through a pipe.
    fn pipe(&mut self) -> Result<()> {
        if !self.wanted("stream", "pipe") || self.options.pipe_gib == 0 {
            return Ok(());
        }
        let out = self.dir.join("piped.esgz");
        let bytes = self.options.pipe_gib << 30;
        let mut maker = Command::new(std::env::current_exe()?)
            .args(["stream", &bytes.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the generator")?;
        let pipe = maker.stdout.take().context("the generator has an output")?;
        let cost = self.ours.convert("-", &out, 6, Stdio::from(pipe))?;
        maker.wait()?;
        let what = format!("build {} GiB from a pipe, ours level 6", self.options.pipe_gib);
        let size = Some(size(&out)?);
        self.table.push(Row {
            input: "stream",
            what,
            figure: "build_pipe".to_owned(),
            cost,
            size,
            ratio: None,
            worked: None,
            goals: Vec::new(),
        });
        remove(&out)
    }

    /// Blobs of ours and, where there is a peer, of the reference.
    fn blobs(&self, input: &str, tar: &Path) -> Result<(PathBuf, PathBuf)> {
        let ours = self.dir.join(format!("{input}-ours.esgz"));
        let theirs = self.dir.join(format!("{input}-theirs.esgz"));
        self.ours.convert(text(tar)?, &ours, 6, Stdio::null())?;
        if let Some(peer) = &self.peer
            && !theirs.is_file()
        {
            peer.run(["build", "--level=6", text(tar)?, text(&theirs)?])?;
        }
        warm(&ours)?;
        Ok((ours, theirs))
    }

    fn pair(
        &mut self,
        input: &'static str,
        (ours_what, theirs_what): (String, String),
        figure: &str,
        (ours, theirs): (&[Cost], &[Cost]),
        (our_size, their_size): (Option<u64>, Option<u64>),
    ) {
        let row = (input, ours_what, figure.to_owned());
        let ratio = self.push_reference(input, theirs_what, figure, (ours, theirs), their_size);
        self.push_ours(row, ours, our_size, ratio, [None, None]);
    }

    /// The row of the reference, where it was measured; how many times faster ours is.
    fn push_reference(
        &mut self,
        input: &'static str,
        what: String,
        figure: &str,
        (ours, theirs): (&[Cost], &[Cost]),
        size: Option<u64>,
    ) -> Option<f64> {
        if theirs.is_empty() {
            return None;
        }
        let cost = median_cost(theirs);
        let ratio = cost.wall / median_cost(ours).wall;
        let figure = format!("{figure}_reference");
        self.table.push(Row { input, what, figure, cost, size, ratio: None, worked: None, goals: Vec::new() });
        Some(ratio)
    }

    fn push_ours(
        &mut self,
        (input, what, figure): (&'static str, String, String),
        costs: &[Cost],
        size: Option<u64>,
        ratio: Option<f64>,
        goals: [Option<Goal>; 2],
    ) {
        self.table.push(Row {
            input,
            what,
            figure,
            cost: median_cost(costs),
            size,
            ratio,
            worked: None,
            goals: goals.into_iter().flatten().collect(),
        });
    }
}
