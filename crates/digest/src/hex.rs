//! Hexadecimal text, read and written by table: a layer's TOC holds two digests per file, so this code runs for every
//! file.

/// Why a text is not hexadecimal, or has another length than expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HexError {
    /// The text is too long or too short.
    #[error("expected {expected} hex digits, got {got}")]
    #[expect(missing_docs, reason = "the message names the fields")]
    Length { expected: usize, got: usize },
    /// A character is not a hex digit.
    #[error("expected a hex digit at character {at}, got byte {got:#04x}")]
    #[expect(missing_docs, reason = "the message names the fields")]
    Digit { at: usize, got: u8 },
}

/// Fills `out` from exactly twice as many hex digits, of either case. Does not allocate.
///
/// # Errors
///
/// [`HexError::Length`] for any other number of characters, [`HexError::Digit`] for the first that is not a hex digit.
/// The content of `out` is unspecified then.
pub fn decode_hex(text: &[u8], out: &mut [u8]) -> Result<(), HexError> {
    decode(text, out, &VALUES)
}

/// As [`decode_hex`], for formats that allow lower case only.
///
/// # Errors
///
/// Those of [`decode_hex`], and [`HexError::Digit`] for an upper-case digit.
pub fn decode_lower_hex(text: &[u8], out: &mut [u8]) -> Result<(), HexError> {
    decode(text, out, &LOWER_VALUES)
}

fn decode(text: &[u8], out: &mut [u8], values: &[u8; 256]) -> Result<(), HexError> {
    let value = |digit: u8| values.get(usize::from(digit)).copied().unwrap_or(BAD);
    let expected = out.len().saturating_mul(2);
    if text.len() != expected {
        return Err(HexError::Length { expected, got: text.len() });
    }
    let (pairs, _) = text.as_chunks::<2>();
    let mut bad = 0;
    for (byte, &[high, low]) in out.iter_mut().zip(pairs) {
        let (high, low) = (value(high), value(low));
        bad |= high | low;
        *byte = high << 4 | low & 0x0f;
    }
    if bad & BAD != 0 {
        let at = text.iter().position(|&digit| value(digit) & BAD != 0).unwrap_or(0);
        return Err(HexError::Digit { at, got: text.get(at).copied().unwrap_or(0) });
    }
    Ok(())
}

/// The lower-case hex form of `bytes`.
#[must_use]
pub fn encode_hex(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len().saturating_mul(2));
    encode_hex_into(bytes, &mut text);
    text.into_iter().map(char::from).collect()
}

/// Appends the lower-case hex form of `bytes` to `out`.
pub fn encode_hex_into(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]));
}

fn digit(nibble: u8) -> u8 {
    DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0')
}

const DIGITS: [u8; 16] = *b"0123456789abcdef";

/// The value in the tables of every byte that is not a digit. One test after the loop finds them all.
const BAD: u8 = 0x80;

const VALUES: [u8; 256] = values(true);
const LOWER_VALUES: [u8; 256] = values(false);

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "evaluated while compiling")]
const fn values(upper: bool) -> [u8; 256] {
    let mut values = [BAD; 256];
    let mut nibble = 0_u8;
    while nibble < 16 {
        let lower = DIGITS[nibble as usize];
        values[lower as usize] = nibble;
        if upper {
            values[lower.to_ascii_uppercase() as usize] = nibble;
        }
        nibble += 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_cases_are_read_and_lower_case_is_written() {
        let mut out = [0; 4];
        decode_hex(b"00fFA5b9", &mut out).unwrap();
        assert_eq!(out, [0x00, 0xff, 0xa5, 0xb9]);
        assert_eq!(encode_hex(&out), "00ffa5b9");
    }

    #[test]
    fn every_byte_that_is_no_digit_is_named() {
        for byte in 0..=255_u8 {
            let mut out = [0; 2];
            let text = [b'0', b'1', byte, b'2'];
            let wanted = if byte.is_ascii_hexdigit() { Ok(()) } else { Err(HexError::Digit { at: 2, got: byte }) };
            assert_eq!(decode_hex(&text, &mut out), wanted, "{byte:#x}");
        }
        assert_eq!(decode_hex(b"123", &mut [0; 2]), Err(HexError::Length { expected: 4, got: 3 }));
    }
}
