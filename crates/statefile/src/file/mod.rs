//! State files in a source that can be read at any position: random access, verification and fast copies.

mod index;
mod order;
mod verify;

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use dunnage_digest::{Cursor, Offset, Progress, ReadAt};

use crate::{
    Body, Encoding, Error, Key, MAC_LEN, Macs, Metadata, Part, ReadOptions, Reader,
    detect::{Anywhere, Detected, Look as _, detect},
    error::Hint,
    header::{DOCUMENT_AT, Header, truncated},
    key::Tag,
    source::Source,
    unit::{Checker, Done, Job, Rules, Unit, chunk_size, chunk_size_len, short_before_the_end},
};

pub use verify::Verified;

use index::{Group, Index};

/// A state file in a source that can be read at any position.
///
/// Use it for files on disk, in memory or in an object store: all threads verify and inflate, and reads go to any
/// position. Use [`Reader`] for a pipe. It implements [`ReadAt`] over the payload, so any number of threads can read it
/// at once.
///
/// Opening reads the header, and the body only as far as the dialect needs. The first call that needs the index reads
/// the lengths of all chunks or frames; the index takes about 60 bytes per MiB. Data of chunks and frames with MACs is
/// verified in each read that returns it, so a file that changes after it was indexed gives an error and not other
/// bytes. One group of about 1 MiB stays in memory for the next read.
pub struct File<S> {
    source: S,
    size: u64,
    header: Header,
    metadata: Metadata,
    encoding: Encoding,
    mac: Option<crate::key::Mac>,
    body_at: u64,
    rules: Arc<Rules>,
    options: ReadOptions,
    index: Mutex<Option<Arc<Index>>>,
    /// The group of the last read.
    cache: Mutex<Option<(usize, Arc<Done>)>>,
    checkers: Mutex<Vec<Checker>>,
}

/// Sizes and counts of a file, from its lengths alone: the payload is neither read nor verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Bytes of the file.
    pub file_len: u64,
    /// Bytes of the metadata document.
    pub metadata_len: u64,
    /// Offset of the body.
    pub body_at: Offset,
    /// Bytes of the body.
    pub body_len: u64,
    /// The chunk size that a deflate body declares.
    pub chunk_size: Option<u32>,
    /// Number of chunks or frames; 0 for a raw body.
    pub units: u64,
    /// Bytes of the largest chunk, compressed, or of the largest frame.
    pub largest_unit: u64,
    /// Bytes of all chunks, compressed, or of all frames, without lengths and MACs.
    pub stored_len: u64,
    /// The least and the most bytes of payload. They differ for a deflate body, whose last chunk was not inflated.
    pub payload_len: (u64, u64),
}

impl<S: ReadAt> File<S> {
    /// Reads the header, compares its MAC, parses the metadata and finds the encoding of the body.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`].
    pub fn open(source: S, key: Option<&Key>, options: &ReadOptions) -> Result<Self, Error> {
        let size = source.size().map_err(Error::read(Part::Header, 0))?;
        let cursor = Cursor::new(&source).map_err(Error::read(Part::Header, 0))?;
        let header = Header::read(&mut Source::new(cursor), &options.limits)?;
        let mut look = Anywhere::new(&source, size);
        let detected = detect(&mut look, &header, key, options)?;
        let Detected { metadata, encoding, body_at, mac } = detected;
        let mut rules = Rules {
            macs: encoding.body.macs(),
            mac: mac.clone(),
            chunk_size: None,
            mode: options.mode,
            limits: options.limits.clone(),
        };
        if let Body::Chunks(_) = encoding.body {
            let front = look.look(body_at, chunk_size_len(encoding.body))?;
            rules.chunk_size = Some(chunk_size(front, body_at, rules.mac.as_ref(), &options.limits)?.0);
        }
        metadata.promised_len(DOCUMENT_AT)?;
        Ok(Self {
            source,
            size,
            header,
            metadata,
            encoding,
            mac,
            body_at,
            rules: Arc::new(rules),
            options: options.clone(),
            index: Mutex::default(),
            cache: Mutex::default(),
            checkers: Mutex::default(),
        })
    }

    /// The metadata of the file, with `_timestamp` and without defaults.
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The dialects, compression, body and MACs of the file.
    pub const fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    /// Magic, length and metadata, byte for byte.
    pub fn header_bytes(&self) -> &[u8] {
        self.header.bytes()
    }

    /// Bytes of the file.
    pub const fn file_len(&self) -> u64 {
        self.size
    }

    /// The chunk size that a deflate body declares.
    pub fn chunk_size(&self) -> Option<u32> {
        self.rules.chunk_size
    }

    /// A reader of the payload from front to back, in the encoding that was found when the file was opened.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`], if the file has changed since it was opened.
    pub fn reader(&self) -> Result<Reader<Cursor<&S>>, Error> {
        let mut cursor = Cursor::new(&self.source).map_err(Error::read(Part::Header, 0))?;
        cursor.set_position(Offset::new(self.body_at));
        let detected = Detected {
            metadata: self.metadata.clone(),
            encoding: self.encoding.clone(),
            body_at: self.body_at,
            mac: self.mac.clone(),
        };
        Reader::with(Source::at(cursor, self.body_at), self.header.clone(), detected, &self.options)
    }

    /// Sizes and counts of the file. The first call reads the lengths of all chunks or frames.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`], [`Error::Malformed`] or [`Error::Limit`] for a fault in the lengths, [`Error::Read`].
    pub fn summary(&self) -> Result<Summary, Error> {
        let index = self.index(Progress::none())?;
        index.end.clone()?;
        let payload_len = match (self.encoding.body, self.chunk_size()) {
            (Body::Raw, _) => (self.body_len(), self.body_len()),
            (Body::Chunks(_), Some(size)) => {
                let most = index.units.saturating_mul(size.into());
                (most.saturating_sub(u64::from(size).saturating_sub(1)).min(most), most)
            }
            _ => (index.stored, index.stored),
        };
        Ok(Summary {
            file_len: self.size,
            metadata_len: self.header.end().saturating_sub(DOCUMENT_AT),
            body_at: Offset::new(self.body_at),
            body_len: self.body_len(),
            chunk_size: self.chunk_size(),
            units: index.units,
            largest_unit: index.largest,
            stored_len: index.stored,
            payload_len,
        })
    }

    /// The length of the payload, in bytes. For a deflate body, this verifies and inflates the last chunk.
    ///
    /// # Errors
    ///
    /// As [`summary`](Self::summary), and the errors of the last chunk.
    pub fn payload_len(&self) -> Result<u64, Error> {
        let index = self.index(Progress::none())?;
        index.end.clone()?;
        match (self.encoding.body, index.groups.len().checked_sub(1)) {
            (Body::Raw, _) => Ok(self.body_len()),
            (Body::Chunks(_), Some(last)) => {
                let start = index.groups.get(last).map_or(0, |group| group.payload_at);
                Ok(start.saturating_add(self.group(&index, last)?.payload().len() as u64))
            }
            _ => Ok(index.stored),
        }
    }

    /// Fills `buf` with payload from position `at`, and returns the number of bytes, which is less than `buf.len()`
    /// only if the payload ends.
    ///
    /// A read verifies and inflates whole groups of about 1 MiB, so reads in order cost least. From a frame longer than
    /// [`Limits::frame`](crate::Limits::frame), each read hashes the whole frame.
    ///
    /// # Errors
    ///
    /// The errors of the chunks and frames that are read; [`Error::Read`].
    pub fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let got = self.read_some(at.saturating_add(filled as u64), rest)?;
            if got == 0 {
                break;
            }
            filled = filled.saturating_add(got);
        }
        Ok(filled)
    }

    fn read_some(&self, at: u64, buf: &mut [u8]) -> Result<usize, Error> {
        if self.encoding.body == Body::Raw {
            let left = self.body_len().saturating_sub(at);
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
            if len == 0 {
                return Ok(0);
            }
            let file_at = self.body_at.saturating_add(at);
            self.read_exact(file_at, buf.get_mut(..len).unwrap_or_default(), Part::Payload)?;
            return Ok(len);
        }
        let index = self.index(Progress::none())?;
        let Some(number) = index.group_of(at) else {
            // No group: this is the end of an empty payload, or a fault in the first length.
            return index.end.clone().map(|()| 0);
        };
        let Some(group) = index.groups.get(number) else { return Ok(0) };
        let skip = at.saturating_sub(group.payload_at);
        if self.rules.mac.is_none() && self.rules.chunk_size.is_none() {
            return self.read_frame(group, skip, buf);
        }
        if group.is_huge {
            return self.read_huge(group, skip, buf);
        }
        let done = self.group(&index, number)?;
        let payload = done.payload();
        let rest = payload.get(usize::try_from(skip).unwrap_or(usize::MAX)..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        if let (Some(buf), Some(rest)) = (buf.get_mut(..len), rest.get(..len)) {
            buf.copy_from_slice(rest);
        }
        if len == 0 && number.saturating_add(1) == index.groups.len() {
            return index.end.clone().map(|()| 0);
        }
        Ok(len)
    }

    /// Reads from frames without MACs, walking from the start of their group.
    fn read_frame(&self, group: &Group, mut skip: u64, buf: &mut [u8]) -> Result<usize, Error> {
        let mut look = Anywhere::new(&self.source, self.size);
        let (mut at, mut index) = (group.at, group.first);
        while at < group.end {
            let len = look.look(at, 4)?.first_chunk::<4>().map_or(0, |len| u32::from_be_bytes(*len));
            self.rules.check_len(index, at, len)?;
            let data_at = at.saturating_add(4);
            let len = u64::from(len);
            if skip < len {
                let take = usize::try_from(len.saturating_sub(skip)).unwrap_or(usize::MAX).min(buf.len());
                let buf = buf.get_mut(..take).unwrap_or_default();
                self.read_exact(data_at.saturating_add(skip), buf, Part::Frame(index))?;
                return Ok(take);
            }
            skip = skip.saturating_sub(len);
            at = data_at.saturating_add(len);
            index = index.saturating_add(1);
        }
        Ok(0)
    }

    /// Reads from a frame that does not fit into memory: hashes all of it and keeps the requested bytes.
    fn read_huge(&self, group: &Group, skip: u64, buf: &mut [u8]) -> Result<usize, Error> {
        let mut kept = 0_usize;
        let mut position = 0_u64;
        self.huge_frame(group, Progress::none(), &mut |piece| {
            let from = usize::try_from(skip.saturating_sub(position)).unwrap_or(usize::MAX);
            position = position.saturating_add(piece.len() as u64);
            let rest = buf.get_mut(kept..).unwrap_or_default();
            let piece = piece.get(from..).unwrap_or_default();
            let len = piece.len().min(rest.len());
            if let (Some(rest), Some(piece)) = (rest.get_mut(..len), piece.get(..len)) {
                rest.copy_from_slice(piece);
            }
            kept = kept.saturating_add(len);
            Ok(())
        })?;
        Ok(kept)
    }

    /// Hashes a long frame piece by piece and calls `piece` with each. The pieces are verified only if this returns
    /// `Ok`.
    fn huge_frame(
        &self,
        group: &Group,
        progress: Progress<'_>,
        piece: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (len, part) = (group.stored, self.rules.data_part(group.first));
        let Some(mac) = &self.rules.mac else { return Err(Error::Worker) };
        let mut running = mac.start(&[]);
        let mut buffer = vec![0; 1 << 20];
        let mut at = group.at.saturating_add(4);
        let tag_at = at.saturating_add(len);
        while at < tag_at {
            self.check(progress)?;
            let step = usize::try_from(tag_at.saturating_sub(at)).unwrap_or(usize::MAX).min(buffer.len());
            let bytes = buffer.get_mut(..step).unwrap_or_default();
            self.read_exact(at, bytes, part)?;
            running.update(bytes);
            piece(bytes)?;
            at = at.saturating_add(step as u64);
        }
        running.update(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        if self.rules.macs == Macs::Chained {
            running.update(&self.chain_before(group)?);
        }
        let mut tag = Tag::default();
        self.read_exact(tag_at, &mut tag, self.rules.mac_part(group.first))?;
        let hint = Hint::None;
        if running.matches(&tag) { Ok(()) } else { Err(Error::HashMismatch { part, at: Offset::new(tag_at), hint }) }
    }

    /// Writes the payload to `sink` and returns the number of bytes. All threads read, verify and inflate.
    ///
    /// It writes no byte of a chunk or frame with a MAC before it has compared the MAC, and therefore reads a frame
    /// longer than [`Limits::frame`](crate::Limits::frame) twice. It reports the payload bytes written so far.
    ///
    /// # Errors
    ///
    /// As [`Reader::copy_to`]; [`Error::Cancelled`] if `progress` is cancelled. The bytes before the first fault are
    /// written then.
    pub fn copy_to<W: Write + ?Sized>(&self, sink: &mut W, progress: Progress<'_>) -> Result<u64, Error>
    where
        S: Sync,
    {
        if self.rules.mac.is_none() && self.rules.chunk_size.is_none() {
            return self.reader()?.copy(sink, progress);
        }
        let index = self.index(progress)?;
        let limits = self.expected()?;
        let mut copied = 0_u64;
        let check = |copied: u64| match limits {
            Some((expected, by)) if copied > expected => Err(Error::Length { expected, got: copied, by }),
            _ if copied > self.options.limits.payload => Err(Error::Limit {
                part: Part::Payload,
                at: Offset::new(self.size),
                limit: self.options.limits.payload,
                asked: copied,
            }),
            _ => Ok(()),
        };
        self.in_order(&index, true, progress, &mut |group, done| {
            if let Some(done) = done {
                let payload = done.payload();
                copied = copied.saturating_add(payload.len() as u64);
                check(copied)?;
                sink.write_all(payload).map_err(Error::write(Part::Payload))?;
            } else {
                // A worker has verified the frame. Hash it again while it is written, in case the file changes.
                copied = copied.saturating_add(group.stored);
                check(copied)?;
                let mut write = |piece: &[u8]| sink.write_all(piece).map_err(Error::write(Part::Payload));
                self.huge_frame(group, progress, &mut write)?;
            }
            progress.at(copied);
            Ok(())
        })?;
        match limits {
            Some((expected, by)) if copied != expected => Err(Error::Length { expected, got: copied, by }),
            _ => Ok(copied),
        }
    }

    /// The expected length of the payload, and the origin of that number for messages.
    fn expected(&self) -> Result<Option<(u64, &'static str)>, Error> {
        Ok(match (self.options.payload_len, self.metadata.promised_len(DOCUMENT_AT)?) {
            (Some(asked), _) => Some((asked, "by the caller")),
            (None, Some(promised)) => Some((promised, "by the metadata")),
            (None, None) => None,
        })
    }

    /// Returns an error if the options or the caller of this run ask to stop.
    fn check(&self, progress: Progress<'_>) -> Result<(), Error> {
        self.options.cancel.check()?;
        Ok(progress.check()?)
    }

    const fn body_len(&self) -> u64 {
        self.size.saturating_sub(self.body_at)
    }

    fn read_exact(&self, at: u64, buf: &mut [u8], part: Part) -> Result<(), Error> {
        self.source.read_exact_at(Offset::new(at), buf).map_err(Error::read(part, at))
    }

    /// The MAC before a group.
    fn chain_before(&self, group: &Group) -> Result<Tag, Error> {
        let mut tag = Tag::default();
        let has_one = group.first > 1 || self.rules.chunk_size.is_some();
        if has_one && self.rules.macs == Macs::Chained {
            let at = group.at.saturating_sub(MAC_LEN as u64);
            self.read_exact(at, &mut tag, self.rules.mac_part(group.first.saturating_sub(1)))?;
        }
        Ok(tag)
    }

    /// A group, verified and inflated.
    fn group(&self, index: &Index, number: usize) -> Result<Arc<Done>, Error> {
        let cached = self.cache.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, done)) = cached.filter(|(cached, _)| *cached == number) {
            return Ok(done);
        }
        let Some(group) = index.groups.get(number) else { return Err(Error::Worker) };
        let mut job = Job::default();
        self.load(group, &mut job)?;
        let spare = self.checkers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut checker = spare.unwrap_or_else(|| Checker::new(&self.rules));
        let mut done = checker.check(job);
        self.checkers.lock().unwrap_or_else(PoisonError::into_inner).push(checker);
        std::mem::replace(&mut done.result, Ok(()))?;
        if let (Some(short), true) = (done.short, number.saturating_add(1) < index.groups.len()) {
            // The index takes all chunks but the last for full, so a read by position refuses a short one even if it is
            // lenient.
            let strict = Rules { mode: crate::Mode::Strict, ..Rules::clone(&self.rules) };
            short_before_the_end(&strict, Some(short))?;
        }
        let done = Arc::new(done);
        *self.cache.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, Arc::clone(&done)));
        Ok(done)
    }

    /// Reads the units of a group. Lengths that differ from the index are an error: the file has changed.
    fn load(&self, group: &Group, job: &mut Job) -> Result<(), Error> {
        job.units.clear();
        let len = usize::try_from(group.end.saturating_sub(group.at)).unwrap_or(usize::MAX);
        crate::codec::grow(&mut job.wire, len);
        let wire = job.wire.get_mut(..len).unwrap_or_default();
        self.read_exact(group.at, wire, self.rules.data_part(group.first))?;
        let (mut position, mut index) = (0_usize, group.first);
        while position < len {
            let at = group.at.saturating_add(position as u64);
            let declared = wire.get(position..).and_then(|rest| rest.first_chunk::<4>());
            let declared = declared.map(|len| u32::from_be_bytes(*len));
            let Some(declared) = declared else { return Err(self.changed(at, index)) };
            self.rules.check_len(index, at, declared)?;
            let start = position.saturating_add(4);
            let data = usize::try_from(declared).unwrap_or(usize::MAX);
            position = start.saturating_add(data).saturating_add(self.rules.mac_len());
            job.units.push(Unit { index, at, start, len: data });
            index = index.saturating_add(1);
        }
        if position != len || index != group.first.saturating_add(group.units) {
            return Err(self.changed(group.at, group.first));
        }
        job.chain = self.chain_before(group)?;
        Ok(())
    }

    /// The error of a file whose lengths have changed since it was indexed.
    fn changed(&self, at: u64, index: u64) -> Error {
        truncated(self.rules.length_part(index), at, 4, 0)
    }

    fn index(&self, progress: Progress<'_>) -> Result<Arc<Index>, Error> {
        let mut place = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = &*place {
            return Ok(Arc::clone(index));
        }
        let index = Arc::new(Index::new(self, progress)?);
        *place = Some(Arc::clone(&index));
        Ok(index)
    }
}

impl<S: ReadAt> ReadAt for File<S> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.payload_len()?)
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        if self.read_at(at.get(), buf)? < buf.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

impl<S> fmt::Debug for File<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("encoding", &self.encoding).field("size", &self.size).finish_non_exhaustive()
    }
}
