//! That the TOC and the tar of a layer say the same: the whole blob is read, and each entry of one compared with the entry
//! of the other in the same place.
//!
//! A runtime that knows nothing of the TOC unpacks the tar; a lazy one shows what the TOC says. Digests cover both, each
//! by itself, and all of them come from the author of the layer: only comparing shows that the two are one.
//! Specification: eStargz, section 13.

mod compare;
mod entries;
mod streams;

use std::{fmt, io::Read};

use dunnage_digest::{Algorithm, DiffId, Digest, Hasher, Progress, ReadAt};
use dunnage_tree::tar::{self, EntryType, Header};

use self::{
    compare::{Owners, fields},
    entries::{Entries, with_entries},
    streams::{Payload, behind_payload},
};
use crate::{
    Error, Reader,
    error::shown,
    footer::Format,
    toc::{TOC_TAR_NAME, TocEntry, TocType, clean_name},
    write::Shape,
};

/// Differences that are listed; those beyond are counted.
const LISTED: usize = 10;

/// What [`Reader::audit`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// Entries of the tar.
    pub entries: u64,
    /// Bytes of the tar stream in front of the TOC.
    pub tar_len: u64,
    /// Digest of the tar stream in front of the TOC.
    pub tar: Digest,
    /// Bytes after the tar's end marker that are not zero. No reader is to look at them; a lossless layer may keep them.
    pub stray: u64,
    /// Digest of everything that the blob decompresses to: what an unaware runtime takes for the layer.
    pub diff_id: DiffId,
    /// Bytes of that.
    pub uncompressed_len: u64,
    /// Where the TOC and the tar disagree: the first ten places, in the order of the tar.
    pub differences: Vec<Disagreement>,
    /// How many there are.
    pub total: u64,
}

impl Audit {
    /// The audit itself if nothing differs.
    ///
    /// # Errors
    ///
    /// [`Error::Disagree`] with the differences otherwise.
    pub fn agreed(self) -> Result<Self, Error> {
        match self.total {
            0 => Ok(self),
            total => Err(Error::Disagree { differences: self.differences, total }),
        }
    }
}

/// One thing that the TOC and the tar say differently.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disagreement {
    /// Which entry, by its number in the tar, counted from 0.
    pub entry: u64,
    /// Its name, in the tar or, if it is not there, in the TOC.
    pub name: String,
    /// What about it: a field, or its place, or that it is there at all.
    pub what: &'static str,
    /// What the TOC says.
    pub toc: String,
    /// What the tar says.
    pub tar: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, what, .. } = self;
        let [name, toc, tar] = [&self.name, &self.toc, &self.tar].map(|text| shown(text));
        write!(f, "entry {entry} (`{name}`): {what}: the TOC says {toc}, the tar {tar}")
    }
}

impl<R: ReadAt + Sync> Reader<R> {
    /// Reads the whole blob and compares the TOC with the tar, entry by entry in their order: names, types, sizes, modes,
    /// owners, times (to the second; in the form of containers/storage exactly, and all three), link targets, devices,
    /// attributes; that each chunk lies where the TOC says, at the start of a stream or as far inside as it says; that it
    /// has its digest, and each file has; and that neither has an entry more than the other.
    ///
    /// `progress` reports how many bytes of the tar were compared.
    ///
    /// # Errors
    ///
    /// [`Error::Tar`] for a tar that is none, [`Error::Read`] and damage to the streams, [`Error::Cancelled`]. Differences
    /// are no error of this function: see [`Audit::agreed`].
    pub fn audit(&self, progress: Progress<'_>) -> Result<Audit, Error> {
        with_entries(self, |toc| self.compare(toc, progress))
    }

    fn compare(&self, toc: &mut Entries, progress: Progress<'_>) -> Result<Audit, Error> {
        let payload = Payload::new(self);
        let marks = payload.marks();
        let mut tar = tar::Reader::new(payload, self.limits().tar.clone());
        let mut found = Findings::default();
        let mut owners = Owners::default();
        let mut header = Header::default();
        let mut apart = false;
        let mut entry = 0_u64;
        // Entries mean what they mean in their order; the TOC knows only how it ends.
        let mut shape = Shape::default();
        let mut block = vec![0; 256 << 10];
        while tar.next_header(&mut header)? {
            progress.check()?;
            progress.at(tar.payload_offset().get());
            if header.entry == EntryType::GlobalExtension {
                continue;
            }
            // The entry with a wrong name belongs to something else, and so does everything after it.
            if apart {
                entry = entry.saturating_add(1);
                continue;
            }
            let Some((described, chunks)) = toc.next()? else {
                found.add(entry, name_of(&header), "presence", "nothing".to_owned(), "it is there".to_owned());
                entry = entry.saturating_add(1);
                continue;
            };
            found.meaning(entry, shape.add(&header).map(drop))?;
            let mut report = |what, toc, tar| found.add(entry, name_of(&header), what, toc, tar);
            if self.footer().format != Format::StorageChunked && is_toc(&header) {
                let tar = "it would be taken for the TOC".to_owned();
                report("name", format!("`{}`", described.name), tar);
            }
            apart = !fields(&described, &header, &mut owners, self.footer().format, &mut report);
            if !apart && header.entry == EntryType::File && header.size > 0 {
                let at = tar.payload_offset().get();
                content(&mut tar, &described, &chunks, &mut block, progress, &mut report)?;
                // Streams are known once they were reached.
                places(&described, &chunks, at, &marks, &mut report);
            }
            entry = entry.saturating_add(1);
        }
        if !apart {
            found.meaning(entry, shape.check())?;
        }
        let mut stray = 0_u64;
        loop {
            match tar.read_trailing(&mut block)? {
                0 => break,
                len => {
                    let bytes = block.get(..len).unwrap_or_default();
                    stray = stray.saturating_add(bytes.iter().filter(|&&byte| byte != 0).count() as u64);
                }
            }
        }
        while !apart && let Some((described, _)) = toc.next()? {
            found.add(entry, described.name, "presence", "it is there".to_owned(), "nothing".to_owned());
            entry = entry.saturating_add(1);
        }
        drop(tar);
        let (tar, tar_len, mut whole) = marks.finish();
        let behind = behind_payload(self, &mut whole)?;
        // A reader that does not know the frames after the payload skips them.
        if matches!(self.footer().format, Format::ZstdChunked | Format::StorageChunked) && behind > 0 {
            found.add(entry, String::new(), "end", "nothing".to_owned(), format!("{behind} bytes behind the payload"));
        }
        let Findings { differences, total } = found;
        let diff_id = DiffId::new(whole.finish());
        let uncompressed_len = tar_len.saturating_add(behind);
        Ok(Audit { entries: entry, tar_len, tar, stray, diff_id, uncompressed_len, differences, total })
    }
}

#[derive(Debug, Default)]
struct Findings {
    differences: Vec<Disagreement>,
    total: u64,
}

impl Findings {
    /// Adds an entry that shows something else to a reader that unpacks the tar than to one that knows the TOC alone.
    fn meaning(&mut self, entry: u64, result: Result<(), Error>) -> Result<(), Error> {
        let Err(Error::Unsupported { name, reason }) = result else { return result };
        self.add(entry, name, "meaning", "the last entry of the name".to_owned(), reason);
        Ok(())
    }

    fn add(&mut self, entry: u64, name: String, what: &'static str, toc: String, tar: String) {
        self.total = self.total.saturating_add(1);
        if self.differences.len() < LISTED {
            self.differences.push(Disagreement { entry, name, what, toc, tar });
        }
    }
}

/// Tells about a difference: what differs, what the TOC says, what the tar says.
type Report<'r> = dyn FnMut(&'static str, String, String) + 'r;

fn name_of(header: &Header) -> String {
    String::from_utf8_lossy(&header.name).into_owned()
}

fn is_toc(header: &Header) -> bool {
    clean_name(&header.name) == TOC_TAR_NAME.as_bytes()
}

/// The chunks of a file: its own entry, and those of type `chunk` after it, each with the end of its content.
fn pieces<'e>(described: &'e TocEntry, chunks: &'e [TocEntry]) -> impl Iterator<Item = (&'e TocEntry, u64)> {
    let size = described.size;
    [described].into_iter().chain(chunks).map(move |chunk| {
        let end = match chunk.chunk_size {
            0 => size,
            len => chunk.chunk_offset.saturating_add(len).min(size),
        };
        (chunk, end)
    })
}

/// Whether each chunk is where the TOC says.
fn places(described: &TocEntry, chunks: &[TocEntry], at: u64, marks: &streams::Marks, report: &mut Report<'_>) {
    for (chunk, _) in pieces(described, chunks) {
        let wanted = at.saturating_add(chunk.chunk_offset);
        let said = format!("offset {:#x}, {} bytes into its stream", chunk.offset, chunk.inner_offset);
        match marks.at(chunk.offset) {
            None => report("place", said, "does not reach a stream there".to_owned()),
            Some(start) if start.saturating_add(chunk.inner_offset) != wanted => {
                let inner = i128::from(wanted).saturating_sub(i128::from(start));
                report("place", said, format!("{inner} bytes into that stream"));
            }
            Some(_) => {}
        }
    }
}

/// Whether the content has the digests of the TOC.
fn content<S: Read>(
    tar: &mut tar::Reader<S>,
    described: &TocEntry,
    chunks: &[TocEntry],
    block: &mut [u8],
    progress: Progress<'_>,
    report: &mut Report<'_>,
) -> Result<(), Error> {
    let hasher = |digest: Option<Digest>| Hasher::new(digest.map_or(Algorithm::Sha256, |digest| digest.algorithm()));
    let mut file = hasher(described.digest);
    let mut differs = |what, said: Option<Digest>, got: Digest| match said {
        Some(said) if said != got => report(what, said.to_string(), got.to_string()),
        _ => {}
    };
    let mut at = 0_u64;
    for (chunk, end) in pieces(described, chunks) {
        let mut piece = hasher(chunk.chunk_digest);
        while at < end {
            let room = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(block.len());
            let len = tar.read_payload(block.get_mut(..room).unwrap_or_default())?;
            if len == 0 {
                break;
            }
            progress.check()?;
            let bytes = block.get(..len).unwrap_or_default();
            piece.update(bytes);
            file.update(bytes);
            at = at.saturating_add(len as u64);
        }
        differs("digest of a chunk", chunk.chunk_digest, piece.finish());
    }
    differs("digest of the file", described.digest, file.finish());
    Ok(())
}

/// Whether an entry of the TOC stands for an entry of the tar.
fn is_node(entry: &TocEntry) -> bool {
    entry.kind != TocType::Chunk
}
