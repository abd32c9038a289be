//! Choices of an export.

use crate::{Limits, tar::Format};

/// How [`Entries`](crate::Entries) describe a tree. The defaults keep all that tar can hold but parts of a second.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct ExportOptions {
    /// Times of last change. Default: as they are.
    pub mtime: ExportMtime,
    /// Parts of a second. Default: left out, so that most headers need no PAX records.
    pub nanos: ExportNanos,
    /// Owners. Default: as they are.
    pub owners: ExportOwners,
    /// The beginning of every name: empty or `./`, for example. Default: empty.
    pub prefix: Vec<u8>,
    /// The root directory. Default: no entry.
    pub root: ExportRoot,
    /// Variant of tar. Default: [`Format::Unknown`], the smallest that holds each header.
    pub format: Format,
    /// Files with holes, in a tar. Default: zeros are written. [`Entries`](crate::Entries) report holes either way.
    pub sparse: ExportSparse,
    /// Ceilings of the walk, and of the maps of sparse files.
    pub limits: Limits,
}

/// Which times of last change are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportMtime {
    /// Those of the tree; zero where it has none.
    #[default]
    Keep,
    /// Those of the tree, later ones replaced by this second after 1970, as `SOURCE_DATE_EPOCH` asks for.
    Clamp(i64),
    /// This second after 1970, everywhere.
    Fixed(i64),
}

/// Whether parts of a second are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: kept or not")]
pub enum ExportNanos {
    /// Whole seconds, the part cut off.
    #[default]
    Truncate,
    /// As they are, in a PAX record where there is a part.
    Keep,
}

/// Which owners are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportOwners {
    /// Numbers, and names where the tree has them.
    #[default]
    Keep,
    /// Numbers without names.
    Numeric,
    /// These numbers, everywhere.
    Fixed {
        /// Owner.
        uid: i64,
        /// Group.
        gid: i64,
    },
}

/// Whether the root directory has an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: there or not")]
pub enum ExportRoot {
    /// No entry.
    #[default]
    Omit,
    /// An entry named by [`ExportOptions::prefix`], or `./` if that is empty.
    Include,
}

/// How [`TarExport`](crate::TarExport) writes files with holes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportSparse {
    /// In full. Every reader of tars understands it, and layers need it: their digests count the zeros.
    #[default]
    Never,
    /// In GNU's PAX format 1.0: a map, then the data. Use it for archives that GNU tar, bsdtar or this crate unpack. A file
    /// below 64 KiB, and one whose map is over the limits, is written in full. Holes below 4 KiB are written as zeros.
    Pax,
}
