//! The TOC as text, byte for byte as the reference serialises it, because the TOC digest covers every byte.
//!
//! One tab a level, one space after each colon, no newline at the end. `fields.rs` writes single fields, `storage.rs` the
//! compact form of containers/storage. Specification: eStargz, section "Exact serialisation".

use dunnage_digest::Digest;

use super::{
    RawEntry,
    fields::{Fields, digest_text, json_text},
    storage::storage_entry,
};

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
    /// The text between two entries.
    pub(crate) const fn separator(self) -> &'static [u8] {
        match self {
            Self::Estargz => b",\n",
            Self::Storage => b",",
        }
    }

    /// Appends the text before the first entry.
    pub(crate) fn start(self, version: i64, is_empty: bool, out: &mut Vec<u8>) {
        let text = match (self, is_empty) {
            (Self::Estargz, false) => format!("{{\n\t\"version\": {version},\n\t\"entries\": [\n"),
            (Self::Estargz, true) => format!("{{\n\t\"version\": {version},\n\t\"entries\": null"),
            (Self::Storage, false) => format!("{{\"version\":{version},\"entries\":["),
            (Self::Storage, true) => format!("{{\"version\":{version},\"entries\":null"),
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// Appends the text after the last entry.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toc::{Toc, TocEntry, TocType};

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
