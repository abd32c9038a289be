//! A layer's tar stream, without the TOC.

use std::io::Read;

use dunnage_digest::{Cursor, Offset, ReadAt, Section};

use super::open::{known, search};
use crate::{
    Error, OpenOptions,
    codec::{Decompressor, GzipDecompressor, LegacyGzipDecompressor},
    footer::{Footer, LEGACY_FOOTER_LEN},
};

/// Finds the footer of a layer in any format that this crate knows, whether its TOC can be had or not.
///
/// # Errors
///
/// [`Error::TooSmall`] below the smallest footer, [`Error::NoFooter`] with one reason a form, [`Error::Read`].
pub fn find_footer<R: ReadAt>(source: &R) -> Result<Footer, Error> {
    let known = known(&OpenOptions::default());
    search(source, &known, 0).map(|found| found.footer)
}

/// Finds the footer of a gzip layer with a TOC, in its current form or that of stargz.
///
/// # Errors
///
/// [`Error::TooSmall`] below 47 bytes, [`Error::NoFooter`] with one reason a form, [`Error::Read`].
pub fn open_footer<R: ReadAt + ?Sized>(source: &R) -> Result<Footer, Error> {
    let mut reasons = Vec::new();
    for known in [&GzipDecompressor::new() as &dyn Decompressor, &LegacyGzipDecompressor::new()] {
        match read_footer(source, known) {
            Ok(footer) => return Ok(footer),
            Err(error @ Error::Read { .. }) => return Err(error),
            Err(error @ Error::TooSmall { got, .. }) if got < LEGACY_FOOTER_LEN as u64 => {
                let Error::TooSmall { got, .. } = error else { return Err(error) };
                return Err(Error::TooSmall { expected: LEGACY_FOOTER_LEN as u64, got });
            }
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(Error::NoFooter { reasons })
}

/// The tar stream of a layer in any format that this crate knows: the input of a lossless writer, bit for bit;
/// without an end marker otherwise. The TOC is not needed.
///
/// # Errors
///
/// As [`find_footer`]; damage to the streams is an error of the reader.
pub fn unpack<'a, R: ReadAt + Send + 'a>(source: R) -> Result<Box<dyn Read + Send + 'a>, Error> {
    let known = known(&OpenOptions::default());
    let found = search(&source, &known, 0)?;
    streams(source, &found.footer, found.decompressor.as_ref())
}

/// The tar stream of a layer in the format of `decompressor`.
///
/// # Errors
///
/// [`Error::TooSmall`] and those of the decompressor's footer.
pub fn unpack_with<'a, R: ReadAt + Send + 'a>(
    source: R,
    decompressor: &dyn Decompressor,
) -> Result<Box<dyn Read + Send + 'a>, Error> {
    let footer = read_footer(&source, decompressor)?;
    streams(source, &footer, decompressor)
}

fn streams<'a, R: ReadAt + Send + 'a>(
    source: R,
    footer: &Footer,
    decompressor: &dyn Decompressor,
) -> Result<Box<dyn Read + Send + 'a>, Error> {
    if footer.payload_len == 0 {
        // No stream at all decompresses to nothing.
        return Ok(Box::new(std::io::empty()));
    }
    let failed = |source| Error::Read { what: "the payload", at: Offset::ZERO, source };
    let payload = Cursor::new(Section::new(source, Offset::ZERO, footer.payload_len)).map_err(failed)?;
    Ok(decompressor.streams(Box::new(payload)))
}

fn read_footer<R: ReadAt + ?Sized>(source: &R, decompressor: &dyn Decompressor) -> Result<Footer, Error> {
    let failed = |source| Error::Read { what: "the footer", at: Offset::ZERO, source };
    let blob_len = source.size().map_err(failed)?;
    let footer_len = decompressor.footer_len();
    let at = blob_len.checked_sub(footer_len as u64).map(Offset::new);
    let at = at.ok_or(Error::TooSmall { expected: footer_len as u64, got: blob_len })?;
    let mut bytes = vec![0; footer_len];
    source.read_exact_at(at, &mut bytes).map_err(|source| Error::Read { what: "the footer", at, source })?;
    decompressor.parse_footer(&bytes, blob_len)
}
