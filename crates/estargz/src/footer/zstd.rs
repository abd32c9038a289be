//! The footers of zstd:chunked layers: the content of a skippable frame, little endian.
//!
//! | at | bytes | field, in the reference's form       | in that of containers/storage           |
//! |----|-------|--------------------------------------|-----------------------------------------|
//! | -8 | 8     | skippable frame header, length 40    | the same, length 64                     |
//! | 0  | 8     | offset of the compressed TOC         | the same                                |
//! | 8  | 8     | its length                           | the same                                |
//! | 16 | 8     | its length uncompressed              | the same                                |
//! | 24 | 8     | kind of TOC, always 1                | the same                                |
//! | 32 | 8     | magic `GnUlInUx`                     | offset of the compressed tar-split data |
//! | 40 | 8     |                                      | its length                              |
//! | 48 | 8     |                                      | its length uncompressed                 |
//! | 56 | 8     |                                      | magic `GNUlInUx`                        |
//!
//! TOC and tar-split data are skippable frames too, and the offsets point after their headers of 8 bytes.
//! Specification: eStargz, sections 2.2 and 2.3.

use dunnage_digest::Offset;

use super::{Fields, Footer, Format, TocPlace};
use crate::Error;

/// Length of the footer of zstd:chunked layers in bytes, without the header of its frame.
pub const ZSTD_FOOTER_LEN: usize = 40;

/// Length of the footer of containers/storage's zstd:chunked layers in bytes, without the header of its frame.
pub const STORAGE_FOOTER_LEN: usize = 64;

/// Bytes of the header of a skippable frame.
pub(crate) const SKIPPABLE_HEADER: usize = 8;

/// The first bytes of the skippable frames that layers use.
const SKIPPABLE_MAGIC: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
const MAGIC: &[u8; 8] = b"GnUlInUx";
const STORAGE_MAGIC: &[u8; 8] = b"GNUlInUx";
/// The only kind of TOC there is.
const KIND: u64 = 1;

/// A compressed document in a skippable frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Where its compressed bytes start, after the header of the frame.
    pub(crate) at: u64,
    /// Its compressed bytes.
    pub(crate) len: u64,
    /// Its bytes.
    pub(crate) plain_len: u64,
}

/// The header of a skippable frame of `len` bytes.
pub(crate) const fn skippable_header(len: u32) -> [u8; SKIPPABLE_HEADER] {
    let ([a, b, c, d], [e, f, g, h]) = (SKIPPABLE_MAGIC, len.to_le_bytes());
    [a, b, c, d, e, f, g, h]
}

/// The footer of the reference's form, with the header of its frame.
pub(crate) fn zstd_footer_bytes(toc: &Part) -> Vec<u8> {
    let numbers = [toc.at, toc.len, toc.plain_len, KIND];
    let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
    skippable_header(40).into_iter().chain(numbers).chain(*MAGIC).collect()
}

/// The footer of containers/storage's form, with the header of its frame.
pub(crate) fn storage_footer_bytes(toc: &Part, tar_split: &Part) -> Vec<u8> {
    let numbers = [toc.at, toc.len, toc.plain_len, KIND, tar_split.at, tar_split.len, tar_split.plain_len];
    let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
    skippable_header(64).into_iter().chain(numbers).chain(*STORAGE_MAGIC).collect()
}

/// Reads the last 48 bytes of a zstd:chunked blob of `blob_len` bytes: the footer and the header of its frame.
///
/// # Errors
///
/// [`Error::Malformed`] naming the first field that is wrong, with its position in the blob; also for a TOC that is not
/// between the payload and the footer.
pub fn parse_zstd_footer(bytes: &[u8], blob_len: u64) -> Result<Footer, Error> {
    let mut fields = Fields::new(bytes, blob_len, SKIPPABLE_HEADER.saturating_add(ZSTD_FOOTER_LEN))?;
    let end = fields.at;
    fields.fixed("footer: skippable frame header", &skippable_header(40))?;
    let toc = fields.part(PART_NAMES[0], end)?;
    fields.kind()?;
    // The reference writes the first; the second was never seen in this form and means the same.
    if fields.rest != STORAGE_MAGIC {
        fields.fixed("footer: magic", MAGIC)?;
    }
    Ok(footer(Format::ZstdChunked, &toc, ZSTD_FOOTER_LEN))
}

/// Reads the last 72 bytes of a zstd:chunked blob as containers/storage writes it, `blob_len` bytes long.
///
/// # Errors
///
/// As [`parse_zstd_footer`]; also for tar-split data that is not between the TOC and the footer.
pub fn parse_storage_footer(bytes: &[u8], blob_len: u64) -> Result<Footer, Error> {
    storage_parts(bytes, blob_len).map(|(toc, _)| footer(Format::StorageChunked, &toc, STORAGE_FOOTER_LEN))
}

/// The TOC and the tar-split data that a footer of 72 bytes names.
pub(crate) fn storage_parts(bytes: &[u8], blob_len: u64) -> Result<(Part, Part), Error> {
    let mut fields = Fields::new(bytes, blob_len, SKIPPABLE_HEADER.saturating_add(STORAGE_FOOTER_LEN))?;
    let end = fields.at;
    fields.fixed("footer: skippable frame header", &skippable_header(64))?;
    let toc = fields.part(PART_NAMES[0], end)?;
    fields.kind()?;
    let at = fields.at;
    let tar_split = fields.part(PART_NAMES[1], end)?;
    let toc_end = toc.at.saturating_add(toc.len);
    let least = toc_end.saturating_add(SKIPPABLE_HEADER as u64);
    if tar_split.at < least {
        return Err(Error::Malformed {
            part: "footer: tar-split offset",
            at: Offset::new(at),
            expected: format!("at least {least:#x}"),
            got: format!("{:#x}", tar_split.at),
        });
    }
    fields.fixed("footer: magic", STORAGE_MAGIC)?;
    Ok((toc, tar_split))
}

fn footer(format: Format, toc: &Part, len: usize) -> Footer {
    Footer {
        format,
        payload_len: toc.at.saturating_sub(SKIPPABLE_HEADER as u64),
        toc: TocPlace::Inside { at: Offset::new(toc.at), len: toc.len, plain_len: Some(toc.plain_len) },
        footer_len: SKIPPABLE_HEADER.saturating_add(len) as u64,
    }
}

/// How the fields of a part are called in messages: offset, length.
const PART_NAMES: [[&str; 2]; 2] =
    [["footer: TOC offset", "footer: TOC length"], ["footer: tar-split offset", "footer: tar-split length"]];

impl Fields<'_> {
    /// Three numbers that name a part, which has to end before `end`.
    fn part(&mut self, [offset, length]: [&'static str; 2], end: u64) -> Result<Part, Error> {
        let wrong = |part, at: u64, expected: String, got: u64| {
            Err(Error::Malformed { part, at: Offset::new(at), expected, got: format!("{got:#x}") })
        };
        let (place, at) = (self.at, self.u64());
        if at < SKIPPABLE_HEADER as u64 || at > end {
            return wrong(offset, place, format!("8 to {end:#x}"), at);
        }
        let (place, len) = (self.at, self.u64());
        let most = end.saturating_sub(at);
        if len > most {
            return wrong(length, place, format!("at most {most:#x}"), len);
        }
        Ok(Part { at, len, plain_len: self.u64() })
    }

    fn kind(&mut self) -> Result<(), Error> {
        self.fixed("footer: kind of TOC", &KIND.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The footer in the specification of this project.
    const KNOWN: Part = Part { at: 287, len: 491, plain_len: 1225 };
    const BLOB: u64 = 287 + 491 + 48;

    #[test]
    fn a_known_footer_is_written_byte_for_byte() {
        let hex = "502a4d18280000001f01000000000000eb01000000000000c9040000000000000100000000000000476e556c496e5578";
        let mut wanted = [0; 48];
        dunnage_digest::decode_hex(hex.as_bytes(), &mut wanted).unwrap();
        assert_eq!(zstd_footer_bytes(&KNOWN), wanted);
    }

    #[test]
    fn offsets_survive() {
        for at in (8..=200_000).step_by(1023) {
            let toc = Part { at, len: (200_000 - at) / 2, plain_len: 200_000 - at };
            let footer = parse_zstd_footer(&zstd_footer_bytes(&toc), 200_100).unwrap();
            assert_eq!((footer.payload_len, footer.toc_at().get(), footer.toc_len()), (at - 8, at, toc.len));
            let tar_split = Part { at: at + toc.len + 8, len: 20, plain_len: 90 };
            let bytes = storage_footer_bytes(&toc, &tar_split);
            assert_eq!(storage_parts(&bytes, 200_200).unwrap(), (toc, tar_split));
            assert_eq!(parse_storage_footer(&bytes, 200_200).unwrap().payload_len, at - 8);
        }
    }

    #[test]
    fn each_malformed_field_is_named_with_its_position() {
        for (at, value, wanted) in [
            (
                0,
                0x51,
                r"malformed footer: skippable frame header at offset 0x30a: expected `P*M\x18(\x00\x00\x00`, got `Q*M\x18(\x00\x00\x00`",
            ),
            (15, 0x80, "malformed footer: TOC offset at offset 0x312: expected 8 to 0x30a, got 0x800000000000011f"),
            (23, 0x10, "malformed footer: TOC length at offset 0x31a: expected at most 0x1eb, got 0x10000000000001eb"),
            (
                32,
                2,
                r"malformed footer: kind of TOC at offset 0x32a: expected `\x01\x00\x00\x00\x00\x00\x00\x00`, got `\x02\x00\x00\x00\x00\x00\x00\x00`",
            ),
            (47, b'y', "malformed footer: magic at offset 0x332: expected `GnUlInUx`, got `GnUlInUy`"),
        ] {
            let mut bytes = zstd_footer_bytes(&KNOWN);
            bytes[at] = value;
            assert_eq!(parse_zstd_footer(&bytes, BLOB).unwrap_err().to_string(), wanted);
        }
        let short = parse_zstd_footer(&zstd_footer_bytes(&KNOWN)[1..], BLOB).unwrap_err();
        assert_eq!(short.to_string(), "blob is too small: expected at least 48 bytes, got 47");
    }

    #[test]
    fn a_tar_split_inside_the_toc_is_refused() {
        let tar_split = Part { at: 287 + 491, len: 1, plain_len: 1 };
        let error = storage_parts(&storage_footer_bytes(&KNOWN, &tar_split), BLOB + 100).unwrap_err();
        assert_eq!(
            error.to_string(),
            "malformed footer: tar-split offset at offset 0x37e: expected at least 0x312, got 0x30a"
        );
    }
}
