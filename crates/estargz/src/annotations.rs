//! Names of the annotations by which a layer's descriptor describes its TOC.

/// Annotation of a layer's descriptor that holds the digest of its TOC.
pub const TOC_DIGEST_ANNOTATION: &str = "containerd.io/snapshot/stargz/toc.digest";

/// Annotation of a zstd:chunked layer's descriptor that holds the digest of its TOC as it is stored.
pub const MANIFEST_CHECKSUM_ANNOTATION: &str = "io.containers.zstd-chunked.manifest-checksum";

/// Annotation of a zstd:chunked layer's descriptor that says where its TOC is: offset, length, length uncompressed, kind.
pub const MANIFEST_POSITION_ANNOTATION: &str = "io.containers.zstd-chunked.manifest-position";

/// The same as [`MANIFEST_CHECKSUM_ANNOTATION`] for layers in the form of containers/storage.
pub const STORAGE_CHECKSUM_ANNOTATION: &str = "io.github.containers.zstd-chunked.manifest-checksum";

/// The same as [`MANIFEST_POSITION_ANNOTATION`] for layers in the form of containers/storage.
pub const STORAGE_POSITION_ANNOTATION: &str = "io.github.containers.zstd-chunked.manifest-position";

/// Annotation of a layer's descriptor in the form of containers/storage that says where its tar headers are: offset,
/// length, length uncompressed.
pub const STORAGE_TAR_SPLIT_ANNOTATION: &str = "io.github.containers.zstd-chunked.tarsplit-position";

/// Annotation of a layer in a TOC image: the digest of the eStargz layer whose TOC it is.
pub const LAYER_DIGEST_ANNOTATION: &str = "containerd.io/snapshot/stargz/layer.digest";

/// Annotation of a layer's descriptor that holds the bytes of its tar stream, in decimal.
pub const UNCOMPRESSED_SIZE_ANNOTATION: &str = "io.containers.estargz.uncompressed-size";
