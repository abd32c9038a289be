//! Converts one layer: keeps it if it has the target's format already, and otherwise reads it once and writes a new one.

use std::{
    collections::BTreeMap,
    io::{BufWriter, Read, Write},
};

use dunnage_digest::{Algorithm, DiffId, Digest, Hasher, HashingWriter, Mismatch, Progress, read_some};
use dunnage_estargz::{
    Build, Built, Error as LayerError, Input, OpenOptions, Reader, Summary, Writer,
    audit::Audit,
    compose::{Missing, Pass},
    footer::Format as TocFormat,
    input::Packing,
    read::restore_tar,
};

use super::{
    Mode, Outcome, TarBytes, Target,
    work::{Work, copy_blob},
};
use crate::{
    Blob, Descriptor, Error, NewBlob,
    claims::Claims,
    destination::put,
    format::{Format, Outside, open_toc, packing},
    input::LayerInput,
    media::{LayerType, Suffix},
    progress::Share,
};

/// A layer to convert, for all manifests that refer to it.
#[derive(Debug)]
pub(super) struct LayerJob {
    /// Its name in messages, after the first manifest that refers to it.
    pub(super) name: String,
    pub(super) descriptor: Descriptor,
    pub(super) kind: LayerType,
    /// The digest of its unpacked content.
    pub(super) diff_id: DiffId,
    /// Files to put in front.
    pub(super) prioritized: Vec<String>,
    /// Its table of contents, if the source has it as a blob of its own.
    pub(super) toc: Option<Descriptor>,
}

/// A layer after its conversion.
#[derive(Clone, Debug)]
pub(super) struct LayerDone {
    pub(super) outcome: Outcome,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) suffix: Suffix,
    pub(super) diff_id: DiffId,
    pub(super) toc_digest: Option<Digest>,
    /// Annotations to set on its descriptors.
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) missed: Vec<String>,
    /// Digest and size of the table of contents, if it is a blob of its own.
    pub(super) toc_blob: Option<(Digest, u64)>,
}

impl LayerJob {
    pub(super) fn run(&self, work: &Work<'_>, share: &Share<'_>) -> Result<LayerDone, Error> {
        // A layer that may not be distributed is often in another place.
        if !self.kind.distributable && self.descriptor.has_urls() && !work.source.has_blob(&self.descriptor)? {
            return Ok(self.unchanged(Outcome::Absent, self.kind.suffix, None));
        }
        if work.mode == Mode::Copy {
            copy_blob(work, &self.descriptor, share)?;
            return Ok(self.unchanged(Outcome::Kept, self.kind.suffix, None));
        }
        let blob = work.source.blob(&self.descriptor)?;
        let mut input = LayerInput {
            descriptor: &self.descriptor,
            name: &self.name,
            blob: &blob,
            payload_len: None,
            unpacked_limit: work.write.limits.tar.unpacked,
            share,
        };
        let toc = self.open_toc(work, &input)?;
        if let Some(kept) = self.keep(work, share, &blob, toc.as_ref())? {
            return Ok(kept);
        }
        input.payload_len = toc.map(|(_, reader)| reader.footer().payload_len);
        match work.options.target {
            Target::Tar => self.to_tar(work, &input),
            Target::Toc => self.to_layer(work, &input),
        }
    }

    fn failed(&self, source: LayerError) -> Error {
        Error::Layer { layer: self.name.clone(), source }
    }

    /// Opens the table of contents, if there is one. If the manifest names it, it has to be the named one and to agree with
    /// the tar: otherwise the conversion would make files that some readers of the layer never saw. A table that the manifest
    /// does not name is ignored, and the layer is read as a tar.
    fn open_toc<'f>(
        &self,
        work: &Work<'_>,
        input: &LayerInput<'f>,
    ) -> Result<Option<(Format, Reader<&'f Blob>)>, Error> {
        let options = OpenOptions { limits: work.write.limits.clone(), ..OpenOptions::default() };
        let outside = Outside { images: work.source, toc: self.toc.as_ref() };
        let claims = Claims { layer: &self.name, descriptor: &self.descriptor };
        let (format, reader) = match open_toc(input.blob, &options, outside) {
            Ok(opened) => opened,
            Err(error @ LayerError::Read { .. }) => return Err(input.explain(error)),
            Err(error) if claims.any() => return Err(input.explain(error)),
            Err(_) => return Ok(None),
        };
        let Some(reader) = reader else { return Ok(None) };
        if claims.check(format, Some(reader.toc_digest())).map_err(|error| input.explain_other(error))? {
            let audit = reader.audit(work.watch.without_reports()).and_then(Audit::agreed);
            let audit = audit.map_err(|error| input.explain(error))?;
            if self.diff_id.digest().algorithm() == audit.diff_id.digest().algorithm() {
                let mismatch = Mismatch::check(self.diff_id.digest(), audit.diff_id.digest());
                let failed = |source| Error::DiffId { layer: self.name.clone(), source };
                mismatch.map_err(|mismatch| input.explain_other(failed(mismatch)))?;
            }
        }
        Ok(Some((format, reader)))
    }

    /// Keeps the layer as it is, if it has the format of the target.
    fn keep(
        &self,
        work: &Work<'_>,
        share: &Share<'_>,
        blob: &Blob,
        toc: Option<&(Format, Reader<&Blob>)>,
    ) -> Result<Option<LayerDone>, Error> {
        if !self.prioritized.is_empty() {
            return Ok(None);
        }
        if work.options.target == Target::Tar {
            let (_, packing) = packing(blob).map_err(|error| self.failed(error))?;
            if packing != Packing::Plain {
                return Ok(None);
            }
            copy_blob(work, &self.descriptor, share)?;
            let digest = self.descriptor.digest();
            if digest.algorithm() == self.diff_id.digest().algorithm() {
                let mismatch = Mismatch::check(self.diff_id.digest(), &digest);
                mismatch.map_err(|source| Error::DiffId { layer: self.name.clone(), source })?;
            }
            return Ok(Some(self.unchanged(Outcome::Kept, Suffix::Plain, None)));
        }
        let Some((format, reader)) = toc else { return Ok(None) };
        let wanted = work.write.compressor.format();
        let claims = Claims { layer: &self.name, descriptor: &self.descriptor };
        let is_it = *format == Format::Toc(wanted)
            && claims.is_complete(wanted)
            && matches!(claims.check(*format, Some(reader.toc_digest())), Ok(true));
        if !is_it {
            return Ok(None);
        }
        copy_blob(work, &self.descriptor, share)?;
        let mut kept = self.unchanged(Outcome::Kept, suffix_of(wanted), Some(*reader.toc_digest()));
        if let Some(toc) = self.toc.as_ref().filter(|_| wanted == TocFormat::ExternalToc) {
            copy_blob(work, toc, share)?;
            kept.toc_blob = Some((toc.digest(), toc.size()));
        }
        Ok(Some(kept))
    }

    fn unchanged(&self, outcome: Outcome, suffix: Suffix, toc_digest: Option<Digest>) -> LayerDone {
        LayerDone {
            outcome,
            digest: self.descriptor.digest(),
            size: self.descriptor.size(),
            suffix,
            diff_id: self.diff_id,
            toc_digest,
            annotations: BTreeMap::new(),
            missed: Vec::new(),
            toc_blob: None,
        }
    }

    /// Unpacks a layer. A layer without a table of contents is unpacked as it is; from one with a table, the table is left
    /// out, unless the tar is kept bit for bit.
    fn to_tar(&self, work: &Work<'_>, input: &LayerInput<'_>) -> Result<LayerDone, Error> {
        let is_stripped = input.payload_len.is_some() && work.options.tar == TarBytes::Rewrite;
        let blob = work.to.begin(Algorithm::Sha256)?;
        let (blob, digest, size) = input.read(&self.diff_id, |tar| {
            let failed = |source| LayerError::Write { source };
            let mut out = HashingWriter::new(BufWriter::with_capacity(1 << 20, blob), Hasher::sha256());
            if is_stripped {
                restore_tar(tar, &work.write.limits.tar, &mut out)?;
            } else {
                copy(tar, &mut out)?;
            }
            let (out, digest, size) = out.finish();
            let blob = out.into_inner().map_err(|error| failed(error.into_error()))?;
            Ok((blob, digest, size))
        })?;
        blob.commit(&digest, size)?;
        let diff_id = DiffId::new(digest);
        let suffix = Suffix::Plain;
        Ok(LayerDone { digest, size, suffix, diff_id, ..self.unchanged(Outcome::Converted, suffix, None) })
    }

    fn to_layer(&self, work: &Work<'_>, input: &LayerInput<'_>) -> Result<LayerDone, Error> {
        let mut blob = work.to.begin(Algorithm::Sha256)?;
        let (summary, missed) = match (work.write.compressor.format(), work.options.tar) {
            (TocFormat::StorageChunked, _) | (_, TarBytes::Lossless) => {
                (self.lossless(work, input, &mut *blob)?, Vec::new())
            }
            (_, TarBytes::Rewrite) => {
                let built = self.build(work, input, &mut *blob)?;
                (built.summary, built.missed)
            }
        };
        let suffix = suffix_of(work.write.compressor.format());
        let toc_blob = match &summary.external_toc {
            Some(toc) => Some((put(work.to, toc)?, toc.len() as u64)),
            None => None,
        };
        blob.commit(&summary.blob, summary.blob_len)?;
        let annotations = summary.annotations.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Ok(LayerDone {
            outcome: Outcome::Converted,
            digest: summary.blob,
            size: summary.blob_len,
            suffix,
            diff_id: summary.diff_id,
            toc_digest: Some(summary.toc_digest),
            annotations,
            missed,
            toc_blob,
        })
    }

    fn lossless(&self, work: &Work<'_>, input: &LayerInput<'_>, blob: &mut dyn NewBlob) -> Result<Summary, Error> {
        let (summary, unpacked) = input.read_counted(&self.diff_id, |tar| {
            let mut writer = Writer::new(blob, &work.write)?;
            writer.append_tar_lossless(tar)?;
            Ok(writer.finish()?.1)
        })?;
        // Only a table of contents inside of the tar, before or after, gives another diff ID.
        let is_bare = work.write.compressor.format() != TocFormat::Estargz;
        let is_whole = summary.input.as_ref().is_some_and(|proof| proof.len == unpacked);
        if is_bare && is_whole && summary.diff_id != self.diff_id {
            let (document, expected) = (self.name.clone(), format!("the diff ID to stay {}", self.diff_id));
            return Err(Error::Inconsistent { document, expected, got: summary.diff_id.to_string() });
        }
        Ok(summary)
    }

    /// Reads the blob from front to back, and again if a name is repeated or files have to come first.
    fn build(&self, work: &Work<'_>, input: &LayerInput<'_>, blob: &mut dyn NewBlob) -> Result<Built, Error> {
        let build =
            Build { write: work.write.clone(), prioritized: self.prioritized.clone(), missing: Missing::Report };
        let mut failed = None;
        let mut read = |pass: Pass<'_>| {
            input.read(&self.diff_id, |tar| pass(tar)).map_err(|error| {
                failed = Some(error);
                LayerError::Misuse("the layer cannot be read".to_owned())
            })
        };
        let built = build.run(Input::Twice(&mut read), blob, Progress::none());
        match (failed, built) {
            (Some(error), _) => Err(error),
            (None, built) => built.map(|(_, built)| built).map_err(|error| self.failed(error)),
        }
    }
}

fn copy(from: &mut dyn Read, to: &mut dyn Write) -> Result<(), LayerError> {
    let mut block = vec![0; 1 << 20];
    loop {
        let len = read_some(from, &mut block).map_err(|source| LayerError::Input { source })?;
        if len == 0 {
            return Ok(());
        }
        to.write_all(block.get(..len).unwrap_or_default()).map_err(|source| LayerError::Write { source })?;
    }
}

/// The compression that the media type of a layer of this format names.
const fn suffix_of(format: TocFormat) -> Suffix {
    match format {
        TocFormat::ZstdChunked | TocFormat::StorageChunked => Suffix::Zstd,
        _ => Suffix::Gzip,
    }
}
