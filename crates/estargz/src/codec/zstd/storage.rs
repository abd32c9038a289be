//! The form of containers/storage (podman, buildah, skopeo): content in frames of its own, and the tar headers once more.
//!
//! | part             | bytes                                                        |
//! |------------------|--------------------------------------------------------------|
//! | frames           | the tar stream: headers and chunks of content apart          |
//! | skippable frame  | header of 8, then one frame with the TOC document            |
//! | skippable frame  | header of 8, then one frame with the tar-split lines         |
//! | skippable frame  | header of 8, then the footer of 64                           |
//!
//! Its readers find the TOC by the annotations of the layer's descriptor; the footer says the same for everybody else.
//! Specification: eStargz, section 2.3.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
};

use super::{
    FrameDecoder, FrameEncoder, Frames, TocFrame, ZstdLevel, compress_json, context, frames, position, write_skippable,
};
use crate::{
    Error,
    annotations::{STORAGE_CHECKSUM_ANNOTATION, STORAGE_POSITION_ANNOTATION, STORAGE_TAR_SPLIT_ANNOTATION},
    codec::{Compressor, Decoder, Decompressor, Encoder, End, Form, TocDigestOf, TocWritten},
    footer::{Footer, Format, SKIPPABLE_HEADER, STORAGE_FOOTER_LEN, parse_storage_footer, storage_footer_bytes},
};

/// Compresses to zstd frames, with the TOC, tar headers and footer of containers/storage.
///
/// Layers of this form are always lossless. They cannot hold names that are not UTF-8, two entries of one name, or entries
/// of types that containers/storage does not know (PAX global headers among them); see [`Writer`](crate::Writer).
#[derive(Clone, Copy, Debug, Default)]
pub struct StorageCompressor {
    level: ZstdLevel,
}

impl StorageCompressor {
    /// A compressor at this level. The reference uses [`ZstdLevel::BEST`] unless told otherwise.
    #[must_use]
    pub const fn new(level: ZstdLevel) -> Self {
        Self { level }
    }
}

impl Compressor for StorageCompressor {
    fn format(&self) -> Format {
        Format::StorageChunked
    }

    fn encoder(&self) -> Result<Box<dyn Encoder>, Error> {
        Ok(Box::new(FrameEncoder(context(self.level)?)))
    }

    fn write_toc_and_footer(
        &self,
        end: &End<'_>,
        _diff: &mut dyn FnMut(&[u8]),
        out: &mut dyn Write,
    ) -> Result<TocWritten, Error> {
        let missing = || Error::Misuse("this form of a layer needs its tar headers kept apart".to_owned());
        let tar_split = end.tar_split.ok_or_else(missing)?;
        let toc = compress_json(self.level, end)?;
        let toc_part = write_skippable(end.payload_len, &toc.bytes, toc.plain_len, out)?;
        let toc_end = toc_part.at.saturating_add(toc_part.len);
        let tar_split_part = write_skippable(toc_end, &tar_split.bytes, tar_split.plain_len, out)?;
        let footer = storage_footer_bytes(&toc_part, &tar_split_part);
        out.write_all(&footer).map_err(|source| Error::Write { source })?;
        let split_position = format!("{}:{}:{}", tar_split_part.at, tar_split_part.len, tar_split_part.plain_len);
        let annotations = BTreeMap::from([
            (STORAGE_CHECKSUM_ANNOTATION, toc.stored.to_string()),
            (STORAGE_POSITION_ANNOTATION, position(&toc_part)),
            (STORAGE_TAR_SPLIT_ANNOTATION, split_position),
        ]);
        Ok(TocWritten { toc_digest: toc.stored, diff_len: 0, annotations, external_toc: None })
    }

    fn form(&self) -> Form {
        Form::Storage(self.level)
    }
}

/// Reads the zstd frames of a blob that ends with the 64-byte footer of containers/storage.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct StorageDecompressor;

impl StorageDecompressor {
    /// The decompressor; it has no settings.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Decompressor for StorageDecompressor {
    fn footer_len(&self) -> usize {
        SKIPPABLE_HEADER.saturating_add(STORAGE_FOOTER_LEN)
    }

    fn parse_footer(&self, bytes: &[u8], blob_len: u64) -> Result<Footer, Error> {
        parse_storage_footer(bytes, blob_len)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(FrameDecoder::new(Frames::All))
    }

    fn toc_json<'a>(
        &self,
        toc: Option<Box<dyn Read + Send + 'a>>,
        footer: &Footer,
    ) -> Result<Box<dyn Read + Send + 'a>, Error> {
        Ok(Box::new(TocFrame::open(toc.ok_or(Error::ExternalToc)?, footer)?))
    }

    fn toc_digest_covers(&self) -> TocDigestOf {
        TocDigestOf::Stored
    }

    fn streams<'a>(&self, payload: Box<dyn Read + Send + 'a>) -> Box<dyn Read + Send + 'a> {
        frames(payload)
    }
}
