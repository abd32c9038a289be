//! What the blob of a layer is, as its own bytes say, and what its descriptor says that it is.

use std::{fmt, sync::Arc};

use dunnage_digest::{Cursor, Digest, ErrorKind, Mismatch, ReadAt, SourceError};
use dunnage_estargz::{
    Error as LayerError, ExternalTocDecompressor, Format as TocFormat, MANIFEST_CHECKSUM_ANNOTATION,
    MANIFEST_POSITION_ANNOTATION, OpenOptions, Packing, Reader, STORAGE_CHECKSUM_ANNOTATION,
    STORAGE_POSITION_ANNOTATION, STORAGE_TAR_SPLIT_ANNOTATION, TOC_DIGEST_ANNOTATION, find_footer,
};

use crate::{Descriptor, Error, Images};

/// The form of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A tar that is not compressed.
    Tar,
    /// A tar compressed with gzip.
    TarGzip,
    /// A tar compressed with zstd.
    TarZstd,
    /// A tar with a table of contents.
    Toc(TocFormat),
}

impl Format {
    /// A word for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::TarGzip => "tar+gzip",
            Self::TarZstd => "tar+zstd",
            Self::Toc(TocFormat::Estargz) => "estargz",
            Self::Toc(TocFormat::Stargz) => "stargz",
            Self::Toc(TocFormat::ExternalToc) => "estargz-external-toc",
            Self::Toc(TocFormat::ZstdChunked) => "zstd-chunked",
            Self::Toc(TocFormat::StorageChunked) => "zstd-chunked-storage",
            Self::Toc(other) => other.name(),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tar => f.write_str("tar"),
            Self::TarGzip => f.write_str("tar, gzip"),
            Self::TarZstd => f.write_str("tar, zstd"),
            Self::Toc(format) => format.fmt(f),
        }
    }
}

/// Where a layer's table of contents is to be had if it is not in the layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outside<'o> {
    pub(crate) images: &'o dyn Images,
    pub(crate) toc: Option<&'o Descriptor>,
}

/// The form of a layer, and its table of contents if it has one (and if that can be had).
///
/// # Errors
///
/// Those of a layer that ends like one with a table of contents and is none all the same.
pub(crate) fn open_toc<R: ReadAt + Sync>(
    source: R,
    options: &OpenOptions,
    outside: Outside<'_>,
) -> Result<(Format, Option<Reader<R>>), LayerError> {
    let footer = match find_footer(&source) {
        Ok(footer) => footer,
        Err(error) if error.kind() == ErrorKind::Malformed => return Ok((packing(&source)?.0, None)),
        Err(error) => return Err(error),
    };
    let format = Format::Toc(footer.format);
    let mut options = options.clone();
    if footer.format == TocFormat::ExternalToc {
        let Some(toc) = outside.toc else { return Ok((format, None)) };
        let (limit, asked) = (options.limits.toc_compressed, toc.size());
        if asked > limit {
            return Err(LayerError::Limit { what: "compressed TOC", limit, asked });
        }
        // The error says that this blob is missing or damaged, and keeps its kind.
        let failed = |error: Error| LayerError::Input { source: SourceError::new(error.kind(), error).into() };
        let bytes = outside.images.blob(toc).and_then(|blob| blob.read_whole(toc)).map_err(failed)?;
        options.decompressors.push(Arc::new(ExternalTocDecompressor::new(move || Ok(bytes.clone()))));
    }
    Ok((format, Some(Reader::open(source, &options)?)))
}

/// The form of a layer, tables of contents aside.
pub(crate) fn packing<R: ReadAt>(source: R) -> Result<(Format, Packing), LayerError> {
    let failed = |source| LayerError::Input { source };
    let (packing, _) = Packing::peek(Cursor::new(source).map_err(failed)?).map_err(failed)?;
    let format = match packing {
        Packing::Plain => Format::Tar,
        Packing::Gzip => Format::TarGzip,
        Packing::Zstd => Format::TarZstd,
    };
    Ok((format, packing))
}

/// Whether an annotation describes the compression of a layer, in whatever dialect.
pub(crate) fn is_about_toc(name: &str) -> bool {
    name == TOC_DIGEST_ANNOTATION
        || name == dunnage_estargz::UNCOMPRESSED_SIZE_ANNOTATION
        || ["io.containers.zstd-chunked.", "io.github.containers.zstd-chunked.", "buildkit.io/compression"]
            .iter()
            .any(|family| name.starts_with(family))
}

/// Annotations that only layers in this form have.
const OWN: [(TocFormat, &[&str]); 2] = [
    (TocFormat::ZstdChunked, &[MANIFEST_CHECKSUM_ANNOTATION, MANIFEST_POSITION_ANNOTATION]),
    (
        TocFormat::StorageChunked,
        &[STORAGE_CHECKSUM_ANNOTATION, STORAGE_POSITION_ANNOTATION, STORAGE_TAR_SPLIT_ANNOTATION],
    ),
];

/// The annotation that names the table of contents of a layer in this form.
const fn naming(format: TocFormat) -> &'static str {
    match format {
        TocFormat::StorageChunked => STORAGE_CHECKSUM_ANNOTATION,
        _ => TOC_DIGEST_ANNOTATION,
    }
}

/// What a descriptor says about the table of contents of its layer.
pub(crate) struct Named<'d> {
    pub(crate) layer: &'d str,
    pub(crate) descriptor: &'d Descriptor,
}

impl Named<'_> {
    /// Whether the descriptor says that there is a table of contents.
    pub(crate) fn any(&self) -> bool {
        let own = OWN.iter().flat_map(|(_, names)| names.iter().copied());
        own.chain([TOC_DIGEST_ANNOTATION]).any(|name| self.descriptor.annotation(name).is_some())
    }

    /// Compares what the descriptor says with a table that was found; whether it says anything.
    ///
    /// # Errors
    ///
    /// [`Error::TocDigest`] for another table, [`Error::Inconsistent`] for one of another sort, or none.
    pub(crate) fn check(&self, format: Format, found: Option<&Digest>) -> Result<bool, Error> {
        if !self.any() {
            return Ok(false);
        }
        let Format::Toc(toc_format) = format else { return Err(self.inconsistent("a table of contents", format)) };
        for (owner, names) in OWN {
            if owner != toc_format
                && let Some(name) = names.iter().find(|name| self.descriptor.annotation(name).is_some())
            {
                return Err(self.inconsistent(&format!("{owner}, as its annotation `{name}` says"), format));
            }
        }
        let name = naming(toc_format);
        let Some(text) = self.descriptor.annotation(name) else {
            return Err(self.inconsistent(&format!("an annotation `{name}`"), format));
        };
        let Some(found) = found else {
            return Err(self.inconsistent("its table of contents in the layout", "none"));
        };
        let named = Digest::parse_oci(text).map_err(|error| Error::Malformed {
            document: self.layer.to_owned(),
            expected: format!("a digest as `{name}` ({error})"),
            got: format!("`{}`", text.escape_debug()),
        })?;
        let mismatch = Mismatch::check(&named, found);
        mismatch.map_err(|source| Error::TocDigest { layer: self.layer.to_owned(), source })?;
        Ok(true)
    }

    /// Whether a descriptor has all that a layer in this form needs.
    pub(crate) fn is_complete(&self, format: TocFormat) -> bool {
        let own = OWN.iter().filter(|(owner, _)| *owner == format).flat_map(|(_, names)| names.iter().copied());
        own.chain([naming(format)]).all(|name| self.descriptor.annotation(name).is_some())
    }

    fn inconsistent(&self, expected: &str, got: impl fmt::Display) -> Error {
        Error::Inconsistent { document: self.layer.to_owned(), expected: expected.to_owned(), got: got.to_string() }
    }
}
