//! Building a layer out of a whole tar: files used at start-up moved to the front, repeated names resolved, a landmark
//! that says how much to prefetch (but in the form of containers/storage, which has none).
//!
//! Specification: eStargz, section "Build".

mod input;
mod order;

use std::io::{Cursor, Read, Write};

use dunnage_digest::{Cursor as SourceCursor, Offset, Progress, ReadAt, Section};
use dunnage_tree::{
    Spool, TarExport,
    tar::{self, EntryType, Format, Header},
};

pub use self::input::{Input, Once, Pass, Restart};
use self::order::{Plan, Writing};
use crate::{
    Error, Summary, WriteOptions, Writer,
    codec::Form,
    input::{Packing, Watched, decompressed},
    toc::{TOC_TAR_NAME, clean_name},
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
    /// Paths of the sockets of an [`Input::Tree`], which a tar cannot hold.
    pub left_out: Vec<Vec<u8>>,
}

impl Build {
    /// Builds a layer out of `input` into `sink`.
    ///
    /// Of entries with the same name, only the last is kept. A hard link that was made before its target was replaced keeps
    /// the content that it had then: the first such link becomes the file, further ones link to it. An old TOC and old
    /// landmarks are left out. The bytes depend on the entries and the options alone: a tar gives the same layer from a
    /// pipe, from a file and compressed, and a tree gives the layer of its exported tar. Memory does not grow with the
    /// files' sizes; an input that has to be read twice and cannot be read in place is kept in a temporary file.
    ///
    /// `progress` reports the bytes read from the input as it is stored, and starts again at 0 where the build begins again. Of
    /// [`Input::Twice`] it reports nothing, since the caller reads that itself.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for a prioritized file that is missing, [`Error::Inconsistent`] for a circle of hard links
    /// among them; [`Error::Duplicate`] for a repeated name in an [`Input::Stream`]; [`Error::Cancelled`]; otherwise as
    /// [`Writer::append_tar`].
    pub fn run<W: Restart>(&self, input: Input<'_>, mut sink: W, progress: Progress<'_>) -> Result<(W, Built), Error> {
        let built = self.compose(input, &mut sink, progress);
        // A cancelled read comes back as a failure of the input.
        let built = if built.is_err() { progress.check().map_err(Error::from).and(built) } else { built };
        Ok((sink, built?))
    }

    /// Builds from a tar in a file: [`run`](Self::run) with [`Input::File`].
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn from_source<R: ReadAt, W: Write>(&self, source: R, sink: W) -> Result<(W, Built), Error> {
        let (Once(sink), built) = self.run(Input::File(&source), Once(sink), Progress::none())?;
        Ok((sink, built))
    }

    /// Builds from a tar that can be read once: [`run`](Self::run) with [`Input::Stream`].
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn from_stream<R: Read, W: Write>(&self, mut input: R, sink: W) -> Result<(W, Built), Error> {
        let (Once(sink), built) = self.run(Input::Stream(&mut input), Once(sink), Progress::none())?;
        Ok((sink, built))
    }

    fn compose(&self, input: Input<'_>, sink: &mut dyn Restart, progress: Progress<'_>) -> Result<Built, Error> {
        match input {
            Input::Stream(tar) => {
                let mut tar = Watched { inner: tar, read: 0, progress };
                if self.prioritized.is_empty() {
                    return self.once(&mut tar, sink);
                }
                self.plain(&self.keep(&mut tar)?, sink, Progress::none())
            }
            Input::Twice(read) => self.twice(read, sink),
            Input::File(file) => {
                let failed = |source| Error::Input { source };
                let cursor = || SourceCursor::new(file).map_err(failed);
                let (packing, _) = Packing::peek(cursor()?).map_err(failed)?;
                if packing == Packing::Plain {
                    return self.plain(file, sink, progress);
                }
                self.twice(&mut |pass| pass(&mut Watched { inner: cursor()?, read: 0, progress }), sink)
            }
            Input::Tree(tree, options) if self.prioritized.is_empty() => {
                let mut writer = Writer::new(sink, &self.write)?;
                self.append_landmark(&mut writer, NO_PREFETCH_LANDMARK)?;
                let left_out = writer.append_files(tree, options, &|header| !is_ours(header), progress)?;
                let (_, summary) = writer.finish()?;
                Ok(Built { summary, missed: Vec::new(), left_out })
            }
            Input::Tree(tree, options) => {
                let mut export = TarExport::new(tree, options.clone());
                let kept = self.keep(&mut Watched { inner: &mut export, read: 0, progress })?;
                let built = self.plain(&kept, sink, Progress::none())?;
                Ok(Built { left_out: export.skipped().to_vec(), ..built })
            }
        }
    }

    /// Builds while the tar is read from front to back, and if a name is repeated, again from a copy of the tar. What a sink
    /// cannot take back must not be wrong, so for such a sink the copy comes first.
    fn twice(
        &self,
        read: &mut dyn FnMut(Pass<'_>) -> Result<(), Error>,
        sink: &mut dyn Restart,
    ) -> Result<Built, Error> {
        if self.prioritized.is_empty() && sink.can_restart() {
            let mut built = None;
            read(&mut |tar| match self.once(tar, &mut *sink) {
                Err(Error::Duplicate { .. }) => Ok(()),
                done => {
                    built = Some(done?);
                    Ok(())
                }
            })?;
            if let Some(built) = built {
                return Ok(built);
            }
            sink.restart().map_err(|source| Error::Write { source })?;
        }
        let mut kept = None;
        read(&mut |tar| {
            kept = Some(self.keep(tar)?);
            Ok(())
        })?;
        let kept =
            kept.ok_or_else(|| Error::Misuse("the function of the input did not call its argument".to_owned()))?;
        self.plain(&kept, sink, Progress::none())
    }

    /// The tar without its compression, in a temporary file.
    fn keep(&self, tar: &mut dyn Read) -> Result<Spool, Error> {
        let failed = |source| Error::Input { source };
        let mut plain = decompressed(tar, self.write.gunzip.as_ref()).map_err(failed)?;
        let progress = Progress::none().cancelled_by(&self.write.cancel);
        Spool::keep(&mut plain, self.write.limits.tar.unpacked, progress).map_err(|error| match error {
            dunnage_tree::Error::Read { source, .. } => failed(source),
            error => error.into(),
        })
    }

    /// Builds while the tar is read from front to back.
    fn once(&self, tar: &mut dyn Read, sink: &mut dyn Restart) -> Result<Built, Error> {
        let tar = decompressed(tar, self.write.gunzip.as_ref()).map_err(|source| Error::Input { source })?;
        let mut writer = Writer::new(sink, &self.write)?;
        writer.refuse_repeated();
        self.append_landmark(&mut writer, NO_PREFETCH_LANDMARK)?;
        let mut entries = tar::Reader::new(tar, self.write.limits.tar.clone());
        let mut header = Header::default();
        while entries.next_header(&mut header)? {
            if !is_ours(&header) {
                writer.append_entry(&header, &mut entries)?;
            }
        }
        drain(&mut entries)?;
        let (_, summary) = writer.finish()?;
        Ok(Built { summary, missed: Vec::new(), left_out: Vec::new() })
    }

    /// Builds from a plain tar in a file: all headers first, then the entries.
    fn plain(&self, source: &dyn ReadAt, sink: &mut dyn Restart, progress: Progress<'_>) -> Result<Built, Error> {
        let limits = &self.write.limits.tar;
        let size = source.size().map_err(|source| Error::Input { source })?;
        let mut plan = Plan::scan(source, limits, &self.write.cancel)?;
        let (picked, missed) = plan.pick_all(&self.prioritized, self.missing)?;
        let mut writer = Writer::new(sink, &self.write)?;
        let mut header = Header::default();
        if self.prioritized.is_empty() {
            self.append_landmark(&mut writer, NO_PREFETCH_LANDMARK)?;
        } else {
            for writing in picked {
                self.append(&mut writer, source, size, &writing)?;
            }
            self.append_landmark(&mut writer, PREFETCH_LANDMARK)?;
        }
        let mut entries = tar::Reader::over(source, limits.clone())?;
        let mut number = 0;
        while entries.next_header(&mut header)? {
            progress.check()?;
            match plan.change(number).filter(|_| plan.is_left(number)) {
                Some(writing) => self.append(&mut writer, source, size, &writing)?,
                None if plan.is_left(number) => writer.append_entry(&header, &mut entries)?,
                None => {}
            }
            progress.at(entries.position().get());
            number = number.saturating_add(1);
        }
        progress.at(entries.position().get());
        let (_, summary) = writer.finish()?;
        Ok(Built { summary, missed, left_out: Vec::new() })
    }

    /// Adds one entry of a plain tar of `size` bytes.
    fn append<W: Write>(
        &self,
        writer: &mut Writer<W>,
        source: &dyn ReadAt,
        size: u64,
        writing: &Writing<'_>,
    ) -> Result<(), Error> {
        let rest = Section::new(source, Offset::new(writing.start), size.saturating_sub(writing.start));
        let mut entries = tar::Reader::over(rest, self.write.limits.tar.clone())?;
        let mut header = Header::default();
        if entries.next_header(&mut header)? {
            writing.apply(&mut header);
            writer.append_entry(&header, &mut entries)?;
        }
        Ok(())
    }

    /// Adds a landmark, but in the form of containers/storage, whose readers look for none.
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
