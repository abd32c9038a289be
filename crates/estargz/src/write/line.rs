//! The assembly line of a writer: batches go out to the workers and to the hashes, results come back in order, into the blob
//! and the TOC.
//!
//! The line knows no form of layers. A [`Cutter`](super::cutter::Cutter) fills the batch and says where streams start; a [`Log`]
//! turns the results into TOC entries.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    io::{self, Write},
    mem,
    ops::Range,
    sync::Arc,
};

use dunnage_digest::{Cancel, Digest, Hasher, Ordered};

use super::{
    batch::{Batch, Content, Packed, Part, pack},
    hashing::{Hashes, Hashing},
    toc_log::TocLog,
    zeros::Zeros,
};
use crate::{
    Error,
    codec::{Compressor, End, TarSplit},
    toc::RawEntry,
};

/// The line hands a batch to the workers once it has this many bytes.
const BATCH: usize = 512 << 10;
/// Headers that may follow each other inside one stream, in bytes.
const MAX_TAIL: usize = 4 << 20;

/// A TOC entry, or a part of one, that waits until its batch is compressed.
pub(super) enum Pending {
    /// Bytes of the batch that are no content. Only forms that keep these apart log them.
    Segment(Range<usize>),
    /// An entry without content.
    Entry(RawEntry<'static>),
    /// An entry with content. Its pieces follow.
    File(RawEntry<'static>),
    /// The next piece of that content: its number among the contents of the batch, and whether it is part of a hole.
    Piece(usize, bool),
}

/// A batch after compression, and the places of its streams in the blob.
pub(super) struct Done<'a> {
    pub(super) batch: &'a Batch,
    pub(super) packed: &'a Packed,
    /// Where each stream starts.
    pub(super) offsets: &'a [u64],
    /// Where the last one ends.
    pub(super) end: u64,
}

impl Done<'_> {
    /// Where a stream of the batch starts; for the number after the last, where that one ends.
    pub(super) fn offset(&self, stream: usize) -> u64 {
        self.offsets.get(stream).copied().unwrap_or(self.end)
    }
}

/// The half of a form that runs after compression: it makes TOC entries.
pub(super) trait Log: Send {
    /// Logs one entry or piece. They arrive in the order in which the cutter handed them over.
    fn take(&mut self, pending: Pending, done: &Done<'_>, hashing: &mut Hashing, toc: &mut TocLog)
    -> Result<(), Error>;

    /// Ends the log; the tar headers, where the form keeps them apart.
    fn finish(self: Box<Self>, toc: &mut TocLog) -> Result<Option<TarSplit>, Error>;
}

/// A batch that a worker has compressed. The batch comes back so that its buffer can be used again.
type Returned = (Arc<Batch>, Result<Packed, Error>);

/// One layer on its way. The sink is the last field, so that a `&mut Line<W>` becomes a `&mut Line<dyn Write>`: all code but
/// [`new`](Self::new) and [`finish`](Self::finish) is compiled once.
pub(super) struct Line<W: ?Sized> {
    /// The bytes that the next job will have.
    pub(super) batch: Batch,
    pub(super) cancel: Cancel,
    /// Entries of the batch that is being filled.
    pending: Vec<Pending>,
    /// Entries of the batches in flight.
    in_flight: VecDeque<Vec<Pending>>,
    threads: usize,
    pool: Ordered<Arc<Batch>, Returned>,
    hashing: Hashing,
    spare: Vec<Batch>,
    log: Box<dyn Log>,
    toc: TocLog,
    blob: Hasher,
    written: u64,
    sink: W,
}

/// A line whose sink is not known at compile time.
pub(super) type AnyLine<'w> = Line<dyn Write + 'w>;

/// A layer that was written to its end.
pub(super) struct Ended {
    pub(super) blob: Digest,
    pub(super) blob_len: u64,
    pub(super) payload_len: u64,
    pub(super) hashes: Hashes,
    pub(super) toc_digest: Digest,
    pub(super) entries: u64,
    pub(super) annotations: BTreeMap<&'static str, String>,
    pub(super) external_toc: Option<Vec<u8>>,
}

impl<W: Write> Line<W> {
    /// `checksums`: whether the log needs the CRC-64 of each content.
    pub(super) fn new(
        sink: W,
        compressor: &Arc<dyn Compressor>,
        threads: usize,
        cancel: Cancel,
        (log, toc, checksums): (Box<dyn Log>, TocLog, bool),
    ) -> Self {
        let zeros = Arc::new(Zeros::new(checksums));
        let worker = || {
            let zeros = Arc::clone(&zeros);
            let mut encoder = compressor.encoder();
            move |batch: Arc<Batch>| {
                let packed = match &mut encoder {
                    Ok(encoder) => pack(&batch, encoder.as_mut(), &zeros),
                    Err(error) => Err(Error::Misuse(error.to_string())),
                };
                (batch, packed)
            }
        };
        Self {
            batch: Batch::default(),
            cancel,
            pending: Vec::new(),
            in_flight: VecDeque::new(),
            threads,
            pool: Ordered::new(threads, worker),
            hashing: Hashing::new(threads),
            spare: Vec::new(),
            log,
            toc,
            blob: Hasher::sha256(),
            written: 0,
            sink,
        }
    }

    /// Writes the TOC and the footer. Nothing may be in flight, see [`drain`](Line::drain).
    pub(super) fn finish(self, compressor: &dyn Compressor) -> Result<(W, Ended), Error> {
        let Self { threads, hashing, log, toc, blob, written, mut sink, .. } = self;
        let tail = Tail { sink: &mut sink, blob, written };
        let ended = tail.write_end(compressor, threads, hashing, log, toc)?;
        Ok((sink, ended))
    }
}

impl AnyLine<'_> {
    /// Whether a stream was begun.
    pub(super) fn has_begun(&self) -> bool {
        self.written > 0 || !self.in_flight.is_empty() || !self.batch.streams.is_empty()
    }

    /// Hands on an entry, or a part of one, with the bytes of the batch.
    pub(super) fn push(&mut self, pending: Pending) {
        self.pending.push(pending);
    }

    /// Whether bytes that are no content need a stream to go to.
    pub(super) fn needs_stream(&self) -> bool {
        self.batch.streams.is_empty() || self.batch.tail() >= MAX_TAIL
    }

    /// Begins a stream, in another batch if this one is large enough. Where it starts in the batch.
    pub(super) fn start_stream(&mut self) -> Result<usize, Error> {
        if self.batch.data.len() >= BATCH {
            self.submit()?;
        }
        let start = self.batch.data.len();
        self.batch.streams.push(start);
        Ok(start)
    }

    /// Makes a content of all bytes of the batch from `start` on, which began the open stream; its number.
    pub(super) fn add_content(&mut self, start: usize, part: Part, of_chunk: Part) -> usize {
        let stream = self.batch.streams.len().saturating_sub(1);
        let len = self.batch.data.len().saturating_sub(start);
        self.batch.contents.push(Content { stream, start, len, part, of_chunk });
        self.batch.contents.len().saturating_sub(1)
    }

    /// Hands out the last batch and takes back everything that is in flight.
    pub(super) fn drain(&mut self) -> Result<(), Error> {
        if !self.batch.streams.is_empty() {
            self.submit()?;
        }
        while self.pool.in_flight() > 0 {
            self.take()?;
        }
        Ok(())
    }

    /// Hands the batch to the workers, and takes back the results that are ready.
    fn submit(&mut self) -> Result<(), Error> {
        let mut next = self.spare.pop().unwrap_or_default();
        next.clear();
        let batch = Arc::new(mem::replace(&mut self.batch, next));
        self.hashing.batch(&batch)?;
        self.pool.submit(batch)?;
        self.in_flight.push_back(mem::take(&mut self.pending));
        let most = self.threads.saturating_mul(2).saturating_add(1);
        while self.pool.in_flight() >= most || self.pool.is_ready() {
            self.take()?;
        }
        Ok(())
    }

    /// Writes the oldest batch in flight and logs its entries.
    fn take(&mut self) -> Result<(), Error> {
        let (batch, packed) = self.pool.take()?;
        let packed = packed?;
        let mut offsets = Vec::with_capacity(packed.streams.len());
        let mut end = self.written;
        for len in &packed.streams {
            offsets.push(end);
            end = end.saturating_add(*len);
        }
        let done = Done { batch: &batch, packed: &packed, offsets: &offsets, end };
        for pending in self.in_flight.pop_front().unwrap_or_default() {
            self.log.take(pending, &done, &mut self.hashing, &mut self.toc)?;
        }
        self.blob.update(&packed.bytes);
        self.sink.write_all(&packed.bytes).map_err(|source| Error::Write { source })?;
        self.written = end;
        // The buffer is used again, unless the hash thread still reads it.
        if let Some(batch) = Arc::into_inner(batch).filter(|_| self.spare.len() < self.threads) {
            self.spare.push(batch);
        }
        Ok(())
    }
}

impl<W: ?Sized> fmt::Debug for Line<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("threads", &self.threads).field("written", &self.written).finish_non_exhaustive()
    }
}

/// Writes the bytes after the streams, hashed and counted.
struct Tail<'a> {
    sink: &'a mut dyn Write,
    blob: Hasher,
    written: u64,
}

impl Tail<'_> {
    fn write_end(
        mut self,
        compressor: &dyn Compressor,
        threads: usize,
        mut hashing: Hashing,
        log: Box<dyn Log>,
        mut toc: TocLog,
    ) -> Result<Ended, Error> {
        hashing.end_of_tar()?;
        let payload_len = self.written;
        let tar_split = log.finish(&mut toc)?;
        let end = End { payload_len, toc: &toc, threads, tar_split: tar_split.as_ref() };
        let written = compressor.write_toc_and_footer(&end, &mut |bytes| hashing.bytes(bytes), &mut self)?;
        self.sink.flush().map_err(|source| Error::Write { source })?;
        Ok(Ended {
            blob: self.blob.finish(),
            blob_len: self.written,
            payload_len,
            hashes: hashing.finish()?,
            toc_digest: written.toc_digest,
            entries: toc.entries(),
            annotations: written.annotations,
            external_toc: written.external_toc,
        })
    }
}

impl Write for Tail<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = self.sink.write(buf)?;
        self.blob.update(buf.get(..len).unwrap_or_default());
        self.written = self.written.saturating_add(len as u64);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
