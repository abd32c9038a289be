//! Media types: the document or layer that a descriptor leads to, and the types of a converted image.
//!
//! Docker's types are read and never written, since its descriptors have no annotations.
//! Source: OCI image specification, "Media Types"; Docker, image manifest version 2, schema 2.

/// Media type of an OCI index.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of the configuration of an OCI image.
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Media types of Docker's manifests of schema 1, signed or not.
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+";

/// The kind of document that a descriptor of an index leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    Index,
    Manifest,
    /// Docker's schema 1: a manifest whose layers have no descriptors.
    Old,
    /// Any other type.
    Other,
}

impl Document {
    pub(crate) fn of(media_type: &str) -> Self {
        match media_type {
            INDEX | DOCKER_INDEX => Self::Index,
            MANIFEST | DOCKER_MANIFEST => Self::Manifest,
            old if old.starts_with(SCHEMA_1) => Self::Old,
            _ => Self::Other,
        }
    }
}

/// Whether a configuration of this type is that of an image to be run.
pub(crate) fn is_config(media_type: &str) -> bool {
    matches!(media_type, CONFIG | DOCKER_CONFIG)
}

/// Whether the name of a type is that of a layer, also if the layer is not read here, such as an encrypted one.
pub(crate) fn is_called_layer(media_type: &str) -> bool {
    ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."]
        .iter()
        .any(|family| media_type.starts_with(family))
}

/// The OCI type in place of Docker's; any other as it is.
pub(crate) fn to_oci(media_type: &str) -> &str {
    match media_type {
        DOCKER_INDEX => INDEX,
        DOCKER_MANIFEST => MANIFEST,
        DOCKER_CONFIG => CONFIG,
        other => other,
    }
}

/// How the blob of a layer is compressed, as its media type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suffix {
    Plain,
    Gzip,
    Zstd,
}

/// The type of a layer that is a tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerType {
    /// Whether it may be distributed. Layers that may not are often missing.
    pub(crate) distributable: bool,
    pub(crate) suffix: Suffix,
}

impl LayerType {
    /// `None` for a type that is no tar, and for tars that are not read, such as encrypted layers.
    pub(crate) fn parse(media_type: &str) -> Option<Self> {
        BASES.iter().find_map(|&(base, joint, distributable)| {
            let suffix = match media_type.strip_prefix(base)?.strip_prefix(joint) {
                None if media_type == base => Suffix::Plain,
                Some("gzip") => Suffix::Gzip,
                Some("zstd") => Suffix::Zstd,
                _ => return None,
            };
            Some(Self { distributable, suffix })
        })
    }

    /// The OCI type of the same layer, compressed in this way.
    pub(crate) const fn oci(self, suffix: Suffix) -> &'static str {
        match (self.distributable, suffix) {
            (true, Suffix::Plain) => "application/vnd.oci.image.layer.v1.tar",
            (true, Suffix::Gzip) => LAYER_GZIP,
            (true, Suffix::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (false, Suffix::Plain) => "application/vnd.oci.image.layer.nondistributable.v1.tar",
            (false, Suffix::Gzip) => "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            (false, Suffix::Zstd) => "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        }
    }
}

/// Media type of a layer compressed with gzip.
pub(crate) const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Types without their compression, the character before it, and whether such layers may be distributed.
const BASES: [(&str, &str, bool); 4] = [
    ("application/vnd.oci.image.layer.v1.tar", "+", true),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar", "+", false),
    ("application/vnd.docker.image.rootfs.diff.tar", ".", true),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar", ".", false),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_types_follow_the_compression() {
        for (media_type, wanted) in [
            ("application/vnd.oci.image.layer.v1.tar", Some((true, Suffix::Plain))),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Some((true, Suffix::Gzip))),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Some((true, Suffix::Zstd))),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar", Some((false, Suffix::Plain))),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Some((false, Suffix::Gzip))),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", Some((false, Suffix::Zstd))),
            ("application/vnd.docker.image.rootfs.diff.tar", Some((true, Suffix::Plain))),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some((true, Suffix::Gzip))),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", Some((true, Suffix::Zstd))),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Some((false, Suffix::Gzip))),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", None),
            ("application/vnd.oci.image.layer.v1.tar.gzip", None),
            ("application/vnd.oci.image.layer.v1.tarball", None),
            ("application/vnd.docker.image.rootfs.diff.tar+gzip", None),
            ("application/vnd.in-toto+json", None),
            ("", None),
        ] {
            let parsed = LayerType::parse(media_type);
            assert_eq!(parsed.map(|parsed| (parsed.distributable, parsed.suffix)), wanted, "{media_type}");
            if let Some(parsed) = parsed {
                assert_eq!(LayerType::parse(parsed.oci(parsed.suffix)), Some(parsed));
            }
        }
    }
}
