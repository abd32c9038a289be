//! The footers of gzip layers: empty gzip members whose extra field says where the TOC is.
//!
//! | at | bytes | field                                              |
//! |----|-------|----------------------------------------------------|
//! | 0  | 10    | gzip header with the FEXTRA flag                   |
//! | 10 | 2     | XLEN, little endian, always 26                     |
//! | 12 | 4     | subfield id `SG` and its length, 22                |
//! | 16 | 16    | offset of the TOC member, hex digits               |
//! | 32 | 6     | `STARGZ`                                           |
//! | 38 | 13    | empty stored block, CRC32 and ISIZE, all fixed     |
//!
//! The older form of 47 bytes has no subfield header: XLEN is 22 and the extra field is the hex digits and the magic.
//! It is read, never written. Where the TOC is stored elsewhere, XLEN is 21 and the subfield holds `STARGZEXTERNALTOC`,
//! which makes 46 bytes. Specification: eStargz, section "Footer".

use dunnage_digest::Offset;

use super::{Fields, Footer, Format, TocPlace};
use crate::Error;

/// Length of the footer this crate writes, in bytes.
pub const FOOTER_LEN: usize = 51;

/// Length of the footer of stargz blobs from before eStargz, in bytes.
pub const LEGACY_FOOTER_LEN: usize = 47;

/// Length of the footer of layers whose TOC is stored elsewhere, in bytes.
pub const EXTERNAL_FOOTER_LEN: usize = 46;

/// The footer for a TOC member that starts at `toc`.
#[must_use]
pub fn footer_bytes(toc: Offset) -> [u8; FOOTER_LEN] {
    let hex = format!("{:016x}", toc.get());
    joined(&[HEADER, &[26, 0], b"SG", &[22, 0], hex.as_bytes(), MAGIC, TAIL])
}

/// The footer of a layer whose TOC is stored elsewhere.
#[must_use]
pub fn external_footer_bytes() -> [u8; EXTERNAL_FOOTER_LEN] {
    joined(&[HEADER, &[21, 0], b"SG", &[17, 0], EXTERNAL_MAGIC, TAIL])
}

/// An empty gzip member with `extra` in its header: the form that all footers of gzip layers have, for formats of one's
/// own.
///
/// ```
/// use dunnage_estargz::footer::{FOOTER_LEN, footer_bytes, gzip_footer};
///
/// let footer = gzip_footer(b"SG\x16\x00000000000000007eSTARGZ")?;
/// assert_eq!(footer, footer_bytes(0x7e.into()));
/// assert_eq!(footer.len(), FOOTER_LEN);
/// # Ok::<(), dunnage_estargz::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Limit`] for more than 65 535 bytes, which is what the header's length field can say.
pub fn gzip_footer(extra: &[u8]) -> Result<Vec<u8>, Error> {
    let (limit, asked) = (u64::from(u16::MAX), extra.len() as u64);
    let over = Error::Limit { what: "bytes of a gzip header's extra field", limit, asked };
    let len = u16::try_from(extra.len()).map_err(|_| over)?;
    Ok([HEADER, &len.to_le_bytes(), extra, TAIL].concat())
}

fn joined<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    for (byte, from) in bytes.iter_mut().zip(parts.iter().copied().flatten()) {
        *byte = *from;
    }
    bytes
}

/// Reads the footer of 51 bytes at the end of a blob of `blob_len` bytes.
///
/// # Errors
///
/// [`Error::Malformed`] naming the first field that differs, with its position in the blob; also for an offset that lies
/// behind the footer's start.
pub fn parse_footer(bytes: &[u8], blob_len: u64) -> Result<Footer, Error> {
    parse(bytes, blob_len, Format::Estargz, FOOTER_LEN, &[26, 0], &[b'S', b'G', 22, 0])
}

/// Reads the older footer of 47 bytes at the end of a blob of `blob_len` bytes.
///
/// # Errors
///
/// As [`parse_footer`].
pub fn parse_legacy_footer(bytes: &[u8], blob_len: u64) -> Result<Footer, Error> {
    parse(bytes, blob_len, Format::Stargz, LEGACY_FOOTER_LEN, &[22, 0], &[])
}

/// Reads the footer of 46 bytes of a layer whose TOC is stored elsewhere.
///
/// # Errors
///
/// [`Error::Malformed`] naming the first field that differs, with its position in the blob.
pub fn parse_external_footer(bytes: &[u8], blob_len: u64) -> Result<Footer, Error> {
    let mut fields = Fields::new(bytes, blob_len, EXTERNAL_FOOTER_LEN)?;
    let payload_len = fields.at;
    fields.fixed("footer: gzip header", HEADER)?;
    fields.fixed("footer: XLEN", &[21, 0])?;
    fields.fixed("footer: subfield header", &[b'S', b'G', 17, 0])?;
    fields.fixed("footer: magic", EXTERNAL_MAGIC)?;
    fields.fixed("footer: tail", TAIL)?;
    let footer_len = EXTERNAL_FOOTER_LEN as u64;
    Ok(Footer { format: Format::ExternalToc, payload_len, toc: TocPlace::Outside, footer_len })
}

fn parse(
    bytes: &[u8],
    blob_len: u64,
    format: Format,
    footer_len: usize,
    xlen: &[u8],
    subfield: &[u8],
) -> Result<Footer, Error> {
    let mut fields = Fields::new(bytes, blob_len, footer_len)?;
    let start = fields.at;
    fields.fixed("footer: gzip header", HEADER)?;
    fields.fixed("footer: XLEN", xlen)?;
    fields.fixed("footer: subfield header", subfield)?;
    let at = fields.at;
    let hex = fields.take(16);
    let malformed = |expected: &str, got: String| Error::Malformed {
        part: "footer: TOC offset",
        at: Offset::new(at),
        expected: expected.to_owned(),
        got,
    };
    // `from_str_radix` takes a sign; the format does not.
    let digits = std::str::from_utf8(hex).ok().filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let toc = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let toc = toc.ok_or_else(|| malformed("16 hex digits", hex.escape_ascii().to_string()))?;
    fields.fixed("footer: magic", MAGIC)?;
    fields.fixed("footer: tail", TAIL)?;
    let toc_len = start.checked_sub(toc);
    let toc_len = toc_len.ok_or_else(|| malformed(&format!("at most {start:#x}"), format!("{toc:#x}")))?;
    let place = TocPlace::Inside { at: Offset::new(toc), len: toc_len, plain_len: None };
    Ok(Footer { format, payload_len: toc, toc: place, footer_len: footer_len as u64 })
}

const HEADER: &[u8] = &[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
const MAGIC: &[u8] = b"STARGZ";
const EXTERNAL_MAGIC: &[u8] = b"STARGZEXTERNALTOC";
const TAIL: &[u8] = &[1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];

#[cfg(test)]
mod tests {
    use dunnage_digest::decode_hex;

    use super::*;

    /// Legacy footers differ from current ones in the extra field's header alone.
    fn legacy(toc: u64) -> Vec<u8> {
        let new = footer_bytes(Offset::new(toc));
        [&new[..10], &[22, 0], &new[16..]].concat()
    }

    #[test]
    fn known_footers_are_written_byte_for_byte() {
        for (toc, hex) in [
            (
                0_u64,
                "1f8b08040000000000ff1a00534716003030303030303030303030303030303053544152475a010000ffff0000000000000000",
            ),
            (
                126,
                "1f8b08040000000000ff1a00534716003030303030303030303030303030376553544152475a010000ffff0000000000000000",
            ),
            (
                200_000,
                "1f8b08040000000000ff1a00534716003030303030303030303030333064343053544152475a010000ffff0000000000000000",
            ),
        ] {
            let mut wanted = [0; FOOTER_LEN];
            decode_hex(hex.as_bytes(), &mut wanted).unwrap();
            assert_eq!(footer_bytes(Offset::new(toc)), wanted);
        }
    }

    #[test]
    fn offsets_survive_both_forms() {
        for toc in (0..=200_000).step_by(1023) {
            let blob = toc + 1000;
            let footer = parse_footer(&footer_bytes(Offset::new(toc)), blob).unwrap();
            assert_eq!((footer.payload_len, footer.toc_len()), (toc, 1000 - 51));
            let footer = parse_legacy_footer(&legacy(toc), blob).unwrap();
            assert_eq!((footer.payload_len, footer.toc_len()), (toc, 1000 - 47));
        }
    }

    #[test]
    fn a_toc_elsewhere_is_said_in_46_bytes() {
        let mut wanted = [0; EXTERNAL_FOOTER_LEN];
        let hex = "1f8b08040000000000ff15005347110053544152475a45585445524e414c544f43010000ffff0000000000000000";
        decode_hex(hex.as_bytes(), &mut wanted).unwrap();
        assert_eq!(external_footer_bytes(), wanted);
        let footer = parse_external_footer(&wanted, 1651).unwrap();
        assert_eq!((footer.payload_len, footer.toc, footer.footer_len), (1605, TocPlace::Outside, 46));
        for at in 0..wanted.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut bytes = wanted;
                bytes[at] ^= mask;
                assert!(parse_external_footer(&bytes, 1651).is_err(), "byte {at} mask {mask:#x}");
            }
        }
        assert!(parse_external_footer(&wanted[..45], 1651).is_err());
    }

    fn check(change: impl Fn(&mut Vec<u8>), wanted: &str) {
        let mut bytes = footer_bytes(Offset::new(0x7e)).to_vec();
        change(&mut bytes);
        assert_eq!(parse_footer(&bytes, 0x1000).unwrap_err().to_string(), wanted);
    }

    #[test]
    fn each_malformed_field_is_named_with_its_position() {
        check(
            |b| b[0] = 0,
            r"malformed footer: gzip header at offset 0xfcd: expected `\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff`, got `\x00\x8b\x08\x04\x00\x00\x00\x00\x00\xff`",
        );
        check(|b| b[10] = 22, r"malformed footer: XLEN at offset 0xfd7: expected `\x1a\x00`, got `\x16\x00`");
        check(
            |b| b[13] = b'H',
            r"malformed footer: subfield header at offset 0xfd9: expected `SG\x16\x00`, got `SH\x16\x00`",
        );
        check(
            |b| b[16] = b'-',
            "malformed footer: TOC offset at offset 0xfdd: expected 16 hex digits, got -00000000000007e",
        );
        check(
            |b| b[16] = b'f',
            "malformed footer: TOC offset at offset 0xfdd: expected at most 0xfcd, got 0xf00000000000007e",
        );
        check(|b| b[37] = b'z', "malformed footer: magic at offset 0xfed: expected `STARGZ`, got `STARGz`");
        check(
            |b| b[50] = 1,
            r"malformed footer: tail at offset 0xff3: expected `\x01\x00\x00\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00`, got `\x01\x00\x00\xff\xff\x00\x00\x00\x00\x00\x00\x00\x01`",
        );
        check(|b| b.truncate(50), "blob is too small: expected at least 51 bytes, got 50");
    }

    #[test]
    fn no_change_of_a_byte_is_taken_for_another_form() {
        let good = footer_bytes(Offset::new(0x7e));
        for at in 0..good.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut bytes = good;
                bytes[at] ^= mask;
                let result = parse_footer(&bytes, 0x1000);
                assert!(result.is_err() || (16..32).contains(&at), "byte {at} mask {mask:#x}");
            }
        }
    }
}
