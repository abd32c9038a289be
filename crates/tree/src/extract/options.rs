//! What an extraction does where there is a choice, and what it tells on the way.

use std::{fmt, sync::Arc};

use dunnage_digest::Cancel;

use crate::Limits;

/// What an extraction does where there is a choice. The defaults suit the archive of a stranger.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ExtractOptions {
    /// Owners. Default: all files belong to the caller.
    pub owners: ExtractOwners,
    /// Device nodes. Default: left out.
    pub devices: ExtractDevices,
    /// Set-user-id and set-group-id bits. Default: left out.
    pub set_id: ExtractSetId,
    /// Attributes named `trusted.*` and `security.*`, file capabilities among them. Default: left out.
    pub privileged_xattrs: ExtractXattrs,
    /// Names that take away what lower layers hold. Default: ordinary names.
    pub whiteouts: ExtractWhiteouts,
    /// A destination that holds something. Default: refused.
    pub existing: Existing,
    /// Ceilings: `entries`, `path`, `depth`, `symlink_target` and `unpacked` are used, others by the reader.
    pub limits: Limits,
    /// Stops the extraction early.
    pub cancel: Cancel,
    /// Called after each entry, and after each mebibyte of content.
    pub on_progress: Option<ProgressCallback>,
}

/// Is told how far an extraction has come.
pub type ProgressCallback = Arc<dyn Fn(Progress) + Send + Sync>;

/// How far an extraction has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Entries that were begun.
    pub entries: u64,
    /// Bytes of content that were written.
    pub bytes: u64,
}

/// Who owns what is extracted.
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

/// What names that begin with `.wh.` mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: names or whiteouts")]
pub enum ExtractWhiteouts {
    /// Nothing: they are ordinary names.
    #[default]
    Keep,
    /// What they name is removed from the destination, but for what the same run made.
    Apply,
}

/// What a destination may hold before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: refused or extended")]
pub enum Existing {
    /// Nothing.
    #[default]
    Refuse,
    /// Anything: directories are gone into, all else is replaced where an entry has its name.
    Extend,
}

impl fmt::Debug for ExtractOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractOptions")
            .field("owners", &self.owners)
            .field("devices", &self.devices)
            .field("set_id", &self.set_id)
            .field("privileged_xattrs", &self.privileged_xattrs)
            .field("whiteouts", &self.whiteouts)
            .field("existing", &self.existing)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
