//! Choices of an extraction.

use crate::Limits;

/// How an extraction treats owners, devices, privileged parts and a destination that is not empty. The defaults suit an
/// archive from a stranger.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct ExtractOptions {
    /// Owners. Default: all files belong to the caller.
    pub owners: ExtractOwners,
    /// Device nodes. Default: left out.
    pub devices: ExtractDevices,
    /// Set-user-id and set-group-id bits. Default: left out.
    pub set_id: ExtractSetId,
    /// Attributes named `trusted.*` and `security.*`, file capabilities among them. Default: left out.
    pub privileged_xattrs: ExtractXattrs,
    /// Names that remove files of lower layers. Default: ordinary names.
    pub whiteouts: ExtractWhiteouts,
    /// A destination that holds something. Default: refused.
    pub existing: Existing,
    /// Ceilings: `entries`, `path`, `depth`, `symlink_target` and `unpacked` are used, others by the reader.
    pub limits: Limits,
}

/// The owner of extracted files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtractOwners {
    /// The caller.
    #[default]
    Caller,
    /// The numbers of the entries; needs privilege.
    Keep,
}

/// Whether device nodes are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: made or not")]
pub enum ExtractDevices {
    /// Left out and reported.
    #[default]
    Drop,
    /// Made; needs privilege.
    Make,
}

/// Whether set-user-id and set-group-id bits are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: kept or not")]
pub enum ExtractSetId {
    /// Left out and reported.
    #[default]
    Drop,
    /// Kept.
    Keep,
}

/// Whether `trusted.*` and `security.*` attributes are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: kept or not")]
pub enum ExtractXattrs {
    /// Left out and reported.
    #[default]
    Drop,
    /// Set; needs privilege.
    Keep,
}

/// The meaning of names that begin with `.wh.`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: names or whiteouts")]
pub enum ExtractWhiteouts {
    /// Nothing: they are ordinary names.
    #[default]
    Keep,
    /// The file that they name is removed from the destination, unless the same run made it.
    Apply,
}

/// Whether the destination may hold files before the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: refused or extended")]
pub enum Existing {
    /// It has to be empty.
    #[default]
    Refuse,
    /// It may hold anything: directories take further entries, every other node is replaced by an entry of its name.
    Extend,
}
