//! Archives that are compressed as a whole.

use std::io::{self, BufReader, Chain, Cursor, Read};

use dunnage_digest::ErrorKind;

use crate::exit::Failure;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// An input from its first byte on, though some of it was read.
pub(crate) type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

impl Packing {
    /// Tells from the first bytes, and gives them back in front of the others.
    pub(crate) fn peek<R: Read>(mut input: R) -> io::Result<(Self, Whole<R>)> {
        let mut head = Vec::with_capacity(4);
        input.by_ref().take(4).read_to_end(&mut head)?;
        // A zstd stream may start with a skippable frame.
        let packing = match head.as_slice() {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Self::Zstd,
            _ => Self::Plain,
        };
        Ok((packing, Cursor::new(head).chain(input)))
    }
}

/// `input` without its compression.
pub(crate) fn decompressed<'a, R: Read + 'a>(packing: Packing, input: R) -> io::Result<Box<dyn Read + 'a>> {
    let input = BufReader::with_capacity(256 << 10, input);
    Ok(match packing {
        Packing::Plain => Box::new(input),
        Packing::Gzip => Box::new(Decoded(flate2::bufread::MultiGzDecoder::new(input))),
        Packing::Zstd => Box::new(Decoded(zstd::Decoder::with_buffer(input)?)),
    })
}

/// What comes out of a decoder: what is not a failure of the operating system is damage.
#[derive(Debug)]
pub(super) struct Decoded<R>(pub(super) R);

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf).map_err(|error| match error.raw_os_error() {
            Some(_) => error,
            None => io::Error::new(error.kind(), Failure::new(ErrorKind::Malformed, error.to_string())),
        })
    }
}
