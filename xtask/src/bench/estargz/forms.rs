//! Layers other than gzip with a stream for each chunk: zstd:chunked, and streams that files share; and reading a little
//! of many files.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Result, bail};

use super::{Bench, size, text, timed, warm};
use crate::{
    bench::table::Goal,
    measure::{self, Cost},
    peers::Report,
};

/// One way to write a layer, in the words of both programs.
struct Form {
    name: &'static str,
    to: &'static str,
    ours: &'static [&'static str],
    theirs: &'static [&'static str],
}

const GZIP: Form = Form {
    name: "gzip",
    to: "estargz",
    ours: &["--level", "6", "--codec", "libdeflate"],
    theirs: &["--compression=gzip", "--level=6"],
};

/// At the level that is the default of both.
const ZSTD: Form =
    Form { name: "zstd", to: "zstd-chunked", ours: &["--level", "3"], theirs: &["--compression=zstd", "--level=3"] };

/// Streams cut where the reference cuts them. Our level 6 is about what others reach with 9.
const SHARED: Form = Form {
    name: "shared",
    to: "estargz",
    ours: &["--level", "6", "--codec", "libdeflate", "--min-chunk-size", "50000"],
    theirs: &["--compression=gzip", "--level=9", "--min-chunk-size=50000"],
};

/// Streams cut by our own plan, which is made before anything is compressed.
const PLANNED: Form =
    Form { name: "planned", ours: &["--level", "6", "--codec", "libdeflate", "--stream-size", "200000"], ..SHARED };

/// The goal, from the bytes of both and how many times faster ours is.
type Aim = fn(u64, Option<u64>, Option<f64>) -> [Option<Goal>; 2];

impl Bench<'_> {
    /// zstd:chunked: building, and verifying the reference's blob on one thread.
    pub(super) fn zstd(&mut self, input: &'static str, tar: &Path) -> Result<()> {
        let what = ("build zstd, ours level 3", "build zstd, reference level 3 (default)");
        self.builds(input, tar, &ZSTD, what, |ours, theirs, ratio| {
            [Goal::ratio(3.0, ratio), Goal::size(0.0, ours, theirs)]
        })?;
        if !self.wanted(input, "verify zstd") {
            return Ok(());
        }
        let blob = self.form_blob(input, tar, &ZSTD)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..self.options.rounds {
            if let Some(peer) = &self.peer {
                theirs.push(timed(measure::run(peer.program(), &["verify", "--compression=zstd", text(&blob)?])?)?);
            }
            ours.push(timed(measure::run(&self.ours.example, &["verify", text(&blob)?, "1"])?)?);
        }
        let what = ("verify zstd, ours 1 thread", "verify zstd, reference");
        self.against(input, what, "verify_zstd", (&ours, &theirs), 15.0);
        Ok(())
    }

    /// Streams that files share.
    pub(super) fn shared(&mut self, input: &'static str, tar: &Path) -> Result<()> {
        // Where the reference cuts, its own measuring has to be done again: one core's work by nature.
        let cut: Aim = |ours, theirs, ratio| [Goal::ratio(1.0, ratio), Goal::size(0.3, ours, theirs)];
        let planned: Aim = |ours, theirs, ratio| [Goal::ratio(8.0, ratio), Goal::size(0.3, ours, theirs)];
        let theirs = "build min-chunk 50000, reference level 9";
        self.builds(input, tar, &SHARED, ("build min-chunk 50000, ours level 6", theirs), cut)?;
        self.builds(input, tar, &PLANNED, ("build stream-size 200000, ours level 6", theirs), planned)
    }

    /// Reading 4 KiB of each of many files. Ours are verified, which takes the whole chunk.
    pub(super) fn random(&mut self, input: &'static str, tar: &Path) -> Result<()> {
        for form in [GZIP, ZSTD] {
            let figure = format!("random_{}", form.name);
            // Without a reference, there is nobody to choose the files.
            let Some(peer) = self.peer.clone().filter(|_| self.wanted(input, &figure)) else { continue };
            let blob = self.form_blob(input, tar, &form)?;
            let list = self.dir.join("reads.jsonl");
            let compression = format!("--compression={}", form.name);
            let (out, again) = (format!("--list-out={}", list.display()), format!("--list={}", list.display()));
            let files = ["--seed=1", "--files=1000", "--size=4096"];
            let chosen =
                peer.run([&["read-random", &compression, &out], files.as_slice(), &[text(&blob)?]].concat())?;
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..self.options.rounds {
                let args = ["read-random", &compression, &again, text(&blob)?];
                theirs.push(timed(measure::run(peer.program(), &args)?)?);
                let cost = measure::run(&self.ours.example, &["random", text(&blob)?, text(&list)?])?;
                if Report::parse(&cost.stdout)?.text("sha256")? != chosen.text("sha256")? {
                    bail!("what we read of `{}` is not what the reference reads", blob.display());
                }
                ours.push(timed(cost)?);
            }
            let our_what = format!("1000 reads of 4 KiB, {}, ours", form.name);
            let their_what = format!("1000 reads of 4 KiB, {}, reference", form.name);
            self.against(input, (&our_what, &their_what), &figure, (&ours, &theirs), 2.0);
        }
        Ok(())
    }

    /// Builds a form on both sides, in turn.
    fn builds(
        &mut self,
        input: &'static str,
        tar: &Path,
        form: &Form,
        (our_what, their_what): (&str, &str),
        aim: Aim,
    ) -> Result<()> {
        if !self.wanted(input, our_what) {
            return Ok(());
        }
        let (our_out, their_out) = (self.dir.join("ours.esgz"), self.dir.join("theirs.esgz"));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..self.options.rounds {
            if let Some(peer) = &self.peer {
                let args = [&["build"], form.theirs, &[text(tar)?, text(&their_out)?]].concat();
                theirs.push(measure::run(peer.program(), &args)?);
            }
            ours.push(self.ours.convert_to(form.to, text(tar)?, &our_out, form.ours, Stdio::null())?);
        }
        let our_size = size(&our_out)?;
        let their_size = if theirs.is_empty() { None } else { Some(size(&their_out)?) };
        let figure = format!("build_{}", form.name);
        let ratio = self.push_reference(input, their_what.to_owned(), &figure, (&ours, &theirs), their_size);
        let goals = aim(our_size, their_size, ratio);
        self.push_ours((input, our_what.to_owned(), figure), &ours, Some(our_size), ratio, goals);
        Ok(())
    }

    /// Rows of something that ours is to do so many times faster than the reference.
    fn against(
        &mut self,
        input: &'static str,
        (our_what, their_what): (&str, &str),
        figure: &str,
        (ours, theirs): (&[Cost], &[Cost]),
        least: f64,
    ) {
        let ratio = self.push_reference(input, their_what.to_owned(), figure, (ours, theirs), None);
        let goal = Goal::ratio(least, ratio);
        self.push_ours((input, our_what.to_owned(), figure.to_owned()), ours, None, ratio, [goal, None]);
    }

    /// A blob in this form: the reference's where there is one.
    fn form_blob(&self, input: &str, tar: &Path, form: &Form) -> Result<PathBuf> {
        let blob = self.dir.join(format!("{input}-{}.esgz", form.name));
        match &self.peer {
            Some(peer) => drop(peer.run([&["build"], form.theirs, &[text(tar)?, text(&blob)?]].concat())?),
            None => drop(self.ours.convert_to(form.to, text(tar)?, &blob, form.ours, Stdio::null())?),
        }
        warm(&blob)?;
        Ok(blob)
    }
}
