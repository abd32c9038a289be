//! What is different in layers in the form of containers/storage: content apart from headers and cut by what it is, tar
//! headers kept once more, entries described in full.
//!
//! | stream          | holds                                                                                   |
//! |-----------------|-----------------------------------------------------------------------------------------|
//! | of headers      | the padding of the content before, headers up to those of the next file with content    |
//! | of content      | a chunk, or 4 MiB of a chunk that is larger, so that memory stays bounded               |
//!
//! Its readers put the tar together from the headers and the files they have; so what they would put together differently
//! is refused here. Specification: eStargz, section 2.3.

use std::{
    borrow::Cow,
    io::{Read, Write},
    mem,
};

use dunnage_tree::{
    Mtime,
    tar::{self, EntryType, Header},
};

use super::{
    NonUtf8, Streams, WriteOptions, Writer,
    batch::{Batch, Content, Packed, Part},
    cut::{Cut, Cutter},
    hashing::Hashing,
    names::text_of,
    tar_split::TarSplitLog,
    toc_log::{Place, TocLog},
    writer::{Pending, kind_of},
};
use crate::{
    ChunkType, Error, TarSplit, TocType, ZstdLevel,
    crc64::Crc64,
    toc::{RawEntry, format_time},
};

/// Content of one stream. A chunk that is larger has several.
const STREAM: usize = 4 << 20;

/// What a writer of this form knows besides.
pub(super) struct Storage {
    /// None while a file is being cut.
    cutter: Cutter,
    log: TarSplitLog,
    /// Whether the open stream is one of headers.
    in_headers: bool,
    /// Zeros behind the last content, which go to the next headers.
    padding: usize,
    end: TarEnd,
    file: Option<OpenFile>,
    longest_name: u64,
}

/// What the tar stream has in the way of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TarEnd {
    /// None, and none is needed.
    Empty,
    /// None: the last entry was written anew.
    Missing,
    /// That of the tar that was kept bit for bit.
    Kept,
}

/// A file whose chunks are arriving.
struct OpenFile {
    entry: RawEntry<'static>,
    crc: Crc64,
    chunk: OpenChunk,
    /// Its entry in the TOC, if there is one.
    place: Option<Place>,
}

/// A chunk, as far as it has arrived.
#[derive(Clone, Copy, Debug, Default)]
struct OpenChunk {
    offset: u64,
    at: u64,
    len: u64,
}

/// A batch after compression, and where its streams went.
pub(super) struct Done<'a> {
    pub(super) batch: &'a Batch,
    pub(super) packed: &'a Packed,
    /// Where each stream starts.
    pub(super) offsets: &'a [u64],
    /// Where the last one ends.
    pub(super) end: u64,
}

impl Storage {
    pub(super) fn new(level: ZstdLevel, options: &WriteOptions) -> Result<Self, Error> {
        if options.streams != Streams::PerChunk {
            let what = "layers in the form of containers/storage have a stream for each chunk: they cannot be shared";
            return Err(Error::Misuse(what.to_owned()));
        }
        let cut = match options.chunk_size {
            0 => Cut::ByContent,
            size => Cut::Every(size),
        };
        Ok(Self {
            cutter: Cutter::new(cut),
            log: TarSplitLog::new(level)?,
            in_headers: false,
            padding: 0,
            end: TarEnd::Empty,
            file: None,
            longest_name: options.limits.name,
        })
    }

    /// Whether anything may be appended: readers stop at the end of a tar, and nothing may be hidden behind it.
    pub(super) fn check_open(&self) -> Result<(), Error> {
        match self.end {
            TarEnd::Empty | TarEnd::Missing => Ok(()),
            TarEnd::Kept => {
                let what = "a tar that is kept bit for bit has an end, and nothing can be appended behind it";
                Err(Error::Misuse(what.to_owned()))
            }
        }
    }

    /// A tar was kept bit for bit.
    pub(super) const fn tar_has_ended(&mut self) {
        self.end = TarEnd::Kept;
    }

    /// An entry was written anew, with so much padding still to be written.
    pub(super) const fn entry_has_ended(&mut self, padding: usize) {
        (self.end, self.padding) = (TarEnd::Missing, padding);
    }

    pub(super) const fn take_padding(&mut self) -> usize {
        mem::replace(&mut self.padding, 0)
    }

    /// Goes on to headers; whether they need a stream of their own.
    pub(super) const fn enter_headers(&mut self) -> bool {
        !mem::replace(&mut self.in_headers, true)
    }

    /// Ends the tar headers, and tells the TOC about them.
    pub(super) fn finish(self, toc: &mut TocLog) -> Result<TarSplit, Error> {
        let tar_split = self.log.finish()?;
        toc.set_tar_split(tar_split.digest);
        Ok(tar_split)
    }

    /// Logs what has been compressed.
    pub(super) fn take(
        &mut self,
        pending: Pending,
        done: &Done<'_>,
        hashing: &mut Hashing,
        toc: &mut TocLog,
    ) -> Result<(), Error> {
        match pending {
            Pending::Segment(range) => self.log.segment(done.batch.data.get(range).unwrap_or_default()),
            Pending::Entry(entry) => {
                toc.push(&entry);
                self.log.entry(&entry.name, None)
            }
            Pending::File(entry) => {
                let (crc, chunk) = (Crc64::default(), OpenChunk::default());
                self.file = Some(OpenFile { entry, crc, chunk, place: None });
                Ok(())
            }
            Pending::Piece(number, zeros) => self.piece(number, zeros, done, hashing, toc),
            Pending::Chunk(..) => Ok(()),
        }
    }

    fn piece(
        &mut self,
        number: usize,
        zeros: bool,
        done: &Done<'_>,
        hashing: &mut Hashing,
        toc: &mut TocLog,
    ) -> Result<(), Error> {
        let (Some(content), Some(file)) = (done.batch.contents.get(number), &mut self.file) else { return Ok(()) };
        let offset = |stream: usize| done.offsets.get(stream).copied().unwrap_or(done.end);
        if content.of_chunk.starts() {
            let at = file.chunk.at.saturating_add(file.chunk.len);
            file.chunk = OpenChunk { offset: offset(content.stream), at, len: 0 };
        }
        let len = content.len as u64;
        file.chunk.len = file.chunk.len.saturating_add(len);
        file.crc.append(done.packed.checksums.get(number).copied().unwrap_or_default(), len);
        if !content.of_chunk.ends() {
            return Ok(());
        }
        let digest = match content.of_chunk {
            Part::Whole => done.packed.digests.get(number).copied(),
            _ => Some(hashing.digest()?),
        };
        let is_last = content.part.ends();
        let end = offset(content.stream.saturating_add(1));
        let chunk_type = if zeros { ChunkType::Zeros } else { ChunkType::Data };
        let (offset, chunk_offset, chunk_size) = (file.chunk.offset, file.chunk.at, file.chunk.len);
        if chunk_offset == 0 {
            file.entry.offset = offset;
            file.entry.digest = digest;
            if is_last {
                // The digest of the file is that of its only chunk, about which nothing else is said, not even that it
                // is a hole.
                file.entry.end_offset = end;
            } else {
                // Digest and end hold a place until they are known.
                (file.entry.chunk_size, file.entry.chunk_digest) = (chunk_size, digest);
                file.entry.chunk_type = chunk_type;
            }
            file.place = Some(toc.push(&file.entry));
        } else {
            let (name, chunk_digest) = (file.entry.name.clone(), digest);
            let chunk =
                RawEntry { name, kind: TocType::Chunk, offset, chunk_offset, chunk_size, ..RawEntry::default() };
            toc.push(&RawEntry { chunk_digest, chunk_type, ..chunk });
        }
        if is_last {
            if content.part != Part::Whole {
                let digest = hashing.digest()?;
                if let Some(place) = file.place.filter(|_| chunk_offset > 0) {
                    toc.set_digest(place, &digest);
                    toc.set_end_offset(place, end);
                }
            }
            self.log.entry(&file.entry.name, Some((file.entry.size, file.crc)))?;
            self.file = None;
        }
        Ok(())
    }

    /// The entry for a header, or why there can be none.
    fn describe(&self, header: &Header) -> Result<RawEntry<'static>, Error> {
        let unsupported = |reason: String| Error::Unsupported { name: header.name.escape_ascii().to_string(), reason };
        // A TOC that no reader takes is not worth writing.
        let limit = self.longest_name;
        let text = |bytes: &[u8]| match bytes.len() as u64 {
            asked if asked > limit => Err(Error::Limit { what: "name in a tar entry", limit, asked }),
            _ => text_of(bytes, NonUtf8::Refuse, &header.name),
        };
        let time = |what: &str, time: Option<Mtime>| match time.filter(|time| *time != NO_TIME) {
            None => Ok(Cow::Borrowed("")),
            Some(time) => format_time(time).map(Cow::Owned).ok_or_else(|| {
                unsupported(format!("{what} {} seconds from 1970, beyond the years 0 to 9999", time.secs))
            }),
        };
        let kind = kind_of(header)?;
        Ok(RawEntry {
            name: text(&header.name)?,
            kind,
            size: header.size,
            modtime: time("last changed", header.mtime)?,
            access_time: time("last read", header.atime)?,
            change_time: time("last changed in status", header.ctime)?,
            link_name: text(&header.link)?,
            mode: header.mode,
            uid: header.uid,
            gid: header.gid,
            dev_major: header.device.0,
            dev_minor: header.device.1,
            xattrs: header
                .pax
                .iter()
                .filter_map(|(key, value)| Some((key.strip_prefix(Header::XATTR)?, value)))
                .map(|(name, value)| Ok((text(name)?, Cow::Owned(value.clone()))))
                .collect::<Result<_, Error>>()?,
            ..RawEntry::default()
        })
    }
}

/// What the reference takes for no time at all: the start of the year 1.
const NO_TIME: Mtime = Mtime { secs: -62_135_596_800, nanos: 0 };

impl<W: Write> Writer<W> {
    /// Adds the TOC entry and the content of `header`, whose own bytes are in the stream already.
    pub(super) fn storage_entry<R: Read>(
        &mut self,
        header: &Header,
        is_repeated: bool,
        content: &mut R,
    ) -> Result<(), Error> {
        let Some(storage) = &mut self.storage else { return Ok(()) };
        let entry = storage.describe(header)?;
        if is_repeated {
            return Err(Error::Duplicate { name: header.name.escape_ascii().to_string() });
        }
        if header.entry != EntryType::File || header.size == 0 {
            self.entries.push(Pending::Entry(entry));
            return Ok(());
        }
        storage.in_headers = false;
        storage.cutter.start(header.size);
        self.entries.push(Pending::File(entry));
        let mut open: Option<Content> = None;
        let mut starts_file = true;
        let mut starts_chunk = true;
        loop {
            self.cancel.check()?;
            if open.is_none() {
                self.start_stream()?;
                let stream = self.batch.streams.len().saturating_sub(1);
                let (start, part) = (self.batch.data.len(), Part::Whole);
                open = Some(Content { stream, start, len: 0, part, of_chunk: part });
            }
            let (Some(storage), Some(stream)) = (&mut self.storage, &mut open) else { return Ok(()) };
            let Some(piece) = storage.cutter.next(content)? else { return Ok(()) };
            let (zeros, ends_chunk) = (piece.zeros, piece.ends);
            self.batch.data.extend_from_slice(piece.bytes);
            stream.len = stream.len.saturating_add(piece.bytes.len());
            let ends_file = storage.cutter.is_done();
            if !ends_chunk && stream.len < STREAM {
                continue;
            }
            stream.part = Part::between(starts_file, ends_file);
            stream.of_chunk = Part::between(starts_chunk, ends_chunk);
            (starts_file, starts_chunk) = (false, ends_chunk);
            let number = self.batch.contents.len();
            self.batch.contents.extend(open.take());
            self.entries.push(Pending::Piece(number, zeros));
            if ends_file {
                return Ok(());
            }
        }
    }

    /// Gives the tar stream its end, and a stream if it has none.
    pub(super) fn end_storage(&mut self) -> Result<(), Error> {
        let Some(storage) = &mut self.storage else { return Ok(()) };
        if storage.end == TarEnd::Missing {
            storage.end = TarEnd::Kept;
            return self.no_content(|data| {
                data.extend_from_slice(&tar::END);
                Ok(())
            });
        }
        if self.written == 0 && self.in_flight.is_empty() && self.batch.streams.is_empty() {
            self.start_stream()?;
        }
        Ok(())
    }
}
