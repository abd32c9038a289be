//! Writes a state file from front to back.
//!
//! The calling thread gathers the payload into units of 1 MiB and gives them to workers, which compress them and start
//! their MACs. It takes them back in order, finishes each MAC with the MAC before it, and writes. So the calling thread
//! hashes only a few bytes per unit, and the output does not depend on the number of threads.

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
/// Bytes of the length before a unit.
const LEN: usize = 4;
/// Small writes of a raw payload are gathered up to this many bytes.
const GATHER: usize = 256 << 10;
/// Writes of a raw payload of at least this many bytes go to the sink directly.
const STRAIGHT: usize = 32 << 10;

/// Writes a state file to a stream.
///
/// Use it to make a file from a payload; [`rekey`](crate::rekey) and [`convert`](crate::convert) rewrite an existing
/// file. It checks metadata, key and options before it writes the first byte. Deflate and MACs run on all threads, with
/// two units of 1 MiB per thread in memory; a raw body is only copied.
///
/// Call [`finish`](Self::finish) at the end: a writer that is dropped leaves a file that lacks its last units, and
/// since the format has no end mark, such a file can look whole. After an error, every later call returns the same
/// error.
pub struct Writer<W: Write> {
    sink: W,
    engine: Engine,
    written: Written,
    most: u64,
    exactly: Option<u64>,
    failed: Option<Error>,
}

/// The sizes of a file that was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Bytes of payload; 0 if chunks were copied and not inflated, as [`rekey`](crate::rekey) does.
    pub payload_len: u64,
    /// Bytes of the file.
    pub file_len: u64,
    /// Number of chunks or frames; 0 for a raw body.
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

/// Where units end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// When they are full.
    Full,
    /// When they are full, but a call with more than a unit is one frame if nothing is gathered.
    LargeCalls,
    /// When they are full, and after every call.
    Calls,
}

/// A unit that is filled, and its buffers.
#[derive(Debug, Default)]
struct Job {
    /// Room for the length, then the payload, then room for a MAC.
    bytes: Vec<u8>,
    /// Payload bytes so far.
    used: usize,
    /// Room for the length, the compressed chunk and a MAC.
    out: Vec<u8>,
}

/// A unit after its worker.
struct Packed {
    job: Job,
    /// Bytes of the data.
    len: usize,
    /// Whether the data is in `job.out`.
    in_out: bool,
    mac: Option<Running>,
}

impl<W: Write> Writer<W> {
    /// Writes the header and returns a writer for the payload. (gVisor: `NewWriter`.)
    ///
    /// The file has `metadata`, which stay unchanged, and also `_timestamp` and `compression`.
    ///
    /// # Errors
    ///
    /// Before a byte is written: [`Error::MetadataInvalid`] for reserved keys, [`Error::InvalidFlags`],
    /// [`Error::InvalidMetadataLength`], [`Error::WeakKey`], [`Error::Misuse`] for dialects P and L, for a level that
    /// does not exist, and for two different compressions in metadata and options. [`Error::Write`] if the sink fails.
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

    /// As [`new`](Self::new), with a header that exists already.
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

    /// Adds all bytes of `source` to the payload and returns their number.
    ///
    /// It reads into the units directly, which saves one copy of memory over [`append`](Self::append). A raw payload
    /// goes through [`std::io::copy`], so that the operating system copies from file to file.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] if the source fails, [`Error::Write`] if the sink fails, [`Error::Copy`] if one of them fails in
    /// such a raw copy; [`Error::Length`] and [`Error::Limit`] if the payload is too long.
    pub fn read_from<R: Read + ?Sized>(&mut self, source: &mut R) -> Result<u64, Error> {
        self.check_failed()?;
        let before = self.written.payload_len;
        match self.pull(source) {
            Ok(()) => Ok(self.written.payload_len.saturating_sub(before)),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Adds `payload`. Returns when the bytes are copied or written; workers may still compress them.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if the sink fails; [`Error::Length`] and [`Error::Limit`] if the payload is too long.
    pub fn append(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.check_failed()?;
        self.push(payload).map_err(|error| self.fail(error))
    }

    /// Writes the last unit, flushes the sink and returns it.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if the sink fails; [`Error::Length`] if the payload is shorter than the options say; the error
    /// of an earlier call.
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

    /// The sink, if the body is raw. The caller writes payload to it and then calls [`count_raw`](Self::count_raw).
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

    /// Adds `len` to the length of the payload, or refuses it.
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
        /// The most bytes of one copy, so that limits are checked in between.
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
        // A level that does not exist is an error before the first byte is written.
        let check: Option<Deflater> = chunks.then(|| Deflater::new(options.codec, options.level)).transpose()?;
        drop(check);
        let (codec, level) = (options.codec, options.level);
        // A frame without a MAC needs no work.
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
                // One frame, cut only where its length exceeds 32 bits.
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

    /// The free room of the current unit; never empty.
    fn room(&mut self) -> &mut [u8] {
        let Job { bytes, used, .. } = &mut self.filling;
        grow(bytes, LEN.saturating_add(UNIT).saturating_add(MAC_LEN));
        bytes.get_mut(LEN.saturating_add(*used)..LEN.saturating_add(UNIT)).unwrap_or_default()
    }

    /// Counts `len` bytes that the caller has put into [`room`](Self::room).
    fn added(&mut self, len: usize, sink: &mut impl Write, written: &mut Written) -> Result<(), Error> {
        self.filling.used = self.filling.used.saturating_add(len);
        if self.filling.used >= UNIT { self.submit(sink, written) } else { Ok(()) }
    }

    /// Ends the current unit, unless it is empty.
    fn submit(&mut self, sink: &mut impl Write, written: &mut Written) -> Result<(), Error> {
        if self.filling.used == 0 {
            return Ok(());
        }
        let next = self.spare.pop().unwrap_or_default();
        self.pool.submit(std::mem::replace(&mut self.filling, next))?;
        self.drain(sink, written, self.in_flight)
    }

    /// Writes units until at most `left` are in flight, and any further ones that are ready.
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

    /// Writes a frame of any length without copying it.
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

    /// Adds the bytes that a MAC covers after the data.
    fn end_mac(&self, running: &mut Running, len: [u8; LEN]) {
        running.update(&len);
        if self.macs == Macs::Chained {
            running.update(&self.chain);
        }
    }
}

/// The function of a worker: compresses a unit and starts its MAC.
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
    /// Adds all of `buf` to the payload.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.append(buf)?;
        Ok(buf.len())
    }

    /// Writes all full units and flushes the sink. The current unit stays in memory: ending it here would change the
    /// bytes.
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
