//! Numbers in fields of a header block.
//!
//! | first byte           | meaning of the field                                                     |
//! |----------------------|--------------------------------------------------------------------------|
//! | below 0x80           | octal digits between spaces and NULs; nothing but those is zero          |
//! | 0x80, 0xff (GNU)     | big-endian two's complement in the bits after the first (base-256)       |
//!
//! Readers take any first byte with the top bit set; its second bit is the sign.
//!
//! Specification: POSIX.1-2001, `pax`, section "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

use super::block::until_nul;

/// The number in `field`; `None` if it is none, or one beyond 64 bits.
pub(super) fn parse(field: &[u8]) -> Option<i64> {
    match field.split_first() {
        Some((first, rest)) if first & 0x80 != 0 => parse_base256(*first, rest),
        _ => parse_octal(field),
    }
}

/// Reads octal digits between spaces and NULs, up to the first NUL after them.
pub(super) fn parse_octal(field: &[u8]) -> Option<i64> {
    let is_filler = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_filler(byte)).unwrap_or(field.len());
    let end = field.iter().rposition(|byte| !is_filler(byte)).map_or(start, |last| last.saturating_add(1));
    let digits = until_nul(field.get(start..end)?);
    digits.iter().try_fold(0_i64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 8)?;
        Some(number.checked_mul(8)? | i64::from(digit))
    })
}

fn parse_base256(first: u8, rest: &[u8]) -> Option<i64> {
    // Widening the sign bit of the seven bits that count over the eighth, which only marks the notation.
    let start = if first & 0x40 == 0 { first & 0x7f } else { first };
    rest.iter()
        .try_fold(i64::from(start.cast_signed()), |number, byte| Some(number.checked_mul(256)? | i64::from(*byte)))
}

/// Whether `number` can be written as octal digits and a NUL into `len` bytes.
pub(super) fn fits_octal(len: usize, number: i64) -> bool {
    number >= 0 && bits(number) <= len.saturating_sub(1).saturating_mul(3)
}

/// Whether `number` can be written in base-256 into `len` bytes.
pub(super) fn fits_base256(len: usize, number: i64) -> bool {
    len > 8 || bits(if number < 0 { !number } else { number }) <= len.saturating_sub(1).saturating_mul(8)
}

/// How many bits a number that is not negative takes.
fn bits(number: i64) -> usize {
    64_usize.saturating_sub(number.leading_zeros() as usize)
}

/// Writes octal digits, leading zeros included, and a NUL; zero if the number does not fit.
pub(super) fn put_octal(field: &mut [u8], number: i64) {
    let mut rest = if fits_octal(field.len(), number) { number } else { 0 };
    let Some((last, digits)) = field.split_last_mut() else { return };
    *last = 0;
    for byte in digits.iter_mut().rev() {
        let [digit, ..] = (rest & 7).to_le_bytes();
        *byte = b'0' | digit;
        rest >>= 3;
    }
}

/// Writes octal digits if the number fits, base-256 if it does not.
pub(super) fn put(field: &mut [u8], number: i64) {
    if fits_octal(field.len(), number) || !fits_base256(field.len(), number) {
        return put_octal(field, number);
    }
    let sign = if number < 0 { 0xff } else { 0 };
    let bytes = number.to_le_bytes().into_iter().chain(std::iter::repeat(sign));
    for (byte, value) in field.iter_mut().rev().zip(bytes) {
        *byte = value;
    }
    if let Some(first) = field.first_mut() {
        *first |= 0x80;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_hold_octal_or_base256_numbers() {
        let cases: &[(&[u8], Option<i64>)] = &[
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0 644\0 ", Some(0o644)),
            (b"77777777", Some(0o77_777_777)),
            (b"777777777777", Some((1 << 36) - 1)),
            (b"        ", Some(0)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"", Some(0)),
            (b"644\0junk", Some(0o644)),
            (b"644 \0jun", None),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"+000644\0", None),
            (b"0x1f\0\0\0\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\xc0\xff\xff\xff\xff\xff\xff\xff", Some(-4_539_628_424_389_459_969)),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff", Some(0x3fff_ffff_ffff_ffff)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\xff\0\0\0\0\0\0\0\0\0\0\0", None),
        ];
        for (field, expected) in cases {
            assert_eq!(parse(field), *expected, "`{}`", field.escape_ascii());
        }
    }

    #[test]
    fn numbers_are_written_as_octal_while_they_fit_and_read_back() {
        let cases: &[(usize, i64, &[u8])] = &[
            (8, 0, b"0000000\0"),
            (8, 0o644, b"0000644\0"),
            (8, 0o7_777_777, b"7777777\0"),
            (8, 0o10_000_000, b"\x80\0\0\0\0\x20\0\0"),
            (8, (1 << 56) - 1, b"\x80\xff\xff\xff\xff\xff\xff\xff"),
            (8, -1, b"\xff\xff\xff\xff\xff\xff\xff\xff"),
            (8, -(1 << 56), b"\xff\0\0\0\0\0\0\0"),
            (8, 1 << 56, b"0000000\0"),
            (8, -(1 << 56) - 1, b"0000000\0"),
            (12, (1 << 33) - 1, b"77777777777\0"),
            (12, 1 << 33, b"\x80\0\0\0\0\0\0\x02\0\0\0\0"),
            (12, i64::MAX, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"),
            (12, i64::MIN, b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0"),
        ];
        for (len, number, expected) in cases {
            let mut field = vec![b'?'; *len];
            put(&mut field, *number);
            assert_eq!(field.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{number} in {len}");
            if fits_base256(*len, *number) {
                assert_eq!(parse(&field), Some(*number));
            }
        }
    }
}
