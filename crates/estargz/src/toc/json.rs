//! The JSON grammar over a window of a longer document.
//!
//! Every function either consumes one whole item or stops: because the window ended ([`Stop::More`], the caller adds bytes
//! and starts the item again) or because the bytes are wrong. Nothing recurses.

use std::borrow::Cow;

/// Why scanning stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The window ended inside the item.
    More,
    /// The byte at this place of the window is not what the grammar or the format wants.
    Bad { at: usize, expected: &'static str },
    /// An item is beyond a limit.
    Limit { what: &'static str, limit: u64, asked: u64 },
    /// A digest that is none.
    Digest(dunnage_digest::ParseDigestError),
}

/// Deepest nesting of a value that is skipped, as bits of one word.
const MAX_DEPTH: u32 = 64;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Scanner<'a> {
    window: &'a [u8],
    pub(crate) pos: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) const fn new(window: &'a [u8], pos: usize) -> Self {
        Self { window, pos }
    }

    fn rest(&self) -> &'a [u8] {
        self.window.get(self.pos..).unwrap_or_default()
    }

    const fn bad<T>(&self, expected: &'static str) -> Result<T, Stop> {
        Err(Stop::Bad { at: self.pos, expected })
    }

    const fn advance(&mut self, len: usize) {
        self.pos = self.pos.saturating_add(len);
    }

    /// Skips white space and looks at the next byte.
    pub(crate) fn peek(&mut self) -> Result<u8, Stop> {
        loop {
            match self.window.get(self.pos) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.advance(1),
                Some(&byte) => return Ok(byte),
                None => return Err(Stop::More),
            }
        }
    }

    pub(crate) fn expect(&mut self, wanted: u8, expected: &'static str) -> Result<(), Stop> {
        if self.peek()? != wanted {
            return self.bad(expected);
        }
        self.advance(1);
        Ok(())
    }

    /// Consumes `,` and says true, or `end` and says false.
    pub(crate) fn comma_or(&mut self, end: u8, expected: &'static str) -> Result<bool, Stop> {
        let byte = self.peek()?;
        if byte != b',' && byte != end {
            return self.bad(expected);
        }
        self.advance(1);
        Ok(byte == b',')
    }

    /// A `null`, if one is next.
    pub(crate) fn null(&mut self) -> Result<bool, Stop> {
        if self.peek()? != b'n' {
            return Ok(false);
        }
        self.literal(b"null")?;
        Ok(true)
    }

    fn literal(&mut self, wanted: &[u8]) -> Result<(), Stop> {
        let got = self.rest();
        if got.starts_with(wanted) {
            self.advance(wanted.len());
            return Ok(());
        }
        if wanted.starts_with(got) { Err(Stop::More) } else { self.bad("a JSON value") }
    }

    /// A key and its colon.
    pub(crate) fn key(&mut self) -> Result<Cow<'a, str>, Stop> {
        let key = self.string("a key")?;
        self.expect(b':', "`:`")?;
        Ok(key)
    }

    /// Consumes `wanted` if the window goes on with exactly these bytes.
    ///
    /// For text that writers nearly always spell in one way; whatever else comes takes the grammar's way.
    pub(crate) fn literally(&mut self, wanted: &[u8]) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.advance(wanted.len());
        }
        found
    }

    /// The next `N` bytes, if the window has as many.
    pub(crate) fn ahead<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.rest().first_chunk()
    }

    /// A string; borrowed unless it holds escapes.
    pub(crate) fn string(&mut self, expected: &'static str) -> Result<Cow<'a, str>, Stop> {
        if self.peek()? != b'"' {
            return self.bad(expected);
        }
        let start = self.pos;
        self.advance(1);
        let rest = self.rest();
        let len = memchr::memchr2(b'"', b'\\', rest).ok_or(Stop::More)?;
        let plain = self.utf8(rest.get(..len).unwrap_or_default())?;
        self.advance(len);
        if rest.get(len) == Some(&b'"') {
            self.advance(1);
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            let rest = self.rest();
            match rest.first() {
                Some(b'"') => {
                    self.advance(1);
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => {
                    let len = memchr::memchr2(b'"', b'\\', rest).ok_or(Stop::More)?;
                    text.push_str(self.utf8(rest.get(..len).unwrap_or_default())?);
                    self.advance(len);
                }
                None => {
                    self.pos = start;
                    return Err(Stop::More);
                }
            }
        }
    }

    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str, Stop> {
        // Without an early end, the test for control characters runs on many bytes at once.
        if bytes.iter().fold(false, |found, &byte| found | (byte < 0x20)) {
            let at = bytes.iter().position(|&byte| byte < 0x20).unwrap_or(0);
            return Err(Stop::Bad { at: self.pos.saturating_add(at), expected: "an escaped control character" });
        }
        std::str::from_utf8(bytes)
            .map_err(|error| Stop::Bad { at: self.pos.saturating_add(error.valid_up_to()), expected: "UTF-8" })
    }

    fn escape(&mut self) -> Result<char, Stop> {
        let letter = *self.rest().get(1).ok_or(Stop::More)?;
        let plain = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return self.bad("an escape"),
        };
        self.advance(2);
        Ok(plain)
    }

    fn unicode_escape(&mut self) -> Result<char, Stop> {
        let first = self.code_unit(0)?;
        if !(0xd800..0xe000).contains(&first) {
            self.advance(6);
            return char::from_u32(first).map_or_else(|| self.bad("a character"), Ok);
        }
        let second = self.code_unit(6)?;
        let pair = char::decode_utf16([first, second].map(|unit| u16::try_from(unit).unwrap_or(0))).next();
        match pair {
            Some(Ok(character)) => {
                self.advance(12);
                Ok(character)
            }
            _ => self.bad("a pair of surrogates"),
        }
    }

    /// The number in the `\uXXXX` that starts `skip` bytes further on.
    fn code_unit(&self, skip: usize) -> Result<u32, Stop> {
        let escape = self.rest().get(skip..).unwrap_or_default();
        match escape {
            [b'\\', b'u', digits @ ..] => {
                let Some(digits) = digits.first_chunk::<4>() else { return Err(Stop::More) };
                let mut unit = [0; 2];
                match dunnage_digest::decode_hex(digits, &mut unit) {
                    Ok(()) => Ok(u32::from(u16::from_be_bytes(unit))),
                    Err(_) => self.bad("four hex digits"),
                }
            }
            [] | [b'\\'] => Err(Stop::More),
            _ => self.bad("a pair of surrogates"),
        }
    }

    /// An integer of 64 bits, without fraction or exponent.
    pub(crate) fn integer(&mut self) -> Result<i64, Stop> {
        const EXPECTED: &str = "an integer of 64 bits";
        self.peek()?;
        let rest = self.rest();
        let digits = rest.strip_prefix(b"-").unwrap_or(rest);
        let negative = digits.len() < rest.len();
        let len = digits.iter().position(|byte| !byte.is_ascii_digit()).ok_or(Stop::More)?;
        let (digits, after) = digits.split_at_checked(len).unwrap_or_default();
        if digits.is_empty() || matches!(digits, [b'0', _, ..]) || matches!(after.first(), Some(b'.' | b'e' | b'E')) {
            return self.bad(EXPECTED);
        }
        let number = digits.iter().try_fold(0_i64, |sum, digit| {
            let digit = i64::from(digit & 0x0f);
            let tens = sum.checked_mul(10)?;
            if negative { tens.checked_sub(digit) } else { tens.checked_add(digit) }
        });
        let Some(number) = number else { return self.bad(EXPECTED) };
        self.advance(len.saturating_add(usize::from(negative)));
        Ok(number)
    }

    /// Skips a value of any sort.
    pub(crate) fn skip(&mut self) -> Result<(), Stop> {
        // One bit a level, the innermost lowest: 1 for an object, 0 for an array.
        let (mut levels, mut depth) = (0_u64, 0_u32);
        loop {
            match self.peek()? {
                open @ (b'{' | b'[') => {
                    self.advance(1);
                    let close = if open == b'{' { b'}' } else { b']' };
                    if self.peek()? == close {
                        self.advance(1);
                    } else {
                        if depth == MAX_DEPTH {
                            let asked = u64::from(depth).saturating_add(1);
                            return Err(Stop::Limit { what: "TOC: nesting", limit: u64::from(MAX_DEPTH), asked });
                        }
                        (levels, depth) = (levels << 1 | u64::from(open == b'{'), depth.saturating_add(1));
                        if open == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b'"' => drop(self.string("a string")?),
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                b'-' | b'0'..=b'9' => {
                    let in_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                    let len = self.rest().iter().position(|byte| !in_number(byte)).ok_or(Stop::More)?;
                    self.advance(len);
                }
                _ => return self.bad("a JSON value"),
            }
            // A value has ended: go on in the innermost level, closing those that end here.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let object = levels & 1 == 1;
                let (close, expected) = if object { (b'}', "`,` or `}`") } else { (b']', "`,` or `]`") };
                if self.comma_or(close, expected)? {
                    if object {
                        self.key()?;
                    }
                    break;
                }
                (levels, depth) = (levels >> 1, depth.saturating_sub(1));
            }
        }
    }
}
