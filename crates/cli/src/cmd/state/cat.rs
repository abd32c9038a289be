//! `dunnage state cat`: the payload to standard output.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use dunnage_digest::ReadAt;
use dunnage_statefile::{Error, File, Reader};

use super::{is_seekable, open_state};
use crate::{
    args::StateCat,
    context::Context,
    exit::Exit,
    print::{OutputError, stdout_file},
    progress::Progress,
    source::{StateHow, name_of},
};

pub(super) fn run(context: &Context, args: &StateCat) -> Result<Exit> {
    let StateHow { key, options } = StateHow::of(context, &args.how, args.expect_bytes)?;
    let failed = || format!("cannot read {}", name_of(&args.file));
    let file = open_state(context, &args.file)?;
    // A plain file, so that the system can copy from file to file.
    let mut out = stdout_file()?;
    if is_seekable(&file).with_context(failed)? {
        let progress = Progress::start(context, "cat", Some(ReadAt::size(&file).with_context(failed)?));
        // All threads inflate a file that is read by position, and it needs no look ahead.
        let file = File::open(progress.watch(&file), key.as_ref(), &options).with_context(failed)?;
        let copied = file.copy_to(&mut out, dunnage_digest::Progress::none());
        copied.map_err(of_output).with_context(failed)?;
        return Ok(Exit::DONE);
    }
    let progress = Progress::start(context, "cat", None);
    let mut reader = Reader::open(progress.watch(file), key.as_ref(), &options).with_context(failed)?;
    reader.copy_to(&mut out).map_err(of_output).with_context(failed)?;
    Ok(Exit::DONE)
}

/// Names standard output in errors that can only be its own: all writes, and errors of a copy that no source has.
fn of_output(error: Error) -> anyhow::Error {
    use std::io::ErrorKind::{BrokenPipe, StorageFull};
    let source = match error {
        Error::Write { source, .. } => source,
        Error::Copy { source } if matches!(source.kind(), BrokenPipe | StorageFull) => source,
        other => return other.into(),
    };
    let source = Arc::try_unwrap(source).unwrap_or_else(|shared| std::io::Error::new(shared.kind(), shared));
    OutputError::of_product(source).into()
}
