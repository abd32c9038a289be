//! A layer under test: what was written, and how it is read.

use std::{io::Read, sync::Arc};

use dunnage_digest::{DiffId, Digest, Progress};
use dunnage_tree::tar::{self, Header};

use super::{Controller, sha256};
use dunnage_estargz::{
    Build, Error, Limits, OpenOptions, Reader, Summary, WriteOptions, Writer,
    codec::{Decompressor, End, TocSource},
    compose::{NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK},
    footer::{Footer, TocPlace},
    read::{Landmarks, Telemetry, unpack_with},
    toc::{TOC_TAR_NAME, Toc},
    write::Streams,
};

pub(super) struct Layer<'c> {
    controller: &'c dyn Controller,
    pub(super) blob: Vec<u8>,
    pub(super) toc_digest: Digest,
    pub(super) diff_id: DiffId,
    decompressor: Arc<dyn Decompressor>,
}

/// Whether headers are written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Lossy,
    Lossless,
}

/// How the input of a build is compressed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Packed {
    Plain,
    Gzip,
    Zstd,
}

impl Packed {
    pub(super) const ALL: [Self; 3] = [Self::Plain, Self::Gzip, Self::Zstd];

    pub(super) fn pack(self, tar: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => tar.to_vec(),
            Self::Gzip => {
                let mut out = Vec::new();
                flate2::read::GzEncoder::new(tar, flate2::Compression::fast()).read_to_end(&mut out).unwrap();
                out
            }
            Self::Zstd => zstd::encode_all(tar, 1).unwrap(),
        }
    }
}

pub(super) fn options(controller: &dyn Controller, chunk_size: u64, streams: Streams, threads: usize) -> WriteOptions {
    WriteOptions { chunk_size, streams, compressor: controller.compressor(), threads, ..WriteOptions::default() }
}

impl<'c> Layer<'c> {
    fn new(controller: &'c dyn Controller, blob: Vec<u8>, summary: Summary) -> Self {
        assert_eq!(summary.blob, sha256(&blob), "digest of the blob");
        assert_eq!(summary.blob_len, blob.len() as u64, "length of the blob");
        let Summary { toc_digest, diff_id, external_toc, .. } = summary;
        let decompressor = controller.decompressor(external_toc);
        Self { controller, blob, toc_digest, diff_id, decompressor }
    }

    pub(super) fn append(
        controller: &'c dyn Controller,
        tar: &[u8],
        options: &WriteOptions,
        mode: Mode,
    ) -> Result<Self, Error> {
        let mut writer = Writer::new(Vec::new(), options)?;
        match mode {
            Mode::Lossy => writer.append_tar(tar)?,
            Mode::Lossless => writer.append_tar_lossless(tar)?,
        }
        let (blob, summary) = writer.finish()?;
        Ok(Self::new(controller, blob, summary))
    }

    pub(super) fn build(controller: &'c dyn Controller, input: &[u8], options: &WriteOptions) -> Self {
        let build = Build { write: options.clone(), ..Build::default() };
        let (blob, built) = build.from_source(input, Vec::new()).unwrap();
        Self::new(controller, blob, built.summary)
    }

    pub(super) fn open(&self) -> Result<Reader<&[u8]>, Error> {
        self.open_telling(Telemetry::default())
    }

    pub(super) fn open_telling(&self, telemetry: Telemetry) -> Result<Reader<&[u8]>, Error> {
        let decompressors = vec![Arc::clone(&self.decompressor)];
        let (threads, landmarks) = (1, Landmarks::Show);
        let options = OpenOptions { decompressors, threads, landmarks, telemetry, ..OpenOptions::default() };
        Reader::open(self.blob.as_slice(), &options)
    }

    /// Opens it, and looks at every digest, that of the TOC first.
    pub(super) fn verify(&self, toc_digest: &Digest) -> Result<(), Error> {
        let reader = self.open()?;
        reader.verify_toc(toc_digest)?;
        reader.verify(1, Progress::none()).map(drop)
    }

    pub(super) fn footer(&self) -> Footer {
        let start = self.blob.len().checked_sub(self.decompressor.footer_len()).expect("room for a footer");
        self.decompressor.parse_footer(&self.blob[start..], self.blob.len() as u64).unwrap()
    }

    /// The TOC as the document says it.
    pub(super) fn toc(&self) -> Toc {
        let footer = self.footer();
        let stored: Option<Box<dyn Read + Send>> = match footer.toc {
            TocPlace::Inside { at, len, .. } => {
                let at = at.get() as usize;
                Some(Box::new(&self.blob[at..at + len as usize]))
            }
            TocPlace::Outside => None,
        };
        let mut json = Vec::new();
        self.decompressor.toc_json(stored, &footer).unwrap().read_to_end(&mut json).unwrap();
        Toc::parse(&json, &Limits::default()).unwrap()
    }

    /// The same streams under another TOC.
    pub(super) fn with_toc(&self, toc: &Toc) -> Self {
        let payload_len = self.footer().payload_len;
        let mut blob = self.blob[..payload_len as usize].to_vec();
        let document = Document(toc.to_json());
        let end = End { payload_len, toc: &document, threads: 1, tar_split: None };
        let written = self.controller.compressor().write_toc_and_footer(&end, &mut |_| (), &mut blob).unwrap();
        let decompressor = self.controller.decompressor(written.external_toc);
        Self { blob, toc_digest: written.toc_digest, decompressor, ..*self }
    }

    /// The payload, decompressed.
    pub(super) fn unpack(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        unpack_with(self.blob.as_slice(), self.decompressor.as_ref()).unwrap().read_to_end(&mut tar).unwrap();
        tar
    }

    /// What a program sees that knows nothing of the TOC.
    pub(super) fn whole(&self) -> Vec<u8> {
        self.controller.tar_of(&self.blob)
    }

    pub(super) fn check_diff_id(&self) {
        assert_eq!(self.diff_id, self.controller.diff_id_of(&self.blob), "DiffID");
    }
}

struct Document(Vec<u8>);

impl TocSource for Document {
    fn json_len(&self) -> u64 {
        self.0.len() as u64
    }

    fn write_json(&self, sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        sink(&self.0)
    }
}

/// The entries of a tar with their contents.
pub(super) fn entries(tar: &[u8]) -> Vec<(Header, Vec<u8>)> {
    let mut reader = tar::Reader::new(tar, dunnage_tree::Limits::default());
    let mut found = Vec::new();
    let mut header = Header::default();
    while reader.next_header(&mut header).unwrap() {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        found.push((header.clone(), content));
    }
    found
}

/// Whether it is one of the files that a layer has besides those of its input.
pub(super) fn is_added(name: &[u8]) -> bool {
    [PREFETCH_LANDMARK, NO_PREFETCH_LANDMARK, TOC_TAR_NAME].iter().any(|added| name == added.as_bytes())
}

/// A path from the root.
pub(super) fn clean(name: &str) -> String {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
