//! `dunnage state cat`: the payload to standard output.

use anyhow::{Context as _, Result};
use dunnage_digest::ReadAt;
use dunnage_statefile::{File, Reader};

use super::{is_seekable, open, read_options};
use crate::{args::StateCat, context::Context, exit::Exit, print::stdout_file, progress::Progress, source::name_of};

pub(super) fn run(context: &Context, args: &StateCat) -> Result<Exit> {
    let key = args.how.key.read(context)?;
    let options = read_options(context, &args.how, args.expect_bytes);
    let failed = || format!("cannot read {}", name_of(&args.file));
    let file = open(&args.file)?;
    let mut out = stdout_file()?;
    if is_seekable(&file).with_context(failed)? {
        let progress = Progress::start(context, "cat", Some(ReadAt::size(&file).with_context(failed)?));
        // What is read by position is inflated by all threads, and needs no look ahead to tell what it is.
        let file = File::open(progress.watch(&file), key.as_ref(), &options).with_context(failed)?;
        file.copy_to(&mut out, dunnage_digest::Progress::none()).with_context(failed)?;
        return Ok(Exit::DONE);
    }
    let progress = Progress::start(context, "cat", None);
    let mut reader = Reader::open(progress.watch(file), key.as_ref(), &options).with_context(failed)?;
    reader.copy_to(&mut out).with_context(failed)?;
    Ok(Exit::DONE)
}
