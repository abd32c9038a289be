//! Into a tar.
//!
//! What is a tar already is handed on as it is. A layer made by a lossless writer gives back the tar it was made of; one
//! made by any other has no end marker, which is added, and a landmark, which is left out.

use std::io::{BufWriter, Read, Write};

use anyhow::{Context as _, Result};
use dunnage_digest::{Hasher, HashingWriter};
use dunnage_estargz::{NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK};
use dunnage_tree::{
    Error, Limits, SafePath,
    tar::{self, Header, Reader},
};

use super::report::Made;
use crate::{
    args::Convert,
    context::Context,
    progress::Progress,
    sink::Sink,
    source::{Source, name_of},
};

pub(super) fn make(context: &Context, args: &Convert, source: &dyn Source, sink: Sink) -> Result<(Sink, Made)> {
    let name = sink.name().to_owned();
    let failed = || format!("cannot convert {} into {name}", name_of(&args.source));
    let progress = Progress::start(context, "convert", source.tar_total());
    let mut out = HashingWriter::new(BufWriter::with_capacity(1 << 20, sink), Hasher::sha256());
    let mut tar = source.tar(&progress).with_context(failed)?;
    if source.layer().is_some() && !args.lossless {
        complete(tar, context.tree_limits(), &mut out).with_context(failed)?;
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

/// Copies a tar, its landmarks left out and its end marker added if it has none.
fn complete<R: Read, W: Write>(archive: R, limits: &Limits, out: &mut W) -> Result<()> {
    let mut entries = Reader::new(archive, limits.clone()).keep_raw(true);
    let mut header = Header::default();
    let mut block = vec![0; 256 << 10];
    // Padding of the entry before, which is in front of a header, and whether that entry was left out.
    let (mut padding, mut left_out) = (0, false);
    while entries.next_header(&mut header)? {
        let (before, headers) = entries.raw().split_at_checked(padding).unwrap_or_default();
        if !left_out {
            out.write_all(before)?;
        }
        padding = usize::try_from(tar::padding(header.size)).unwrap_or_default();
        left_out = is_landmark(&header);
        if left_out {
            continue;
        }
        out.write_all(headers)?;
        if header.sparse {
            let (what, at) = ("sparse file in a layer", entries.payload_offset());
            return Err(Error::Unsupported { what, at, got: header.name.escape_ascii().to_string() }.into());
        }
        loop {
            let len = entries.read_payload(&mut block)?;
            if len == 0 {
                break;
            }
            out.write_all(block.get(..len).unwrap_or_default())?;
        }
    }
    let (before, end) = entries.raw().split_at_checked(padding).unwrap_or_default();
    if !left_out {
        out.write_all(before)?;
    }
    out.write_all(end)?;
    if !end.starts_with(&tar::END) {
        out.write_all(tar::END.get(end.len()..).unwrap_or_default())?;
    }
    loop {
        let len = entries.read_trailing(&mut block)?;
        if len == 0 {
            return Ok(());
        }
        out.write_all(block.get(..len).unwrap_or_default())?;
    }
}

/// A landmark belongs to the layer, not to the files.
fn is_landmark(header: &Header) -> bool {
    let is_one = |name: &SafePath| {
        [PREFETCH_LANDMARK, NO_PREFETCH_LANDMARK].iter().any(|landmark| name.as_bytes() == landmark.as_bytes())
    };
    SafePath::new(&header.name).as_ref().is_ok_and(is_one)
}
