//! One entry of a tar archive, as its headers describe it.

use std::collections::BTreeMap;

use crate::{Kind, Mtime};

/// The variant of the tar format a header is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: there are no further variants in use")]
pub enum Format {
    /// Older than USTAR, or with numbers or bytes that USTAR does not allow.
    #[default]
    Unknown,
    /// POSIX.1-1988: names up to 255 bytes, sizes up to 8 GiB, ASCII.
    Ustar,
    /// POSIX.1-2001: USTAR with `key=value` records before the block.
    Pax,
    /// GNU: long names in entries of their own, base-256 numbers.
    Gnu,
}

/// The type flag of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: all other flags are `Other`")]
#[expect(missing_docs, reason = "the types of POSIX, by their names")]
pub enum EntryType {
    #[default]
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
    /// PAX global header (`g`): records meant for all later entries. They are not applied.
    GlobalExtension,
    /// A type flag this crate gives no meaning to.
    Other(u8),
}

impl EntryType {
    /// The type a flag byte stands for.
    #[must_use]
    pub const fn from_flag(flag: u8) -> Self {
        match flag {
            b'0' => Self::File,
            b'1' => Self::HardLink,
            b'2' => Self::Symlink,
            b'3' => Self::CharDevice,
            b'4' => Self::BlockDevice,
            b'5' => Self::Directory,
            b'6' => Self::Fifo,
            b'g' => Self::GlobalExtension,
            _ => Self::Other(flag),
        }
    }

    /// The flag byte.
    #[must_use]
    pub const fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::CharDevice => b'3',
            Self::BlockDevice => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
            Self::GlobalExtension => b'g',
            Self::Other(flag) => flag,
        }
    }

    /// The sort of node this entry makes; `None` for hard links and for entries that make no node.
    #[must_use]
    pub const fn kind(self) -> Option<Kind> {
        match self {
            Self::File => Some(Kind::File),
            Self::Symlink => Some(Kind::Symlink),
            Self::CharDevice => Some(Kind::CharDevice),
            Self::BlockDevice => Some(Kind::BlockDevice),
            Self::Directory => Some(Kind::Directory),
            Self::Fifo => Some(Kind::Fifo),
            Self::HardLink | Self::GlobalExtension | Self::Other(_) => None,
        }
    }
}

/// One entry as its headers describe it, extensions applied.
///
/// A [`Reader`](super::Reader) and [`Entries`](crate::Entries) fill it, [`encode_header`](super::encode_header) writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "writers fill it field by field")]
pub struct Header {
    /// Path, byte for byte as stored: `./`, `/` and trailing slashes are kept.
    pub name: Vec<u8>,
    /// Type flag.
    pub entry: EntryType,
    /// Target of a hard link or symlink, as stored.
    pub link: Vec<u8>,
    /// The mode number, which may hold file type bits above the twelve permission bits.
    pub mode: i64,
    /// Owner; base-256 fields can hold negative numbers.
    pub uid: i64,
    /// Group.
    pub gid: i64,
    /// Owner's name.
    pub user: Vec<u8>,
    /// Group's name.
    pub group: Vec<u8>,
    /// Bytes of content, holes of sparse files included; 0 for all types but [`EntryType::File`] and [`EntryType::Other`].
    pub size: u64,
    /// Last change. Present in all that a reader returns but [`EntryType::GlobalExtension`]; `None` writes zero.
    pub mtime: Option<Mtime>,
    /// Last access, where PAX or GNU headers carry it.
    pub atime: Option<Mtime>,
    /// Last status change, where PAX or GNU headers carry it.
    pub ctime: Option<Mtime>,
    /// Major and minor number of a device.
    pub device: (i64, i64),
    /// All PAX records of the entry, `SCHILY.xattr.NAME` among them.
    pub pax: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whether the content is stored with holes left out.
    pub sparse: bool,
    /// The format the header was read as, or is to be written as.
    pub format: Format,
}

impl Header {
    /// PAX key prefix of extended attributes.
    pub const XATTR: &'static [u8] = b"SCHILY.xattr.";

    /// Extended attributes (name, value), in bytewise order of names.
    pub fn xattrs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let records = self.pax.range(Self::XATTR.to_vec()..);
        let named = records.map_while(|(key, value)| Some((key.strip_prefix(Self::XATTR)?, value.as_slice())));
        named.filter(|(name, _)| !name.is_empty())
    }
}
