//! `dunnage state`: gVisor's state files, one file for each verb that does more than ask.

mod cat;
mod pack;
mod rewrite;

use std::{
    fs::File,
    io::{self, Seek as _},
    os::fd::AsFd as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use dunnage_digest::{ErrorKind, Progress};
use dunnage_tree::Spool;

use crate::{
    args::State,
    context::Context,
    exit::Exit,
    failure::Failure,
    source::{self, Access, StateHow, begins_like_state, checkpoint_state, is_stdin, name_of},
};

pub(super) fn run(context: &Context, what: State) -> Result<Exit> {
    match what {
        State::Show(args) => {
            let file = open_seekable(context, &args.file)?;
            source::show_state(&args.file, &file, &StateHow::of(context, &args.how, None)?)?.print(context)
        }
        State::Verify(args) => {
            let file = open_seekable(context, &args.file)?;
            let how = StateHow::of(context, &args.how, args.expect_bytes)?;
            source::verify_state(context, &args.file, &file, &how)?.print(context)
        }
        State::Cat(args) => cat::run(context, &args),
        State::Pack(args) => pack::run(context, &args),
        State::Convert(args) => rewrite::convert(context, &args),
        State::Rekey(args) => rewrite::rekey(context, &args),
    }
}

/// The state file to be read, `-` for standard input; a pipe is kept in a temporary file first.
fn open_seekable(context: &Context, path: &Path) -> Result<File> {
    let mut file = open_state(context, path)?;
    let failed = || format!("cannot read {}", name_of(path));
    if is_seekable(&file).with_context(failed)? {
        return Ok(file);
    }
    Ok(Spool::keep(&mut file, u64::MAX, Progress::none()).with_context(failed)?.into_file())
}

/// The state file that `path` leads to: itself, or that of a checkpoint. Anything else is told by its kind.
fn open_state(context: &Context, path: &Path) -> Result<File> {
    let is_dir = !is_stdin(path) && path.is_dir();
    if is_dir && let Some(state) = checkpoint_state(path) {
        return open(&state);
    }
    let file = if is_dir { None } else { Some(open(path)?) };
    if let Some(file) = file {
        let failed = || format!("cannot read {}", name_of(path));
        if !is_seekable(&file).with_context(failed)? || begins_like_state(&file).with_context(failed)? {
            return Ok(file);
        }
        // If it is of no kind, the reader of state files explains the error.
        let Ok(other) = source::open_unchecked(context, path, Access::Random) else { return Ok(file) };
        return Err(no_state(path, other.about().format));
    }
    Err(no_state(path, source::open_unchecked(context, path, Access::Random)?.about().format))
}

fn no_state(path: &Path, format: &str) -> anyhow::Error {
    Failure::new(ErrorKind::Malformed, format!("{} is no gVisor state file, it is: {format}", name_of(path))).into()
}

/// A file to be read, `-` for standard input.
fn open(path: &Path) -> Result<File> {
    let failed = || format!("cannot open {}", name_of(path));
    if is_stdin(path) {
        return Ok(File::from(io::stdin().as_fd().try_clone_to_owned().with_context(failed)?));
    }
    File::open(path).with_context(failed)
}

/// Whether it can be read by position, and nobody has begun to read it.
fn is_seekable(mut file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.is_file() && file.stream_position()? == 0)
}
