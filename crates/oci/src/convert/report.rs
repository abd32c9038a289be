//! The results of a conversion.

use std::collections::BTreeMap;

use dunnage_digest::{DiffId, Digest};

use crate::Platform;

/// An image that was converted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Converted {
    /// Tag of the result, if it has one.
    pub tag: Option<String>,
    /// Media type of the document that the tag leads to.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// Digest of the document that was converted.
    pub source: Digest,
    /// The manifests, in the order in which they are listed.
    pub manifests: Vec<ConvertedManifest>,
    /// Tag and digest of the image with the tables of contents, if they are not in the layers.
    pub toc_image: Option<(String, Digest)>,
}

/// A manifest, before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConvertedManifest {
    /// Digest before.
    pub source: Digest,
    /// Digest after.
    pub digest: Digest,
    /// Whether it is the manifest of an image. Others (signatures, attestations) are copied as they are.
    pub is_image: bool,
    /// The platform of the image.
    pub platform: Option<Platform>,
    /// The layers, lowest first; empty for a document that is no image.
    pub layers: Vec<ConvertedLayer>,
    /// Prioritized files that none of the layers has.
    pub missed: Vec<String>,
}

/// A layer, before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConvertedLayer {
    /// Whether it was converted.
    pub outcome: Outcome,
    /// Media type before.
    pub source_media_type: String,
    /// Digest of the blob before.
    pub source: Digest,
    /// Bytes of the blob before.
    pub source_size: u64,
    /// Digest of the content before.
    pub source_diff_id: DiffId,
    /// Media type after.
    pub media_type: String,
    /// Digest of the blob after.
    pub digest: Digest,
    /// Bytes of the blob after.
    pub size: u64,
    /// Digest of the content after.
    pub diff_id: DiffId,
    /// Digest of the table of contents, if it has one.
    pub toc_digest: Option<Digest>,
    /// The annotations that were set.
    pub annotations: BTreeMap<String, String>,
    /// Prioritized files that this layer does not have.
    pub missed: Vec<String>,
}

/// Whether a layer was converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was written anew.
    Converted,
    /// It had the format of the target already, so it stays as it is.
    Kept,
    /// It may not be distributed and is missing, so its descriptor stays as it is.
    Absent,
}

impl Outcome {
    /// A word for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Converted => "converted",
            Self::Kept => "kept",
            Self::Absent => "absent",
        }
    }
}
