//! One TOC entry as it stands in the document, borrowed from it where no escapes are in the way; or as it is to be written.

use std::borrow::Cow;

use dunnage_digest::Digest;

use super::{ChunkType, TocEntry, TocType};

/// Extended attributes: name, and value without its base64.
pub(crate) type XattrRefs<'a, T = str> = Vec<(Cow<'a, T>, Cow<'a, [u8]>)>;

/// An entry on its way into a document. Its names are those of a tar, which need not be UTF-8.
pub(crate) type RawEntry<'a> = EntryRef<'a, [u8]>;

/// The fields of [`TocEntry`], borrowed.
pub(crate) struct EntryRef<'a, T: ToOwned + ?Sized = str> {
    pub(crate) name: Cow<'a, T>,
    pub(crate) kind: TocType,
    pub(crate) size: u64,
    pub(crate) modtime: Cow<'a, str>,
    pub(crate) link_name: Cow<'a, T>,
    pub(crate) mode: i64,
    pub(crate) uid: i64,
    pub(crate) gid: i64,
    pub(crate) user_name: Cow<'a, T>,
    pub(crate) group_name: Cow<'a, T>,
    pub(crate) offset: u64,
    pub(crate) inner_offset: u64,
    pub(crate) dev_major: i64,
    pub(crate) dev_minor: i64,
    pub(crate) xattrs: XattrRefs<'a, T>,
    pub(crate) digest: Option<Digest>,
    pub(crate) chunk_offset: u64,
    pub(crate) chunk_size: u64,
    pub(crate) chunk_digest: Option<Digest>,
    pub(crate) access_time: Cow<'a, str>,
    pub(crate) change_time: Cow<'a, str>,
    pub(crate) end_offset: u64,
    pub(crate) chunk_type: ChunkType,
}

impl<'a, T: ToOwned + ?Sized> Default for EntryRef<'a, T>
where
    &'a T: Default,
{
    fn default() -> Self {
        let empty = || Cow::Borrowed(<&T>::default());
        Self {
            name: empty(),
            kind: TocType::default(),
            size: 0,
            modtime: Cow::Borrowed(""),
            link_name: empty(),
            mode: 0,
            uid: 0,
            gid: 0,
            user_name: empty(),
            group_name: empty(),
            offset: 0,
            inner_offset: 0,
            dev_major: 0,
            dev_minor: 0,
            xattrs: Vec::new(),
            digest: None,
            chunk_offset: 0,
            chunk_size: 0,
            chunk_digest: None,
            access_time: Cow::Borrowed(""),
            change_time: Cow::Borrowed(""),
            end_offset: 0,
            chunk_type: ChunkType::default(),
        }
    }
}

impl<'a> From<&'a TocEntry> for RawEntry<'a> {
    fn from(entry: &'a TocEntry) -> Self {
        let bytes = |text: &'a String| Cow::Borrowed(text.as_bytes());
        Self {
            name: bytes(&entry.name),
            kind: entry.kind,
            size: entry.size,
            modtime: Cow::Borrowed(&entry.modtime),
            link_name: bytes(&entry.link_name),
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            user_name: bytes(&entry.user_name),
            group_name: bytes(&entry.group_name),
            offset: entry.offset,
            inner_offset: entry.inner_offset,
            dev_major: entry.dev_major,
            dev_minor: entry.dev_minor,
            xattrs: entry.xattrs.iter().map(|(name, value)| (bytes(name), Cow::Borrowed(value.as_slice()))).collect(),
            digest: entry.digest,
            chunk_offset: entry.chunk_offset,
            chunk_size: entry.chunk_size,
            chunk_digest: entry.chunk_digest,
            access_time: Cow::Borrowed(&entry.access_time),
            change_time: Cow::Borrowed(&entry.change_time),
            end_offset: entry.end_offset,
            chunk_type: entry.chunk_type,
        }
    }
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
            xattrs: self
                .xattrs
                .iter()
                .map(|(name, value)| (name.clone().into_owned(), value.clone().into_owned()))
                .collect(),
            digest: self.digest,
            chunk_offset: self.chunk_offset,
            chunk_size: self.chunk_size,
            chunk_digest: self.chunk_digest,
            access_time: self.access_time.clone().into_owned(),
            change_time: self.change_time.clone().into_owned(),
            end_offset: self.end_offset,
            chunk_type: self.chunk_type,
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
