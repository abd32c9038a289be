//! A blob, and its TOC where that is apart, as our library reads them.

use anyhow::Result;
use dunnage_conformance::{
    dump::{Line, dump},
    layer,
};
use dunnage_digest::{Digest, Progress};
use dunnage_estargz::{Limits, Reader, toc::Toc};

/// A blob in memory.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) bytes: Vec<u8>,
    /// The compressed TOC, if it is stored apart.
    pub(super) toc: Option<Vec<u8>>,
}

impl Blob {
    pub(super) fn open(&self) -> Result<Reader<&[u8]>> {
        Ok(layer::open_with(self.bytes.as_slice(), self.toc.clone())?)
    }

    /// Checks every chunk; how many there were, and their bytes.
    pub(super) fn verify(&self, toc_digest: &Digest, threads: usize) -> Result<[u64; 2]> {
        let reader = self.open()?;
        reader.verify_toc(toc_digest)?;
        let verified = reader.verify(threads, Progress::none())?;
        Ok([verified.chunks, verified.bytes])
    }

    /// Every name with its content.
    pub(super) fn dump(&self) -> Result<Vec<Line>> {
        let toc = Toc::parse(&self.toc_json(), &Limits::default())?;
        Ok(comparable(dump(&self.open()?, &toc, true)?))
    }

    /// The TOC's document. Not by the reader under test.
    pub(super) fn toc_json(&self) -> Vec<u8> {
        self.toc.as_deref().map_or_else(|| layer::toc_json(&self.bytes), layer::toc_member_json)
    }
}

/// The root aside, whose link count the reference takes from whether it has an entry (defect Q21).
pub(super) fn comparable(mut lines: Vec<Line>) -> Vec<Line> {
    for line in lines.iter_mut().filter(|line| line.path.is_empty()) {
        line.num_link = 0;
    }
    lines
}
