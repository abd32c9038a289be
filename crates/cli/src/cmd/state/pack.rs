//! `dunnage state pack`: a state file of a payload.

use std::{
    fmt,
    io::Read,
    time::{Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use dunnage_statefile::{Codec, Metadata, Timestamp, WriteOptions, Writer, Written};
use serde::Serialize;

use super::{is_seekable, open};
use crate::{
    args::{StateCompression, StatePack},
    context::Context,
    exit::Exit,
    failure::usage,
    print::{Out, bytes, count, percent, printable, rate, row, schema},
    progress::Progress,
    sink::{Clobber, Sink, is_stdout},
    source::{name_of, title},
};

pub(super) fn run(context: &Context, args: &StatePack) -> Result<Exit> {
    let key = args.key.read(context)?;
    let mut metadata = Metadata::new();
    for (name, text) in &args.metadata {
        if metadata.insert(name, text).is_some() {
            let message = format!("the metadata have two texts for `{}`", printable(name.as_bytes()));
            return Err(usage(message, "give one of them"));
        }
    }
    let timestamp = match args.timestamp {
        Some(seconds) => Timestamp::new(seconds, 0)?,
        None => Timestamp::try_from(SystemTime::now())?,
    };
    let mut file = open(&args.input)?;
    let len = if is_seekable(&file)? { Some(file.metadata()?.len()) } else { None };
    if args.with_length && len.is_none() {
        let message = format!("{} comes out of a pipe, so its length is not known", name_of(&args.input));
        return Err(usage(message, "leave --with-length out, or name a file"));
    }
    let options = WriteOptions {
        dialect: args.dialect.known(),
        compression: args.compression.map(StateCompression::known),
        codec: Codec::Libdeflate,
        threads: context.threads,
        payload_len: len.filter(|_| args.with_length),
        ..WriteOptions::default()
    };
    let clobber = if args.no_clobber { Clobber::Refuse } else { Clobber::Replace };
    // A checkpoint holds the memory of programs.
    let sink = Sink::create_with(&args.out, clobber, 0o600)?;
    let name = sink.name().to_owned();
    let failed = || format!("cannot pack {} into {name}", name_of(&args.input));
    let start = Instant::now();
    let progress = Progress::start(context, "pack", len);
    let mut writer = Writer::new(sink, key.as_ref(), &metadata, timestamp, &options).with_context(failed)?;
    writer.read_from(&mut progress.watch(&mut file as &mut dyn Read)).with_context(failed)?;
    let (sink, written) = writer.finish().with_context(failed)?;
    sink.commit()?;
    drop(progress);
    let report = Made::of("pack", (title(&args.input), title(&args.out)), written, start);
    report.print(context, is_stdout(&args.out))?;
    Ok(Exit::DONE)
}

/// The result, and its input.
#[derive(Serialize)]
pub(super) struct Made {
    schema: String,
    source: String,
    dest: String,
    payload_bytes: u64,
    size: u64,
    /// Chunks or frames.
    units: u64,
    seconds: f64,
    bytes_per_second: u64,
}

impl Made {
    pub(super) fn of(verb: &str, (source, dest): (String, String), written: Written, start: Instant) -> Self {
        let seconds = start.elapsed().as_secs_f64();
        Self {
            schema: schema(&format!("state-{verb}")),
            source,
            dest,
            payload_bytes: written.payload_len,
            size: written.file_len,
            units: written.units,
            seconds,
            bytes_per_second: rate(written.payload_len, seconds),
        }
    }

    /// Beside the file, if that goes to standard output.
    pub(super) fn print(&self, context: &Context, is_data_on_stdout: bool) -> Result<()> {
        if context.quiet && !context.json {
            return Ok(());
        }
        let mut out = Out::beside_data(is_data_on_stdout)?;
        out.either(context.json, self)?;
        Ok(out.finish()?)
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: gVisor state file, from {}", self.dest, self.source)?;
        let share = percent(self.size, self.payload_bytes);
        row(f, "payload", format_args!("{} ({} bytes)", bytes(self.payload_bytes), count(self.payload_bytes)))?;
        row(f, "size", format_args!("{} ({} bytes), {share} of it", bytes(self.size), count(self.size)))?;
        let speed = bytes(self.bytes_per_second);
        row(f, "time", format_args!("{:.2} s, {speed}/s", self.seconds))
    }
}
