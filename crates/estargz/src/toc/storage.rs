//! TOC entries as containers/storage writes them: no white space, an order of their own, and fields that eStargz lacks.
//!
//! Strings are escaped as in the other form, but that backspace and form feed have no short escapes. Names of owners and
//! inner offsets do not exist. Specification: eStargz, section 2.3.

use super::{
    RawEntry,
    fields::{Fields, json_text},
};

/// One entry.
pub(super) fn storage_entry(entry: &RawEntry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":");
    json_text(entry.kind.as_str().as_bytes(), false, out);
    out.extend_from_slice(b",\"name\":");
    json_text(&entry.name, false, out);
    let mut fields = Fields { out, indented: false };
    fields.text("linkName", &entry.link_name);
    fields.number("mode", entry.mode);
    fields.number("size", entry.size);
    fields.number("uid", entry.uid);
    fields.number("gid", entry.gid);
    fields.text("modtime", entry.modtime.as_bytes());
    fields.text("accesstime", entry.access_time.as_bytes());
    fields.text("changetime", entry.change_time.as_bytes());
    fields.number("devMajor", entry.dev_major);
    fields.number("devMinor", entry.dev_minor);
    fields.xattrs(entry);
    fields.digest("digest", entry.digest.as_ref());
    fields.number("offset", entry.offset);
    fields.number("endOffset", entry.end_offset);
    fields.number("chunkSize", entry.chunk_size);
    fields.number("chunkOffset", entry.chunk_offset);
    fields.digest("chunkDigest", entry.chunk_digest.as_ref());
    fields.text("chunkType", entry.chunk_type.as_str().as_bytes());
    out.push(b'}');
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
