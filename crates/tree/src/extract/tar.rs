//! A tar stream applied entry by entry, as it arrives.

use std::io::Read;

use dunnage_digest::Progress;

use super::{destination::Destination, meta::Meta, options::ExtractOptions, summary::Extracted, unpack::Unpacker};
use crate::{
    Error, Kind, SafePath,
    tar::{EntryType, Header, Reader, device},
};

/// Unpacks the tar stream `source` into `destination`, which is created if it does not exist.
///
/// Use it for a tar that arrives in order, from a pipe or a decompressor; [`extract`](crate::extract) unpacks a tree that is
/// open. Entries are applied in the order of the stream, and only names stay in memory. The stream is read to its very end,
/// because damage to a compressed one may show only there; [`Extracted::trailing`] counts the bytes after the end of the
/// archive. Holes of sparse files become holes. `progress` receives the bytes of content written so far, holes included.
/// Files written so far stay if an error ends the run.
///
/// # Errors
///
/// Those of [`Reader::next_header`]; otherwise as [`extract`](crate::extract). [`Error::Unsupported`] for an unknown type
/// of entry.
pub fn extract_tar<R: Read>(
    source: R,
    destination: impl Into<Destination>,
    options: &ExtractOptions,
    progress: Progress<'_>,
) -> Result<Extracted, Error> {
    let mut unpacker = Unpacker::new(destination.into(), options, progress)?;
    let mut reader = Reader::new(source, options.limits.clone());
    let mut header = Header::default();
    while reader.next_header(&mut header)? {
        let path = match header.entry {
            EntryType::GlobalExtension => continue,
            EntryType::Other(flag) => {
                let (at, got) = (reader.payload_offset(), format!("`{}`", flag.escape_ascii()));
                return Err(Error::Unsupported { what: "tar entry type", at, got });
            }
            _ => SafePath::new(&header.name)?,
        };
        let Some(kind) = header.entry.kind() else {
            unpacker.hard_link(&path, &SafePath::new(&header.link)?)?;
            continue;
        };
        let meta = meta(&header);
        match kind {
            Kind::File => unpacker.file(&path, &meta, header.size, &mut reader)?,
            Kind::Directory => unpacker.directory(&path, meta)?,
            Kind::Symlink => unpacker.symlink(&path, &meta, &header.link)?,
            Kind::CharDevice | Kind::BlockDevice => unpacker.special(&path, &meta, kind, device(&header)?)?,
            Kind::Fifo => unpacker.special(&path, &meta, kind, (0, 0))?,
            Kind::Socket => unpacker.socket(&path),
        }
    }
    unpacker.summary.trailing = trailing(&mut reader, options, progress)?;
    unpacker.finish()
}

/// Reads the bytes after the end of the archive, and counts those that are not zero.
fn trailing<R: Read>(reader: &mut Reader<R>, options: &ExtractOptions, progress: Progress<'_>) -> Result<u64, Error> {
    let (mut all, mut stray) = (0_u64, 0_u64);
    let mut block = vec![0; 64 << 10];
    loop {
        let len = reader.read_trailing(&mut block)?;
        if len == 0 {
            return Ok(stray);
        }
        progress.check()?;
        all = all.saturating_add(len as u64);
        if all > options.limits.unpacked {
            let (what, limit) = ("unpacked bytes after the end of the archive", options.limits.unpacked);
            return Err(Error::Limit { what, limit, asked: all });
        }
        let block = block.get(..len).unwrap_or_default();
        stray = stray.saturating_add(block.iter().filter(|&&byte| byte != 0).count() as u64);
    }
}

fn meta(header: &Header) -> Meta {
    Meta {
        mode: u16::try_from(header.mode & 0o7777).unwrap_or_default(),
        uid: header.uid,
        gid: header.gid,
        mtime: header.mtime,
        xattrs: header.xattrs().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
    }
}
