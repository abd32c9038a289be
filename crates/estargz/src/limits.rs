//! Ceilings for blobs that strangers made.

/// What a blob may ask for. Source: eStargz specification of the project, section 13.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct Limits {
    /// Bytes of the compressed TOC. Default 150 MiB.
    pub toc_compressed: u64,
    /// Bytes of the TOC document, counted while inflating. Default 512 MiB.
    pub toc: u64,
    /// Bytes of one TOC entry as JSON. Default 16 MiB.
    pub toc_entry: u64,
    /// TOC entries, chunks included. Default 8 388 608.
    pub entries: u64,
    /// Bytes of memory for the index: nodes, implied directories among them, names, chunks, extended attributes.
    /// Default 256 MiB, which a TOC of the greatest size holds if its entries are of the usual length.
    pub index: u64,
    /// Bytes of one path or link target. Default 64 KiB.
    pub name: u64,
    /// Directories inside each other. Default 4096.
    pub depth: u64,
    /// Bytes of one extended attribute's value. Default 1 MiB.
    pub xattr: u64,
    /// Bytes decompressed to reach one chunk: inner offset + chunk size. Default 1 GiB.
    pub stream: u64,
    /// Bytes of one chunk held in memory while it is verified. Default 64 MiB.
    pub chunk: u64,
    /// Bytes of all holes that a TOC speaks of: they take no memory, but have to be hashed. Default 64 GiB.
    pub holes: u64,
    /// Limits for the input tar of a build.
    pub tar: dunnage_tree::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            toc_compressed: 150 << 20,
            toc: 512 << 20,
            toc_entry: 16 << 20,
            entries: 8 << 20,
            index: 256 << 20,
            name: 64 << 10,
            depth: 4096,
            xattr: 1 << 20,
            stream: 1 << 30,
            chunk: 64 << 20,
            holes: 64 << 30,
            tar: dunnage_tree::Limits::default(),
        }
    }
}

impl Limits {
    /// Sizes divided by eight, entries by sixteen, for small nodes.
    #[must_use]
    pub fn small() -> Self {
        let default = Self::default();
        Self {
            toc_compressed: default.toc_compressed / 8,
            toc: default.toc / 8,
            toc_entry: default.toc_entry / 8,
            entries: default.entries / 16,
            index: default.index / 8,
            name: default.name / 8,
            depth: default.depth / 8,
            xattr: default.xattr / 8,
            stream: default.stream / 8,
            chunk: default.chunk / 8,
            holes: default.holes / 8,
            tar: dunnage_tree::Limits::small(),
        }
    }
}
