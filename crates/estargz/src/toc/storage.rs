//! TOC entries as containers/storage writes them: no white space, an order of their own, and fields that eStargz lacks.
//!
//! Strings are escaped as in the other form, but that backspace and form feed have no short escapes. Names of owners and
//! inner offsets do not exist. Specification: eStargz, section 2.3.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunnage_digest::Digest;

use super::{
    RawEntry,
    write::{digest_text, escaped},
};

/// One entry.
pub(super) fn storage_entry(entry: &RawEntry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":");
    json_text(entry.kind.as_str().as_bytes(), false, out);
    out.extend_from_slice(b",\"name\":");
    json_text(&entry.name, false, out);
    text("linkName", &entry.link_name, out);
    signed("mode", entry.mode, out);
    unsigned("size", entry.size, out);
    signed("uid", entry.uid, out);
    signed("gid", entry.gid, out);
    text("modtime", entry.modtime.as_bytes(), out);
    text("accesstime", entry.access_time.as_bytes(), out);
    text("changetime", entry.change_time.as_bytes(), out);
    signed("devMajor", entry.dev_major, out);
    signed("devMinor", entry.dev_minor, out);
    if !entry.xattrs.is_empty() {
        key("xattrs", out);
        let mut open = b'{';
        for (name, value) in &entry.xattrs {
            out.push(open);
            json_text(name, false, out);
            out.extend_from_slice(b":\"");
            out.extend_from_slice(STANDARD.encode(value).as_bytes());
            out.push(b'"');
            open = b',';
        }
        out.push(b'}');
    }
    digest("digest", entry.digest.as_ref(), out);
    unsigned("offset", entry.offset, out);
    unsigned("endOffset", entry.end_offset, out);
    unsigned("chunkSize", entry.chunk_size, out);
    unsigned("chunkOffset", entry.chunk_offset, out);
    digest("chunkDigest", entry.chunk_digest.as_ref(), out);
    text("chunkType", entry.chunk_type.as_str().as_bytes(), out);
    out.push(b'}');
}

/// A string; whether backspace and form feed have short escapes is the one thing writers differ in.
pub(crate) fn json_text(text: &[u8], short: bool, out: &mut Vec<u8>) {
    escaped(text, short, out);
}

fn key(key: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

fn text(name: &str, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        key(name, out);
        json_text(value, false, out);
    }
}

fn unsigned(name: &str, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        key(name, out);
        // Writing to a vector cannot fail.
        let _ = write!(out, "{value}");
    }
}

fn signed(name: &str, value: i64, out: &mut Vec<u8>) {
    if value != 0 {
        key(name, out);
        let _ = write!(out, "{value}");
    }
}

fn digest(name: &str, value: Option<&Digest>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        key(name, out);
        digest_text(value, out);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Limits,
        toc::{ChunkType, Digest, Toc, TocEntry, TocType},
    };

    #[test]
    fn every_field_is_written_in_its_place() {
        let digest = Digest::sha256([0xcd; 32]);
        let all = TocEntry {
            name: "a<\u{8}\u{c}\n\u{2028}".into(),
            kind: TocType::Char,
            size: 1,
            modtime: "m".into(),
            link_name: "l".into(),
            mode: -1,
            uid: 3_000_000,
            gid: -5,
            offset: 2,
            dev_major: 4,
            dev_minor: 5,
            xattrs: [("user.e".into(), vec![]), ("user.b".into(), vec![0, 0xff])].into(),
            digest: Some(digest),
            chunk_offset: 6,
            chunk_size: 7,
            chunk_digest: Some(digest),
            access_time: "a".into(),
            change_time: "c".into(),
            end_offset: 8,
            chunk_type: ChunkType::Zeros,
            ..TocEntry::default()
        };
        let least = TocEntry::default();
        let toc = Toc { version: 1, entries: vec![all, least], tar_split_digest: Some(digest) };
        let hex = "cd".repeat(32);
        let wanted = format!(
            r#"{{"version":1,"entries":[{{"type":"char","name":"a\u003c\u0008\u000c\n\u2028","linkName":"l","mode":-1,"size":1,"uid":3000000,"gid":-5,"modtime":"m","accesstime":"a","changetime":"c","devMajor":4,"devMinor":5,"xattrs":{{"user.b":"AP8=","user.e":""}},"digest":"sha256:{hex}","offset":2,"endOffset":8,"chunkSize":7,"chunkOffset":6,"chunkDigest":"sha256:{hex}","chunkType":"zeros"}},{{"type":"reg","name":""}}],"tarSplitDigest":"sha256:{hex}"}}"#
        );
        let json = toc.to_storage_json();
        assert_eq!(String::from_utf8(json.clone()).unwrap(), wanted);
        assert_eq!(Toc::parse(&json, &Limits::default()).unwrap(), toc);
    }

    #[test]
    fn names_of_owners_and_inner_offsets_are_left_out() {
        let (user_name, group_name) = ("u".to_owned(), "g".to_owned());
        let entry = TocEntry { user_name, group_name, inner_offset: 3, ..TocEntry::default() };
        let toc = Toc { version: 1, entries: vec![entry], tar_split_digest: None };
        assert_eq!(toc.to_storage_json(), br#"{"version":1,"entries":[{"type":"reg","name":""}]}"#);
    }
}
