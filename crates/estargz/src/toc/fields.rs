//! The text of fields and strings, in both forms of a TOC. Strings escape `"`, `\`, control characters, and the characters that
//! are special in HTML or JavaScript (`<`, `>`, `&`, U+2028, U+2029).

use std::{fmt::Display, io::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunnage_digest::{Digest, encode_hex_into};

use super::RawEntry;

/// Writes the fields that follow the first one of an entry. Empty fields are left out.
pub(super) struct Fields<'a> {
    pub(super) out: &'a mut Vec<u8>,
    /// One field a line, and short escapes for backspace and form feed: the two things in which the forms differ.
    pub(super) indented: bool,
}

impl Fields<'_> {
    fn key(&mut self, key: &str) {
        let (before, after): (&[u8], &[u8]) = if self.indented { (b",\n\t\t\t\"", b"\": ") } else { (b",\"", b"\":") };
        self.out.extend_from_slice(before);
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(after);
    }

    pub(super) fn text(&mut self, key: &str, value: &[u8]) {
        if !value.is_empty() {
            self.key(key);
            json_text(value, self.indented, self.out);
        }
    }

    pub(super) fn number<N: Display + Default + PartialEq>(&mut self, key: &str, value: N) {
        if value != N::default() {
            self.key(key);
            // Writing to a vector cannot fail.
            let _ = write!(self.out, "{value}");
        }
    }

    pub(super) fn digest(&mut self, key: &str, value: Option<&Digest>) {
        if let Some(value) = value {
            self.key(key);
            digest_text(value, self.out);
        }
    }

    pub(super) fn xattrs(&mut self, entry: &RawEntry<'_>) {
        if entry.xattrs.is_empty() {
            return;
        }
        self.key("xattrs");
        let (line, colon, end) = if self.indented { ("\n\t\t\t\t", ": \"", "\n\t\t\t}") } else { ("", ":\"", "}") };
        let mut open = b'{';
        for (name, value) in &entry.xattrs {
            self.out.push(open);
            self.out.extend_from_slice(line.as_bytes());
            json_text(name, self.indented, self.out);
            self.out.extend_from_slice(colon.as_bytes());
            self.out.extend_from_slice(STANDARD.encode(value).as_bytes());
            self.out.push(b'"');
            open = b',';
        }
        self.out.extend_from_slice(end.as_bytes());
    }
}

pub(super) fn digest_text(digest: &Digest, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(digest.algorithm().name().as_bytes());
    out.push(b':');
    encode_hex_into(digest.as_bytes(), out);
    out.push(b'"');
}

/// Appends a string. `short`: backspace and form feed have short escapes, as in the form of eStargz.
pub(crate) fn json_text(text: &[u8], short: bool, out: &mut Vec<u8>) {
    out.push(b'"');
    for piece in text.utf8_chunks() {
        valid(piece.valid().as_bytes(), short, out);
        // One escape for each byte that is not UTF-8. A U+FFFD of the name itself is valid text and stands above.
        piece.invalid().iter().for_each(|_| out.extend_from_slice(b"\\ufffd"));
    }
    out.push(b'"');
}

fn valid(text: &[u8], short: bool, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| needs_a_look(byte)) {
        let (plain, special) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        rest = escape(special, short, out);
    }
    out.extend_from_slice(rest);
}

const fn needs_a_look(byte: u8) -> bool {
    // 0xe2 starts U+2028 and U+2029 (among others that stay as they are).
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2)
}

/// Writes the character at the front of `rest` and returns what follows it.
fn escape<'a>(rest: &'a [u8], short: bool, out: &mut Vec<u8>) -> &'a [u8] {
    if let Some(after) = rest.strip_prefix("\u{2028}".as_bytes()) {
        out.extend_from_slice(b"\\u2028");
        return after;
    }
    if let Some(after) = rest.strip_prefix("\u{2029}".as_bytes()) {
        out.extend_from_slice(b"\\u2029");
        return after;
    }
    let Some((&byte, after)) = rest.split_first() else { return rest };
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        8 if short => out.extend_from_slice(b"\\b"),
        12 if short => out.extend_from_slice(b"\\f"),
        0..0x20 | b'<' | b'>' | b'&' => {
            out.extend_from_slice(b"\\u00");
            encode_hex_into(&[byte], out);
        }
        byte => out.push(byte),
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_the_reference_escapes_them() {
        for (plain, wanted) in [
            ("d/a<>&\u{2028}\u{2029}é\u{7f}", "\"d/a\\u003c\\u003e\\u0026\\u2028\\u2029é\u{7f}\""),
            ("\"\\\n\r\t\u{8}\u{c}\u{0}\u{1f}", "\"\\\"\\\\\\n\\r\\t\\b\\f\\u0000\\u001f\""),
            ("…\u{202a}", "\"…\u{202a}\""),
        ] {
            let mut out = Vec::new();
            json_text(plain.as_bytes(), true, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_told_from_a_replacement_character() {
        for (bytes, wanted) in [
            (b"a\xff\xef\xbf\xbdb".as_slice(), "\"a\\ufffd\u{fffd}b\""),
            // Each byte of a character cut short, and of a surrogate, counts.
            (b"\xe2\x82<\xed\xa0\x80\xe2\x80\xa8", "\"\\ufffd\\ufffd\\u003c\\ufffd\\ufffd\\ufffd\\u2028\""),
        ] {
            let mut out = Vec::new();
            json_text(bytes, true, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }
}
