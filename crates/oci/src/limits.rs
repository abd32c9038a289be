//! Ceilings for untrusted images.

/// The most that the documents of an image, and an archive, may ask for. Layers have limits of their own.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct Limits {
    /// Bytes of one document: an index, a manifest, a configuration. Default 4 MiB.
    pub document: u64,
    /// Bytes of all documents of one image, held in memory while it is worked on. Default 64 MiB.
    pub documents: u64,
    /// Manifests and indexes reached from one tag, counted as often as they are listed. Default 4096.
    pub manifests: u64,
    /// Indexes inside each other. Default 8.
    pub depth: u64,
    /// Layers of one manifest. Default 1024; runtimes stop at 127.
    pub layers: u64,
    /// Members of one archive. Default 1 048 576; the index takes about 50 bytes for each.
    pub members: u64,
    /// Bytes that a compressed archive may unpack to, in a temporary file. Default 64 GiB.
    pub archive: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document: 4 << 20,
            documents: 64 << 20,
            manifests: 4096,
            depth: 8,
            layers: 1024,
            members: 1 << 20,
            archive: 64 << 30,
        }
    }
}
