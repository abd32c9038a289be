//! Inputs of a build: a tar, plain or compressed, told apart by its first bytes.

use std::io::{self, BufRead, BufReader, Read};

use crate::Error;

/// How an input is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// Tells from the first four bytes. A zstd stream may start with a skippable frame.
    pub(crate) const fn detect(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// Bytes of the buffer in front of a decoder.
const BUFFER: usize = 256 << 10;

/// The input without its compression. Empty gzip members are stepped over one by one, whatever their number.
pub(crate) fn decompressed<'a, R: Read + 'a>(input: R) -> Result<Box<dyn Read + 'a>, Error> {
    let failed = |source: io::Error| Error::Input { source };
    let mut input = BufReader::with_capacity(BUFFER, input);
    let mut head = Vec::new();
    // One read may bring fewer bytes than there are.
    while head.len() < 4 {
        let more = input.fill_buf().map_err(failed)?;
        if more.is_empty() {
            break;
        }
        let len = more.len().min(4_usize.saturating_sub(head.len()));
        head.extend_from_slice(more.get(..len).unwrap_or_default());
        input.consume(len);
    }
    let packing = Packing::detect(&head);
    let whole = io::Cursor::new(head).chain(input);
    Ok(match packing {
        Packing::Plain => Box::new(whole),
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        Packing::Zstd => Box::new(zstd::Decoder::with_buffer(whole).map_err(failed)?),
    })
}
