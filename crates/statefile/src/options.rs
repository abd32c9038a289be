//! Options of reading and writing.

use std::thread;

use dunnage_digest::Cancel;

use crate::{Codec, Compression, Dialect, Limits};

/// How strictly a reader keeps to the format.
///
/// Use `Lenient` for a file that gVisor reads and `Strict` refuses. Both refuse every file whose payload would come out
/// wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: the format, or all that gVisor accepts safely")]
pub enum Mode {
    /// Accepts only files that a writer of gVisor can make.
    #[default]
    Strict,
    /// Also accepts deviations that gVisor reads without harm: 1 to 3 bytes after the last chunk, a chunk that is not
    /// full before another chunk, bytes after a deflate stream within its chunk, and metadata with repeated keys,
    /// `null` or broken strings.
    Lenient,
}

/// Options of [`Reader::open`](crate::Reader::open) and [`File::open`](crate::File::open).
///
/// The default finds the dialect from the bytes, is strict, and uses all cores.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct ReadOptions {
    /// The dialect, if the caller knows it. By default the bytes decide, which is safer: with a wrong dialect, some
    /// files without a key give a wrong payload.
    pub dialect: Option<Dialect>,
    /// How strictly to keep to the format.
    pub mode: Mode,
    /// Limits on the file.
    pub limits: Limits,
    /// Number of threads that verify and inflate; 0 for one per core. At most 64. The payload does not depend on it.
    pub threads: usize,
    /// The expected length of the payload; any other length is [`Error::Length`](crate::Error::Length). The format does
    /// not mark its end, so without this a file that was cut between two chunks or frames reads without an error.
    pub payload_len: Option<u64>,
    /// A flag that stops opening, copying, re-keying and converting. To stop one run of
    /// [`File::verify`](crate::File::verify) or [`File::copy_to`](crate::File::copy_to), cancel its `Progress` instead.
    pub cancel: Cancel,
}

/// Options of [`Writer::new`](crate::Writer::new) and [`convert`](crate::convert).
///
/// The default writes what today's gVisor writes: dialect D, uncompressed. The same payload and options give the same
/// bytes on any number of threads.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct WriteOptions {
    /// The dialect. Default D, which today's gVisor writes.
    pub dialect: Dialect,
    /// The compression. By default the one that the metadata name, or else the default of the dialect.
    /// [`convert`](crate::convert) keeps the compression of the file by default.
    pub compression: Option<Compression>,
    /// The library that compresses. The bytes depend on it.
    pub codec: Codec,
    /// The level of compression: 1 to 9, for libdeflate 1 to 12. By default a fast one; then noise, which does not
    /// compress, is recognised and stored without trying.
    pub level: Option<u8>,
    /// Where the frames of an uncompressed body end.
    pub frames: Frames,
    /// Number of threads that compress and hash; 0 for one per core. At most 64. The bytes do not depend on it.
    pub threads: usize,
    /// The length of the payload, if the caller knows it. The writer puts it into the metadata as
    /// [`Metadata::LENGTH`](crate::Metadata::LENGTH), and returns an error if the payload has another length.
    pub payload_len: Option<u64>,
    /// Limits on the metadata and the payload; writers use no others.
    pub limits: Limits,
}

/// Where the frames of an uncompressed body end. Readers accept frames of any size, so this matters only for equal
/// bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed: ours or gVisor's")]
pub enum Frames {
    /// After every 1 MiB, whatever the sizes of the writes. gVisor writes the same bytes if no write is larger than 1
    /// MiB.
    #[default]
    Uniform,
    /// Where gVisor ends them. In dialect A every write is a frame. In the others, writes are gathered to 1 MiB, but a
    /// write of more than 1 MiB is one frame if nothing is gathered; one thread hashes such a frame.
    AsGvisor,
}

/// The number of threads for an option `threads`, in which 0 stands for one per core.
pub(crate) fn threads(asked: usize) -> usize {
    // Memory grows with the number of threads, and more threads than this wait for the source or the sink.
    const MOST: usize = 64;
    let asked = if asked == 0 { thread::available_parallelism().map_or(1, usize::from) } else { asked };
    asked.min(MOST)
}
