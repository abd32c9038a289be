//! Errors of reading, verifying, copying and converting images, sorted by whose problem it is.

use std::io;

use dunnage_digest::{Cancelled, Digest, ErrorKind, Mismatch, Offset, kind_of};

use crate::Platform;

/// Why an image could not be read, checked or converted.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Error {
    /// A file system call on a layout failed.
    #[error("cannot {action} `{path}`")]
    Io { action: &'static str, path: String, source: io::Error },
    /// The directory is no image layout.
    #[error("`{path}` is no OCI image layout: {reason}")]
    NotLayout { path: String, reason: String },
    /// The file is no archive of images.
    #[error("`{path}` is no archive of images: {reason}")]
    NotArchive { path: String, reason: String },
    /// An archive could not be read as a tar, or written as one.
    #[error("archive `{path}`")]
    Tar { path: String, source: dunnage_tree::Error },
    /// A member of an archive is missing or contradicts the others.
    #[error("archive `{path}`: member `{member}` at offset {at}: expected {expected}, got {got}")]
    Archive { path: String, member: String, at: Offset, expected: String, got: String },
    /// There is a file of that name already.
    #[error("`{path}` exists")]
    Exists { path: String },
    /// A document contradicts its format, or its descriptor.
    #[error("malformed {document}: expected {expected}, got {got}")]
    Malformed { document: String, expected: String, got: String },
    /// Well formed, but of a sort that is not read or cannot be converted.
    #[error("unsupported {what} in {document}: `{got}`")]
    Unsupported { document: String, what: &'static str, got: String },
    /// Two parts of one image contradict each other.
    #[error("inconsistent {document}: expected {expected}, got {got}")]
    Inconsistent { document: String, expected: String, got: String },
    /// Well formed, but beyond [`Limits`](crate::Limits).
    #[error("{what}: {asked} is over the limit of {limit}")]
    Limit { what: &'static str, limit: u64, asked: u64 },
    /// A blob has another digest or size than its descriptor says.
    #[error("blob {blob}")]
    Mismatch { blob: Digest, source: Box<Mismatch> },
    /// The content of a layer is not what the image's configuration says.
    #[error("{layer}: diff ID")]
    DiffId { layer: String, source: Mismatch },
    /// The table of contents of a layer is not the one that its annotation names.
    #[error("{layer}: TOC")]
    TocDigest { layer: String, source: Mismatch },
    /// A blob is not in the layout.
    #[error("no blob {digest} in `{layout}`")]
    NoBlob { layout: String, digest: Digest },
    /// The layout has no image of that name.
    #[error("no tag `{tag}` in `{layout}`: there is {}", list(.found))]
    NoTag { layout: String, tag: String, found: Vec<String> },
    /// No image is in that place, or has that digest.
    #[error("no image `{name}` in `{layout}`: there is {}", list(.found))]
    NoImage { layout: String, name: String, found: Vec<String> },
    /// The layout has several images and none was named, or one name stands for several.
    #[error("`{layout}` holds {count} images and no tag says which: there is {}", list(.found))]
    ManyTags { layout: String, count: usize, found: Vec<String> },
    /// There is nothing in the layout.
    #[error("`{layout}` holds no image")]
    Empty { layout: String },
    /// The destination has an image of that name already.
    #[error("tag `{tag}` exists in `{layout}`")]
    TagExists { layout: String, tag: String },
    /// No image is for that platform.
    #[error("no image for {wanted}: there is {}", platforms(.found))]
    NoPlatform { wanted: Platform, found: Vec<Platform> },
    /// A file that has to come first is in none of the layers.
    #[error("no such file in any layer of manifest {manifest}: `{name}`")]
    NotFound { manifest: Digest, name: String },
    /// A layer could not be read or written.
    #[error("{layer}")]
    Layer { layer: String, source: dunnage_estargz::Error },
    /// A record of accesses is not one.
    #[error("line {line} of the record: expected {expected}, got {got}")]
    Record { line: u64, expected: String, got: String },
    /// A record could not be read.
    #[error("cannot read line {line} of the record")]
    ReadRecord { line: u64, source: io::Error },
    /// The call is wrong, whatever the input.
    #[error("{0}")]
    Misuse(String),
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A worker thread ended without a result.
    #[error("a worker thread died")]
    Worker,
}

impl Error {
    /// Whose problem it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } | Self::ReadRecord { source, .. } => kind_of(source),
            Self::Worker => ErrorKind::Io,
            Self::NotLayout { .. }
            | Self::NotArchive { .. }
            | Self::Archive { .. }
            | Self::Malformed { .. }
            | Self::Record { .. } => ErrorKind::Malformed,
            Self::Tar { source, .. } => source.kind(),
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Inconsistent { .. } => ErrorKind::Inconsistent,
            Self::Limit { .. } => ErrorKind::LimitExceeded,
            Self::Mismatch { .. } | Self::DiffId { .. } | Self::TocDigest { .. } => ErrorKind::Integrity,
            Self::NoBlob { .. }
            | Self::NoTag { .. }
            | Self::NoImage { .. }
            | Self::Empty { .. }
            | Self::NoPlatform { .. }
            | Self::NotFound { .. } => ErrorKind::NotFound,
            Self::TagExists { .. } | Self::Exists { .. } => ErrorKind::Conflict,
            Self::ManyTags { .. } | Self::Misuse(_) => ErrorKind::Misuse,
            Self::Layer { source, .. } => source.kind(),
            Self::Cancelled(_) => ErrorKind::Cancelled,
        }
    }
}

/// `` `a`, `b` ``, or `none`; a hundred names at most.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 100;
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{}`", name.escape_debug())).collect();
    if names.len() > SHOWN {
        shown.push("more".to_owned());
    }
    shown.join(", ")
}

fn platforms(found: &[Platform]) -> String {
    list(&found.iter().map(ToString::to_string).collect::<Vec<_>>()).replace('`', "")
}
