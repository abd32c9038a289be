//! The options that one target, or one sort of destination, can use and another cannot.

use anyhow::Result;

use crate::{
    args::Target,
    options::{Given, Uses, check},
};

/// The options of each target.
const TARGETS: [(Target, Uses); 4] = [
    (
        Target::Estargz,
        Uses {
            name: "estargz",
            options: &[
                "level",
                "chunk-size",
                "stream-size",
                "min-chunk-size",
                "toc-out",
                "external-toc",
                "codec",
                "prioritize",
                "prioritize-from",
                "record",
                "allow-missing",
                "duplicates",
                "non-utf8",
                "annotations",
            ],
        },
    ),
    (
        Target::ZstdChunked,
        Uses {
            name: "zstd-chunked",
            options: &[
                "level",
                "chunk-size",
                "stream-size",
                "min-chunk-size",
                "prioritize",
                "prioritize-from",
                "record",
                "allow-missing",
                "duplicates",
                "non-utf8",
                "annotations",
            ],
        },
    ),
    // Always lossless, so no entry can move, and none is replaced.
    (
        Target::ZstdChunkedStorage,
        Uses { name: "zstd-chunked-storage", options: &["level", "chunk-size", "non-utf8", "annotations"] },
    ),
    (Target::Tar, Uses { name: "tar", options: &["sparse"] }),
];

/// A file, or standard output.
const FILE: Uses = Uses { name: "files", options: &["toc-out", "duplicates", "annotations", "unverified", "sparse"] };

/// An image.
const IMAGE: Uses = Uses { name: "images", options: &["external-toc", "record"] };

/// Refuses options that the target or the destination cannot use.
pub(super) fn check_target(given: &Given, to: Target, is_image: bool) -> Result<()> {
    let targets = TARGETS.iter().map(|(_, uses)| uses);
    let chosen: Vec<&Uses> = TARGETS.iter().filter(|(target, _)| *target == to).map(|(_, uses)| uses).collect();
    check(given, targets, &chosen, || {
        let name = chosen.first().map_or("another one", |uses| uses.name);
        format!("the target is {name}")
    })?;
    let (chosen, is) = if is_image { (&IMAGE, "an image") } else { (&FILE, "a file") };
    check(given, [&FILE, &IMAGE].into_iter(), &[chosen], || format!("the destination is {is}"))
}
