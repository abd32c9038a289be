//! A tar stream applied entry by entry, as it arrives.

use std::io::Read;

use super::{destination::Destination, meta::Meta, options::ExtractOptions, summary::Extracted, unpack::Unpacker};
use crate::{
    Error, Kind, SafePath,
    tar::{EntryType, Header, Reader, device},
};

/// Unpacks the tar stream `source` into `destination`, which is created if it does not exist.
///
/// Entries are applied in the order of the stream, and nothing of it is kept in memory but names. The stream is read to its
/// very end, because damage to a compressed one may come to light only there; what stands behind the end of the archive is
/// counted in [`Extracted::trailing`]. What was written stays there if an error ends the run.
///
/// # Errors
///
/// Those of [`Reader::next_header`]; otherwise as [`extract`](crate::extract). [`Error::Unsupported`] for an unknown type
/// of entry.
pub fn extract_tar<R: Read>(
    source: R,
    destination: impl Into<Destination>,
    options: &ExtractOptions,
) -> Result<Extracted, Error> {
    let mut unpacker = Unpacker::new(destination.into(), options)?;
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
            Kind::File => {
                let mut content = |buf: &mut [u8]| reader.read_payload(buf);
                if header.sparse {
                    unpacker.sparse_file(&path, &meta, header.size, &mut content)?;
                } else {
                    unpacker.file(&path, &meta, header.size, &mut content)?;
                }
            }
            Kind::Directory => unpacker.directory(&path, meta)?,
            Kind::Symlink => unpacker.symlink(&path, &meta, &header.link)?,
            Kind::CharDevice | Kind::BlockDevice => unpacker.special(&path, &meta, kind, device(&header)?)?,
            Kind::Fifo => unpacker.special(&path, &meta, kind, (0, 0))?,
            Kind::Socket => unpacker.socket(&path),
        }
    }
    unpacker.summary.trailing = trailing(&mut reader, options)?;
    unpacker.finish()
}

/// Reads what stands behind the end of the archive, and counts what is not zero of it.
fn trailing<R: Read>(reader: &mut Reader<R>, options: &ExtractOptions) -> Result<u64, Error> {
    let (mut all, mut stray) = (0_u64, 0_u64);
    let mut block = vec![0; 64 << 10];
    loop {
        let len = reader.read_trailing(&mut block)?;
        if len == 0 {
            return Ok(stray);
        }
        options.cancel.check()?;
        all = all.saturating_add(len as u64);
        if all > options.limits.unpacked {
            let (what, limit) = ("unpacked bytes behind the end of the archive", options.limits.unpacked);
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
