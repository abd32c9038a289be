//! Limits on files from an untrusted source.

/// The most that a reader accepts from a file.
///
/// The defaults read everything that gVisor writes; [`small`](Self::small) is for machines with little memory. A
/// declared length below its limit does not allocate either: buffers grow with the bytes that arrive. A file over a
/// limit is [`Error::Limit`](crate::Error::Limit).
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct Limits {
    /// Bytes of the metadata document. Default 16 MiB, which is also the cap of the format: a higher value does not
    /// lift it.
    pub metadata: u64,
    /// Number of metadata keys. Default 65 536.
    pub metadata_keys: u64,
    /// The chunk size that a file declares, in bytes. Default 64 MiB; gVisor writes 1 MiB.
    pub chunk: u64,
    /// Bytes of one frame with a MAC, which a [`Reader`](crate::Reader) keeps in memory until it has compared the MAC.
    /// Default 64 MiB. A `Reader` refuses a longer frame; a [`File`](crate::File) reads it twice instead.
    pub frame: u64,
    /// Number of chunks or frames. Default 2^32. The index of a [`File`](crate::File) has about one entry per MiB of
    /// them.
    pub units: u64,
    /// Bytes that a [`Reader`](crate::Reader) reads ahead to tell dialects apart. Default 2 MiB.
    pub look_ahead: u64,
    /// Bytes of the payload. No limit by default.
    pub payload: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            metadata: 16 << 20,
            metadata_keys: 65_536,
            chunk: 64 << 20,
            frame: 64 << 20,
            units: 1 << 32,
            look_ahead: 2 << 20,
            payload: u64::MAX,
        }
    }
}

impl Limits {
    /// One eighth of the default sizes and one sixteenth of the default counts, for machines with little memory.
    /// Ordinary files of gVisor are within them.
    #[must_use]
    pub fn small() -> Self {
        let default = Self::default();
        Self {
            metadata: default.metadata / 8,
            metadata_keys: default.metadata_keys / 16,
            chunk: default.chunk / 8,
            frame: default.frame / 8,
            units: default.units / 16,
            look_ahead: default.look_ahead / 8,
            payload: default.payload,
        }
    }
}
