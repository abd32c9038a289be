//! One combination of input, compression, level, chunk size, streams, order and mode, and how both sides write it.

use std::{fs, io::BufReader, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use dunnage_conformance::layer;
use dunnage_estargz::{
    Summary, WriteOptions,
    codec::{Codec, Compressor, ExternalTocCompressor, GzipCompressor, Level, ZstdCompressor, ZstdLevel},
    write::Streams,
};

use super::blob::Blob;
use crate::conformance::input::{Input, open};

/// How streams are compressed, and where the TOC is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Gzip,
    Zstd,
    /// gzip, the TOC apart.
    External,
}

/// What becomes of headers and of the order of entries. A prioritized order needs the whole input; the lossless writer
/// takes it as it comes. So that pair does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    Lossy,
    Prioritized,
    Lossless,
}

/// All modes.
pub(super) const MODES: [Mode; 3] = [Mode::Lossy, Mode::Prioritized, Mode::Lossless];

#[derive(Clone, Copy, Debug)]
pub(super) struct Combination<'i> {
    pub(super) input: &'i Input,
    pub(super) form: Form,
    pub(super) level: i32,
    pub(super) streams: Streams,
    pub(super) chunk: u64,
    pub(super) mode: Mode,
    /// Which codec a large input takes in this combination.
    pub(super) turn: usize,
}

impl Form {
    /// As the reference's program calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::External => "external",
        }
    }
}

impl Combination<'_> {
    pub(super) fn name(&self) -> String {
        let Self { input, level, chunk, .. } = self;
        let form = match self.form {
            Form::Gzip => String::new(),
            form => format!(" {}", form.name()),
        };
        let mode = match self.mode {
            Mode::Lossy => "as it comes lossy",
            Mode::Prioritized => "prioritized lossy",
            Mode::Lossless => "as it comes lossless",
        };
        let streams = match self.streams {
            Streams::PerChunk => String::new(),
            Streams::AtLeast(least) => format!(" streams of {least} bytes"),
            Streams::CompressedAtLeast(least) => format!(" streams of {least} compressed bytes"),
        };
        format!("{}{form} level {level} chunk {chunk} {mode}{streams}", input.name)
    }

    pub(super) fn is_lossless(&self) -> bool {
        self.mode == Mode::Lossless
    }

    /// Whether files share streams.
    pub(super) fn is_shared(&self) -> bool {
        self.streams != Streams::PerChunk
    }

    pub(super) fn tar(&self) -> &Path {
        if self.is_lossless() { &self.input.once } else { &self.input.tar }
    }

    /// Our codecs that this can be written with.
    pub(super) fn codecs(&self) -> Vec<(&'static str, Codec)> {
        match self.form {
            // There is one for zstd, so there is nothing to choose.
            Form::Zstd => vec![("zstd", Codec::Zlib)],
            Form::Gzip | Form::External => layer::codecs(),
        }
    }

    /// How we write it.
    pub(super) fn options(&self, codec: Codec, threads: usize) -> Result<WriteOptions> {
        let gzip = || Ok::<_, anyhow::Error>(GzipCompressor::new(codec, Level::new(self.level)?));
        let compressor: Arc<dyn Compressor> = match self.form {
            Form::Zstd => Arc::new(ZstdCompressor::new(ZstdLevel::new(self.level)?)),
            Form::Gzip => Arc::new(gzip()?),
            Form::External => Arc::new(ExternalTocCompressor::new(gzip()?)),
        };
        let plain = layer::options(codec, 0, self.chunk, threads)?;
        Ok(WriteOptions { compressor, streams: self.streams, ..plain })
    }

    /// Our blob.
    pub(super) fn write(&self, codec: Codec, threads: usize) -> Result<(Blob, Summary)> {
        let write = self.options(codec, threads)?;
        let prioritized = if self.mode == Mode::Prioritized { self.input.prioritized.as_slice() } else { &[] };
        let (bytes, summary) = if self.is_lossless() {
            layer::append_lossless(BufReader::new(open(self.tar())?), &write)?
        } else {
            let (bytes, built) = layer::build(open(self.tar())?, &write, prioritized)?;
            (bytes, built.summary)
        };
        Ok((Blob { bytes, toc: summary.external_toc.clone() }, summary))
    }

    /// How the reference's program is to write it to `out`, and the TOC to `toc` if that is apart.
    pub(super) fn their_args(&self, out: &Path, toc: &Path, scratch: &Path) -> Result<Vec<String>> {
        let mut args = vec![
            if self.is_lossless() { "append" } else { "build" }.to_owned(),
            format!("--compression={}", self.form.name()),
            format!("--level={}", self.level),
            format!("--chunk-size={}", self.chunk),
        ];
        match self.streams {
            Streams::PerChunk => {}
            // It has no plan by uncompressed bytes; the contents are the same.
            Streams::AtLeast(least) | Streams::CompressedAtLeast(least) => {
                args.push(format!("--min-chunk-size={least}"));
            }
        }
        if self.form == Form::External {
            args.push(format!("--toc-out={}", toc.display()));
        }
        match self.mode {
            Mode::Lossless => args.push("--lossless".to_owned()),
            Mode::Lossy | Mode::Prioritized => args.push("--parallelism=1".to_owned()),
        }
        if self.mode == Mode::Prioritized {
            let list = scratch.join("prioritized.txt");
            fs::write(&list, self.input.prioritized.join("\n")).context("cannot write the prioritized names")?;
            args.push(format!("--prioritized={}", list.display()));
        }
        args.extend([self.tar().display().to_string(), out.display().to_string()]);
        Ok(args)
    }
}
