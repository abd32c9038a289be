//! The tar that a layer was made of, as far as the layer has kept it.

use std::io::{Read, Write};

use dunnage_tree::{
    Limits, SafePath,
    tar::{self, Header},
};

use crate::{
    Error,
    compose::{NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK},
};

/// Copies the tar stream of a layer as an archive of its own: landmarks are left out, and the end marker is added if it
/// has none.
///
/// # Errors
///
/// [`Error::Tar`] if `tar` is no tar or holds a sparse file, [`Error::Write`] if `out` fails.
pub fn restore_tar<R: Read, W: Write>(tar: R, limits: &Limits, out: &mut W) -> Result<(), Error> {
    let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(|source| Error::Write { source });
    let mut entries = tar::Reader::new(tar, limits.clone()).keep_raw(true);
    let mut header = Header::default();
    let mut block = vec![0; 256 << 10];
    // Padding of the entry before, which precedes a header, and whether that entry was left out.
    let (mut padding, mut left_out) = (0, false);
    while entries.next_header(&mut header)? {
        let (before, headers) = entries.raw().split_at_checked(padding).unwrap_or_default();
        if !left_out {
            write(before)?;
        }
        padding = usize::try_from(tar::padding(header.size)).unwrap_or_default();
        left_out = is_landmark(&header);
        if left_out {
            continue;
        }
        write(headers)?;
        if header.sparse {
            let (what, at) = ("sparse file in a layer", entries.payload_offset());
            let got = header.name.escape_ascii().to_string();
            return Err(dunnage_tree::Error::Unsupported { what, at, got }.into());
        }
        loop {
            let len = entries.read_payload(&mut block)?;
            if len == 0 {
                break;
            }
            write(block.get(..len).unwrap_or_default())?;
        }
    }
    let (before, end) = entries.raw().split_at_checked(padding).unwrap_or_default();
    if !left_out {
        write(before)?;
    }
    write(end)?;
    if !end.starts_with(&tar::END) {
        write(tar::END.get(end.len()..).unwrap_or_default())?;
    }
    loop {
        let len = entries.read_trailing(&mut block)?;
        if len == 0 {
            return Ok(());
        }
        write(block.get(..len).unwrap_or_default())?;
    }
}

/// A landmark belongs to the layer, not to the files.
fn is_landmark(header: &Header) -> bool {
    let is_one = |name: &SafePath| {
        [PREFETCH_LANDMARK, NO_PREFETCH_LANDMARK].iter().any(|landmark| name.as_bytes() == landmark.as_bytes())
    };
    SafePath::new(&header.name).as_ref().is_ok_and(is_one)
}
