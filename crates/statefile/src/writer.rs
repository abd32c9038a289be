//! Writing a state file from front to back.
//!
//! The thread that calls gathers the payload into units of 1 MiB and hands them to workers, which compress them and begin their
//! MACs. It takes them back in order, ends each MAC with that of the unit before, and writes. So only a few bytes of hashing are
//! done one unit after the other, and what is written does not depend on the number of threads.

use std::{
    fmt,
    io::{self, Read, Write},
    sync::Arc,
};

use dunnage_digest::{Offset, Ordered, read_some};

use crate::{
    Body, Codec, Compression, Dialect, Error, Frames, Key, MAC_LEN, Macs, Metadata, Part, Timestamp, WriteOptions,
    codec::{Deflater, grow},
    detect::CHUNK_SIZE,
    header::Header,
    key::{Mac, Running, Tag},
    options,
};

/// Payload bytes of a full unit.
const UNIT: usize = 1 << 20;
/// Bytes of length in front of a unit.
const LEN: usize = 4;
/// Raw payload is gathered up to this.
const GATHER: usize = 256 << 10;
/// Raw payload handed over in pieces of at least this goes straight through.
const STRAIGHT: usize = 32 << 10;

/// Takes a payload and writes a state file.
///
/// Everything is checked before the first byte is written. The writer must be [`finish`](Self::finish)ed: one that is dropped
/// leaves a file that is cut short. After an error it gives that error to every later call.
pub struct Writer<W: Write> {
    sink: W,
    engine: Engine,
    written: Written,
    most: u64,
    exactly: Option<u64>,
    failed: Option<Error>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Bytes of payload; 0 where deflate chunks were copied as they are, and nobody looked inside.
    pub payload_len: u64,
    /// Bytes of the file.
    pub file_len: u64,
    /// Chunks or frames.
    pub units: u64,
}

enum Engine {
    Raw { buffer: Vec<u8> },
    Units(Box<Units>),
}

struct Units {
    pool: Ordered<Job, Result<Packed, Error>>,
    in_flight: usize,
    filling: Job,
    mac: Option<Mac>,
    macs: Macs,
    chain: Tag,
    chunks: bool,
    cut: Cut,
    spare: Vec<Job>,
}

/// When a unit ends before it is full.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Full,
    /// A call of more than a unit is a frame if nothing is waiting.
    LargeCalls,
    /// After every call.
    Calls,
}

/// A unit that is being put together.
#[derive(Debug, Default)]
struct Job {
    /// Room for the length, the payload, room for a MAC.
    bytes: Vec<u8>,
    /// Payload bytes there are.
    used: usize,
    /// Room for a compressed chunk with its length and MAC.
    out: Vec<u8>,
}

/// A unit that a worker had.
struct Packed {
    job: Job,
    /// Bytes of the data.
    len: usize,
    in_out: bool,
    mac: Option<Running>,
}

impl<W: Write> Writer<W> {
    /// A writer that has written the header. (gVisor: `NewWriter`.)
    ///
    /// The metadata stay as they are; what is written also has `_timestamp` and `compression`.
    ///
    /// # Errors
    ///
    /// Before anything is written: [`Error::MetadataInvalid`] for reserved keys, [`Error::InvalidFlags`],
    /// [`Error::InvalidMetadataLength`], [`Error::WeakKey`], [`Error::Misuse`] for dialects that are not written, levels that
    /// do not exist and two compressions at once. [`Error::Write`] if the sink fails.
    pub fn new(
        sink: W,
        key: Option<&Key>,
        metadata: &Metadata,
        timestamp: Timestamp,
        options: &WriteOptions,
    ) -> Result<Self, Error> {
        metadata.check_names()?;
        let named = Compression::named_in(metadata)?;
        let compression = match (named, options.compression) {
            (Some(named), Some(asked)) if named != asked => {
                return Err(Error::Misuse(format!(
                    "two compressions: the metadata say `{named}`, the options `{asked}`"
                )));
            }
            (named, asked) => named.or(asked).unwrap_or_else(|| options.dialect.default_compression()),
        };
        let mut metadata = metadata.clone();
        compression.write_to_metadata(&mut metadata);
        metadata.insert(Metadata::TIMESTAMP, timestamp.to_string());
        if let Some(len) = options.payload_len {
            metadata.insert(Metadata::LENGTH, len.to_string());
        }
        let header = Header::new(&metadata.to_json(), &options.limits)?;
        Self::with_header(sink, key, &header, compression, options)
    }

    /// A writer behind a header that is there already.
    pub(crate) fn with_header(
        mut sink: W,
        key: Option<&Key>,
        header: &Header,
        compression: Compression,
        options: &WriteOptions,
    ) -> Result<Self, Error> {
        let dialect = options.dialect;
        if matches!(dialect, Dialect::P | Dialect::L) {
            return Err(Error::Misuse(format!("dialect {dialect} is not written: expected A, B, C or D")));
        }
        let mac = key.map(Key::for_writing).transpose()?.map(Mac::new);
        let body = dialect.body(mac.is_some(), compression);
        let mut front = header.bytes().to_vec();
        if dialect.has_header_mac(mac.is_some()) {
            front.extend_from_slice(&mac.clone().unwrap_or_else(Mac::unkeyed).whole(header.bytes()));
        }
        let mut chain = Tag::default();
        if let Body::Chunks(_) = body {
            let size = CHUNK_SIZE.to_be_bytes();
            front.extend_from_slice(&size);
            if let Some(mac) = &mac {
                chain = mac.whole(&size);
                front.extend_from_slice(&chain);
            }
        }
        let engine = match body {
            Body::Raw => Engine::Raw { buffer: Vec::new() },
            body => Engine::Units(Box::new(Units::new(body, mac, chain, options)?)),
        };
        sink.write_all(&front).map_err(Error::write(Part::Header))?;
        Ok(Self {
            sink,
            engine,
            written: Written { file_len: front.len() as u64, ..Written::default() },
            most: options.limits.payload,
            exactly: options.payload_len,
            failed: None,
        })
    }

    /// Adds everything that is left of `source` to the payload; the bytes that it was.
    ///
    /// It is read straight into the units, and where there are none, copied by [`std::io::copy`]: from file to file the
    /// operating system does it.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] if the source fails, [`Error::Write`] if the sink does, [`Error::Copy`] if one of them does and it was
    /// the operating system that copied, [`Error::Length`] and [`Error::Limit`].
    pub fn read_from<R: Read + ?Sized>(&mut self, source: &mut R) -> Result<u64, Error> {
        self.check_failed()?;
        let before = self.written.payload_len;
        match self.pull(source) {
            Ok(()) => Ok(self.written.payload_len.saturating_sub(before)),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Adds `payload`.
    ///
    /// # Errors
    ///
    /// As [`read_from`](Self::read_from), but for those of a source.
    pub fn append(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.check_failed()?;
        self.push(payload).map_err(|error| self.fail(error))
    }

    /// Writes what is left, and flushes the sink.
    ///
    /// # Errors
    ///
    /// [`Error::Write`]; [`Error::Length`] if the payload has not the length that was promised; the first error of all, if
    /// there was one before.
    pub fn finish(mut self) -> Result<(W, Written), Error> {
        self.check_failed()?;
        match (self.exactly, self.written.payload_len) {
            (Some(expected), got) if expected != got => {
                return Err(Error::Length { expected, got, by: "by the options" });
            }
            _ => {}
        }
        match &mut self.engine {
            Engine::Raw { buffer } => flush_raw(&mut self.sink, buffer)?,
            Engine::Units(units) => {
                units.submit(&mut self.sink, &mut self.written)?;
                units.drain(&mut self.sink, &mut self.written, 0)?;
            }
        }
        self.sink.flush().map_err(Error::write(Part::Payload))?;
        Ok((self.sink, self.written))
    }

    /// The sink, if the payload goes there as it is. Whoever writes to it tells [`count_raw`](Self::count_raw).
    pub(crate) fn raw_sink(&mut self) -> Result<Option<&mut W>, Error> {
        match &mut self.engine {
            Engine::Raw { buffer } => flush_raw(&mut self.sink, buffer).map(|()| Some(&mut self.sink)),
            Engine::Units(_) => Ok(None),
        }
    }

    pub(crate) fn count_raw(&mut self, len: u64) -> Result<(), Error> {
        self.written.file_len = self.written.file_len.saturating_add(len);
        self.count(len)
    }

    fn check_failed(&self) -> Result<(), Error> {
        self.failed.as_ref().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failed.get_or_insert(error).clone()
    }

    /// Counts payload before it is taken.
    fn count(&mut self, len: u64) -> Result<(), Error> {
        let total = self.written.payload_len.saturating_add(len);
        if let Some(expected) = self.exactly.filter(|&expected| total > expected) {
            return Err(Error::Length { expected, got: total, by: "by the options" });
        }
        if total > self.most {
            let at = Offset::new(self.written.file_len);
            return Err(Error::Limit { part: Part::Payload, at, limit: self.most, asked: total });
        }
        self.written.payload_len = total;
        Ok(())
    }

    fn push(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.count(payload.len() as u64)?;
        match &mut self.engine {
            Engine::Raw { buffer } => {
                self.written.file_len = self.written.file_len.saturating_add(payload.len() as u64);
                if payload.len() >= STRAIGHT {
                    flush_raw(&mut self.sink, buffer)?;
                    return self.sink.write_all(payload).map_err(Error::write(Part::Payload));
                }
                buffer.extend_from_slice(payload);
                if buffer.len() >= GATHER { flush_raw(&mut self.sink, buffer) } else { Ok(()) }
            }
            Engine::Units(units) => units.push(payload, &mut self.sink, &mut self.written),
        }
    }

    fn pull<R: Read + ?Sized>(&mut self, source: &mut R) -> Result<(), Error> {
        /// Copied at once, so that limits are looked at now and then.
        const STRETCH: u64 = 64 << 20;
        if let Engine::Raw { buffer } = &mut self.engine {
            flush_raw(&mut self.sink, buffer)?;
            loop {
                let copied = io::copy(&mut Read::take(&mut *source, STRETCH), &mut self.sink);
                let copied = copied.map_err(|source| Error::Copy { source: Arc::new(source) })?;
                self.count(copied)?;
                self.written.file_len = self.written.file_len.saturating_add(copied);
                if copied == 0 {
                    return Ok(());
                }
            }
        }
        loop {
            let at = self.written.payload_len;
            let Engine::Units(units) = &mut self.engine else { return Ok(()) };
            let got = read_some(source, units.room()).map_err(Error::read(Part::Payload, at))?;
            if got == 0 {
                return Ok(());
            }
            self.count(got as u64)?;
            if let Engine::Units(units) = &mut self.engine {
                units.added(got, &mut self.sink, &mut self.written)?;
            }
        }
    }
}

fn flush_raw(sink: &mut impl Write, buffer: &mut Vec<u8>) -> Result<(), Error> {
    let result = sink.write_all(buffer).map_err(Error::write(Part::Payload));
    buffer.clear();
    result
}

impl Units {
    fn new(body: Body, mac: Option<Mac>, chain: Tag, options: &WriteOptions) -> Result<Self, Error> {
        let threads = options::threads(options.threads);
        let chunks = matches!(body, Body::Chunks(_));
        // Whatever is wrong with the level is wrong before the first byte.
        let check: Option<Deflater> = chunks.then(|| Deflater::new(options.codec, options.level)).transpose()?;
        drop(check);
        let (codec, level) = (options.codec, options.level);
        // Without MACs there is nothing to be done for a frame.
        let workers = if chunks || mac.is_some() { threads } else { 1 };
        let pool = Ordered::new(workers, || packer(chunks, codec, level, mac.clone()));
        let cut = match (options.frames, options.dialect) {
            _ if chunks => Cut::Full,
            (Frames::Uniform, _) => Cut::Full,
            (Frames::AsGvisor, Dialect::A) => Cut::Calls,
            (Frames::AsGvisor, _) => Cut::LargeCalls,
        };
        Ok(Self {
            pool,
            in_flight: workers.saturating_mul(2),
            filling: Job::default(),
            mac,
            macs: body.macs(),
            chain,
            chunks,
            cut,
            spare: Vec::new(),
        })
    }

    fn push(&mut self, mut payload: &[u8], sink: &mut impl Write, written: &mut Written) -> Result<(), Error> {
        while !payload.is_empty() {
            if self.cut != Cut::Full && self.filling.used == 0 && payload.len() > UNIT {
                // One frame, as long as its length can be written down.
                let len = payload.len().min(usize::try_from(u32::MAX).unwrap_or(usize::MAX));
                let (frame, rest) = payload.split_at_checked(len).unwrap_or((payload, &[]));
                self.drain(sink, written, 0)?;
                self.frame(frame, sink, written)?;
                payload = rest;
                continue;
            }
            let room = self.room();
            let len = room.len().min(payload.len());
            let (now, rest) = payload.split_at_checked(len).unwrap_or((payload, &[]));
            if let Some(room) = room.get_mut(..len) {
                room.copy_from_slice(now);
            }
            self.added(len, sink, written)?;
            payload = rest;
        }
        if self.cut == Cut::Calls { self.submit(sink, written) } else { Ok(()) }
    }

    /// Where the next payload bytes of the unit belong; never empty.
    fn room(&mut self) -> &mut [u8] {
        let Job { bytes, used, .. } = &mut self.filling;
        grow(bytes, LEN.saturating_add(UNIT).saturating_add(MAC_LEN));
        bytes.get_mut(LEN.saturating_add(*used)..LEN.saturating_add(UNIT)).unwrap_or_default()
    }

    /// So many bytes were put there.
    fn added(&mut self, len: usize, sink: &mut impl Write, written: &mut Written) -> Result<(), Error> {
        self.filling.used = self.filling.used.saturating_add(len);
        if self.filling.used >= UNIT { self.submit(sink, written) } else { Ok(()) }
    }

    /// Ends the unit, if there is anything in it.
    fn submit(&mut self, sink: &mut impl Write, written: &mut Written) -> Result<(), Error> {
        if self.filling.used == 0 {
            return Ok(());
        }
        let next = self.spare.pop().unwrap_or_default();
        self.pool.submit(std::mem::replace(&mut self.filling, next))?;
        self.drain(sink, written, self.in_flight)
    }

    /// Writes units until no more than so many are on their way, and those that are ready.
    fn drain(&mut self, sink: &mut impl Write, written: &mut Written, left: usize) -> Result<(), Error> {
        while self.pool.in_flight() > left || (self.pool.in_flight() > 0 && self.pool.is_ready()) {
            let Packed { mut job, len, in_out, mac } = self.pool.take()??;
            let mut end = LEN.saturating_add(len);
            let bytes = if in_out { &mut job.out } else { &mut job.bytes };
            let len = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
            if let Some(place) = bytes.first_chunk_mut() {
                *place = len;
            }
            if let Some(mut running) = mac {
                self.end_mac(&mut running, len);
                self.chain = running.tag();
                grow(bytes, end.saturating_add(MAC_LEN));
                if let Some(place) = bytes.get_mut(end..).and_then(|rest| rest.first_chunk_mut()) {
                    *place = self.chain;
                }
                end = end.saturating_add(MAC_LEN);
            }
            let index = written.units.saturating_add(1);
            let part = if self.chunks { Part::Chunk(index) } else { Part::Frame(index) };
            sink.write_all(bytes.get(..end).unwrap_or_default()).map_err(Error::write(part))?;
            written.units = index;
            written.file_len = written.file_len.saturating_add(end as u64);
            job.used = 0;
            self.spare.push(job);
        }
        Ok(())
    }

    /// Writes a frame of any length from where it is.
    fn frame(&mut self, data: &[u8], sink: &mut impl Write, written: &mut Written) -> Result<(), Error> {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
        let index = written.units.saturating_add(1);
        let mut write = |bytes: &[u8]| {
            written.file_len = written.file_len.saturating_add(bytes.len() as u64);
            sink.write_all(bytes).map_err(Error::write(Part::Frame(index)))
        };
        write(&len)?;
        write(data)?;
        if let Some(mac) = &self.mac {
            let mut running = mac.start(data);
            self.end_mac(&mut running, len);
            self.chain = running.tag();
            write(&self.chain)?;
        }
        written.units = index;
        Ok(())
    }

    /// What follows the data in a MAC.
    fn end_mac(&self, running: &mut Running, len: [u8; LEN]) {
        running.update(&len);
        if self.macs == Macs::Chained {
            running.update(&self.chain);
        }
    }
}

/// The work of one worker on one unit.
fn packer(
    chunks: bool,
    codec: Codec,
    level: Option<u8>,
    mac: Option<Mac>,
) -> impl FnMut(Job) -> Result<Packed, Error> + Send + 'static {
    let mut deflater = None;
    move |mut job| {
        let Job { bytes, used, out } = &mut job;
        let payload = bytes.get(LEN..LEN.saturating_add(*used)).unwrap_or_default();
        if !chunks {
            let mac = mac.as_ref().map(|mac| mac.start(payload));
            return Ok(Packed { len: *used, in_out: false, mac, job });
        }
        let deflater = match &mut deflater {
            Some(deflater) => deflater,
            none => none.insert(Deflater::new(codec, level)?),
        };
        let end = deflater.deflate(payload, out, LEN)?;
        let mac = mac.as_ref().map(|mac| mac.start(out.get(LEN..end).unwrap_or_default()));
        Ok(Packed { len: end.saturating_sub(LEN), in_out: true, mac, job })
    }
}

impl<W: Write> Write for Writer<W> {
    /// Takes all of `buf`.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.append(buf)?;
        Ok(buf.len())
    }

    /// Flushes what can be written: a unit that is not full stays, because to end it would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        self.check_failed()?;
        let result = match &mut self.engine {
            Engine::Raw { buffer } => flush_raw(&mut self.sink, buffer),
            Engine::Units(units) => units.drain(&mut self.sink, &mut self.written, 0),
        };
        let result = result.and_then(|()| self.sink.flush().map_err(Error::write(Part::Payload)));
        result.map_err(|error| self.fail(error).into())
    }
}

impl<W: Write> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("written", &self.written).field("failed", &self.failed).finish_non_exhaustive()
    }
}
