//! The table of contents: a JSON document with one object for each node of the file system and each further chunk.
//!
//! Specification: eStargz, section "TOC".

mod entry;
mod fields;
mod json;
mod parse;
mod storage;
mod time;
mod write;

use std::collections::BTreeMap;

use dunnage_digest::Digest;

pub(crate) use self::{
    entry::{EntryRef, RawEntry, XattrRefs, clean_name},
    fields::json_text,
    json::{Scanner, Stop},
    parse::{Ended, Progress, TocParser, excerpt, folds_to},
    time::{format_modtime, format_time, parse_modtime, parse_time},
    write::{Style, write_entry},
};
use crate::{Error, Limits};

/// Name of the TOC inside the layer's tar stream.
pub const TOC_TAR_NAME: &str = "stargz.index.json";

/// The type of a TOC entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: the format defines these eight")]
#[expect(missing_docs, reason = "the types of the format, by their names")]
pub enum TocType {
    Dir,
    #[default]
    Reg,
    Symlink,
    Hardlink,
    Char,
    Block,
    Fifo,
    /// A second or later chunk of the regular file before it.
    Chunk,
}

impl TocType {
    /// The text that stands in the document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Reg => "reg",
            Self::Symlink => "symlink",
            Self::Hardlink => "hardlink",
            Self::Char => "char",
            Self::Block => "block",
            Self::Fifo => "fifo",
            Self::Chunk => "chunk",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let all =
            [Self::Reg, Self::Chunk, Self::Dir, Self::Symlink, Self::Hardlink, Self::Char, Self::Block, Self::Fifo];
        all.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What a chunk of a file is made of. Only TOCs of containers/storage say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: the format defines these two")]
pub enum ChunkType {
    /// Any bytes.
    #[default]
    Data,
    /// Zeros and nothing else: there is no need to read them from the blob.
    Zeros,
}

impl ChunkType {
    /// The text that stands in the document; empty for data.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "",
            Self::Zeros => "zeros",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Data, Self::Zeros].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One object of the TOC. A field at its default is left out.
///
/// The first nineteen are those of eStargz, in the order in which they are written; the four behind them are used by
/// containers/storage only, which has an order of its own and no names of owners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "closed: these are the fields of the format")]
pub struct TocEntry {
    /// Path as it stands in the tar header; `./`, `/` and trailing slashes are kept.
    pub name: String,
    /// What the entry describes.
    pub kind: TocType,
    /// Length of a regular file, in bytes, at most 2^63 - 1.
    pub size: u64,
    /// Last change, RFC 3339 in UTC: to the second, and empty where the tar header says 0; in the form of
    /// containers/storage as exact as the header, and never empty.
    pub modtime: String,
    /// Target of a symlink or hard link, as stored.
    pub link_name: String,
    /// The tar header's mode number; may hold file type bits.
    pub mode: i64,
    /// Owner.
    pub uid: i64,
    /// Group.
    pub gid: i64,
    /// Owner's name, on the first entry that gives this uid this name.
    pub user_name: String,
    /// Group's name, on the first entry that gives this gid this name.
    pub group_name: String,
    /// Where in the blob the compressed stream with this content starts.
    pub offset: u64,
    /// Bytes of that stream, decompressed, in front of this content.
    pub inner_offset: u64,
    /// Major number of a device.
    pub dev_major: i64,
    /// Minor number of a device.
    pub dev_minor: i64,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Digest of the whole file, on `reg`.
    pub digest: Option<Digest>,
    /// Where in the file this chunk starts.
    pub chunk_offset: u64,
    /// Bytes of this chunk; 0 for "to the end of the file".
    pub chunk_size: u64,
    /// Digest of this chunk.
    pub chunk_digest: Option<Digest>,
    /// Last access, as exact as the header.
    pub access_time: String,
    /// Last status change, as exact as the header.
    pub change_time: String,
    /// Where in the blob the streams with the content of this file end, on `reg`.
    pub end_offset: u64,
    /// What this chunk is made of.
    pub chunk_type: ChunkType,
}

/// A whole TOC, with nothing resolved: what the document says and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "closed: these are the fields of the format")]
pub struct Toc {
    /// Always 1 so far.
    pub version: i64,
    /// Entries, in blob order; the further chunks of a file follow it directly.
    pub entries: Vec<TocEntry>,
    /// Digest of the compressed tar headers, in the form of containers/storage.
    pub tar_split_digest: Option<Digest>,
}

impl Toc {
    /// Reads a document, in either form.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] with the position of the fault; [`Error::Digest`] for a digest that is none;
    /// [`Error::Limit`] beyond `limits`. Keys are matched exactly, and an object that repeats a known key or spells it
    /// in another case is refused, because two readers would otherwise see two different layers.
    pub fn parse(json: &[u8], limits: &Limits) -> Result<Self, Error> {
        let mut entries = Vec::new();
        let mut parser = TocParser::new(limits);
        let mut keep = |entry: EntryRef<'_>| {
            entries.push(entry.to_owned());
            Ok(())
        };
        parser.feed(json, &mut keep)?;
        let Ended { version, tar_split_digest } = parser.finish(&mut keep)?;
        Ok(Self { version, entries, tar_split_digest })
    }

    /// The document exactly as the reference writes it: one tab a level, no newline at the end. What only
    /// containers/storage has is left out.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        self.write(Style::Estargz)
    }

    /// The document exactly as containers/storage writes it: no white space at all. What it does not have (names of
    /// owners, inner offsets) is left out.
    #[must_use]
    pub fn to_storage_json(&self) -> Vec<u8> {
        self.write(Style::Storage)
    }

    fn write(&self, style: Style) -> Vec<u8> {
        let mut out = Vec::new();
        style.start(self.version, self.entries.is_empty(), &mut out);
        for (at, entry) in self.entries.iter().enumerate() {
            if at > 0 {
                out.extend_from_slice(style.separator());
            }
            write_entry(style, &entry.into(), &mut out);
        }
        style.end(self.entries.is_empty(), self.tar_split_digest.as_ref(), &mut out);
        out
    }
}
