//! Builds a layer from a tar: `build TAR BLOB [LEVEL] [THREADS] [zlib|libdeflate]`. A `-` reads the tar from a pipe.

#![allow(clippy::print_stderr, reason = "a program that reports")]

use std::{error::Error, fs::File, io, sync::Arc};

use dunnage_estargz::{
    Build, WriteOptions,
    codec::{Codec, GzipCompressor, Level},
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize| arguments.get(at).map(String::as_str);
    let (Some(tar), Some(blob)) = (argument(0), argument(1)) else {
        return Err("usage: build TAR BLOB [LEVEL] [THREADS] [zlib|libdeflate]".into());
    };
    let level = Level::new(argument(2).unwrap_or("6").parse()?)?;
    let codec = match argument(4) {
        #[cfg(feature = "libdeflate")]
        Some("libdeflate") => Codec::Libdeflate,
        _ => Codec::Zlib,
    };
    let write = WriteOptions {
        compressor: Arc::new(GzipCompressor::new(codec, level)),
        threads: argument(3).unwrap_or("0").parse()?,
        ..WriteOptions::default()
    };
    let build = Build { write, ..Build::default() };
    let sink = io::BufWriter::new(File::create(blob)?);
    let (_, built) = if tar == "-" {
        build.from_stream(io::stdin().lock(), sink)?
    } else {
        build.from_source(File::open(tar)?, sink)?
    };
    eprintln!("{:#?}", built.summary);
    Ok(())
}
