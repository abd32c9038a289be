//! Errors of reading and writing eStargz, sorted by whose problem it is.

use std::io;

use crate::audit::Disagreement;
use dunnage_digest::{Cancelled, ErrorKind, Mismatch, Offset, ParseDigestError, SourceError, WorkerDied, kind_of};

/// Why a layer could not be written or was refused.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Error {
    /// The source of a blob failed; the blob itself may be fine.
    #[error("cannot read {what} at offset {at}")]
    Read { what: &'static str, at: Offset, source: io::Error },
    /// The input of a build failed.
    #[error("cannot read the input")]
    Input { source: io::Error },
    /// The sink failed.
    #[error("cannot write the layer")]
    Write { source: io::Error },
    /// The blob is shorter than any footer.
    #[error("blob is too small: expected at least {expected} bytes, got {got}")]
    TooSmall { expected: u64, got: u64 },
    /// The bytes contradict the format.
    #[error("malformed {part} at offset {at}: expected {expected}, got {got}")]
    Malformed { part: &'static str, at: Offset, expected: String, got: String },
    /// No format has such a footer; a reason for each that begins like this one.
    #[error("no known footer: {}", none_of(.reasons))]
    NoFooter { reasons: Vec<String> },
    /// The footer says that the TOC is stored elsewhere, and it was not given.
    #[error("the TOC is stored outside of the blob, and was not given")]
    ExternalToc,
    /// A TOC entry contradicts the format, another entry, or the blob.
    #[error("TOC entry {entry} (`{}`): expected {expected}, got {got}", shown(.name))]
    Entry { entry: u64, name: String, expected: String, got: String },
    /// Two TOC entries contradict each other.
    #[error("inconsistent TOC at `{}`: {reason}", shown(.name))]
    Inconsistent { name: String, reason: String },
    /// The TOC and the tar of a layer say different things; the first ten of them.
    #[error("the TOC and the tar disagree in {total} place(s): {}", told(.differences, .total))]
    Disagree { differences: Vec<Disagreement>, total: u64 },
    /// A line of tar-split data contradicts the format, the TOC, or the content of a file.
    #[error("tar-split line {line}: expected {expected}, got {got}")]
    TarSplit { line: u64, expected: String, got: String },
    /// The TOC does not say which tar-split data is its own.
    #[error("the TOC names no digest of the tar-split data: it cannot be verified")]
    NoTarSplitDigest,
    /// What the layer's descriptor says contradicts itself or the layer.
    #[error("annotation `{name}`: {reason}")]
    Annotation { name: &'static str, reason: String },
    /// The TOC is in a version this crate does not read.
    #[error("unsupported TOC version {got}: this crate reads version 1")]
    Version { got: i64 },
    /// Well formed, but beyond [`Limits`](crate::Limits).
    #[error("{what}: {asked} is over the limit of {limit}")]
    Limit { what: &'static str, limit: u64, asked: u64 },
    /// A digest does not match.
    #[error("{what}")]
    Mismatch { what: String, source: Mismatch },
    /// A chunk does not decompress to what the TOC says.
    #[error("corrupt chunk of `{}` at offset {at}: {reason}", shown(.name))]
    CorruptChunk { name: String, at: Offset, reason: String },
    /// A digest needed for verification is not in the TOC.
    #[error("no digest for the content of `{}` at {at}: the TOC cannot be verified", shown(.name))]
    NoDigest { name: String, at: u64 },
    /// A digest in the TOC is not one.
    #[error("TOC entry {entry}: {problem}")]
    Digest { entry: u64, problem: ParseDigestError },
    /// The layer has no such path.
    #[error("no such file in the layer: `{}`", shown(.name))]
    NotFound { name: String },
    /// The path is not a regular file.
    #[error("`{}` is not a regular file", shown(.name))]
    NotRegular { name: String },
    /// The input tar cannot be read.
    #[error(transparent)]
    Tar(#[from] dunnage_tree::Error),
    /// An entry of the input cannot be represented.
    #[error("unsupported input entry `{}`: {reason}", shown(.name))]
    Unsupported { name: String, reason: String },
    /// An entry repeats a name, and the input cannot be read twice to drop the earlier one.
    #[error("`{}` appears twice, and the earlier entry has already been written", shown(.name))]
    Duplicate { name: String },
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

impl From<WorkerDied> for Error {
    fn from(_: WorkerDied) -> Self {
        Self::Worker
    }
}

impl Error {
    /// Whose problem it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } | Self::Input { source } => kind_of(source),
            Self::Write { .. } | Self::Worker => ErrorKind::Io,
            Self::TooSmall { .. }
            | Self::Malformed { .. }
            | Self::NoFooter { .. }
            | Self::TarSplit { .. }
            | Self::Entry { .. }
            | Self::Digest { .. } => ErrorKind::Malformed,
            Self::Annotation { .. } | Self::Inconsistent { .. } | Self::Disagree { .. } => ErrorKind::Inconsistent,
            Self::Version { .. } | Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Limit { .. } => ErrorKind::LimitExceeded,
            Self::Mismatch { .. } | Self::CorruptChunk { .. } => ErrorKind::Integrity,
            Self::NoDigest { .. } | Self::NoTarSplitDigest => ErrorKind::Unauthenticated,
            Self::NotFound { .. } | Self::ExternalToc => ErrorKind::NotFound,
            Self::NotRegular { .. } | Self::Misuse(_) => ErrorKind::Misuse,
            Self::Duplicate { .. } => ErrorKind::Conflict,
            Self::Tar(error) => error.kind(),
            Self::Cancelled(_) => ErrorKind::Cancelled,
        }
    }
}

fn told(differences: &[Disagreement], total: &u64) -> String {
    let list: Vec<String> = differences.iter().map(ToString::to_string).collect();
    let more = if *total > differences.len() as u64 { "; and more" } else { "" };
    format!("{}{more}", list.join("; "))
}

/// A name for a message: bytes that a terminal could take for a command are escaped, and a long name is cut.
pub(crate) fn shown(name: &str) -> String {
    dunnage_tree::display_name(name.as_bytes())
}

fn none_of(reasons: &[String]) -> String {
    match reasons {
        [] => "the last bytes are not those of eStargz, stargz or zstd:chunked".to_owned(),
        reasons => reasons.join("; "),
    }
}

/// Wraps the error in a [`SourceError`], so that [`kind_of`] finds its kind.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        SourceError::new(error.kind(), error).into()
    }
}

impl From<Error> for dunnage_tree::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Tar(error) => error,
            error => Self::Source { kind: error.kind(), source: Box::new(error) },
        }
    }
}
