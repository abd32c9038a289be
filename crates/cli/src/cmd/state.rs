//! `dunnage state`: gVisor's state files, one file for each thing that is done with them.

mod cat;
mod facts;
mod key;
mod pack;
mod rewrite;
mod show;
mod verify;

use std::{
    fs::File,
    io::{self, Seek as _},
    os::fd::AsFd as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use dunnage_digest::Cancel;
use dunnage_statefile::ReadOptions;

use crate::{
    args::{Dialect, State, StateCompression, StateIn},
    context::{Context, usage},
    exit::Exit,
    source::{is_stdin, keep, name_of},
};

pub(crate) use self::{facts::Facts, show::inspect, verify::verify};

pub(super) fn run(context: &Context, what: State) -> Result<Exit> {
    match what {
        State::Show(args) => show::run(context, &args),
        State::Verify(args) => verify::run(context, &args),
        State::Cat(args) => cat::run(context, &args),
        State::Pack(args) => pack::run(context, &args),
        State::Convert(args) => rewrite::convert(context, &args),
        State::Rekey(args) => rewrite::rekey(context, &args),
    }
}

/// How a state file is to be read.
fn read_options(context: &Context, how: &StateIn, payload_len: Option<u64>) -> ReadOptions {
    ReadOptions {
        dialect: how.from.map(Dialect::known),
        threads: context.threads,
        payload_len,
        cancel: Cancel::new(),
        ..ReadOptions::default()
    }
}

/// The file to be read, `-` for standard input; a pipe is kept in a temporary file first.
fn open_seekable(path: &Path) -> Result<File> {
    let file = open(path)?;
    let failed = || format!("cannot read {}", name_of(path));
    if is_seekable(&file).with_context(failed)? { Ok(file) } else { keep(file, u64::MAX).with_context(failed) }
}

/// The file to be read, `-` for standard input.
fn open(path: &Path) -> Result<File> {
    let failed = || format!("cannot open {}", name_of(path));
    let file = if is_stdin(path) {
        File::from(io::stdin().as_fd().try_clone_to_owned().with_context(failed)?)
    } else {
        File::open(path).with_context(failed)?
    };
    if file.metadata().with_context(failed)?.is_dir() {
        let message = format!("{} is a directory", name_of(path));
        return Err(usage(message, "name the state file in it: checkpoint.img"));
    }
    Ok(file)
}

/// Whether it can be read by position, and nobody has begun to read it.
fn is_seekable(mut file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.is_file() && file.stream_position()? == 0)
}

impl Dialect {
    const fn known(self) -> dunnage_statefile::Dialect {
        use dunnage_statefile::Dialect as Known;
        match self {
            Self::L => Known::L,
            Self::A => Known::A,
            Self::B => Known::B,
            Self::C => Known::C,
            Self::D => Known::D,
        }
    }
}

impl StateCompression {
    const fn known(self) -> dunnage_statefile::Compression {
        use dunnage_statefile::Compression as Known;
        match self {
            Self::FlateBestSpeed => Known::FlateBestSpeed,
            Self::None => Known::None,
        }
    }
}
