//! The TOC as text, byte for byte as the reference serialises it, because the TOC digest covers every byte.
//!
//! One tab a level, one space after each colon, no newline at the end. Strings escape `"`, `\`, control characters, and
//! what is special in HTML or JavaScript (`<`, `>`, `&`, U+2028, U+2029). The compact form of containers/storage is in
//! `storage.rs`. Specification: eStargz, section "Exact serialisation".

use std::{fmt::Display, io::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunnage_digest::{Digest, encode_hex_into};

use super::{RawEntry, storage::storage_entry};

/// In which of its two forms a TOC is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Style {
    /// As eStargz writes it: one tab a level.
    #[default]
    Estargz,
    /// As containers/storage writes it.
    Storage,
}

impl Style {
    /// Between two entries.
    pub(crate) const fn separator(self) -> &'static [u8] {
        match self {
            Self::Estargz => b",\n",
            Self::Storage => b",",
        }
    }

    /// What is before the first entry.
    pub(crate) fn start(self, version: i64, is_empty: bool, out: &mut Vec<u8>) {
        let text = match (self, is_empty) {
            (Self::Estargz, false) => format!("{{\n\t\"version\": {version},\n\t\"entries\": [\n"),
            (Self::Estargz, true) => format!("{{\n\t\"version\": {version},\n\t\"entries\": null"),
            (Self::Storage, false) => format!("{{\"version\":{version},\"entries\":["),
            (Self::Storage, true) => format!("{{\"version\":{version},\"entries\":null"),
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// What is after the last entry.
    pub(crate) fn end(self, is_empty: bool, tar_split: Option<&Digest>, out: &mut Vec<u8>) {
        match self {
            Self::Estargz => out.extend_from_slice(if is_empty { b"\n}" } else { b"\n\t]\n}" }),
            Self::Storage => {
                out.extend_from_slice(if is_empty { b"" } else { b"]" });
                if let Some(tar_split) = tar_split {
                    out.extend_from_slice(b",\"tarSplitDigest\":");
                    digest_text(tar_split, out);
                }
                out.push(b'}');
            }
        }
    }
}

/// Appends one entry as an element of `entries`.
pub(crate) fn write_entry(style: Style, entry: &RawEntry<'_>, out: &mut Vec<u8>) {
    match style {
        Style::Estargz => estargz_entry(entry, out),
        Style::Storage => storage_entry(entry, out),
    }
}

/// One entry, indented.
fn estargz_entry(entry: &RawEntry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\t\t{\n\t\t\t\"name\": ");
    json_text(&entry.name, true, out);
    let mut fields = Fields { out, indented: true };
    fields.text("type", entry.kind.as_str().as_bytes());
    fields.number("size", entry.size);
    fields.text("modtime", entry.modtime.as_bytes());
    fields.text("linkName", &entry.link_name);
    fields.number("mode", entry.mode);
    fields.number("uid", entry.uid);
    fields.number("gid", entry.gid);
    fields.text("userName", &entry.user_name);
    fields.text("groupName", &entry.group_name);
    fields.number("offset", entry.offset);
    fields.number("innerOffset", entry.inner_offset);
    fields.number("devMajor", entry.dev_major);
    fields.number("devMinor", entry.dev_minor);
    fields.xattrs(entry);
    fields.digest("digest", entry.digest.as_ref());
    fields.number("chunkOffset", entry.chunk_offset);
    fields.number("chunkSize", entry.chunk_size);
    fields.digest("chunkDigest", entry.chunk_digest.as_ref());
    out.extend_from_slice(b"\n\t\t}");
}

/// Fields behind the first one of an entry, left out if they are empty.
pub(super) struct Fields<'a> {
    pub(super) out: &'a mut Vec<u8>,
    /// One field a line, and short escapes for backspace and form feed: the two things in which writers differ.
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

/// A string. Whether backspace and form feed have short escapes depends on what made the document.
pub(crate) fn json_text(text: &[u8], short: bool, out: &mut Vec<u8>) {
    out.push(b'"');
    for piece in text.utf8_chunks() {
        valid(piece.valid().as_bytes(), short, out);
        // A name that is not UTF-8 cannot be told from others in a TOC; U+FFFD itself is written as it is.
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
    use crate::toc::{Toc, TocEntry, TocType};

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

    #[test]
    fn an_empty_list_of_entries_is_null() {
        let toc = Toc { version: 1, tar_split_digest: Some(Digest::sha256([0xab; 32])), ..Toc::default() };
        assert_eq!(toc.to_json(), b"{\n\t\"version\": 1,\n\t\"entries\": null\n}");
        let wanted = format!(r#"{{"version":1,"entries":null,"tarSplitDigest":"sha256:{}"}}"#, "ab".repeat(32));
        assert_eq!(String::from_utf8(toc.to_storage_json()).unwrap(), wanted);
    }

    #[test]
    fn every_field_is_written_in_its_place() {
        let digest = Digest::sha256([0xab; 32]);
        let entry = TocEntry {
            name: "a".into(),
            kind: TocType::Char,
            size: 1,
            modtime: "t".into(),
            link_name: "l".into(),
            mode: -1,
            uid: 3_000_000,
            gid: -5,
            user_name: "u".into(),
            group_name: "g".into(),
            offset: 2,
            inner_offset: 3,
            dev_major: 4,
            dev_minor: 5,
            xattrs: [("user.e".into(), vec![]), ("user.b".into(), vec![0, 0xff])].into(),
            digest: Some(digest),
            chunk_offset: 6,
            chunk_size: 7,
            chunk_digest: Some(digest),
            ..TocEntry::default()
        };
        let toc = Toc { version: 1, entries: vec![entry], ..Toc::default() };
        let hex = "ab".repeat(32);
        let wanted = format!(
            "{{\n\t\"version\": 1,\n\t\"entries\": [\n\t\t{{\n\t\t\t\"name\": \"a\",\n\t\t\t\"type\": \"char\",\n\t\t\t\"size\": 1,\n\t\t\t\"modtime\": \"t\",\n\t\t\t\"linkName\": \"l\",\n\t\t\t\"mode\": -1,\n\t\t\t\"uid\": 3000000,\n\t\t\t\"gid\": -5,\n\t\t\t\"userName\": \"u\",\n\t\t\t\"groupName\": \"g\",\n\t\t\t\"offset\": 2,\n\t\t\t\"innerOffset\": 3,\n\t\t\t\"devMajor\": 4,\n\t\t\t\"devMinor\": 5,\n\t\t\t\"xattrs\": {{\n\t\t\t\t\"user.b\": \"AP8=\",\n\t\t\t\t\"user.e\": \"\"\n\t\t\t}},\n\t\t\t\"digest\": \"sha256:{hex}\",\n\t\t\t\"chunkOffset\": 6,\n\t\t\t\"chunkSize\": 7,\n\t\t\t\"chunkDigest\": \"sha256:{hex}\"\n\t\t}}\n\t]\n}}"
        );
        assert_eq!(String::from_utf8(toc.to_json()).unwrap(), wanted);
        assert_eq!(Toc::parse(wanted.as_bytes(), &crate::Limits::default()).unwrap(), toc);
    }
}
