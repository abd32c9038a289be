//! Reads a state file from front to back.
//!
//! The calling thread reads the source and gives units to workers, which compare MACs and inflate. It takes the results
//! in order and returns no byte of a unit with a MAC before a worker has compared the MAC.

use std::{
    fmt,
    io::{self, BufRead, Read, Write},
    sync::Arc,
};

use dunnage_digest::{Offset, Ordered, Progress};

use crate::{
    Body, Encoding, Error, Key, MAC_LEN, Metadata, Mode, Part, ReadOptions,
    detect::{Ahead, Detected, detect},
    header::{Header, truncated},
    key::Tag,
    options,
    source::Source,
    tail::{Tail, TailRule},
    unit::{Checker, Done, Job, Rules, Unit, chunk_size, chunk_size_len, short_before_the_end},
};

/// Reads the payload of a state file from a stream.
///
/// Use it for pipes and sockets. For a source with positions, [`File`](crate::File) is better: it also reads on all
/// threads, sees the whole body when it looks for the dialect, and reads frames of any length. The reader implements
/// [`Read`] and [`BufRead`]; [`copy_to`](Self::copy_to) is faster for the whole payload. Its threads start when it is
/// opened, unless the body has neither chunks nor MACs. It keeps two units of about 1 MiB per thread in memory.
///
/// After an error, every later call returns the same error. [`Read`] returns it as an [`io::Error`] with the [`Error`]
/// inside. The end of the payload is no proof that the file is whole: see [`tail`](Self::tail).
pub struct Reader<R> {
    source: Source<R>,
    header: Header,
    metadata: Metadata,
    encoding: Encoding,
    engine: Engine,
    limits: Expected,
    /// Payload bytes returned so far.
    delivered: u64,
    units: u64,
    tail: TailRule,
    failed: Option<Error>,
    options: ReadOptions,
}

/// The most bytes that the payload may have, and its expected length.
#[derive(Clone, Copy, Debug)]
struct Expected {
    most: u64,
    exactly: Option<(u64, &'static str)>,
}

enum Engine {
    /// The payload is the rest of the source.
    Raw,
    /// Frames without MACs: length and unread bytes of the current frame.
    Frames {
        rules: Arc<Rules>,
        len: u64,
        left: u64,
    },
    Units(Box<Units>),
}

struct Units {
    feed: Feed,
    pool: Ordered<Job, Done>,
    in_flight: usize,
    current: Option<Done>,
    position: usize,
    short: Option<(u64, u64, u64)>,
}

/// Reads units from the source for the workers.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) rules: Arc<Rules>,
    /// The MAC before the next unit.
    chain: Tag,
    /// Index of the last unit read.
    read: u64,
    /// The end of the body, or the fault that ends reading; `None` while there may be more units.
    pub(crate) end: Option<Result<(), Error>>,
    /// Buffers to use again.
    pub(crate) spare: Vec<Job>,
}

impl<R: Read> Reader<R> {
    /// Reads the header, compares its MAC, parses the metadata and finds the encoding of the body. (gVisor:
    /// `NewReader`.)
    ///
    /// With a key, it accepts only files that were written with this key. Without a key, it refuses files that were
    /// written with one, as far as the bytes show it.
    ///
    /// # Errors
    ///
    /// [`Error::BadMagic`], [`Error::InvalidMetadataLength`], [`Error::HashMismatch`], [`Error::Metadata`],
    /// [`Error::InvalidFlags`], [`Error::Truncated`], [`Error::Malformed`], [`Error::Limit`], [`Error::KeyRequired`],
    /// [`Error::Ambiguous`], [`Error::Unsupported`] for dialect P, [`Error::Read`] if the source fails. No bytes make
    /// it panic.
    pub fn open(source: R, key: Option<&Key>, options: &ReadOptions) -> Result<Self, Error> {
        let mut source = Source::new(source);
        let header = Header::read(&mut source, &options.limits)?;
        let mut ahead = Ahead { source: &mut source, window: options.limits.look_ahead };
        let detected = detect(&mut ahead, &header, key, options)?;
        // Skip the header MAC, which `detect` has compared.
        source.consume(usize::try_from(detected.body_at.saturating_sub(header.end())).unwrap_or(usize::MAX));
        Self::with(source, header, detected, options)
    }

    /// A reader of a source that is at the start of the body.
    pub(crate) fn with(
        mut source: Source<R>,
        header: Header,
        detected: Detected,
        options: &ReadOptions,
    ) -> Result<Self, Error> {
        let Detected { metadata, encoding, body_at, mac } = detected;
        let promised = metadata.promised_len(crate::header::DOCUMENT_AT)?;
        let exactly = match (options.payload_len, promised) {
            (Some(asked), _) => Some((asked, "by the caller")),
            (None, Some(promised)) => Some((promised, "by the metadata")),
            (None, None) => None,
        };
        let mut rules = Rules {
            macs: encoding.body.macs(),
            mac,
            chunk_size: None,
            mode: options.mode,
            limits: options.limits.clone(),
        };
        let mut chain = Tag::default();
        let engine = match encoding.body {
            Body::Raw => Engine::Raw,
            Body::Frames(_) if rules.mac.is_none() => Engine::Frames { rules: Arc::new(rules), len: 0, left: 0 },
            body => {
                if let Body::Chunks(_) = body {
                    let len = chunk_size_len(body);
                    let front = source.peek(len, Part::ChunkSize)?;
                    let front = front.get(..len).unwrap_or(front);
                    let (size, tag) = chunk_size(front, body_at, rules.mac.as_ref(), &options.limits)?;
                    source.consume(len);
                    rules.chunk_size = Some(size);
                    chain = tag;
                }
                Engine::Units(Box::new(Units::new(Arc::new(rules), chain, options.threads)))
            }
        };
        let limits = Expected { most: options.limits.payload, exactly };
        let tail = TailRule::new(encoding.body, engine.chunk_size());
        Ok(Self {
            source,
            header,
            metadata,
            encoding,
            engine,
            limits,
            delivered: 0,
            units: 0,
            tail,
            failed: None,
            options: options.clone(),
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

    /// The chunk size that a deflate body declares.
    pub fn chunk_size(&self) -> Option<u32> {
        self.engine.chunk_size()
    }

    /// Payload bytes returned so far.
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Number of chunks or frames read so far. It is final at the end of the payload.
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// Whether the payload may have been cut off. Call it at the end of the payload.
    pub fn tail(&self) -> Tail {
        self.tail.tail()
    }

    /// The source. Bytes that were read ahead are lost.
    pub fn into_inner(self) -> R {
        self.source.into_inner()
    }

    pub(crate) const fn options(&self) -> &ReadOptions {
        &self.options
    }

    pub(crate) const fn header(&self) -> &Header {
        &self.header
    }

    /// The reader of stored units, and its source; `None` for bodies without MACs and chunks.
    pub(crate) fn units_mut(&mut self) -> Option<(&mut Feed, &mut Source<R>)> {
        match &mut self.engine {
            Engine::Units(units) => Some((&mut units.feed, &mut self.source)),
            Engine::Raw | Engine::Frames { .. } => None,
        }
    }

    /// Writes the rest of the payload to `sink` and returns the number of bytes.
    ///
    /// It writes from the buffers in which the bytes were verified, which saves one copy of memory over [`Read`]. A raw
    /// body goes through [`std::io::copy`], so that the operating system copies from file to file.
    ///
    /// # Errors
    ///
    /// The errors of reading; [`Error::Write`] if `sink` fails; [`Error::Copy`] if the source or the sink of such a raw
    /// copy fails.
    pub fn copy_to<W: Write + ?Sized>(&mut self, sink: &mut W) -> Result<u64, Error> {
        self.copy(sink, Progress::none())
    }

    /// Does the work of [`copy_to`](Self::copy_to), and reports the bytes written so far.
    pub(crate) fn copy<W: Write + ?Sized>(&mut self, sink: &mut W, progress: Progress<'_>) -> Result<u64, Error> {
        /// Bytes between two reports. Frames can be as short as one byte.
        const REPORT: u64 = 1 << 20;
        let before = self.delivered;
        let mut reported = before;
        loop {
            self.options.cancel.check()?;
            progress.check()?;
            if self.delivered.saturating_sub(reported) >= REPORT {
                reported = self.delivered;
                progress.at(reported.saturating_sub(before));
            }
            if self.copy_some(sink)? == 0 {
                let copied = self.delivered.saturating_sub(before);
                progress.at(copied);
                return Ok(copied);
            }
        }
    }

    /// Writes the next payload bytes to `sink` and returns their number, 0 at the end.
    fn copy_some<W: Write + ?Sized>(&mut self, sink: &mut W) -> Result<u64, Error> {
        /// The most bytes of one call, so that `copy` looks often enough whether to stop.
        const STRETCH: u64 = 64 << 20;
        if self.is_unbounded_raw() && self.source.buffered().is_empty() {
            let copied = io::copy(&mut Read::take(self.source.inner_mut(), STRETCH), sink);
            let copied = copied.map_err(|source| self.fail(Error::Copy { source: Arc::new(source) }))?;
            self.delivered = self.delivered.saturating_add(copied);
            return Ok(copied);
        }
        let bytes = self.available()?;
        let len = bytes.len();
        if let Err(source) = sink.write_all(bytes) {
            return Err(self.fail(Error::write(Part::Payload)(source)));
        }
        self.take(len);
        Ok(len as u64)
    }

    fn is_unbounded_raw(&self) -> bool {
        matches!(self.engine, Engine::Raw)
            && self.failed.is_none()
            && self.limits.most == u64::MAX
            && self.limits.exactly.is_none()
    }

    /// The next payload bytes, at least one unless the payload ends. [`take`](Self::take) takes them.
    pub(crate) fn available(&mut self) -> Result<&[u8], Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.prepare() {
            Ok(len) => Ok(self.prepared().get(..len).unwrap_or_default()),
            Err(error) => Err(self.fail(error)),
        }
    }

    pub(crate) fn take(&mut self, len: usize) {
        self.delivered = self.delivered.saturating_add(len as u64);
        match &mut self.engine {
            Engine::Raw => self.source.consume(len),
            Engine::Frames { left, .. } => {
                self.source.consume(len);
                *left = left.saturating_sub(len as u64);
            }
            Engine::Units(units) => units.position = units.position.saturating_add(len),
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failed.get_or_insert(error).clone()
    }

    /// Prepares the next payload bytes, and returns the number that may be returned.
    fn prepare(&mut self) -> Result<usize, Error> {
        let available = match &mut self.engine {
            Engine::Raw => self.source.peek(1, Part::Payload)?.len() as u64,
            Engine::Frames { rules, len, left } => {
                if *left == 0 {
                    *len = next_frame(&mut self.source, rules, &mut self.units)?;
                    *left = *len;
                }
                match *left {
                    0 => 0,
                    left => match self.source.peek(1, Part::Frame(self.units))?.len() as u64 {
                        0 => return Err(cut_frame(&self.source, self.units, *len, left)),
                        buffered => buffered.min(left),
                    },
                }
            }
            Engine::Units(units) => {
                units.prepare(&mut self.source, &mut self.units, &mut self.tail)?;
                units.prepared().len() as u64
            }
        };
        self.allowed(available)
    }

    /// The number of `available` bytes that are within the length that the payload may have.
    fn allowed(&self, available: u64) -> Result<usize, Error> {
        if let Some((expected, by)) = self.limits.exactly {
            let left = expected.saturating_sub(self.delivered);
            if (left == 0) != (available == 0) {
                let got = self.delivered.saturating_add(available);
                return Err(Error::Length { expected, got, by });
            }
        }
        let within = self.limits.exactly.map_or(self.limits.most, |(exactly, _)| exactly.min(self.limits.most));
        let allowed = available.min(within.saturating_sub(self.delivered));
        if allowed == 0 && available > 0 {
            let (at, limit) = (Offset::new(self.source.position()), self.limits.most);
            let asked = self.delivered.saturating_add(available);
            return Err(Error::Limit { part: Part::Payload, at, limit, asked });
        }
        Ok(usize::try_from(allowed).unwrap_or(usize::MAX))
    }

    fn prepared(&self) -> &[u8] {
        match &self.engine {
            Engine::Raw | Engine::Frames { .. } => self.source.buffered(),
            Engine::Units(units) => units.prepared(),
        }
    }

    /// Reads into `buf` without a buffer between, if the bytes need no check; `None` if they do, or if `buf` is small.
    fn read_through(&mut self, buf: &mut [u8]) -> Option<Result<usize, Error>> {
        if self.failed.is_some() || !self.source.buffered().is_empty() || buf.len() < 4096 {
            return None;
        }
        let len = match &self.engine {
            Engine::Raw if self.is_unbounded_raw() => buf.len(),
            Engine::Frames { left, .. }
                if *left > 0 && self.limits.exactly.is_none() && self.limits.most == u64::MAX =>
            {
                buf.len().min(usize::try_from(*left).unwrap_or(usize::MAX))
            }
            _ => return None,
        };
        let part = if matches!(self.engine, Engine::Raw) { Part::Payload } else { Part::Frame(self.units) };
        let result = self.source.read(buf.get_mut(..len)?, part).and_then(|got| match &mut self.engine {
            Engine::Frames { len, left, .. } if got == 0 => Err(cut_frame(&self.source, self.units, *len, *left)),
            Engine::Frames { left, .. } => {
                *left = left.saturating_sub(got as u64);
                Ok(got)
            }
            _ => Ok(got),
        });
        Some(match result {
            Ok(got) => {
                self.delivered = self.delivered.saturating_add(got as u64);
                Ok(got)
            }
            Err(error) => Err(self.fail(error)),
        })
    }
}

impl Engine {
    fn chunk_size(&self) -> Option<u32> {
        match self {
            Self::Units(units) => units.feed.rules.chunk_size,
            Self::Raw | Self::Frames { .. } => None,
        }
    }
}

/// The length of the next frame without a MAC; 0 at the end.
fn next_frame<R: Read>(source: &mut Source<R>, rules: &Rules, units: &mut u64) -> Result<u64, Error> {
    let (at, index) = (source.position(), units.saturating_add(1));
    let Some(len) = read_len(source, rules, index)? else { return Ok(0) };
    rules.check_len(index, at, len)?;
    *units = index;
    Ok(len.into())
}

/// The length of the next unit; `None` at the end.
fn read_len<R: Read>(source: &mut Source<R>, rules: &Rules, index: u64) -> Result<Option<u32>, Error> {
    let (at, part) = (source.position(), rules.length_part(index));
    let mut len = [0; 4];
    match source.read_full(&mut len, part)? {
        0 => Ok(None),
        4 => Ok(Some(u32::from_be_bytes(len))),
        // gVisor ignores one to three bytes after the last chunk, but not after the last frame.
        _ if rules.chunk_size.is_some() && rules.mode == Mode::Lenient => Ok(None),
        got => Err(truncated(part, at, 4, got as u64)),
    }
}

fn cut_frame<R: Read>(source: &Source<R>, index: u64, len: u64, left: u64) -> Error {
    let got = len.saturating_sub(left);
    truncated(Part::Frame(index), source.position().saturating_sub(got), len, got)
}

impl Units {
    fn new(rules: Arc<Rules>, chain: Tag, threads: usize) -> Self {
        let threads = options::threads(threads);
        let pool = Ordered::new(threads, || {
            let mut checker = Checker::new(&rules);
            move |job| checker.check(job)
        });
        let in_flight = rules.jobs_in_flight(threads);
        let feed = Feed { rules, chain, read: 0, end: None, spare: Vec::new() };
        Self { feed, pool, in_flight, current: None, position: 0, short: None }
    }

    fn prepared(&self) -> &[u8] {
        let payload = self.current.as_ref().map_or(&[][..], Done::payload);
        payload.get(self.position..).unwrap_or_default()
    }

    /// Makes [`prepared`](Self::prepared) return bytes, unless the payload ends.
    fn prepare<R: Read>(&mut self, source: &mut Source<R>, units: &mut u64, tail: &mut TailRule) -> Result<(), Error> {
        while self.prepared().is_empty() {
            if let Some(done) = self.current.take() {
                self.feed.spare.push(done.job);
                done.result?;
            }
            self.position = 0;
            while self.feed.end.is_none() && self.pool.in_flight() < self.in_flight {
                let job = self.feed.read_job(source);
                if !job.units.is_empty() {
                    self.pool.submit(job)?;
                }
            }
            if self.pool.in_flight() == 0 {
                return self.feed.end.clone().unwrap_or(Ok(()));
            }
            let done = self.pool.take()?;
            if !done.job.units.is_empty() {
                short_before_the_end(&self.feed.rules, self.short.take())?;
            }
            self.short = done.short;
            *units = units.saturating_add(done.right);
            if done.right > 0 {
                tail.unit(done.last_len);
            }
            self.current = Some(done);
        }
        Ok(())
    }
}

impl Feed {
    /// Reads the units of the next job. A fault in the unit after them goes into [`end`](Self::end), for later.
    pub(crate) fn read_job<R: Read>(&mut self, source: &mut Source<R>) -> Job {
        let mut job = self.spare.pop().unwrap_or_default();
        job.units.clear();
        job.chain = self.chain;
        let mut used = 0_usize;
        while job.units.len() < self.rules.units_per_job() && used < self.rules.bytes_per_job() {
            match self.read_unit(source, &mut job, used) {
                Ok(Some(end)) => used = end,
                Ok(None) => {
                    self.end = Some(Ok(()));
                    break;
                }
                Err(error) => {
                    self.end = Some(Err(error));
                    break;
                }
            }
        }
        job
    }

    fn read_unit<R: Read>(
        &mut self,
        source: &mut Source<R>,
        job: &mut Job,
        used: usize,
    ) -> Result<Option<usize>, Error> {
        let rules = &self.rules;
        let (at, index) = (source.position(), self.read.saturating_add(1));
        let Some(declared) = read_len(source, rules, index)? else { return Ok(None) };
        rules.check_len(index, at, declared)?;
        let len = usize::try_from(declared).unwrap_or(usize::MAX);
        let wanted = len.saturating_add(rules.mac_len());
        let data_at = source.position();
        let got = source.read_into(&mut job.wire, used, wanted, rules.data_part(index))?;
        if got < len {
            return Err(truncated(rules.data_part(index), data_at, declared.into(), got as u64));
        }
        if got < wanted {
            let at = data_at.saturating_add(declared.into());
            return Err(truncated(rules.mac_part(index), at, MAC_LEN as u64, got.saturating_sub(len) as u64));
        }
        let end = used.saturating_add(wanted);
        if let Some(tag) = job.wire.get(used..end).and_then(|unit| unit.last_chunk::<MAC_LEN>()) {
            self.chain = *tag;
        }
        job.units.push(Unit { index, at, start: used, len });
        self.read = index;
        Ok(Some(end))
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if let Some(result) = self.read_through(buf) {
            return result.map_err(io::Error::from);
        }
        let bytes = self.available()?;
        let len = bytes.len().min(buf.len());
        if let (Some(buf), Some(bytes)) = (buf.get_mut(..len), bytes.get(..len)) {
            buf.copy_from_slice(bytes);
        }
        self.take(len);
        Ok(len)
    }
}

impl<R: Read> BufRead for Reader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.available()?)
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.prepared().len());
        self.take(amount);
    }
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("encoding", &self.encoding)
            .field("delivered", &self.delivered)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
