//! One TOC entry as it stands in the document, borrowed from it where no escapes are in the way.

use std::borrow::Cow;

use dunnage_digest::Digest;

use super::{TocEntry, TocType};

/// Extended attributes: name, and value without its base64.
pub(crate) type XattrRefs<'a> = Vec<(Cow<'a, str>, Vec<u8>)>;

/// The fields of [`TocEntry`], borrowed.
#[derive(Debug, Default)]
pub(crate) struct EntryRef<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) kind: TocType,
    pub(crate) size: u64,
    pub(crate) modtime: Cow<'a, str>,
    pub(crate) link_name: Cow<'a, str>,
    pub(crate) mode: i64,
    pub(crate) uid: i64,
    pub(crate) gid: i64,
    pub(crate) user_name: Cow<'a, str>,
    pub(crate) group_name: Cow<'a, str>,
    pub(crate) offset: u64,
    pub(crate) inner_offset: u64,
    pub(crate) dev_major: i64,
    pub(crate) dev_minor: i64,
    pub(crate) xattrs: XattrRefs<'a>,
    pub(crate) digest: Option<Digest>,
    pub(crate) chunk_offset: u64,
    pub(crate) chunk_size: u64,
    pub(crate) chunk_digest: Option<Digest>,
}

impl EntryRef<'_> {
    pub(crate) fn to_owned(&self) -> TocEntry {
        TocEntry {
            name: self.name.clone().into_owned(),
            kind: self.kind,
            size: self.size,
            modtime: self.modtime.clone().into_owned(),
            link_name: self.link_name.clone().into_owned(),
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            user_name: self.user_name.clone().into_owned(),
            group_name: self.group_name.clone().into_owned(),
            offset: self.offset,
            inner_offset: self.inner_offset,
            dev_major: self.dev_major,
            dev_minor: self.dev_minor,
            xattrs: self.xattrs.iter().map(|(name, value)| (name.clone().into_owned(), value.clone())).collect(),
            digest: self.digest,
            chunk_offset: self.chunk_offset,
            chunk_size: self.chunk_size,
            chunk_digest: self.chunk_digest,
        }
    }
}

/// The path an entry's name stands for: relative, `.` and doubled slashes gone, `..` folded and unable to leave the root.
/// Empty for the root.
pub(crate) fn clean_name(name: &[u8]) -> Cow<'_, [u8]> {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let name = match name.iter().position(|&byte| byte != b'/') {
        Some(at) => name.get(at..).unwrap_or_default(),
        None => &[],
    };
    let name = name.strip_suffix(b"/").unwrap_or(name);
    if name.is_empty() || name.split(|&byte| byte == b'/').all(|part| !matches!(part, b"" | b"." | b"..")) {
        return Cow::Borrowed(name);
    }
    let mut clean: Vec<u8> = Vec::with_capacity(name.len());
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => clean.truncate(clean.iter().rposition(|&byte| byte == b'/').unwrap_or(0)),
            part => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(part);
            }
        }
    }
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_once_and_cannot_leave_the_root() {
        for (name, wanted) in [
            ("", ""),
            (".", ""),
            ("./", ""),
            ("/", ""),
            ("//", ""),
            ("..", ""),
            ("../", ""),
            ("a", "a"),
            ("a/", "a"),
            ("a//", "a"),
            ("./a", "a"),
            (".//a", "a"),
            ("././a", "a"),
            ("/a/b/", "a/b"),
            ("../a", "a"),
            ("a/../../b", "b"),
            ("a/./b//c/..", "a/b"),
            ("a/..", ""),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(clean_name(name.as_bytes()), wanted.as_bytes(), "{name}");
        }
    }
}
