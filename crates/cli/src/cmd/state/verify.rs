//! `dunnage state verify`: every MAC, every chunk, every length. `dunnage verify` does the same with a state file.

use std::{fmt, fs::File as Source, path::Path, time::Instant};

use anyhow::{Context as _, Result};
use dunnage_digest::ReadAt;
use dunnage_statefile::{File, Key, ReadOptions, Tail, Verified};
use serde::Serialize;

use super::{open_seekable, read_options};
use crate::{
    args::{KeyFrom, StateIn, StateVerify},
    context::Context,
    exit::Exit,
    print::{Out, bytes, counted, rate, row, schema},
    progress::Progress,
    source::{name_of, title},
};

pub(super) fn run(context: &Context, args: &StateVerify) -> Result<Exit> {
    let key = args.how.key.read(context)?;
    let file = open_seekable(&args.file)?;
    check(context, &args.file, &file, key.as_ref(), &read_options(context, &args.how, args.expect_bytes))
}

/// What `dunnage verify` does with a state file.
pub(crate) fn verify(context: &Context, path: &Path, file: &Source, key: &KeyFrom) -> Result<Exit> {
    let how = StateIn { key: key.clone(), from: None };
    let key = key.read(context)?;
    check(context, path, file, key.as_ref(), &read_options(context, &how, None))
}

fn check(context: &Context, path: &Path, file: &Source, key: Option<&Key>, options: &ReadOptions) -> Result<Exit> {
    let failed = || format!("{} is not sound", name_of(path));
    let start = Instant::now();
    let progress = Progress::start(context, "verify", Some(ReadAt::size(file).with_context(failed)?));
    let file = File::open(file, key, options).with_context(failed)?;
    let report = |done| progress.set(done);
    let verified = file.verify(dunnage_digest::Progress::to(&report)).with_context(failed)?;
    drop(progress);
    let report = Report::of(title(path), &verified, start.elapsed().as_secs_f64());
    let mut out = Out::stdout()?;
    out.either(context, &report)?;
    out.finish()?;
    Ok(Exit::DONE)
}

#[derive(Serialize)]
struct Report {
    schema: String,
    source: String,
    format: &'static str,
    dialects: Vec<&'static str>,
    compression: &'static str,
    units: u64,
    payload_bytes: u64,
    size: u64,
    authenticated: bool,
    /// `complete`, `possibly-truncated` or `unknown`.
    tail: &'static str,
    /// Whether the length of the payload is the one asked for.
    length_compared: bool,
    cautions: Vec<&'static str>,
    seconds: f64,
    bytes_per_second: u64,
    #[serde(skip)]
    what: String,
}

impl Report {
    fn of(source: String, verified: &Verified, seconds: f64) -> Self {
        let encoding = &verified.encoding;
        Self {
            schema: schema("state-verify"),
            source,
            format: "gVisor state file",
            dialects: encoding.dialects.iter().map(dunnage_statefile::Dialect::as_str).collect(),
            compression: encoding.compression.as_str(),
            units: verified.units,
            payload_bytes: verified.payload_len,
            size: verified.file_len,
            authenticated: encoding.is_authenticated(),
            tail: match verified.tail {
                Tail::Complete => "complete",
                Tail::PossiblyTruncated => "possibly-truncated",
                Tail::Unknown => "unknown",
            },
            length_compared: verified.length_is_known,
            cautions: encoding.cautions(),
            seconds,
            bytes_per_second: rate(verified.payload_len, seconds),
            what: format!("dialect {}, {}", encoding.dialects, encoding.body),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}, sound", self.source, self.format)?;
        row(f, "what", &self.what)?;
        let speed = bytes(self.bytes_per_second);
        let (units, payload) = (counted(self.units, "piece", "pieces"), bytes(self.payload_bytes));
        row(f, "checked", format_args!("{units}, {payload} of payload in {:.2} s ({speed}/s)", self.seconds))?;
        if self.authenticated {
            row(f, "key", "every MAC matches")?;
        }
        row(
            f,
            "end",
            match (self.length_compared, self.tail) {
                (true, _) => "the payload has the length that was asked for",
                (false, "complete") => "the last piece is not full: this is where the writer ended",
                (false, "possibly-truncated") => "the last piece is full: either the end, or the rest was cut off",
                (false, _) => "nothing tells a whole file from one that was cut off: --expect-bytes makes sure",
            },
        )?;
        self.cautions.iter().try_for_each(|caution| row(f, "caution", caution))
    }
}
