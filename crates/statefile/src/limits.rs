//! Ceilings for files that strangers made.

/// What a state file may ask for. Nothing is allocated on the word of the file below these ceilings either: buffers grow
/// with the bytes that arrive.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct Limits {
    /// Bytes of the metadata document. Default 16 MiB, the format's own cap, which a higher figure does not lift.
    pub metadata: u64,
    /// Keys of the metadata. Default 65 536.
    pub metadata_keys: u64,
    /// Bytes that a chunk may inflate to, as the file says it. Default 64 MiB; gVisor writes 1 MiB.
    pub chunk: u64,
    /// Bytes of one frame that are held back until its MAC was compared. Default 64 MiB. A longer frame is refused by a
    /// [`Reader`](crate::Reader) on a pipe; a [`File`](crate::File) reads it twice.
    pub frame: u64,
    /// Chunks or frames. Default 2^32: as many bytes as an index entry for each MiB of them would still take.
    pub units: u64,
    /// Bytes that a stream may be looked ahead to tell dialects apart. Default 2 MiB.
    pub look_ahead: u64,
    /// Bytes of payload. Default no limit.
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
    /// Sizes divided by eight, counts by sixteen, for small nodes. Files of gVisor still read.
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
