//! Parses the document: a JSON object whose values are strings. Other values are refused, so the parser does not
//! recurse.

use dunnage_digest::Offset;

use super::Metadata;
use crate::{Error, Limits, Mode, Part, error::shown};

/// Parses `json`, which starts at offset `base` of the file.
pub(crate) fn parse(json: &[u8], base: u64, mode: Mode, limits: &Limits) -> Result<Metadata, Error> {
    let mut parser = Parser { json, at: 0, base, mode };
    let mut metadata = Metadata::new();
    parser.space();
    parser.expect(b'{', "an object")?;
    parser.space();
    if parser.peek() == Some(b'}') {
        parser.skip();
    } else {
        let mut keys = 0_u64;
        loop {
            parser.space();
            let start = parser.at;
            parser.expect(b'"', "a key")?;
            let name = parser.text()?;
            keys = keys.saturating_add(1);
            if keys > limits.metadata_keys {
                let (part, at) = (Part::MetadataKeys, parser.offset(start));
                return Err(Error::Limit { part, at, limit: limits.metadata_keys, asked: keys });
            }
            parser.space();
            parser.expect(b':', "`:`")?;
            parser.space();
            let value = parser.value()?;
            if mode == Mode::Strict && metadata.get(&name).is_some() {
                return Err(parser.wrong(start, format!("expected a new key, got `{}` again", shown(&name))));
            }
            metadata.insert(name, value);
            parser.space();
            match parser.peek() {
                Some(b',') => parser.skip(),
                Some(b'}') => break parser.skip(),
                _ => return Err(parser.unexpected("`,` or `}`")),
            }
        }
    }
    parser.space();
    match parser.peek() {
        None => Ok(metadata),
        Some(_) => Err(parser.unexpected("the end")),
    }
}

struct Parser<'a> {
    json: &'a [u8],
    /// Invariant: never past the end of `json`.
    at: usize,
    base: u64,
    mode: Mode,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn skip(&mut self) {
        self.at = self.at.saturating_add(1).min(self.json.len());
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.skip();
        byte
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.skip();
        }
    }

    fn offset(&self, at: usize) -> Offset {
        Offset::new(self.base).saturating_add(at as u64)
    }

    fn wrong(&self, at: usize, reason: String) -> Error {
        Error::Metadata { at: self.offset(at), reason }
    }

    fn unexpected(&self, expected: &str) -> Error {
        let got = match self.peek() {
            Some(byte) => format!("`{}`", byte.escape_ascii()),
            None => "the end".to_owned(),
        };
        self.wrong(self.at, format!("expected {expected}, got {got}"))
    }

    fn expect(&mut self, byte: u8, what: &str) -> Result<(), Error> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected(what));
        }
        self.skip();
        Ok(())
    }

    fn value(&mut self) -> Result<String, Error> {
        let is_null = self.json.get(self.at..).is_some_and(|rest| rest.starts_with(b"null"));
        if is_null && self.mode == Mode::Lenient {
            (0..4).for_each(|_| self.skip());
            return Ok(String::new());
        }
        self.expect(b'"', "a string")?;
        self.text()
    }

    /// Reads the rest of a string, after its opening quote.
    fn text(&mut self) -> Result<String, Error> {
        let mut text = String::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.skip();
            }
            self.plain(start, &mut text)?;
            match self.peek() {
                Some(b'"') => {
                    self.skip();
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.skip();
                    self.escape(&mut text)?;
                }
                _ => return Err(self.unexpected("the rest of a string")),
            }
        }
    }

    /// Adds the bytes from `start` to the current position, which have no escapes, to `text`.
    fn plain(&mut self, start: usize, text: &mut String) -> Result<(), Error> {
        let bytes = self.json.get(start..self.at).unwrap_or_default();
        for part in bytes.utf8_chunks() {
            text.push_str(part.valid());
            if part.invalid().is_empty() {
                continue;
            }
            if self.mode == Mode::Strict {
                let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
                return Err(self.wrong(start.saturating_add(valid), "invalid UTF-8".to_owned()));
            }
            // Go replaces every single byte of an invalid sequence.
            part.invalid().iter().for_each(|_| text.push(char::REPLACEMENT_CHARACTER));
        }
        Ok(())
    }

    /// Reads an escape, after its backslash.
    fn escape(&mut self, text: &mut String) -> Result<(), Error> {
        let start = self.at.saturating_sub(1);
        text.push(match self.next() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(start, text),
            _ => return Err(self.wrong(start, "unknown escape".to_owned())),
        });
        Ok(())
    }

    /// Reads the four digits after the `\u` at `start`, and a second escape if they are the first half of a surrogate
    /// pair.
    fn unicode(&mut self, start: usize, text: &mut String) -> Result<(), Error> {
        let first = self.hex(start)?;
        if let Some(char) = char::from_u32(first) {
            text.push(char);
            return Ok(());
        }
        let before = self.at;
        let is_high = (0xd800..0xdc00).contains(&first);
        if is_high && self.json.get(before..).is_some_and(|rest| rest.starts_with(b"\\u")) {
            self.skip();
            self.skip();
            let second = self.hex(before)?;
            let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400);
            let high = first.saturating_sub(0xd800);
            let pair = low.and_then(|low| char::from_u32(0x1_0000_u32.saturating_add(high << 10 | low)));
            if let Some(char) = pair {
                text.push(char);
                return Ok(());
            }
            // The second escape is not the other half. The caller reads it as an escape of its own.
            self.at = before;
        }
        if self.mode == Mode::Strict {
            return Err(self.wrong(start, "unpaired surrogate".to_owned()));
        }
        text.push(char::REPLACEMENT_CHARACTER);
        Ok(())
    }

    fn hex(&mut self, start: usize) -> Result<u32, Error> {
        let mut value = 0_u32;
        for _ in 0..4 {
            let digit = self.next().and_then(|byte| char::from(byte).to_digit(16));
            let digit = digit.ok_or_else(|| self.wrong(start, "expected four hex digits after `\\u`".to_owned()))?;
            value = value << 4 | digit;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &[u8], strict: Result<&[(&str, &str)], &str>, lenient: Result<&[(&str, &str)], &str>) {
        for (mode, wanted) in [(Mode::Strict, strict), (Mode::Lenient, lenient)] {
            let got = parse(json, 0x10, mode, &Limits::default()).map_err(|error| error.to_string());
            let wanted: Result<Metadata, _> = wanted.map(|pairs| pairs.iter().copied().collect());
            let wanted = wanted.map_err(|reason| format!("malformed metadata at offset {reason}"));
            assert_eq!(got, wanted, "{mode:?}: {}", json.escape_ascii());
        }
    }

    #[test]
    fn objects_of_strings_are_read() {
        let both = |json: &[u8], pairs: &[(&str, &str)]| check(json, Ok(pairs), Ok(pairs));
        both(b"{}", &[]);
        both(b" {\t}\r\n", &[]);
        both(br#"{"a":"1","b":"","":"x"}"#, &[("a", "1"), ("b", ""), ("", "x")]);
        both(b" { \"a\" : \"1\" , \"b\" : \"2\" } ", &[("a", "1"), ("b", "2")]);
        both(br#"{"a":"\"\\\/\b\f\n\r\t\u003c\u20AC\ud83d\ude00"}"#, &[("a", "\"\\/\x08\x0c\n\r\t<€😀")]);
        both("{\"é\":\"😀\x7f\"}".as_bytes(), &[("é", "😀\x7f")]);
    }

    #[test]
    fn everything_else_is_refused_with_its_offset() {
        let both = |json: &[u8], reason: &str| check(json, Err(reason), Err(reason));
        both(b"", "0x10: expected an object, got the end");
        both(b"null", "0x10: expected an object, got `n`");
        both(b"[]", "0x10: expected an object, got `[`");
        both(b"\xef\xbb\xbf{}", "0x10: expected an object, got `\\xef`");
        both(b"{", "0x11: expected a key, got the end");
        both(b"{\"a\"}", "0x14: expected `:`, got `}`");
        both(b"{\"a\":1}", "0x15: expected a string, got `1`");
        both(b"{\"a\":true}", "0x15: expected a string, got `t`");
        both(b"{\"a\":{}}", "0x15: expected a string, got `{`");
        both(b"{\"a\":[[[[", "0x15: expected a string, got `[`");
        both(b"{\"a\":\"1\"", "0x18: expected `,` or `}`, got the end");
        both(b"{\"a\":\"1\",}", "0x19: expected a key, got `}`");
        both(b"{} {}", "0x13: expected the end, got `{`");
        both(b"{\"a\":\"\n\"}", "0x16: expected the rest of a string, got `\\n`");
        both(b"{\"a\":\"\x00\"}", "0x16: expected the rest of a string, got `\\x00`");
        both(b"{\"a\":\"x", "0x17: expected the rest of a string, got the end");
        both(b"{\"a\":\"\\x\"}", "0x16: unknown escape");
        both(b"{\"a\":\"\\u12g4\"}", "0x16: expected four hex digits after `\\u`");
    }

    #[test]
    fn lenient_accepts_all_that_go_accepts() {
        check(br#"{"a":"1","a":"2"}"#, Err("0x19: expected a new key, got `a` again"), Ok(&[("a", "2")]));
        check(br#"{"a":"1","\u0061":"2"}"#, Err("0x19: expected a new key, got `a` again"), Ok(&[("a", "2")]));
        check(br#"{"a":null}"#, Err("0x15: expected a string, got `n`"), Ok(&[("a", "")]));
        check(b"{\"a\":\"x\xff\xc3\"}", Err("0x17: invalid UTF-8"), Ok(&[("a", "x\u{fffd}\u{fffd}")]));
        check(br#"{"a":"\ud83d"}"#, Err("0x16: unpaired surrogate"), Ok(&[("a", "\u{fffd}")]));
        check(br#"{"a":"\ude00\ud83dx"}"#, Err("0x16: unpaired surrogate"), Ok(&[("a", "\u{fffd}\u{fffd}x")]));
        let pair = "\u{fffd}\u{fffd}";
        check(br#"{"a":"\ud83d\ud83d"}"#, Err("0x16: unpaired surrogate"), Ok(&[("a", pair)]));
        check(br#"{"a":"\ud83d\u0041"}"#, Err("0x16: unpaired surrogate"), Ok(&[("a", "\u{fffd}A")]));
    }

    #[test]
    fn keys_are_counted() {
        let limits = Limits { metadata_keys: 2, ..Limits::default() };
        assert!(parse(br#"{"a":"","b":""}"#, 0, Mode::Strict, &limits).is_ok());
        let error = parse(br#"{"a":"","b":"","c":""}"#, 0, Mode::Strict, &limits).unwrap_err();
        assert_eq!(error.to_string(), "number of metadata keys at offset 0xf: 3 is over the limit of 2");
    }
}
