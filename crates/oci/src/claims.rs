//! The claims of a descriptor about the compression of its layer, in annotations of all dialects, and their comparison with
//! the layer.
//!
//! | annotation                                                     | claims                                                 |
//! |----------------------------------------------------------------|--------------------------------------------------------|
//! | `containerd.io/snapshot/stargz/toc.digest`                     | digest of the table of contents, uncompressed          |
//! | `io.containers.estargz.uncompressed-size`                      | bytes of the unpacked layer                            |
//! | `io.containers.zstd-chunked.manifest-checksum`, `-position`    | zstd:chunked; digest and place of the stored table     |
//! | `io.github.containers.zstd-chunked.manifest-checksum`, ...     | the same in the form of containers/storage; its digest is the one that names the table |
//!
//! Inspection, verification and conversion all ask here, so they agree.

use std::{fmt, io};

use dunnage_digest::{Cursor, Digest, Hasher, HashingReader, Mismatch, ReadAt, Section};
use dunnage_estargz::{
    Error as LayerError, Reader,
    annotations::{
        MANIFEST_CHECKSUM_ANNOTATION, MANIFEST_POSITION_ANNOTATION, STORAGE_CHECKSUM_ANNOTATION,
        STORAGE_POSITION_ANNOTATION, STORAGE_TAR_SPLIT_ANNOTATION, TOC_DIGEST_ANNOTATION, UNCOMPRESSED_SIZE_ANNOTATION,
    },
    footer::{Format as TocFormat, TocPlace},
};

use crate::{Descriptor, Error, Format, ImageLayer};

impl ImageLayer {
    /// Compares the claims of the manifest about the table of contents with the table that [`open`](Self::open) found.
    /// Returns whether the manifest names this table: `false` if it claims nothing.
    ///
    /// Only a table that the manifest names can be trusted: anyone can put another one into a blob.
    ///
    /// # Errors
    ///
    /// [`Error::TocDigest`] for another table, [`Error::Inconsistent`] for a layer of another format or without a table,
    /// [`Error::Malformed`] for an annotation that is no digest.
    pub fn check_toc(&self, format: Format, found: Option<&Digest>) -> Result<bool, Error> {
        self.claims().check(format, found)
    }

    pub(crate) fn claims(&self) -> Claims<'_> {
        Claims { layer: &self.name, descriptor: &self.descriptor }
    }
}

/// Whether an annotation describes the compression of a layer, in whatever dialect.
pub(crate) fn is_about_toc(name: &str) -> bool {
    name == TOC_DIGEST_ANNOTATION
        || name == UNCOMPRESSED_SIZE_ANNOTATION
        || ["io.containers.zstd-chunked.", "io.github.containers.zstd-chunked.", "buildkit.io/compression"]
            .iter()
            .any(|family| name.starts_with(family))
}

/// Annotations that only layers in this format have.
const OWN: [(TocFormat, &[&str]); 2] = [
    (TocFormat::ZstdChunked, &[MANIFEST_CHECKSUM_ANNOTATION, MANIFEST_POSITION_ANNOTATION]),
    (
        TocFormat::StorageChunked,
        &[STORAGE_CHECKSUM_ANNOTATION, STORAGE_POSITION_ANNOTATION, STORAGE_TAR_SPLIT_ANNOTATION],
    ),
];

/// The annotation that names the table of contents of a layer in this format.
const fn naming(format: TocFormat) -> &'static str {
    match format {
        TocFormat::StorageChunked => STORAGE_CHECKSUM_ANNOTATION,
        _ => TOC_DIGEST_ANNOTATION,
    }
}

/// The claims of one descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claims<'d> {
    /// The name of the layer in messages.
    pub(crate) layer: &'d str,
    pub(crate) descriptor: &'d Descriptor,
}

impl Claims<'_> {
    /// Whether the descriptor claims that there is a table of contents.
    pub(crate) fn any(&self) -> bool {
        let own = OWN.iter().flat_map(|(_, names)| names.iter().copied());
        own.chain([TOC_DIGEST_ANNOTATION]).any(|name| self.descriptor.annotation(name).is_some())
    }

    /// See [`ImageLayer::check_toc`].
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

    /// Compares the claims about sizes and places with the layer, which unpacks to `unpacked` bytes.
    pub(crate) fn check_places<R: ReadAt + Sync>(&self, reader: &Reader<R>, unpacked: u64) -> Result<(), Error> {
        let same = |name: &str, found: &str| match self.descriptor.annotation(name) {
            Some(named) if named != found => {
                let expected = format!("`{}`, as its annotation `{name}` says", named.escape_debug());
                Err(self.inconsistent(&expected, format_args!("`{found}`")))
            }
            _ => Ok(()),
        };
        same(UNCOMPRESSED_SIZE_ANNOTATION, &unpacked.to_string())?;
        let TocPlace::Inside { at, len, plain_len: Some(plain_len) } = reader.footer().toc else { return Ok(()) };
        let position = format!("{}:{len}:{plain_len}:1", at.get());
        same(MANIFEST_POSITION_ANNOTATION, &position)?;
        same(STORAGE_POSITION_ANNOTATION, &position)?;
        if self.descriptor.annotation(MANIFEST_CHECKSUM_ANNOTATION).is_some() {
            let failed = |source| {
                let source = LayerError::Read { what: "the TOC", at, source };
                Error::Layer { layer: self.layer.to_owned(), source }
            };
            let stored = Cursor::new(Section::new(reader.source(), at, len)).map_err(failed)?;
            let mut stored = HashingReader::new(stored, Hasher::sha256());
            io::copy(&mut stored, &mut io::sink()).map_err(failed)?;
            same(MANIFEST_CHECKSUM_ANNOTATION, &stored.finish().1.to_string())?;
        }
        Ok(())
    }

    /// Whether the descriptor has all annotations of a layer in this format.
    pub(crate) fn is_complete(&self, format: TocFormat) -> bool {
        let own = OWN.iter().filter(|(owner, _)| *owner == format).flat_map(|(_, names)| names.iter().copied());
        own.chain([naming(format)]).all(|name| self.descriptor.annotation(name).is_some())
    }

    fn inconsistent(&self, expected: &str, got: impl fmt::Display) -> Error {
        Error::Inconsistent { document: self.layer.to_owned(), expected: expected.to_owned(), got: got.to_string() }
    }
}
