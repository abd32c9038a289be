//! Inputs that are compressed as a whole, told apart by their first bytes.

use std::io::{self, BufReader, Chain, Cursor, Read};

use dunnage_digest::{ErrorKind, Mismatch, Progress, SourceError, error_inside};

pub use crate::gunzip::Gunzip;
use crate::{codec::CorruptStream, members::Members};

/// How an input is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: a caller that tells formats apart must learn of a new one")]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip, in any number of members.
    Gzip,
    /// zstd, in any number of frames.
    Zstd,
}

/// An input from its first byte on, though some of it was read.
pub type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

/// Bytes of the buffer in front of a decoder.
const BUFFER: usize = 256 << 10;

impl Packing {
    /// Tells from the first four bytes, and gives them back in front of the others.
    ///
    /// # Errors
    ///
    /// Those of `input`.
    pub fn peek<R: Read>(mut input: R) -> io::Result<(Self, Whole<R>)> {
        let mut head = Vec::with_capacity(4);
        input.by_ref().take(4).read_to_end(&mut head)?;
        let packing = match head.as_slice() {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // A zstd stream may start with a skippable frame.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Self::Zstd,
            _ => Self::Plain,
        };
        Ok((packing, Cursor::new(head).chain(input)))
    }

    /// `input` without this compression. Damage is an error of kind [`io::ErrorKind::InvalidData`] that carries a
    /// [`CorruptStream`]; empty members and frames are stepped over one by one, whatever their number.
    ///
    /// # Errors
    ///
    /// If no decoder can be had.
    pub fn decompressed<'a, R: Read + 'a>(self, input: R) -> io::Result<Box<dyn Read + 'a>> {
        let input = BufReader::with_capacity(BUFFER, input);
        Ok(match self {
            Self::Plain => Box::new(input),
            Self::Gzip => Box::new(Decoded(Members::new(input))),
            Self::Zstd => Box::new(Decoded(zstd::Decoder::with_buffer(input)?)),
        })
    }
}

/// The output of a decoder. Decoders report damage in kinds of their own; an error that is no failure of the operating system
/// is damage.
#[derive(Debug)]
pub(crate) struct Decoded<R>(pub(crate) R);

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf).map_err(|error| {
            let has_kind = error_inside::<SourceError>(&error).is_some() || error_inside::<Mismatch>(&error).is_some();
            if error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted || has_kind {
                return error;
            }
            io::Error::new(io::ErrorKind::InvalidData, CorruptStream(error.to_string()))
        })
    }
}

/// `input` without whatever compression it has, gzip inflated by `gunzip` if that is given.
pub(crate) fn decompressed<'a, R: Read + 'a>(input: R, gunzip: Option<&Gunzip>) -> io::Result<Box<dyn Read + 'a>> {
    let (packing, whole) = Packing::peek(input)?;
    match (packing, gunzip) {
        (Packing::Gzip, Some(gunzip)) => gunzip.inflated(whole),
        _ => packing.decompressed(whole),
    }
}

/// An input that reports how many bytes were read from it.
pub(crate) struct Watched<'p, R> {
    pub(crate) inner: R,
    pub(crate) read: u64,
    pub(crate) progress: Progress<'p>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.progress.check().map_err(|error| SourceError::new(ErrorKind::Cancelled, error))?;
        let len = self.inner.read(buf)?;
        self.read = self.read.saturating_add(len as u64);
        self.progress.at(self.read);
        Ok(len)
    }
}
