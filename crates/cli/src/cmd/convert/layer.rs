//! Into a layer: eStargz or zstd:chunked.
//!
//! `Build::run` of the library decides how often the input is read; this module says which kind of input the source is.

use std::{io::BufRead, sync::Arc};

use anyhow::{Context as _, Result};
use dunnage_estargz::{
    Build, Built, Error, Input as BuildInput, WriteOptions, Writer,
    codec::{
        Codec, Compressor, ExternalTocCompressor, GzipCompressor, Level, StorageCompressor, ZstdCompressor, ZstdLevel,
    },
    compose::{Missing, Pass},
    write::{NonUtf8, Streams},
};

use super::report::Made;
use crate::{
    args::{CodecName, Convert, Duplicates, NonUtf8Names, Target},
    context::Context,
    failure::{Failure, usage},
    progress::Progress,
    sink::Sink,
    source::{Input, name_of},
};

pub(super) fn make(context: &Context, args: &Convert, input: &mut Input<'_>, sink: Sink) -> Result<(Sink, Made)> {
    let prioritized = prioritized(args)?;
    if !prioritized.is_empty() && args.duplicates != Duplicates::Replace {
        let message = "files can be put first only if repeated names are replaced";
        return Err(usage(message, "leave --duplicates out"));
    }
    let missing = if args.allow_missing { Missing::Report } else { Missing::Refuse };
    let build = Build { write: write_options(context, args)?, prioritized, missing };
    let name = sink.name().to_owned();
    let failed = || format!("cannot convert {} into {name}", name_of(&args.source));
    let (sink, made) = run(context, args, input, &build, sink).with_context(failed)?;
    Ok((sink, made))
}

fn run(context: &Context, args: &Convert, input: &mut Input<'_>, build: &Build, sink: Sink) -> Result<(Sink, Made)> {
    let progress = Progress::start(context, "convert", input.total());
    let lossless = args.lossless || args.to == Target::ZstdChunkedStorage;
    if lossless || args.duplicates == Duplicates::Keep {
        let mut writer = Writer::new(sink, &build.write)?;
        let tar = input.tar(&progress)?;
        if lossless {
            writer.append_tar_lossless(tar)?
        } else {
            writer.append_tar(tar)?
        }
        let (sink, summary) = writer.finish()?;
        return Ok((sink, Made::Layer { summary: Box::new(summary), missed: Vec::new() }));
    }
    let none = dunnage_digest::Progress::none;
    let report = |bytes| progress.set(bytes);
    let watched = dunnage_digest::Progress::to(&report);
    if let Input::Tree { tree, options, .. } = &*input {
        let (sink, built) = build.run(BuildInput::Tree(*tree, options), sink, watched)?;
        input.note_left_out(&built.left_out);
        return Ok(made((sink, built)));
    }
    if args.duplicates == Duplicates::Refuse {
        let built = build.run(BuildInput::Stream(&mut input.tar(&progress)?), sink, none());
        return built.map(made).map_err(|error| match error {
            Error::Duplicate { .. } => {
                Failure::new(error.kind(), "a name comes up again").caused_by(error).hint(REPLACE).into()
            }
            error => error.into(),
        });
    }
    if let Some(file) = input.plain() {
        return Ok(made(build.run(BuildInput::File(file), sink, watched)?));
    }
    if !input.can_repeat() {
        return Ok(made(build.run(BuildInput::Stream(&mut input.tar(&progress)?), sink, none())?));
    }
    let mut failed = None;
    let mut read = |pass: Pass<'_>| {
        progress.set(0);
        match input.tar(&progress) {
            Ok(mut tar) => pass(&mut tar),
            Err(error) => {
                failed = Some(error);
                Err(Error::Misuse("the input cannot be opened".to_owned()))
            }
        }
    };
    let built = build.run(BuildInput::Twice(&mut read), sink, none());
    match failed {
        Some(error) => Err(error),
        None => Ok(made(built?)),
    }
}

const REPLACE: &str = "--duplicates replace lets the last entry count, as unpacking does";

fn made((sink, built): (Sink, Built)) -> (Sink, Made) {
    (sink, Made::Layer { summary: Box::new(built.summary), missed: built.missed })
}

pub(super) fn write_options(context: &Context, args: &Convert) -> Result<WriteOptions> {
    Ok(WriteOptions {
        chunk_size: args.chunk_size.unwrap_or_default(),
        streams: match (args.stream_size, args.min_chunk_size) {
            (Some(least), _) => Streams::AtLeast(least),
            (None, Some(least)) => Streams::CompressedAtLeast(least),
            (None, None) => Streams::PerChunk,
        },
        compressor: compressor(args)?,
        threads: context.threads,
        non_utf8: match args.non_utf8 {
            NonUtf8Names::Refuse => NonUtf8::Refuse,
            NonUtf8Names::Replace => NonUtf8::Replace,
        },
        limits: context.limits.clone(),
        ..WriteOptions::default()
    })
}

fn compressor(args: &Convert) -> Result<Arc<dyn Compressor>> {
    let is_outside = args.toc_out.is_some() || args.external_toc;
    if matches!(args.to, Target::ZstdChunked | Target::ZstdChunkedStorage) {
        let level = args.level.map(ZstdLevel::new).transpose()?.unwrap_or_default();
        return Ok(match args.to {
            Target::ZstdChunkedStorage => Arc::new(StorageCompressor::new(level)),
            _ => Arc::new(ZstdCompressor::new(level)),
        });
    }
    let codec = match args.codec {
        CodecName::Libdeflate => Codec::Libdeflate,
        CodecName::Zlib => Codec::Zlib,
    };
    let level = args.level.map(Level::new).transpose()?.unwrap_or_default();
    let gzip = GzipCompressor::new(codec, level);
    Ok(if is_outside { Arc::new(ExternalTocCompressor::new(gzip)) } else { Arc::new(gzip) })
}

/// Files named one by one, then those of the list.
pub(super) fn prioritized(args: &Convert) -> Result<Vec<String>> {
    let mut files = args.prioritize.clone();
    if let Some(list) = &args.prioritize_from {
        let failed = || format!("cannot read the list `{}`", list.display());
        let lines = std::io::BufReader::new(std::fs::File::open(list).with_context(failed)?);
        for line in lines.lines() {
            let line = line.with_context(failed)?;
            if !line.is_empty() {
                files.push(line);
            }
        }
    }
    Ok(files)
}
