//! Building a layer out of a whole tar: files used at start-up moved to the front, repeated names resolved, a landmark
//! that says how much to prefetch (but in the form of containers/storage, which has none).
//!
//! Specification: eStargz, section "Build".

mod order;

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek, Write},
};

use dunnage_digest::{Cursor as SourceCursor, Offset, ReadAt, Section};
use dunnage_tree::tar::{self, EntryType, Format, Header};

use self::order::Plan;
use crate::{
    Error, Form, Summary, TOC_TAR_NAME, WriteOptions, Writer,
    input::{Packing, decompressed},
    toc::clean_name,
    write::NameSet,
};

/// Ends the prefetch area: everything in front of it is worth fetching before the container starts.
pub const PREFETCH_LANDMARK: &str = ".prefetch.landmark";

/// Says that nothing is worth prefetching.
pub const NO_PREFETCH_LANDMARK: &str = ".no.prefetch.landmark";

/// Content of both landmarks.
pub const LANDMARK_CONTENT: u8 = 0x0f;

/// What to do about prioritized files that the input does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// Fail, and name the file.
    #[default]
    Refuse,
    /// Go on, and list them in [`Built::missed`].
    Report,
}

/// How to build a layer.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct Build {
    /// How to write it.
    pub write: WriteOptions,
    /// Files to put in front, in this order, each after its directories. `foo`, `/foo`, `./foo` and `../foo` are the same.
    pub prioritized: Vec<String>,
    /// What to do about those that are not there. Default: refuse.
    pub missing: Missing,
}

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Built {
    /// Digests and sizes of the layer.
    pub summary: Summary,
    /// Prioritized files that the input does not have, spelled as they were asked for.
    pub missed: Vec<String>,
}

impl Build {
    /// Builds from an input that can be read twice: a tar, plain or compressed with gzip or zstd.
    ///
    /// A compressed input is first unpacked into a temporary file without a name. Of entries with the same name, only the
    /// last is kept. An old TOC and old landmarks are left out.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for a prioritized file that is missing, [`Error::Inconsistent`] for a circle of hard links
    /// among them; otherwise as [`Writer::append_tar`].
    pub fn from_source<R: ReadAt, W: Write>(&self, source: R, sink: W) -> Result<(W, Built), Error> {
        let failed = |source: io::Error| Error::Input { source };
        let (packing, whole) = Packing::peek(SourceCursor::new(&source).map_err(failed)?).map_err(failed)?;
        if packing == Packing::Plain {
            return self.plain(source, sink);
        }
        let mut spool = tempfile::tempfile().map_err(failed)?;
        let mut plain = decompressed(whole, self.write.gunzip.as_ref()).map_err(failed)?;
        copy(&mut plain, &mut spool, self)?;
        self.plain(spool, sink)
    }

    /// Builds from an input that can be read once, in memory that does not grow with the files' sizes.
    ///
    /// The bytes are those of [`from_source`](Self::from_source).
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] if there are prioritized files, which need an input that can be read twice;
    /// [`Error::Duplicate`] for a name that comes up again, since its first entry is written by then; otherwise as
    /// [`Writer::append_tar`].
    pub fn from_stream<R: Read, W: Write>(&self, input: R, sink: W) -> Result<(W, Built), Error> {
        if !self.prioritized.is_empty() {
            let what = "prioritized files need an input that can be read twice: a file instead of a pipe";
            return Err(Error::Misuse(what.to_owned()));
        }
        let input = decompressed(input, self.write.gunzip.as_ref()).map_err(|source| Error::Input { source })?;
        let mut writer = Writer::new(sink, &self.write)?;
        self.append_landmark(&mut writer, NO_PREFETCH_LANDMARK)?;
        let mut entries = tar::Reader::new(input, self.write.limits.tar.clone());
        let mut header = Header::default();
        let mut names = NameSet::default();
        while entries.next_header(&mut header)? {
            if is_ours(&header) || header.entry == EntryType::GlobalExtension {
                continue;
            }
            if names.insert(&clean_name(&header.name)).is_some() {
                return Err(Error::Duplicate { name: header.name.escape_ascii().to_string() });
            }
            writer.append_entry(&header, &mut entries)?;
        }
        drain(&mut entries)?;
        let (sink, summary) = writer.finish()?;
        Ok((sink, Built { summary, missed: Vec::new() }))
    }

    fn plain<R: ReadAt, W: Write>(&self, source: R, sink: W) -> Result<(W, Built), Error> {
        let limits = &self.write.limits.tar;
        let mut plan = Plan::scan(&source, limits, &self.write.cancel)?;
        let (picked, missed) = plan.pick_all(&self.prioritized, self.missing)?;
        let mut writer = Writer::new(sink, &self.write)?;
        let mut header = Header::default();
        if self.prioritized.is_empty() {
            self.append_landmark(&mut writer, NO_PREFETCH_LANDMARK)?;
        } else {
            let size = source.size().map_err(|source| Error::Input { source })?;
            for start in picked {
                let rest = Section::new(&source, Offset::new(start), size.saturating_sub(start));
                let mut entries = tar::Reader::over(rest, limits.clone())?;
                if entries.next_header(&mut header)? {
                    writer.append_entry(&header, &mut entries)?;
                }
            }
            self.append_landmark(&mut writer, PREFETCH_LANDMARK)?;
        }
        let mut entries = tar::Reader::over(&source, limits.clone())?;
        let mut number = 0;
        while entries.next_header(&mut header)? {
            if plan.is_left(number) {
                writer.append_entry(&header, &mut entries)?;
            }
            number = number.saturating_add(1);
        }
        let (sink, summary) = writer.finish()?;
        Ok((sink, Built { summary, missed }))
    }

    /// Adds a landmark, which nobody looks for in the form of containers/storage.
    fn append_landmark<W: Write>(&self, writer: &mut Writer<W>, name: &str) -> Result<(), Error> {
        if self.write.compressor.form() != Form::Estargz {
            return Ok(());
        }
        let header =
            Header { name: name.into(), entry: EntryType::File, size: 1, format: Format::Unknown, ..Header::default() };
        writer.start_fresh();
        writer.append_entry(&header, &mut Cursor::new([LANDMARK_CONTENT]))
    }
}

/// Whether an entry is one that a build makes itself, left over from an earlier one. Only those in the root are ours.
fn is_ours(header: &Header) -> bool {
    let name = clean_name(&header.name);
    [PREFETCH_LANDMARK, NO_PREFETCH_LANDMARK, TOC_TAR_NAME].iter().any(|ours| name == ours.as_bytes())
}

/// Reads the input to its end, so that a damaged end of its compression is noticed.
fn drain<R: Read>(entries: &mut tar::Reader<R>) -> Result<(), Error> {
    let mut block = vec![0; 64 << 10];
    while entries.read_trailing(&mut block)? > 0 {}
    Ok(())
}

fn copy(from: &mut dyn Read, to: &mut File, build: &Build) -> Result<(), Error> {
    let failed = |source: io::Error| Error::Input { source };
    let mut block = vec![0; 1 << 20];
    loop {
        build.write.cancel.check()?;
        match from.read(&mut block) {
            Ok(0) => break,
            Ok(len) => to.write_all(block.get(..len).unwrap_or_default()).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    to.rewind().map_err(failed)
}
