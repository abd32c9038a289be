//! Layers in the form of eStargz.
//!
//! A stream starts at the first byte of each chunk of each file that has content, or, if small files share streams, at the
//! first such byte after the stream has grown large enough. The bytes after the content (padding, headers up to and including
//! that of the next such file) belong to the same stream. Headers beyond 4 MiB without content between them start a stream of
//! their own, so memory stays bounded.

use std::{borrow::Cow, io::Read, mem};

use dunnage_digest::Hasher;
use dunnage_tree::tar::{self, EntryType, Header};

use super::{
    batch::Part,
    cutter::{Cutter, kind_of},
    hashing::Hashing,
    line::{AnyLine, Done, Log, Pending},
    names::{NamesGiven, text_of, xattrs_of},
    options::{NonUtf8, Streams, WriteOptions},
    toc_log::{Place, TocLog},
};
use crate::{
    Error,
    codec::{GrowingStream, TarSplit},
    toc::{RawEntry, TocType, format_modtime},
};

/// A shared stream takes no further content from this size on, however well it compresses.
const MAX_STREAM: u64 = 64 << 20;

/// Cuts content into chunks of one size.
pub(super) struct EstargzCutter {
    chunk: usize,
    streams: Streams,
    /// Measures the open stream, and how much of the batch it has seen.
    gauge: Option<(Box<dyn GrowingStream>, usize)>,
    /// The next content starts a stream, whatever the size of the open one.
    fresh: bool,
    non_utf8: NonUtf8,
    longest_name: u64,
    users: NamesGiven,
    groups: NamesGiven,
}

impl EstargzCutter {
    pub(super) fn new(chunk: usize, options: &WriteOptions) -> Result<Self, Error> {
        Ok(Self {
            chunk,
            streams: options.streams,
            gauge: options.streams.gauge(options.compressor.as_ref())?.map(|gauge| (gauge, 0)),
            fresh: false,
            non_utf8: options.non_utf8,
            longest_name: options.limits.name,
            users: NamesGiven::default(),
            groups: NamesGiven::default(),
        })
    }

    /// Makes sure that bytes which are no content have a stream to go to.
    fn make_room(&mut self, line: &mut AnyLine<'_>) -> Result<(), Error> {
        if line.needs_stream() { self.start_stream(line) } else { Ok(()) }
    }

    fn start_stream(&mut self, line: &mut AnyLine<'_>) -> Result<(), Error> {
        let start = line.start_stream()?;
        if let Some((gauge, seen)) = &mut self.gauge {
            gauge.start()?;
            *seen = start;
        }
        Ok(())
    }

    /// Makes sure that content can begin: in the open stream, or in a new one. Where it starts in the batch.
    fn start_content(&mut self, line: &mut AnyLine<'_>) -> Result<usize, Error> {
        let fresh = mem::take(&mut self.fresh);
        if fresh || line.batch.streams.is_empty() || self.is_full(line)? {
            self.start_stream(line)?;
        }
        Ok(line.batch.data.len())
    }

    /// Whether the open stream takes no further content.
    fn is_full(&mut self, line: &AnyLine<'_>) -> Result<bool, Error> {
        let open = line.batch.open() as u64;
        Ok(match (self.streams, &mut self.gauge) {
            (Streams::PerChunk, _) => true,
            (Streams::AtLeast(least), _) => open >= least,
            (Streams::CompressedAtLeast(_), _) if open >= MAX_STREAM => true,
            (Streams::CompressedAtLeast(least), Some((gauge, seen))) => {
                let new = line.batch.data.get(*seen..).unwrap_or_default();
                *seen = line.batch.data.len();
                gauge.add(new)? >= least
            }
            (Streams::CompressedAtLeast(_), None) => true,
        })
    }

    fn describe(&mut self, header: &Header) -> Result<RawEntry<'static>, Error> {
        let (non_utf8, name, limit) = (self.non_utf8, &header.name, self.longest_name);
        // Readers refuse a TOC with longer names, so none is written.
        let text = |bytes: &[u8]| match bytes.len() as u64 {
            asked if asked > limit => Err(Error::Limit { what: "name in a tar entry", limit, asked }),
            _ => text_of(bytes, non_utf8, name),
        };
        let kind = kind_of(header)?;
        let (is_link, is_device) =
            (matches!(kind, TocType::Hardlink | TocType::Symlink), matches!(kind, TocType::Char | TocType::Block));
        Ok(RawEntry {
            name: text(name)?,
            kind,
            size: if kind == TocType::Reg { header.size } else { 0 },
            modtime: format_modtime(header.mtime).into(),
            link_name: if is_link { text(&header.link)? } else { Cow::default() },
            mode: header.mode,
            uid: header.uid,
            gid: header.gid,
            user_name: text(self.users.new_name(header.uid, &header.user))?,
            group_name: text(self.groups.new_name(header.gid, &header.group))?,
            dev_major: if is_device { header.device.0 } else { 0 },
            dev_minor: if is_device { header.device.1 } else { 0 },
            xattrs: xattrs_of(header, non_utf8)?,
            ..RawEntry::default()
        })
    }
}

impl Cutter for EstargzCutter {
    fn bytes(&mut self, bytes: &[u8], line: &mut AnyLine<'_>) -> Result<(), Error> {
        if !bytes.is_empty() {
            self.make_room(line)?;
            line.batch.data.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn header(&mut self, header: &Header, line: &mut AnyLine<'_>) -> Result<Option<Header>, Error> {
        self.make_room(line)?;
        tar::encode_header(header, &mut line.batch.data)?;
        Ok(None)
    }

    fn entry(&mut self, header: &Header, _: bool, content: &mut dyn Read, line: &mut AnyLine<'_>) -> Result<(), Error> {
        // A TOC has no place for a global header.
        if header.entry == EntryType::GlobalExtension {
            return Ok(());
        }
        let mut entry = self.describe(header)?;
        if header.entry != EntryType::File || header.size == 0 {
            entry.digest = (header.entry == EntryType::File).then(|| Hasher::sha256().finish());
            line.push(Pending::Entry(entry));
            return Ok(());
        }
        let mut file = Some(Pending::File(entry));
        let mut at = 0;
        while at < header.size {
            let left = header.size.saturating_sub(at);
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.chunk);
            line.cancel.check()?;
            let start = self.start_content(line)?;
            line.batch.data.resize(start.saturating_add(len), 0);
            let content = content.read_exact(line.batch.data.get_mut(start..).unwrap_or_default());
            content.map_err(|source| Error::Input { source })?;
            let number = line.add_content(start, Part::between(at == 0, left == len as u64), Part::Whole);
            // The entry belongs to the batch of its first chunk.
            if let Some(file) = file.take() {
                line.push(file);
            }
            line.push(Pending::Piece(number, false));
            at = at.saturating_add(len as u64);
        }
        Ok(())
    }

    fn pad(&mut self, zeros: usize, line: &mut AnyLine<'_>) {
        line.batch.data.resize(line.batch.data.len().saturating_add(zeros), 0);
    }

    fn end(&mut self, _: &mut AnyLine<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn start_fresh(&mut self) {
        self.fresh = true;
    }
}

/// Makes an entry of each file and of each further chunk.
pub(super) struct EstargzLog {
    chunk: usize,
    /// The entry of the next chunk of the open file.
    next: Option<RawEntry<'static>>,
    /// Where the digest of that file goes, if it has several chunks.
    place: Option<Place>,
}

impl EstargzLog {
    pub(super) const fn new(chunk: usize) -> Self {
        Self { chunk, next: None, place: None }
    }

    fn piece(&mut self, number: usize, done: &Done<'_>, hashing: &mut Hashing, toc: &mut TocLog) -> Result<(), Error> {
        let (Some(content), Some(mut entry)) = (done.batch.contents.get(number), self.next.take()) else {
            return Ok(());
        };
        if content.len == self.chunk {
            entry.chunk_size = content.len as u64;
        }
        entry.offset = done.offset(content.stream);
        entry.inner_offset = done.batch.inner_offset(content) as u64;
        entry.chunk_digest = done.packed.digest(number);
        if content.part.starts() {
            // The digest of a file of several chunks is not known yet; that of the first chunk holds its place.
            entry.digest = entry.chunk_digest;
        }
        let place = toc.push(&entry);
        match content.part {
            Part::First => self.place = Some(place),
            Part::Last => {
                let digest = hashing.digest()?;
                if let Some(place) = self.place.take() {
                    toc.set_digest(place, &digest);
                }
            }
            Part::Whole | Part::Middle => {}
        }
        if !content.part.ends() {
            let chunk_offset = entry.chunk_offset.saturating_add(content.len as u64);
            self.next = Some(RawEntry { name: entry.name, kind: TocType::Chunk, chunk_offset, ..RawEntry::default() });
        }
        Ok(())
    }
}

impl Log for EstargzLog {
    fn take(
        &mut self,
        pending: Pending,
        done: &Done<'_>,
        hashing: &mut Hashing,
        toc: &mut TocLog,
    ) -> Result<(), Error> {
        match pending {
            Pending::Entry(entry) => {
                toc.push(&entry);
            }
            Pending::File(entry) => self.next = Some(entry),
            Pending::Piece(number, _) => return self.piece(number, done, hashing, toc),
            Pending::Segment(_) => {}
        }
        Ok(())
    }

    fn finish(self: Box<Self>, _: &mut TocLog) -> Result<Option<TarSplit>, Error> {
        Ok(None)
    }
}
