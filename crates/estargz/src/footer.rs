//! The trailer that says where the table of contents starts.
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
//! It is read, never written. Specification: eStargz, section "Footer".

use dunnage_digest::Offset;

use crate::Error;

/// Length of the footer this crate writes, in bytes.
pub const FOOTER_LEN: usize = 51;

/// Length of the footer of stargz blobs from before eStargz, in bytes.
pub const LEGACY_FOOTER_LEN: usize = 47;

/// Where the parts of a blob lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Footer {
    /// Bytes of compressed tar stream before the TOC.
    pub payload_len: u64,
    /// Where the compressed TOC starts.
    pub toc: Offset,
    /// Bytes of the compressed TOC.
    pub toc_len: u64,
    /// Bytes of the footer itself.
    pub footer_len: u64,
}

/// The footer for a TOC member that starts at `toc`.
#[must_use]
pub fn footer_bytes(toc: Offset) -> [u8; FOOTER_LEN] {
    let mut bytes = [0; FOOTER_LEN];
    let hex = format!("{:016x}", toc.get());
    let parts: [&[u8]; 6] = [HEADER, &[26, 0], b"SG", &[22, 0], hex.as_bytes(), MAGIC];
    let all = parts.into_iter().chain([TAIL]).flatten();
    for (byte, from) in bytes.iter_mut().zip(all) {
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
    parse(bytes, blob_len, FOOTER_LEN, &[26, 0], &[b'S', b'G', 22, 0])
}

/// Reads the older footer of 47 bytes at the end of a blob of `blob_len` bytes.
///
/// # Errors
///
/// As [`parse_footer`].
pub fn parse_legacy_footer(bytes: &[u8], blob_len: u64) -> Result<Footer, Error> {
    parse(bytes, blob_len, LEGACY_FOOTER_LEN, &[22, 0], &[])
}

fn parse(bytes: &[u8], blob_len: u64, footer_len: usize, xlen: &[u8], subfield: &[u8]) -> Result<Footer, Error> {
    let footer_len_u64 = footer_len as u64;
    let start = blob_len.checked_sub(footer_len_u64);
    let start = start.filter(|_| bytes.len() == footer_len);
    let start = start.ok_or(Error::TooSmall { expected: footer_len_u64, got: blob_len.min(bytes.len() as u64) })?;
    let mut fields = Fields { rest: bytes, at: start };
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
    Ok(Footer { payload_len: toc, toc: Offset::new(toc), toc_len, footer_len: footer_len_u64 })
}

struct Fields<'a> {
    rest: &'a [u8],
    at: u64,
}

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        (self.rest, self.at) = (rest, self.at.saturating_add(len as u64));
        head
    }

    fn fixed(&mut self, part: &'static str, wanted: &[u8]) -> Result<(), Error> {
        let at = Offset::new(self.at);
        let got = self.take(wanted.len());
        if got == wanted {
            return Ok(());
        }
        let text = |bytes: &[u8]| format!("`{}`", bytes.escape_ascii());
        Err(Error::Malformed { part, at, expected: text(wanted), got: text(got) })
    }
}

const HEADER: &[u8] = &[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
const MAGIC: &[u8] = b"STARGZ";
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
            assert_eq!((footer.payload_len, footer.toc_len), (toc, 1000 - 51));
            let footer = parse_legacy_footer(&legacy(toc), blob).unwrap();
            assert_eq!((footer.payload_len, footer.toc_len), (toc, 1000 - 47));
        }
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
