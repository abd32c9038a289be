//! How layers are opened.

use std::sync::Arc;

use dunnage_digest::Offset;
use dunnage_tree::pieces::PieceCache;

use super::{decoders::Decoders, telemetry::Telemetry};
use crate::{Limits, codec::Decompressor};

/// Whether landmarks are part of the tree. Lookups by path find them either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: a yes or no")]
pub enum Landmarks {
    /// Left out, as a container should not see them.
    #[default]
    Hide,
    /// Listed.
    Show,
}

/// Which content is handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: a yes or no")]
pub enum Trust {
    /// Only content that matches a digest of the TOC.
    #[default]
    Verified,
    /// Also content without a digest in the TOC. Content with a digest is still checked.
    Unverified,
}

/// TOC entries that repeat a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: a yes or no")]
pub enum RepeatedNames {
    /// The last one counts, as in an unpacked tar.
    #[default]
    LastCounts,
    /// The layer is refused: honest writers drop entries that would not count.
    Refuse,
}

/// Versions of the TOC that are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: those we know, or all")]
pub enum Versions {
    /// Version 1, the only one there is.
    #[default]
    Known,
    /// Whatever the document says, read as if it were version 1; also no version at all.
    Any,
}

/// How to open a layer.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct OpenOptions {
    /// Ceilings for the blob.
    pub limits: Limits,
    /// Threads for loading the TOC: 1, or 0 and everything else for two.
    pub threads: usize,
    /// Whether landmarks are part of the tree. Default: hidden.
    pub landmarks: Landmarks,
    /// Keeps decoded and verified chunks for further reads. Layers opened with clones of one cache share its bounds; the
    /// default is a cache of its own, which clones of these options share.
    pub cache: PieceCache,
    /// Decoders for chunks. Layers opened with clones of one set share them; the default is a set of its own.
    pub decoders: Decoders,
    /// Which content is handed out. Default: only content that matches a digest.
    pub trust: Trust,
    /// Entries that repeat a name. Default: the last one counts.
    pub repeated: RepeatedNames,
    /// Versions of the TOC. Default: 1.
    pub versions: Versions,
    /// Further formats, tried after those of this crate; [`ExternalTocDecompressor`](crate::codec::ExternalTocDecompressor) for a TOC that is stored elsewhere.
    pub decompressors: Vec<Arc<dyn Decompressor>>,
    /// Where the compressed TOC starts, if the caller knows: TOC and footer then arrive in one read. A wrong place costs
    /// that read, no more.
    pub toc_offset: Option<Offset>,
    /// Functions that are called with the times of the steps.
    pub telemetry: Telemetry,
}
