//! Every MAC, every chunk, every length: `dunnage state verify` and `dunnage verify` of a state file.

use std::{fmt, fs::File as Source, path::Path, time::Instant};

use anyhow::{Context as _, Result};
use dunnage_digest::ReadAt;
use dunnage_statefile::{File, Tail, Verified};
use serde::Serialize;

use super::{FORMAT, StateHow};
use crate::{
    context::Context,
    page::Page,
    print::{bytes, counted, rate, row, schema},
    progress::Progress,
    source::{name_of, title},
};

/// Checks a state file; its page.
pub(crate) fn verify_state(context: &Context, path: &Path, file: &Source, how: &StateHow) -> Result<Page> {
    let report = check(context, path, file, how).with_context(|| format!("{} is not sound", name_of(path)))?;
    Ok(Page::new(report))
}

/// Checks a state file.
pub(in crate::source) fn check(context: &Context, path: &Path, file: &Source, how: &StateHow) -> Result<Report> {
    let start = Instant::now();
    let progress = Progress::start(context, "verify", Some(ReadAt::size(file)?));
    let file = File::open(file, how.key.as_ref(), &how.options)?;
    let report = |done| progress.set(done);
    let verified = file.verify(dunnage_digest::Progress::to(&report))?;
    Ok(Report::of(title(path), &verified, start.elapsed().as_secs_f64()))
}

/// A state file that is sound.
#[derive(Serialize)]
pub(in crate::source) struct Report {
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
            format: FORMAT,
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
