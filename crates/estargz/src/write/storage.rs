//! Layers in the form of containers/storage: content apart from headers and cut at places that depend on the content, tar
//! headers kept once more, entries described in full.
//!
//! | stream          | holds                                                                                   |
//! |-----------------|-----------------------------------------------------------------------------------------|
//! | of headers      | the padding of the content before, headers up to those of the next file with content    |
//! | of content      | a chunk, or 4 MiB of a chunk that is larger, so that memory stays bounded               |
//!
//! Readers of this form put the tar together from the headers and the files they have; so the writer refuses entries that they
//! would put together differently. Specification: eStargz, section 2.3.

use std::{borrow::Cow, io::Read, mem};

use dunnage_tree::{
    Limits, Mtime,
    tar::{self, EntryType, Header},
};

use super::{
    NonUtf8, Streams, WriteOptions,
    batch::Part,
    chunker::{Chunker, Cut},
    cutter::{Cutter, kind_of},
    hashing::Hashing,
    line::{AnyLine, Done, Log, Pending},
    names::text_of,
    tar_split::TarSplitLog,
    toc_log::{Place, TocLog},
};
use crate::{
    Error,
    codec::{TarSplit, ZstdLevel},
    crc64::Crc64,
    toc::{ChunkType, RawEntry, TocType, format_time},
};

/// Content of one stream. A chunk that is larger has several.
const STREAM: usize = 4 << 20;

/// Cuts the tar stream into headers and content.
pub(super) struct StorageCutter {
    chunker: Chunker,
    /// Whether the open stream is one of headers.
    in_headers: bool,
    /// Zeros after the last content, which go to the next headers.
    padding: usize,
    end: TarEnd,
    longest_name: u64,
    /// Ceilings for the headers that are read back.
    limits: Limits,
}

/// How the tar stream ends so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TarEnd {
    /// Without a marker, and it needs none.
    Empty,
    /// Without a marker: the last entry was written anew.
    Missing,
    /// With the marker of the tar that was kept bit for bit.
    Kept,
}

impl StorageCutter {
    pub(super) fn new(options: &WriteOptions) -> Result<Self, Error> {
        if options.streams != Streams::PerChunk {
            let what = "layers in the form of containers/storage have a stream for each chunk: they cannot be shared";
            return Err(Error::Misuse(what.to_owned()));
        }
        let cut = match options.chunk_size {
            0 => Cut::ByContent,
            size => Cut::Every(size),
        };
        Ok(Self {
            chunker: Chunker::new(cut),
            in_headers: false,
            padding: 0,
            end: TarEnd::Empty,
            longest_name: options.limits.name,
            limits: options.limits.tar.clone(),
        })
    }

    /// The entry for a header.
    fn describe(&self, header: &Header) -> Result<RawEntry<'static>, Error> {
        let unsupported = |reason: String| Error::Unsupported { name: header.name.escape_ascii().to_string(), reason };
        // Readers refuse a TOC with longer names, so none is written.
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

/// The start of the year 1, which the reference takes for no time at all.
const NO_TIME: Mtime = Mtime { secs: -62_135_596_800, nanos: 0 };

impl Cutter for StorageCutter {
    /// Starts a stream of headers if the open one holds content, and gives it the padding of that content first.
    fn bytes(&mut self, bytes: &[u8], line: &mut AnyLine<'_>) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let follow_content = !mem::replace(&mut self.in_headers, true);
        if follow_content || line.needs_stream() {
            line.start_stream()?;
        }
        let start = line.batch.data.len();
        line.batch.data.resize(start.saturating_add(mem::take(&mut self.padding)), 0);
        line.batch.data.extend_from_slice(bytes);
        line.push(Pending::Segment(start..line.batch.data.len()));
        Ok(())
    }

    /// Not everything goes into a tar, such as fractions of seconds in some formats, and readers compare the TOC with the tar.
    fn header(&mut self, header: &Header, line: &mut AnyLine<'_>) -> Result<Option<Header>, Error> {
        let (mut encoded, mut written) = (Vec::new(), Header::default());
        tar::encode_header(header, &mut encoded)?;
        tar::Reader::over(encoded.as_slice(), self.limits.clone())?.next_header(&mut written)?;
        self.bytes(&encoded, line)?;
        Ok(Some(written))
    }

    fn entry(
        &mut self,
        header: &Header,
        is_repeated: bool,
        content: &mut dyn Read,
        line: &mut AnyLine<'_>,
    ) -> Result<(), Error> {
        let entry = self.describe(header)?;
        if is_repeated {
            return Err(Error::Duplicate { name: header.name.escape_ascii().to_string() });
        }
        if header.entry != EntryType::File || header.size == 0 {
            line.push(Pending::Entry(entry));
            return Ok(());
        }
        self.in_headers = false;
        self.chunker.start(header.size);
        line.push(Pending::File(entry));
        let (mut starts_file, mut starts_chunk) = (true, true);
        loop {
            // A stream: a chunk, or a part of one.
            line.cancel.check()?;
            let start = line.start_stream()?;
            let (zeros, ends_chunk) = loop {
                let Some(piece) = self.chunker.next(content)? else { return Ok(()) };
                line.batch.data.extend_from_slice(piece.bytes);
                let len = line.batch.data.len().saturating_sub(start);
                if piece.ends || len >= STREAM {
                    break (piece.zeros, piece.ends);
                }
                line.cancel.check()?;
            };
            let ends_file = self.chunker.is_done();
            let (part, of_chunk) = (Part::between(starts_file, ends_file), Part::between(starts_chunk, ends_chunk));
            let number = line.add_content(start, part, of_chunk);
            line.push(Pending::Piece(number, zeros));
            if ends_file {
                return Ok(());
            }
            (starts_file, starts_chunk) = (false, ends_chunk);
        }
    }

    fn pad(&mut self, zeros: usize, _: &mut AnyLine<'_>) {
        (self.end, self.padding) = (TarEnd::Missing, zeros);
    }

    /// Gives the tar stream its end, and a stream if it has none.
    fn end(&mut self, line: &mut AnyLine<'_>) -> Result<(), Error> {
        if self.end == TarEnd::Missing {
            self.end = TarEnd::Kept;
            return self.bytes(&tar::END, line);
        }
        if !line.has_begun() {
            line.start_stream()?;
        }
        Ok(())
    }

    fn tar_was_kept(&mut self) {
        self.end = TarEnd::Kept;
    }

    /// Readers stop at the end of a tar, and nothing may be hidden after it.
    fn check_open(&self) -> Result<(), Error> {
        match self.end {
            TarEnd::Empty | TarEnd::Missing => Ok(()),
            TarEnd::Kept => {
                let what = "a tar that is kept bit for bit has an end, and nothing can be appended after it";
                Err(Error::Misuse(what.to_owned()))
            }
        }
    }
}

/// Makes an entry of each file and of each further chunk, and keeps the tar headers.
pub(super) struct StorageLog {
    headers: TarSplitLog,
    file: Option<OpenFile>,
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

impl StorageLog {
    pub(super) fn new(level: ZstdLevel) -> Result<Self, Error> {
        Ok(Self { headers: TarSplitLog::new(level)?, file: None })
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
        if content.of_chunk.starts() {
            let at = file.chunk.at.saturating_add(file.chunk.len);
            file.chunk = OpenChunk { offset: done.offset(content.stream), at, len: 0 };
        }
        let len = content.len as u64;
        file.chunk.len = file.chunk.len.saturating_add(len);
        file.crc.append(done.packed.checksum(number), len);
        if !content.of_chunk.ends() {
            return Ok(());
        }
        let digest = match content.of_chunk {
            Part::Whole => done.packed.digest(number),
            _ => Some(hashing.digest()?),
        };
        let is_last = content.part.ends();
        let end = done.offset(content.stream.saturating_add(1));
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
            self.headers.entry(&file.entry.name, Some((file.entry.size, file.crc)))?;
            self.file = None;
        }
        Ok(())
    }
}

impl Log for StorageLog {
    fn take(
        &mut self,
        pending: Pending,
        done: &Done<'_>,
        hashing: &mut Hashing,
        toc: &mut TocLog,
    ) -> Result<(), Error> {
        match pending {
            Pending::Segment(range) => self.headers.segment(done.batch.data.get(range).unwrap_or_default()),
            Pending::Entry(entry) => {
                toc.push(&entry);
                self.headers.entry(&entry.name, None)
            }
            Pending::File(entry) => {
                let (crc, chunk) = (Crc64::default(), OpenChunk::default());
                self.file = Some(OpenFile { entry, crc, chunk, place: None });
                Ok(())
            }
            Pending::Piece(number, zeros) => self.piece(number, zeros, done, hashing, toc),
        }
    }

    /// Ends the tar headers; the TOC names their digest.
    fn finish(self: Box<Self>, toc: &mut TocLog) -> Result<Option<TarSplit>, Error> {
        let tar_split = self.headers.finish()?;
        toc.set_tar_split(tar_split.digest);
        Ok(Some(tar_split))
    }
}
