//! gzip members with a TOC that is stored elsewhere, so that the layer has no file of its own in it.
//!
//! The TOC is the same member that would end an ordinary layer. Specification: eStargz, section 8.3.

use std::{
    fmt,
    io::{self, Cursor, Read, Write},
    sync::Arc,
};

use dunnage_digest::Offset;

use super::{
    Compressor, Decoder, Decompressor, Encoder, End, GrowingStream, GzipCompressor, TocWritten,
    gzip::{gzip_decoder, gzip_streams},
    toc_member::TocJson,
};
use crate::{
    Error,
    footer::{EXTERNAL_FOOTER_LEN, Footer, Format, TocPlace, external_footer_bytes, parse_external_footer},
};

/// Compresses to gzip members, and hands the TOC out instead of writing it: [`Summary::external_toc`](crate::Summary).
///
/// The tar stream then holds nothing but the input, so a lossless conversion keeps the DiffID.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExternalTocCompressor {
    gzip: GzipCompressor,
}

impl ExternalTocCompressor {
    /// A compressor with the codec and level of `gzip`.
    #[must_use]
    pub const fn new(gzip: GzipCompressor) -> Self {
        Self { gzip }
    }
}

impl Compressor for ExternalTocCompressor {
    fn format(&self) -> Format {
        Format::ExternalToc
    }

    fn encoder(&self) -> Result<Box<dyn Encoder>, Error> {
        self.gzip.encoder()
    }

    fn write_toc_and_footer(
        &self,
        end: &End<'_>,
        _diff: &mut dyn FnMut(&[u8]),
        out: &mut dyn Write,
    ) -> Result<TocWritten, Error> {
        let mut toc = Vec::new();
        let written = self.gzip.write_toc(end, &mut |_| (), &mut toc)?;
        out.write_all(&external_footer_bytes()).map_err(|source| Error::Write { source })?;
        Ok(TocWritten { external_toc: Some(toc), ..TocWritten::new(written.toc_digest, 0) })
    }

    fn gauge(&self) -> Result<Option<Box<dyn GrowingStream>>, Error> {
        self.gzip.gauge()
    }
}

/// Gives the compressed TOC of a layer.
type Provider = dyn Fn() -> io::Result<Vec<u8>> + Send + Sync;

/// Reads the gzip members of a blob that ends with the 46-byte footer, with a TOC from elsewhere.
///
/// Where the TOC came from need not be trusted: its digest is compared like that of any other.
#[derive(Clone)]
pub struct ExternalTocDecompressor {
    provider: Arc<Provider>,
}

impl ExternalTocDecompressor {
    /// A decompressor that asks `provider` for the compressed TOC each time a layer is opened.
    pub fn new(provider: impl Fn() -> io::Result<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self { provider: Arc::new(provider) }
    }
}

impl fmt::Debug for ExternalTocDecompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExternalTocDecompressor")
    }
}

impl Decompressor for ExternalTocDecompressor {
    fn footer_len(&self) -> usize {
        EXTERNAL_FOOTER_LEN
    }

    fn parse_footer(&self, bytes: &[u8], blob_len: u64) -> Result<Footer, Error> {
        parse_external_footer(bytes, blob_len)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        gzip_decoder()
    }

    fn toc_json<'a>(
        &self,
        toc: Option<Box<dyn Read + Send + 'a>>,
        footer: &Footer,
    ) -> Result<Box<dyn Read + Send + 'a>, Error> {
        if toc.is_some() || footer.toc != TocPlace::Outside {
            let message = "the TOC is stored elsewhere, but one in the blob was given";
            return Err(Error::Misuse(message.to_owned()));
        }
        let failed = |source| Error::Read { what: "the external TOC", at: Offset::ZERO, source };
        let toc = (self.provider)().map_err(failed)?;
        if toc.is_empty() {
            return Err(Error::ExternalToc);
        }
        let len = toc.len() as u64;
        Ok(Box::new(TocJson::open(Box::new(Cursor::new(toc)), Offset::ZERO, len)?))
    }

    fn streams<'a>(&self, payload: Box<dyn Read + Send + 'a>) -> Box<dyn Read + Send + 'a> {
        gzip_streams(payload)
    }
}
