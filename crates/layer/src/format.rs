//! What the blob of a layer is, as its own bytes say.

use std::{fmt, fs::File};

use dunnage_digest::{Cursor, ErrorKind, ReadAt};
use dunnage_estargz::{Error as LayerError, LEGACY_FOOTER_LEN, OpenOptions, Packing, Reader, open_footer};

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
    /// eStargz, its table of contents at the end.
    EStargz,
    /// What was there before eStargz.
    Stargz,
}

impl Format {
    /// A word for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::TarGzip => "tar+gzip",
            Self::TarZstd => "tar+zstd",
            Self::EStargz => "estargz",
            Self::Stargz => "stargz",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tar => "tar",
            Self::TarGzip => "tar, gzip",
            Self::TarZstd => "tar, zstd",
            Self::EStargz => "eStargz",
            Self::Stargz => "stargz",
        })
    }
}

/// The table of contents of a layer, if it ends like one that has one.
///
/// # Errors
///
/// Those of a layer that ends well and is none all the same.
pub(crate) fn open_toc<R: ReadAt + Sync>(
    source: R,
    options: &OpenOptions,
) -> Result<Option<(Format, Reader<R>)>, LayerError> {
    match open_footer(&source) {
        Ok(footer) => {
            let is_legacy = footer.footer_len == LEGACY_FOOTER_LEN as u64;
            let format = if is_legacy { Format::Stargz } else { Format::EStargz };
            Ok(Some((format, Reader::open(source, options)?)))
        }
        Err(error) if error.kind() == ErrorKind::Malformed => Ok(None),
        Err(error) => Err(error),
    }
}

/// The form of a layer without a table of contents.
pub(crate) fn packing(file: &File) -> Result<(Format, Packing), LayerError> {
    let failed = |source| LayerError::Input { source };
    let (packing, _) = Packing::peek(Cursor::new(file).map_err(failed)?).map_err(failed)?;
    let format = match packing {
        Packing::Plain => Format::Tar,
        Packing::Gzip => Format::TarGzip,
        Packing::Zstd => Format::TarZstd,
    };
    Ok((format, packing))
}
