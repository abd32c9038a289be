//! The format of a layer, detected from its bytes.

use std::{fmt, sync::Arc};

use dunnage_digest::{Cursor, ErrorKind, ReadAt, SourceError};
use dunnage_estargz::{
    Error as LayerError, OpenOptions, Reader, codec::ExternalTocDecompressor, footer::Format as TocFormat,
    input::Packing, read::find_footer,
};

use crate::{Descriptor, Error, Images};

/// The format of a layer: how its blob is compressed, and whether it has a table of contents.
///
/// [`ImageLayer::open`](crate::ImageLayer::open) detects it from the bytes of the blob, whatever the media type says.
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

/// Where the table of contents of a layer is, if it is not in the layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outside<'o> {
    pub(crate) images: &'o dyn Images,
    pub(crate) toc: Option<&'o Descriptor>,
}

/// The format of a layer, and its table of contents if it has one and the table is there.
///
/// # Errors
///
/// Those of a layer that ends like one with a table of contents, and whose table is malformed.
pub(crate) fn open_toc<R: ReadAt + Sync>(
    source: R,
    options: &OpenOptions,
    outside: Outside<'_>,
) -> Result<(Format, Option<Reader<R>>), LayerError> {
    if outside.toc.is_none() {
        return match Reader::detect(source, options) {
            Ok(Ok(reader)) => Ok((Format::Toc(reader.footer().format), Some(reader))),
            Ok(Err(source)) => Ok((packing(&source)?.0, None)),
            // The manifest does not say where the table is.
            Err(LayerError::ExternalToc) => Ok((Format::Toc(TocFormat::ExternalToc), None)),
            Err(error) => Err(error),
        };
    }
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

/// The format of a layer, tables of contents aside.
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
