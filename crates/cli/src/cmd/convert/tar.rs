//! Into a tar.
//!
//! A tar stays as it is. A layer made by a lossless writer gives back the tar it was made of. The tar of any other layer
//! has no end marker, which is added, and a landmark, which is left out.

use std::io::{BufWriter, Read, Write};

use anyhow::{Context as _, Result};
use dunnage_digest::{Hasher, HashingWriter};
use dunnage_estargz::read::restore_tar;

use super::report::Made;
use crate::{
    args::Convert,
    context::Context,
    progress::Progress,
    sink::Sink,
    source::{Input, name_of},
};

pub(super) fn make(context: &Context, args: &Convert, input: &mut Input<'_>, sink: Sink) -> Result<(Sink, Made)> {
    let name = sink.name().to_owned();
    let failed = || format!("cannot convert {} into {name}", name_of(&args.source));
    let progress = Progress::start(context, "convert", input.total());
    let mut out = HashingWriter::new(BufWriter::with_capacity(1 << 20, sink), Hasher::sha256());
    let is_layer = input.is_layer();
    let mut tar = input.tar(&progress).with_context(failed)?;
    if is_layer && !args.lossless {
        restore_tar(tar, context.tree_limits(), &mut out).with_context(failed)?;
    } else {
        let mut block = vec![0; 1 << 20];
        loop {
            let len = tar.read(&mut block).with_context(failed)?;
            if len == 0 {
                break;
            }
            out.write_all(block.get(..len).unwrap_or_default()).with_context(failed)?;
        }
    }
    let (out, digest, bytes) = out.finish();
    let sink = out.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(failed)?;
    Ok((sink, Made::Tar { digest: digest.to_string(), bytes }))
}
