//! `dunnage extract`: into a directory, and nowhere else.

use std::{fmt, time::Instant};

use anyhow::{Context as _, Result};
use dunnage_digest::Progress as Run;
use dunnage_tree::{
    Existing, ExtractDevices, ExtractOptions, ExtractOwners, ExtractSetId, ExtractWhiteouts, ExtractXattrs, Extracted,
    extract, extract_tar,
};
use serde::Serialize;

use crate::{
    args::{Extract, Whiteouts},
    context::Context,
    exit::Exit,
    failure::usage,
    print::{Out, bytes, counted, rate, schema},
    progress::Progress,
    source::{self, Access, name_of},
};

pub(super) fn run(context: &Context, args: &Extract) -> Result<Exit> {
    if !args.into_existing && std::fs::read_dir(&args.dest).is_ok_and(|mut dir| dir.next().is_some()) {
        let hint = "choose another directory, or let --into-existing replace files of the same name";
        return Err(usage(format!("`{}` is not empty", args.dest.display()), hint));
    }
    let source = source::open(context, &args.source, Access::OnceUnlessLayer)?;
    let start = Instant::now();
    let failed = || format!("cannot extract {}", name_of(&args.source));
    // An archive is applied entry by entry, without a copy of it; a layer is read through its table of contents, each chunk
    // checked.
    let done = if source.about().is_sequential {
        let mut input = source.input(context).with_context(failed)?;
        let progress = Progress::start(context, "extract", input.total());
        let mut tar = input.tar(&progress).with_context(failed)?;
        extract_tar(&mut tar, &args.dest, &options(context, args), Run::none()).with_context(failed)?
    } else {
        let progress = Progress::start(context, "extract", None);
        let report = |bytes| progress.set(bytes);
        let tree = source.tree().with_context(failed)?;
        extract(tree.as_ref(), &args.dest, &options(context, args), Run::to(&report)).with_context(failed)?
    };
    let seconds = start.elapsed().as_secs_f64();
    for dropped in done.dropped.iter().take(SHOWN) {
        context.note(&dropped.to_string());
    }
    let hidden = done.dropped_total.saturating_sub(SHOWN as u64);
    if hidden > 0 {
        context.note(&format!("{} left out as well", counted(hidden, "more part was", "more parts were")));
    }
    if done.trailing > 0 {
        let stray = counted(done.trailing, "byte", "bytes");
        context
            .note(&format!("{stray} after the end of the archive left out: other programs may see more files there"));
    }
    let mut out = Out::stdout()?;
    out.either(context.json, &Report::new(args, &done, seconds))?;
    out.finish()?;
    Ok(Exit::DONE)
}

/// Parts left out that are named one by one.
const SHOWN: usize = 10;

fn options(context: &Context, args: &Extract) -> ExtractOptions {
    ExtractOptions {
        owners: if args.owners { ExtractOwners::Keep } else { ExtractOwners::Caller },
        devices: if args.devices { ExtractDevices::Make } else { ExtractDevices::Drop },
        set_id: if args.set_id { ExtractSetId::Keep } else { ExtractSetId::Drop },
        privileged_xattrs: if args.privileged_xattrs { ExtractXattrs::Keep } else { ExtractXattrs::Drop },
        existing: if args.into_existing { Existing::Extend } else { Existing::Refuse },
        whiteouts: match args.whiteouts {
            Whiteouts::Apply => ExtractWhiteouts::Apply,
            Whiteouts::Keep => ExtractWhiteouts::Keep,
        },
        limits: context.tree_limits().clone(),
    }
}

#[derive(Serialize)]
struct Report {
    schema: String,
    dest: String,
    files: u64,
    directories: u64,
    symlinks: u64,
    hard_links: u64,
    devices: u64,
    fifos: u64,
    whiteouts: u64,
    bytes: u64,
    owners_dropped: u64,
    /// The first thousand.
    dropped: Vec<String>,
    dropped_total: u64,
    seconds: f64,
    bytes_per_second: u64,
}

impl Report {
    fn new(args: &Extract, done: &Extracted, seconds: f64) -> Self {
        Self {
            schema: schema("extract"),
            dest: args.dest.display().to_string(),
            files: done.files,
            directories: done.directories,
            symlinks: done.symlinks,
            hard_links: done.hard_links,
            devices: done.devices,
            fifos: done.fifos,
            whiteouts: done.whiteouts,
            bytes: done.bytes,
            owners_dropped: done.owners_dropped,
            dropped: done.dropped.iter().map(ToString::to_string).collect(),
            dropped_total: done.dropped_total,
            seconds,
            bytes_per_second: rate(done.bytes, seconds),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.dest, counted(self.files, "file", "files"))?;
        for (number, one, many) in [
            (self.directories, "directory", "directories"),
            (self.symlinks, "symlink", "symlinks"),
            (self.hard_links, "hard link", "hard links"),
            (self.devices, "device", "devices"),
            (self.fifos, "fifo", "fifos"),
            (self.whiteouts, "whiteout applied", "whiteouts applied"),
        ] {
            if number > 0 {
                write!(f, ", {}", counted(number, one, many))?;
            }
        }
        let per_second = bytes(self.bytes_per_second);
        writeln!(f, "; {} in {:.2} s ({per_second}/s)", bytes(self.bytes), self.seconds)?;
        if self.owners_dropped > 0 {
            let entries = counted(self.owners_dropped, "entry belongs", "entries belong");
            writeln!(f, "{entries} to you now, --owners keeps the owners of the source")?;
        }
        Ok(())
    }
}
