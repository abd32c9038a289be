//! How to read and how to write.

use std::thread;

use dunnage_digest::Cancel;

use crate::{Codec, Compression, Dialect, Limits};

/// What is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: the format, or what gVisor makes of it")]
pub enum Mode {
    /// What a writer of gVisor can have written.
    #[default]
    Strict,
    /// Also what gVisor reads without harm: 1 to 3 stray bytes behind deflate chunks, short chunks in front of others, bytes
    /// behind the end of a deflate stream, and metadata with repeated keys, `null` or broken texts. Never what would be
    /// read wrongly.
    Lenient,
}

/// How to read.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct ReadOptions {
    /// The dialect, if it is known; otherwise the bytes tell.
    pub dialect: Option<Dialect>,
    /// What is accepted.
    pub mode: Mode,
    /// Ceilings for files that strangers made.
    pub limits: Limits,
    /// Threads that verify and inflate; 0 for as many as there are cores. What comes out does not depend on it.
    pub threads: usize,
    /// Bytes that the payload must have. The format has no mark for its end, so only this, or a MAC of the caller's own over the
    /// whole, tells a cut file from a whole one.
    pub payload_len: Option<u64>,
    /// Ends long work early.
    pub cancel: Cancel,
}

/// How to write.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct WriteOptions {
    /// The dialect, by default that of today's gVisor.
    pub dialect: Dialect,
    /// The compression; by default what the metadata name, else the dialect's own default.
    pub compression: Option<Compression>,
    /// What compresses. The bytes depend on it.
    pub codec: Codec,
    /// How hard: 1 to 9 (libdeflate: to 12). By default the level nearest to the speed that the name of the compression promises,
    /// and chunks of noise (even bytes, no repetitions in samples) are stored without being tried.
    pub level: Option<u8>,
    /// Where frames end.
    pub frames: Frames,
    /// Threads that compress and hash; 0 for as many as there are cores. The bytes do not depend on it.
    pub threads: usize,
    /// Bytes of the payload, if they are known: then the metadata say so under
    /// [`Metadata::LENGTH`](crate::Metadata::LENGTH), and it is an error to write more or fewer.
    pub payload_len: Option<u64>,
    /// Ceilings: of the metadata, and of the payload.
    pub limits: Limits,
}

/// Where the frames of an uncompressed body end. Readers take frames of any size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: ours or gVisor's")]
pub enum Frames {
    /// After every 1 MiB, however the payload is handed over. Equal to what gVisor writes if it is given 1 MiB or less at a time.
    #[default]
    Uniform,
    /// Where gVisor ends them. Dialect A: after every call. Others: calls are gathered to 1 MiB, but a call of more than that
    /// is one frame if nothing is waiting. Such a frame is hashed by one thread.
    AsGvisor,
}

/// What `threads` means.
pub(crate) fn threads(asked: usize) -> usize {
    // More would only wait for each other: memory is bounded by the number of threads.
    const MOST: usize = 64;
    let asked = if asked == 0 { thread::available_parallelism().map_or(1, usize::from) } else { asked };
    asked.min(MOST)
}
