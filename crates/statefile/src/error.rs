//! Errors of reading and writing state files.
//!
//! Errors can be cloned, because a reader or writer that failed keeps its error and returns it from every later call.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use dunnage_digest::{Cancelled, ErrorKind, Offset, SourceError, WorkerDied, kind_of};

/// Why reading or writing a state file failed.
///
/// [`kind`](Self::kind) sorts the variants for callers that act on them; match on variants where the difference
/// matters, as between [`KeyRequired`](Self::KeyRequired) and [`HashMismatch`](Self::HashMismatch). It passes through
/// [`io::Error`] with its kind: see [`dunnage_digest::error_inside`]. Messages escape and shorten text that comes from
/// the file.
#[derive(Clone, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Error {
    /// The source failed. The file may be undamaged. Readers never take a failed read for the end of the file.
    #[error("cannot read {part} at offset {at}")]
    Read { part: Part, at: Offset, source: Arc<io::Error> },
    /// The sink failed.
    #[error("cannot write {part}")]
    Write { part: Part, source: Arc<io::Error> },
    /// The operating system failed to copy from the source to the sink. It does not tell which of them failed.
    #[error("cannot copy the payload")]
    Copy { source: Arc<io::Error> },
    /// The first eight bytes are not `gVisorSF`.
    #[error("bad magic at offset 0x0: expected `gVisorSF`, got `{}`", .got.escape_ascii())]
    BadMagic { got: Vec<u8> },
    /// The length of the metadata exceeds the cap of the format or of [`Limits`](crate::Limits).
    #[error("invalid metadata length at offset 0x8: {got} bytes, over the cap of {cap}")]
    InvalidMetadataLength { got: u64, cap: u64 },
    /// The file ends within a part.
    #[error("truncated {part} at offset {at}: expected {expected} bytes, got {got}")]
    Truncated { part: Part, at: Offset, expected: u64, got: u64 },
    /// The bytes contradict the format.
    #[error("malformed {part} at offset {at}: expected {expected}, got {got}")]
    Malformed { part: Part, at: Offset, expected: String, got: String },
    /// The metadata is not a JSON object of strings.
    #[error("malformed metadata at offset {at}: {reason}")]
    Metadata { at: Offset, reason: String },
    /// The metadata name a compression that does not exist.
    #[error("invalid compression `{}`: expected `none` or `flate-best-speed`", shown(.value))]
    InvalidFlags { value: String },
    /// A MAC does not match: the bytes are damaged, or the file has another key.
    #[error("MAC mismatch of {part} at offset {at}{}", said(*.hint))]
    HashMismatch { part: Part, at: Offset, hint: Hint },
    /// The file was written with a key, and the caller has none.
    #[error("the file is keyed (MAC at offset {at}): a key is needed to read it")]
    KeyRequired { at: Offset },
    /// The bytes fit two dialects with different payloads, and the look-ahead of a stream is too short to decide. A
    /// [`File`](crate::File), which sees all bytes, or a named dialect decides.
    #[error("ambiguous body at offset {at}: {reason}; name the dialect to read it")]
    Ambiguous { at: Offset, reason: &'static str },
    /// The file has a dialect that this crate does not read.
    #[error("unsupported dialect: {what}")]
    Unsupported { what: &'static str },
    /// The file is well formed and exceeds [`Limits`](crate::Limits).
    #[error("{part} at offset {at}: {asked} is over the limit of {limit}")]
    Limit { part: Part, at: Offset, limit: u64, asked: u64 },
    /// The payload does not have the length that `by` names.
    #[error("payload of {got} bytes, expected {expected} ({by})")]
    Length { expected: u64, got: u64, by: &'static str },
    /// The caller sets a metadata key that belongs to the format.
    #[error("invalid metadata: the key `{}` is reserved", shown(.key))]
    MetadataInvalid { key: String },
    /// The file lacks a metadata key that the caller requires.
    #[error("missing metadata: no key `{}`", shown(.key))]
    MetadataMissing { key: String },
    /// The key is empty.
    #[error("a key must have at least one byte")]
    EmptyKey,
    /// The key has zero bytes only, which HMAC treats as an empty key. Refused for writing.
    #[error("the key has zero bytes only: HMAC treats it as an empty key, which protects nothing")]
    WeakKey,
    /// The call is wrong, whatever the input.
    #[error("{0}")]
    Misuse(String),
    /// The caller stopped the work.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A worker thread panicked, or the system started none.
    #[error("a worker thread died")]
    Worker,
}

/// The part of a state file that an [`Error`] is about. Chunks and frames are counted from 1.
///
/// Match on it to treat one part apart, as a limit on frames; otherwise it is for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the parts of the format, by their names")]
#[non_exhaustive]
pub enum Part {
    Magic,
    MetadataLength,
    Metadata,
    MetadataKeys,
    HeaderMac,
    Header,
    ChunkSize,
    ChunkSizeMac,
    ChunkLength(u64),
    Chunk(u64),
    ChunkMac(u64),
    FrameLength(u64),
    Frame(u64),
    FrameMac(u64),
    Payload,
    LookAhead,
    Page,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("magic"),
            Self::MetadataLength => f.write_str("metadata length"),
            Self::Metadata => f.write_str("metadata"),
            Self::MetadataKeys => f.write_str("number of metadata keys"),
            Self::HeaderMac => f.write_str("header MAC"),
            Self::Header => f.write_str("header"),
            Self::ChunkSize => f.write_str("chunk size"),
            Self::ChunkSizeMac => f.write_str("chunk size MAC"),
            Self::ChunkLength(index) => write!(f, "length of chunk {index}"),
            Self::Chunk(index) => write!(f, "chunk {index}"),
            Self::ChunkMac(index) => write!(f, "MAC of chunk {index}"),
            Self::FrameLength(index) => write!(f, "length of frame {index}"),
            Self::Frame(index) => write!(f, "frame {index}"),
            Self::FrameMac(index) => write!(f, "MAC of frame {index}"),
            Self::Payload => f.write_str("payload"),
            Self::LookAhead => f.write_str("start of the body"),
            Self::Page => f.write_str("page range"),
        }
    }
}

/// The likely reason of a [`HashMismatch`](Error::HashMismatch).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hint {
    /// Unknown.
    #[default]
    None,
    /// The header has the checksum of dialects L to C in place of a MAC: the file was written without a key.
    WrittenWithoutKey,
    /// The MAC matches without the MAC before it: the frame is one of dialect A or B, in a file that is read as C or D.
    NotChained,
}

fn said(hint: Hint) -> &'static str {
    match hint {
        Hint::None => "",
        Hint::WrittenWithoutKey => ": the file was written without a key",
        Hint::NotChained => ": it matches as the unchained MAC of dialect A or B",
    }
}

impl Error {
    /// The kind of the error, to act on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } => kind_of(source),
            Self::Write { .. } | Self::Copy { .. } | Self::Worker => ErrorKind::Io,
            Self::BadMagic { .. }
            | Self::InvalidMetadataLength { .. }
            | Self::Truncated { .. }
            | Self::Malformed { .. }
            | Self::Metadata { .. }
            | Self::InvalidFlags { .. } => ErrorKind::Malformed,
            Self::HashMismatch { .. } => ErrorKind::Integrity,
            Self::KeyRequired { .. } => ErrorKind::Auth,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Limit { .. } => ErrorKind::LimitExceeded,
            Self::Ambiguous { .. } | Self::Length { .. } => ErrorKind::Inconsistent,
            Self::MetadataMissing { .. } => ErrorKind::NotFound,
            Self::MetadataInvalid { .. } | Self::EmptyKey | Self::WeakKey | Self::Misuse(_) => ErrorKind::Misuse,
            Self::Cancelled(_) => ErrorKind::Cancelled,
        }
    }

    pub(crate) fn write(part: Part) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Write { part, source: Arc::new(source) }
    }

    pub(crate) fn read(part: Part, at: u64) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { part, at: Offset::new(at), source: Arc::new(source) }
    }
}

impl From<WorkerDied> for Error {
    fn from(_: WorkerDied) -> Self {
        Self::Worker
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Read { source, .. } | Error::Write { source, .. } | Error::Copy { source } => match source.kind() {
                // A caller that retries interrupted calls would loop: every retry returns the same error.
                io::ErrorKind::Interrupted => io::ErrorKind::Other,
                kind => kind,
            },
            Error::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            Error::Worker | Error::Cancelled(_) => io::ErrorKind::Other,
            Error::MetadataInvalid { .. } | Error::EmptyKey | Error::WeakKey | Error::Misuse(_) => {
                io::ErrorKind::InvalidInput
            }
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, SourceError::new(error.kind(), error))
    }
}

/// Text of a file for a message: control characters are escaped, and a long text is cut.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 64;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Runs `work` and makes an error of a panic, which the caller's source can cause. The threads that wait for the result
/// would otherwise wait forever.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Error::Worker))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_messages_are_escaped_and_cut() {
        let error = Error::InvalidFlags { value: format!("\x1b[31m\n{}", "x".repeat(100)) };
        let text = error.to_string();
        assert!(text.starts_with("invalid compression `\\u{1b}[31m\\nxxx"), "{text}");
        assert!(text.contains("x…`: expected"), "{text}");
        assert!(text.len() < 160, "{text}");
    }

    #[test]
    fn an_io_error_keeps_the_error_inside() {
        let error = Error::Truncated { part: Part::Chunk(3), at: Offset::new(0x4a4), expected: 22, got: 7 };
        let error = io::Error::from(error);
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let inner = dunnage_digest::error_inside::<Error>(&error).unwrap();
        assert_eq!(inner.to_string(), "truncated chunk 3 at offset 0x4a4: expected 22 bytes, got 7");
    }
}
