//! `dunnage state convert` and `dunnage state rekey`: a state file of a state file.

use std::{os::unix::fs::PermissionsExt as _, path::Path, time::Instant};

use anyhow::{Context as _, Result};
use dunnage_digest::ReadAt;
use dunnage_statefile::{Codec, Error, File, Reader, WriteOptions, Written};

use super::{open_seekable, pack::Made};
use crate::{
    args::{KeyFrom, StateCompression, StateConvert, StateRekey},
    context::Context,
    exit::Exit,
    failure::usage,
    progress::Progress,
    sink::{Clobber, Sink, is_stdout},
    source::{StateHow, name_of, title},
};

pub(super) fn convert(context: &Context, args: &StateConvert) -> Result<Exit> {
    let how = StateHow::of(context, &args.how, None)?;
    let options = WriteOptions {
        dialect: args.dialect.known(),
        compression: args.compression.map(StateCompression::known),
        codec: Codec::Libdeflate,
        threads: context.threads,
        ..WriteOptions::default()
    };
    let places = Places { verb: "convert", input: &args.input, out: &args.out, no_clobber: args.no_clobber };
    places.rewrite(context, &how, |reader, sink| dunnage_statefile::convert(reader, sink, how.key.as_ref(), &options))
}

pub(super) fn rekey(context: &Context, args: &StateRekey) -> Result<Exit> {
    if args.how.key.key_fd.is_some() && args.how.key.key_fd == args.new_key_fd {
        return Err(usage("both keys would come out of one descriptor", "open one for each"));
    }
    let how = StateHow::of(context, &args.how, None)?;
    let new_key = KeyFrom { key_file: args.new_key_file.clone(), key_fd: args.new_key_fd }.read(context)?;
    let places = Places { verb: "rekey", input: &args.input, out: &args.out, no_clobber: args.no_clobber };
    places.rewrite(context, &how, |reader, sink| dunnage_statefile::rekey(reader, sink, new_key.as_ref()))
}

struct Places<'a> {
    verb: &'static str,
    input: &'a Path,
    out: &'a Path,
    no_clobber: bool,
}

/// Whatever reads a state file from front to back.
type Watched<'a> = dunnage_digest::Cursor<&'a crate::progress::Watched<'a, &'a std::fs::File>>;

impl Places<'_> {
    fn rewrite(
        &self,
        context: &Context,
        how: &StateHow,
        write: impl FnOnce(Reader<Watched<'_>>, Sink) -> Result<(Sink, Written), Error>,
    ) -> Result<Exit> {
        let Self { verb, input, out, no_clobber } = *self;
        let source = open_seekable(context, input)?;
        let clobber = if no_clobber { Clobber::Refuse } else { Clobber::Replace };
        // As readable as the input: a checkpoint holds the memory of programs.
        let sink = Sink::create_with(out, clobber, source.metadata()?.permissions().mode() & 0o777)?;
        let name = sink.name().to_owned();
        let failed = || format!("cannot {verb} {} into {name}", name_of(input));
        let start = Instant::now();
        let progress = Progress::start(context, verb, Some(ReadAt::size(&source).with_context(failed)?));
        let file = File::open(progress.watch(&source), how.key.as_ref(), &how.options).with_context(failed)?;
        let reader = file.reader().with_context(failed)?;
        let (sink, written) = write(reader, sink).with_context(failed)?;
        sink.commit()?;
        Made::of(verb, (title(input), title(out)), written, start).print(context, is_stdout(out))?;
        Ok(Exit::DONE)
    }
}
